package clientapi

// The operations of content-repo.yaml and authed-content-repo.yaml. What is uploaded here
// can only be downloaded with an access token; the older operations, which need none, are
// not there (spec: content repository, client behaviour).

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"porchlight/kv"
	"porchlight/media"
	"porchlight/media/thumb"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

const (
	// mediaPause is how long a client may neither send nor take a byte of an upload or
	// download.
	mediaPause = 30 * time.Second
	// mediaCache is for how long clients keep a download; content never changes.
	mediaCache = "private, max-age=31536000, immutable"
)

type uploadContentIn struct {
	Name string    `query:"filename"`
	Body io.Reader `body:"stream"`
}

type uploadContentOut struct {
	URI string `json:"content_uri"`
}

// uploadContent: spec: client-server API, POST media/v3/upload.
func (a *API) uploadContent(c *web.Call, in uploadContentIn) (uploadContentOut, error) {
	if c.R.ContentLength > a.Media.MaxUpload {
		return uploadContentOut{}, matrix.TooLarge("that is larger than this server takes: m.upload.size of the media configuration says how much it does")
	}
	body := &patientBody{in.Body, http.NewResponseController(c.W)}
	defer body.done()
	item, err := a.Media.Upload(c.Ctx, c.User, c.R.Header.Get("Content-Type"), in.Name, body)
	if err != nil {
		return uploadContentOut{}, err
	}
	return uploadContentOut{item.URI()}, nil
}

// patientBody lets an upload take as long as it likes, so long as it goes on.
type patientBody struct {
	r  io.Reader
	rc *http.ResponseController
}

// Read tells the client why, if it is the connection that fails.
func (b *patientBody) Read(p []byte) (int, error) {
	// Where there is no connection to put a deadline on, there is nobody to be slow.
	_ = b.rc.SetReadDeadline(time.Now().Add(mediaPause))
	n, err := b.r.Read(p)
	switch {
	case err == nil || err == io.EOF:
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = matrix.Unknown(http.StatusRequestTimeout, "The upload stood still for too long.")
	default:
		err = matrix.Unknown(http.StatusBadRequest, "The upload broke off.")
	}
	return n, err
}

func (b *patientBody) done() { _ = b.rc.SetReadDeadline(time.Time{}) }

// patientWriter is the same for downloads.
type patientWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

// Write gives the client a while for each piece.
func (w patientWriter) Write(p []byte) (int, error) {
	_ = w.rc.SetWriteDeadline(time.Now().Add(mediaPause))
	return w.ResponseWriter.Write(p)
}

type mediaIn struct {
	Server matrix.ServerName `path:"serverName"`
	ID     string            `path:"mediaId"`
}

func (a *API) mediaItem(c *web.Call, in mediaIn) (item media.Item, err error) {
	err = a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		item, err = a.Media.Item(tx, in.Server, in.ID)
		return err
	})
	return item, err
}

// getContentAuthed: spec: client-server API, GET client/v1/media/download.
func (a *API) getContentAuthed(c *web.Call, in mediaIn) error {
	item, err := a.mediaItem(c, in)
	if err != nil {
		return err
	}
	a.serveMedia(c, item, item.Name)
	return nil
}

type getContentOverrideNameIn struct {
	mediaIn
	Name string `path:"fileName"`
}

// getContentOverrideNameAuthed: spec: client-server API, GET client/v1/media/download.
func (a *API) getContentOverrideNameAuthed(c *web.Call, in getContentOverrideNameIn) error {
	item, err := a.mediaItem(c, in.mediaIn)
	if err != nil {
		return err
	}
	a.serveMedia(c, item, in.Name)
	return nil
}

// serveMedia answers with an item's content, or the parts of it that are asked for.
func (a *API) serveMedia(c *web.Call, item media.Item, name string) {
	serve(c, item, media.Headers(item.Type, name), a.Media.Open(item))
}

func serve(c *web.Call, item media.Item, headers map[string]string, content io.ReadSeeker) {
	rc := http.NewResponseController(c.W)
	defer func() { _ = rc.SetWriteDeadline(time.Time{}) }()
	h := c.W.Header()
	for key, value := range headers {
		h.Set(key, value)
	}
	h.Set("Cache-Control", mediaCache)
	http.ServeContent(patientWriter{c.W, rc}, c.R, "", item.Created, content)
}

type getContentThumbnailIn struct {
	mediaIn
	Width    int    `query:"width,required"`
	Height   int    `query:"height,required"`
	Method   string `query:"method"`
	Animated bool   `query:"animated"` // a preference: thumbnails here stand still
}

// getContentThumbnailAuthed: spec: client-server API, GET client/v1/media/thumbnail.
func (a *API) getContentThumbnailAuthed(c *web.Call, in getContentThumbnailIn) error {
	if in.Method != "" && in.Method != "scale" && in.Method != "crop" {
		return matrix.InvalidParam("method is scale or crop")
	}
	item, err := a.mediaItem(c, in.mediaIn)
	if err != nil {
		return err
	}
	size := thumb.Size{Width: in.Width, Height: in.Height, Crop: in.Method == "crop"}
	picture, kind, ok, err := a.Media.Thumbnail(c.Ctx, item, size)
	if err != nil {
		return err
	}
	if !ok {
		a.serveMedia(c, item, item.Name)
		return nil
	}
	serve(c, item, media.Headers(kind, "thumbnail."+kind[len("image/"):]), bytes.NewReader(picture))
	return nil
}

type getConfigOut struct {
	MaxUpload int64 `json:"m.upload.size"` // bytes
}

// getConfigAuthed: spec: client-server API, GET client/v1/media/config.
func (a *API) getConfigAuthed(*web.Call, web.Empty) (getConfigOut, error) {
	return getConfigOut{a.Media.MaxUpload}, nil
}
