package clientapi

// The operations of content-repo.yaml and authed-content-repo.yaml. The older ones, which
// need no access token, are frozen: they find only what was uploaded while the house was
// told to leave it open (spec: content repository, client behaviour).

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
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
	body, err := a.uploadBody(c, in.Body)
	if err != nil {
		return uploadContentOut{}, err
	}
	defer body.done()
	item, err := a.Media.Upload(c.Ctx, c.User, c.R.Header.Get("Content-Type"), in.Name, body)
	if err != nil {
		return uploadContentOut{}, err
	}
	return uploadContentOut{item.URI()}, nil
}

func (a *API) uploadBody(c *web.Call, body io.Reader) (*patientBody, error) {
	if c.R.ContentLength > a.Media.MaxUpload {
		return nil, matrix.TooLarge("that is larger than this server takes: m.upload.size of the media configuration says how much it does")
	}
	return &patientBody{body, http.NewResponseController(c.W)}, nil
}

type createContentOut struct {
	URI     string `json:"content_uri"`
	Expires int64  `json:"unused_expires_at"` // ms
}

// createContent: spec: client-server API, POST media/v1/create (MSC2246).
func (a *API) createContent(c *web.Call, tx *kv.WriteTx, _ web.Empty) (createContentOut, error) {
	item, err := a.Media.Create(tx, c.User)
	if err != nil {
		return createContentOut{}, err
	}
	return createContentOut{item.URI(), item.Expires.UnixMilli()}, nil
}

type uploadContentToMXCIn struct {
	Server matrix.ServerName `path:"serverName"`
	ID     string            `path:"mediaId"`
	uploadContentIn
}

// uploadContentToMXC: spec: client-server API, PUT media/v3/upload (MSC2246).
func (a *API) uploadContentToMXC(c *web.Call, in uploadContentToMXCIn) (web.Empty, error) {
	body, err := a.uploadBody(c, in.Body)
	if err != nil {
		return web.Empty{}, err
	}
	defer body.done()
	_, err = a.Media.UploadTo(c.Ctx, in.Server, in.ID, c.User, c.R.Header.Get("Content-Type"), in.Name, body)
	return web.Empty{}, unstableCode(strings.Contains(c.R.URL.Path, "/unstable/"), err)
}

// unstableCode gives an errcode of MSC2246 the name that those know who asked by its
// unstable names.
func unstableCode(unstable bool, err error) error {
	var refused *matrix.Error
	if !unstable || !errors.As(err, &refused) {
		return err
	}
	switch refused.Code {
	case "M_NOT_YET_UPLOADED", "M_CANNOT_OVERWRITE_MEDIA":
		return matrix.Refusal(refused.Status, "FI.MAU.MSC2246_"+strings.TrimPrefix(refused.Code, "M_"), refused.Message)
	}
	return err
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

// mediaIn is what all downloads take. allow_remote says nothing here: there is nothing
// from elsewhere.
type mediaIn struct {
	Server          matrix.ServerName `path:"serverName"`
	ID              string            `path:"mediaId"`
	Timeout         *int64            `query:"timeout_ms"`
	UnstableTimeout *int64            `query:"fi.mau.msc2246.timeout_ms"`
	// The downloads with a token do not define this one, but clients send it there as well: any other word than true is no.
	Redirect         string `query:"allow_redirect"`
	UnstableRedirect string `query:"com.beeper.msc3860.allow_redirect"`
}

func (in mediaIn) wait() time.Duration {
	asked := in.Timeout
	if asked == nil {
		asked = in.UnstableTimeout
	}
	if asked == nil {
		return media.DefaultWait
	}
	return time.Duration(max(0, min(*asked, media.MaxWait.Milliseconds()))) * time.Millisecond
}

// mediaItem finds an item, and waits for it if its content is on its way (spec: MSC2246).
func (a *API) mediaItem(c *web.Call, in mediaIn) (media.Item, error) {
	item, err := a.Media.Await(c.Ctx, in.Server, in.ID, in.wait())
	return item, unstableCode(in.Timeout == nil && in.UnstableTimeout != nil, err)
}

// openItem finds an item that may be downloaded without an access token. Nobody without
// one can wait.
func (a *API) openItem(c *web.Call, in mediaIn) (item media.Item, err error) {
	err = a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		item, err = a.Media.Item(tx, in.Server, in.ID)
		return err
	})
	// What is on its way is open or not as uploads are now.
	if err == nil && !item.Open || matrix.IsCode(err, "M_NOT_YET_UPLOADED") && !a.Media.Config.Open {
		err = matrix.NotFound("media of this server is served with an access token only, at /_matrix/client/v1/media")
	}
	return item, unstableCode(in.Timeout == nil && in.UnstableTimeout != nil, err)
}

// finder is mediaItem or openItem.
type finder func(*web.Call, mediaIn) (media.Item, error)

// getContentAuthed: spec: client-server API, GET client/v1/media/download.
func (a *API) getContentAuthed(c *web.Call, in mediaIn) error { return a.download(c, in, a.mediaItem) }

// getContent: spec: client-server API, GET media/v3/download, deprecated.
func (a *API) getContent(c *web.Call, in mediaIn) error { return a.download(c, in, a.openItem) }

func (a *API) download(c *web.Call, in mediaIn, find finder) error {
	item, err := find(c, in)
	if err != nil {
		return err
	}
	return a.serveMedia(c, in, item, item.Name)
}

type getContentOverrideNameIn struct {
	mediaIn
	Name string `path:"fileName"`
}

// getContentOverrideNameAuthed: spec: client-server API, GET client/v1/media/download.
func (a *API) getContentOverrideNameAuthed(c *web.Call, in getContentOverrideNameIn) error {
	return a.downloadAs(c, in, a.mediaItem)
}

// getContentOverrideName: spec: client-server API, GET media/v3/download, deprecated.
func (a *API) getContentOverrideName(c *web.Call, in getContentOverrideNameIn) error {
	return a.downloadAs(c, in, a.openItem)
}

func (a *API) downloadAs(c *web.Call, in getContentOverrideNameIn, find finder) error {
	if len(in.Name) > media.MaxNameBytes {
		return matrix.InvalidParam("that file name is too long")
	}
	item, err := find(c, in.mediaIn)
	if err != nil {
		return err
	}
	return a.serveMedia(c, in.mediaIn, item, in.Name)
}

// redirect sends whoever follows redirects to where the content lies besides, if the owner
// has such a place (spec: MSC3860).
func (a *API) redirect(c *web.Call, in mediaIn, item media.Item, rest string) bool {
	if a.MediaElsewhere == "" || in.Redirect != "true" && in.UnstableRedirect != "true" {
		return false
	}
	h := c.W.Header()
	h.Set("Location", a.MediaElsewhere+"/"+url.PathEscape(string(item.Server))+"/"+url.PathEscape(item.ID)+rest)
	h.Set("Cache-Control", "no-store")
	c.W.WriteHeader(http.StatusTemporaryRedirect)
	return true
}

// serveMedia answers with an item's content, or the parts of it that are asked for.
func (a *API) serveMedia(c *web.Call, in mediaIn, item media.Item, name string) error {
	if a.redirect(c, in, item, "") {
		return nil
	}
	return serve(c, item, media.Headers(item.Type, name), item.SHA256, a.Media.Open(item))
}

// serve answers with a content. Its first part is read before anything is said, so that a
// content that is damaged there is refused; where damage comes later, the answer breaks off.
func serve(c *web.Call, item media.Item, headers map[string]string, sum [32]byte, content io.ReadSeeker) error {
	checked := &checkedContent{ReadSeeker: content}
	if err := checked.begin(); err != nil {
		return err
	}
	rc := http.NewResponseController(c.W)
	defer func() { _ = rc.SetWriteDeadline(time.Time{}) }()
	h := c.W.Header()
	for key, value := range headers {
		h.Set(key, value)
	}
	h.Set("Cache-Control", mediaCache)
	h.Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
	http.ServeContent(patientWriter{c.W, rc}, c.R, "", item.Created, checked)
	return checked.err
}

// checkedContent remembers why reading ended early, which http.ServeContent does not tell.
type checkedContent struct {
	io.ReadSeeker
	err error
}

// Read reads on.
func (c *checkedContent) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// begin reads the first part and goes back to the beginning.
func (c *checkedContent) begin() error {
	switch _, err := c.Read(make([]byte, 1)); err {
	case nil, io.EOF:
	case io.ErrUnexpectedEOF: // deleted meanwhile
		return matrix.NotFound("there is no such media here")
	default:
		return err
	}
	_, err := c.Seek(0, io.SeekStart)
	return err
}

type getContentThumbnailIn struct {
	mediaIn
	Width    int    `query:"width,required"`
	Height   int    `query:"height,required"`
	Method   string `query:"method"`
	Animated bool   `query:"animated"`
}

// getContentThumbnailAuthed: spec: client-server API, GET client/v1/media/thumbnail.
func (a *API) getContentThumbnailAuthed(c *web.Call, in getContentThumbnailIn) error {
	return a.thumbnail(c, in, a.mediaItem)
}

// getContentThumbnail: spec: client-server API, GET media/v3/thumbnail, deprecated.
func (a *API) getContentThumbnail(c *web.Call, in getContentThumbnailIn) error {
	return a.thumbnail(c, in, a.openItem)
}

func (a *API) thumbnail(c *web.Call, in getContentThumbnailIn, find finder) error {
	if in.Method != "" && in.Method != "scale" && in.Method != "crop" {
		return matrix.InvalidParam("method is scale or crop")
	}
	item, err := find(c, in.mediaIn)
	if err != nil {
		return err
	}
	if in.Width > 0 && in.Height > 0 {
		query := url.Values{"width": {strconv.Itoa(in.Width)}, "height": {strconv.Itoa(in.Height)}, "animated": {strconv.FormatBool(in.Animated)}}
		query.Set("method", "scale")
		if in.Method == "crop" {
			query.Set("method", "crop")
		}
		if a.redirect(c, in.mediaIn, item, "/thumbnail?"+query.Encode()) {
			return nil
		}
	}
	size := thumb.Size{Width: in.Width, Height: in.Height, Crop: in.Method == "crop", Animated: in.Animated}
	picture, err := a.Media.Thumbnail(c.Ctx, item, size)
	if err != nil {
		return err
	}
	headers := media.Headers(picture.Type, "thumbnail."+strings.TrimPrefix(picture.Type, "image/"))
	return serve(c, item, headers, picture.SHA256, picture.Content)
}

type getUrlPreviewIn struct {
	URL string `query:"url,required"`
	// TS is when the page was wanted from; there is only the newest.
	TS *int64 `query:"ts"`
}

// getUrlPreviewAuthed: spec: client-server API, GET client/v1/media/preview_url.
func (a *API) getUrlPreviewAuthed(c *web.Call, in getUrlPreviewIn) (json.RawMessage, error) {
	return a.Media.Preview(c.Ctx, in.URL)
}

type getConfigOut struct {
	MaxUpload int64 `json:"m.upload.size"` // bytes
}

// getConfigAuthed: spec: client-server API, GET client/v1/media/config.
func (a *API) getConfigAuthed(*web.Call, web.Empty) (getConfigOut, error) {
	return getConfigOut{a.Media.MaxUpload}, nil
}
