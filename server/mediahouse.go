package server

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"porchlight/kv"
	"porchlight/media"
	"porchlight/media/preview"
	"porchlight/server/dialguard"
	"porchlight/server/matrix"
)

// dialTime is how long connecting to a page's server may take.
const dialTime = 4 * time.Second

// mediaConfig is how the content repository is made.
func (s *Server) mediaConfig() media.Config {
	c := s.Config
	m := media.Config{
		DB: s.DB, Folder: c.mediaFolder(), OldFile: filepath.Join(c.Data, oldMediaName), Server: s.Setup.ServerName(),
		MaxUpload: c.MaxUpload, VolumeBytes: c.Media.VolumeBytes, UserQuota: c.Media.UserQuota, TotalQuota: c.Media.TotalQuota,
		MinFree: c.Media.MinFree, Open: c.Media.Open, Retention: media.Retention{ThumbnailAge: c.Media.ThumbnailAge, PreviewAge: c.Media.PreviewAge},
		Contact: s.contact, Closing: s.closing, Now: c.Now, Log: c.Log,
	}
	if !c.Media.PreviewsOff {
		m.Previews = preview.New(dialguard.Dialer(dialTime, c.AllowPrivateNetworks).DialContext)
	}
	return m
}

// contact is whom users may turn to: the owner, as a Matrix URI (spec: appendices).
func (s *Server) contact(r kv.Reader) string {
	return "matrix:u/" + strings.TrimPrefix(string(s.Setup.Owner(r)), "@")
}

// parseMXC takes a content URI apart.
func parseMXC(uri string) (matrix.ServerName, string, error) {
	rest, ok := strings.CutPrefix(uri, "mxc://")
	host, id, both := strings.Cut(rest, "/")
	name, err := matrix.ParseServerName(host)
	if !ok || !both || err != nil {
		return "", "", matrix.InvalidParam(fmt.Sprintf("%q is no content URI: they look like mxc://house.example/AbCd", uri))
	}
	return name, id, nil
}

func (s *Server) orderMediaList(ctx context.Context, o Order) (lines []string, err error) {
	err = s.DB.View(ctx, func(tx *kv.ReadTx) error {
		only := matrix.UserID("")
		if o.User != "" {
			only = s.Accounts.Resolve(tx, o.User)
		}
		for item := range s.Media.Items(tx) {
			if only == "" || item.Uploader == only {
				lines = append(lines, describe(item))
			}
		}
		all := s.Media.UsageOf(tx, only)
		lines = append(lines, fmt.Sprintf("%d bytes in %d uploads", all.Bytes, all.Items))
		if only == "" {
			thumbnails, previews := s.Media.OwnUsage(tx)
			lines = append(lines, fmt.Sprintf("%d bytes in %d thumbnails, %d bytes in %d pictures of previews",
				thumbnails.Bytes, thumbnails.Items, previews.Bytes, previews.Items))
		}
		return nil
	})
	return lines, err
}

func describe(i media.Item) string {
	who, state := string(i.Uploader), ""
	switch {
	case who == "":
		who = "(preview)"
	case i.Pending:
		state = " not uploaded yet"
	}
	if i.Quarantined {
		state += " quarantined"
	}
	line := fmt.Sprintf("%s  %s  %s  %d bytes  %s%s", i.URI(), i.Created.Format(time.RFC3339), who, i.Size, i.Type, state)
	if i.Name != "" {
		line += fmt.Sprintf("  %q", i.Name)
	}
	return line
}

func (s *Server) orderMediaQuarantine(ctx context.Context, o Order) ([]string, error) {
	server, id, err := parseMXC(o.Media)
	if err != nil {
		return nil, err
	}
	items := 0
	err = s.DB.Update(ctx, func(tx *kv.WriteTx) (err error) {
		items, err = s.Media.Quarantine(tx, server, id, !o.Release)
		return err
	})
	if err != nil {
		return nil, err
	}
	what := "hidden from everybody"
	if o.Release {
		what = "shown again"
	}
	return []string{fmt.Sprintf("%s is %s, with all %d uploads of the same content", o.Media, what, items)}, nil
}

func (s *Server) orderMediaDelete(ctx context.Context, o Order) ([]string, error) {
	server, id, err := parseMXC(o.Media)
	if err != nil {
		return nil, err
	}
	if err := s.Media.Delete(ctx, server, id); err != nil {
		return nil, err
	}
	return []string{"deleted " + o.Media}, nil
}
