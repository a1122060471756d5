package main

import (
	"context"
	"time"

	"porchlight/server"
)

// mediaFlags are about uploads and previews.
type mediaFlags struct {
	MediaUserQuota  byteSize      `help:"Bytes of uploads that one user may keep; 0 is any number." default:"0" placeholder:"BYTES"`
	MediaTotalQuota byteSize      `help:"Bytes of uploads that all users may keep together; 0 is any number." default:"0" placeholder:"BYTES"`
	MediaMinFree    byteSize      `help:"Bytes that uploads leave free on the disk; 0 is the default of 256 MiB." default:"0" placeholder:"BYTES"`
	MediaOpen       bool          `help:"Let what is uploaded from now on be downloaded without an access token, too, by old clients."`
	MediaElsewhere  string        `help:"CDN or object store that has all media as URL/server/id, for clients that allow redirects." placeholder:"URL"`
	Previews        string        `help:"Fetch pages that people link to, to show what they are: on or off." enum:"on,off" default:"on"`
	PreviewAge      time.Duration `help:"How long previews are kept; 0 is a week." default:"0s"`
	ThumbnailAge    time.Duration `help:"How long thumbnails are kept that nobody wants; 0 is 90 days." default:"0s"`
}

func (m mediaFlags) config() server.MediaConfig {
	return server.MediaConfig{
		UserQuota: int64(m.MediaUserQuota), TotalQuota: int64(m.MediaTotalQuota), MinFree: int64(m.MediaMinFree), Open: m.MediaOpen,
		Elsewhere: m.MediaElsewhere, PreviewsOff: m.Previews == "off",
		PreviewAge: m.PreviewAge, ThumbnailAge: m.ThumbnailAge,
	}
}

type mediaCmd struct {
	List       mediaListCmd       `cmd:"" help:"List uploads, and how much there is."`
	Quarantine mediaQuarantineCmd `cmd:"" help:"Hide an upload, and all of the same content, from everybody."`
	Delete     mediaDeleteCmd     `cmd:"" help:"Delete an upload."`
}

type mediaListCmd struct {
	serverFlag
	User string `help:"Only this user's." placeholder:"NAME"`
}

// Run lists uploads.
func (m *mediaListCmd) Run(ctx context.Context) error {
	return ask(ctx, m.serverFlag, server.Order{Do: "media list", User: m.User})
}

type mediaQuarantineCmd struct {
	serverFlag
	URI     string `arg:"" help:"The upload, as mxc://server/id."`
	Release bool   `help:"Show it again."`
}

// Run hides an upload or shows it again.
func (m *mediaQuarantineCmd) Run(ctx context.Context) error {
	return ask(ctx, m.serverFlag, server.Order{Do: "media quarantine", Media: m.URI, Release: m.Release})
}

type mediaDeleteCmd struct {
	serverFlag
	URI string `arg:"" help:"The upload, as mxc://server/id."`
}

// Run deletes an upload.
func (m *mediaDeleteCmd) Run(ctx context.Context) error {
	return ask(ctx, m.serverFlag, server.Order{Do: "media delete", Media: m.URI})
}
