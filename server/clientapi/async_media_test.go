package clientapi_test

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"porchlight/media"
	"porchlight/server"
	"porchlight/server/servertest"
)

const (
	createPath    = "/_matrix/media/v1/create"
	thumbnailPath = "/_matrix/client/v1/media/thumbnail/" + servertest.Name + "/"
	oldDownload   = "/_matrix/media/v3/download/" + servertest.Name + "/"
	oldThumbnail  = "/_matrix/media/v3/thumbnail/" + servertest.Name + "/"
)

// created makes a media ID of alice's.
func created(t *testing.T, s *servertest.Server) string {
	t.Helper()
	var out struct {
		URI     string `json:"content_uri"`
		Expires int64  `json:"unused_expires_at"`
	}
	s.User("alice").Must("POST", createPath, "{}", &out)
	id, ok := strings.CutPrefix(out.URI, "mxc://"+servertest.Name+"/")
	if left := time.Until(time.UnixMilli(out.Expires)); !ok || left < 23*time.Hour || left > 24*time.Hour {
		t.Fatalf("%+v", out)
	}
	return id
}

func TestAsynchronousUploads(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.MaxUpload = 100 })
	s.Set("id", created(t, s))
	s.Set("unstable", created(t, s))
	const to = uploadPath + "/{server}/{id}"
	const unstable = "/_matrix/media/unstable/fi.mau.msc2246"
	now := "?timeout_ms=0"
	s.Run(t, []servertest.Case{
		{Name: "create without a token", Method: "POST", Path: createPath, Body: "{}", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "create, unstable", Who: "alice", Method: "POST", Path: unstable + "/create", Body: "{}", Status: 200, Want: `{"content_uri":"mxc://{server}/*"}`},
		{Name: "download too early", Who: "bob", Method: "GET", Path: downloadPath + "{id}" + now, Status: 504, Errcode: "M_NOT_YET_UPLOADED"},
		{Name: "download as, too early", Who: "bob", Method: "GET", Path: downloadPath + "{id}/x.txt" + now, Status: 504, Errcode: "M_NOT_YET_UPLOADED"},
		{Name: "thumbnail too early", Who: "bob", Method: "GET", Path: thumbnailPath + "{id}" + now + "&width=1&height=1", Status: 504, Errcode: "M_NOT_YET_UPLOADED"},
		{Name: "a wait that is no number", Who: "bob", Method: "GET", Path: downloadPath + "{id}?timeout_ms=soon", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "a negative wait", Who: "bob", Method: "GET", Path: downloadPath + "{id}?timeout_ms=-9223372036854775808", Status: 504, Errcode: "M_NOT_YET_UPLOADED"},
		{Name: "upload without a token", Method: "PUT", Path: to, Body: "x", Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "upload to somebody else's", Who: "bob", Method: "PUT", Path: to, Body: "x", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "upload to nothing", Who: "alice", Method: "PUT", Path: uploadPath + "/{server}/Nothing", Body: "x", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "upload to elsewhere", Who: "alice", Method: "PUT", Path: uploadPath + "/elsewhere.test/{id}", Body: "x", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "upload to a path", Who: "alice", Method: "PUT", Path: uploadPath + "/{server}/..%2F..%2Fetc", Body: "x", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "upload too much", Who: "alice", Method: "PUT", Path: to, Body: strings.Repeat("x", 101), Status: 413, Errcode: "M_TOO_LARGE"},
		{Name: "upload", Who: "alice", Method: "PUT", Path: to + "?filename=x.txt", Body: "there it is", Status: 200, Want: `{}`},
		{Name: "upload again", Who: "alice", Method: "PUT", Path: to, Body: "something else", Status: 409, Errcode: "M_CANNOT_OVERWRITE_MEDIA"},
		{Name: "upload to somebody else's, later", Who: "bob", Method: "PUT", Path: to, Body: "x", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "upload, unstable", Who: "alice", Method: "PUT", Path: unstable + "/upload/{server}/{unstable}", Body: "x", Status: 200, Want: `{}`},
		{Name: "features", Method: "GET", Path: "/_matrix/client/versions", Status: 200, Want: `{"unstable_features":{"fi.mau.msc2246":true,"com.beeper.msc3860":true}}`},
	})
	for _, path := range []string{downloadPath + s.Var("id"), downloadPath + s.Var("id") + "?timeout_ms=20000"} {
		w := transfer(t, s, "bob", "GET", path, nil, nil)
		if w.Code != http.StatusOK || w.Body.String() != "there it is" || w.Header().Get("Content-Disposition") != "attachment; filename=x.txt" {
			t.Errorf("%s: %d %s %v", path, w.Code, w.Body, w.Header())
		}
	}
	// Who asks by the unstable names is answered with them.
	w := transfer(t, s, "alice", "PUT", unstable+"/upload/"+servertest.Name+"/"+s.Var("unstable"), nil, strings.NewReader("x"))
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "FI.MAU.MSC2246_CANNOT_OVERWRITE_MEDIA") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = transfer(t, s, "alice", "GET", downloadPath+created(t, s)+"?fi.mau.msc2246.timeout_ms=1", nil, nil)
	if w.Code != http.StatusGatewayTimeout || !strings.Contains(w.Body.String(), "FI.MAU.MSC2246_NOT_YET_UPLOADED") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestADownloadThatWaits(t *testing.T) {
	s := servertest.New(t)
	id := created(t, s)
	s.User("bob")
	answers := make(chan *httptest.ResponseRecorder)
	for range 3 {
		go func() { answers <- transfer(t, s, "bob", "GET", downloadPath+id+"?timeout_ms=60000", nil, nil) }()
	}
	if w := transfer(t, s, "alice", "PUT", uploadPath+"/"+servertest.Name+"/"+id, nil, strings.NewReader("at last")); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for range 3 {
		if w := <-answers; w.Code != http.StatusOK || w.Body.String() != "at last" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

func TestPendingIDsAreLimited(t *testing.T) {
	s := servertest.New(t)
	for range media.MaxPending {
		created(t, s)
	}
	s.Run(t, []servertest.Case{
		{Name: "one too many", Who: "alice", Method: "POST", Path: createPath, Body: "{}", Status: 429, Errcode: "M_LIMIT_EXCEEDED"},
		{Name: "somebody else", Who: "bob", Method: "POST", Path: createPath, Body: "{}", Status: 200},
	})
}

func TestRedirectsToMedia(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.Media.Elsewhere = "https://cdn.example.org/media/" })
	id := uploaded(t, s, "", "text/plain", []byte("x"))
	for query, want := range map[string]bool{
		"": false, "?allow_redirect=false": false, "?allow_redirect=true": true,
		"?allow_redirect=1": false, "?allow_redirect=": false, "?allow_redirect=perhaps": false,
		"?com.beeper.msc3860.allow_redirect=true": true, "?com.beeper.msc3860.allow_redirect=false": false,
	} {
		for _, name := range []string{"", "/x.txt"} {
			w := transfer(t, s, "bob", "GET", downloadPath+id+name+query, nil, nil)
			redirected := w.Code == http.StatusTemporaryRedirect && w.Header().Get("Location") == "https://cdn.example.org/media/"+servertest.Name+"/"+id
			if redirected != want || !want && w.Body.String() != "x" {
				t.Errorf("%s%s: %d %v", name, query, w.Code, w.Header())
			}
		}
	}
	w := transfer(t, s, "bob", "GET", thumbnailPath+id+"?allow_redirect=true&width=5&height=6&method=crop", nil, nil)
	if want := "/thumbnail?animated=false&height=6&method=crop&width=5"; w.Code != http.StatusTemporaryRedirect || !strings.HasSuffix(w.Header().Get("Location"), id+want) {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := transfer(t, s, "bob", "GET", downloadPath+"Nothing?allow_redirect=true", nil, nil); w.Code != http.StatusNotFound {
		t.Errorf("nothing: %d", w.Code)
	}
	if w := transfer(t, s, "", "GET", downloadPath+id+"?allow_redirect=true", nil, nil); w.Code != http.StatusUnauthorized {
		t.Errorf("nobody: %d", w.Code)
	}
	none := servertest.New(t) // as it is out of the box
	id = uploaded(t, none, "", "text/plain", []byte("x"))
	if w := transfer(t, none, "bob", "GET", downloadPath+id+"?allow_redirect=true", nil, nil); w.Code != http.StatusOK {
		t.Errorf("there is no other place: %d", w.Code)
	}
}

// TestOldDownloadTooEarly: where media are open, those without a token are told that a content is on its way.
func TestOldDownloadTooEarly(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.Media.Open = true })
	id := created(t, s)
	for _, path := range []string{oldDownload, strings.Replace(oldDownload, "v3", "r0", 1)} {
		w := transfer(t, s, "", "GET", path+id, nil, nil)
		if w.Code != http.StatusGatewayTimeout || !strings.Contains(w.Body.String(), "M_NOT_YET_UPLOADED") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func onePixel(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewRGBA(image.Rect(0, 0, 1, 1))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnauthenticatedMediaIsFrozen(t *testing.T) {
	folder := t.TempDir()
	var before string
	t.Run("before the freeze", func(t *testing.T) {
		s := servertest.At(t, folder, func(c *server.Config) { c.Media.Open = true })
		before = uploaded(t, s, "?filename=p.png", "image/png", onePixel(t))
		s.Run(t, []servertest.Case{{Name: "download", Method: "GET", Path: oldDownload + before, Status: 200}})
	})
	t.Run("since the freeze", func(t *testing.T) {
		s := servertest.At(t, folder)
		s.Set("before", before)
		s.Set("after", uploaded(t, s, "", "image/png", onePixel(t)))
		s.Set("pending", created(t, s))
		size := "?width=1&height=1"
		s.Run(t, []servertest.Case{
			{Name: "download from before", Method: "GET", Path: oldDownload + "{before}", Status: 200},
			{Name: "the oldest path", Method: "GET", Path: "/_matrix/media/r0/download/{server}/{before}", Status: 200},
			{Name: "download as, from before", Method: "GET", Path: oldDownload + "{before}/x.png", Status: 200},
			{Name: "thumbnail from before", Method: "GET", Path: oldThumbnail + "{before}" + size, Status: 200},
			{Name: "download", Method: "GET", Path: oldDownload + "{after}", Status: 404, Errcode: "M_NOT_FOUND"},
			{Name: "download as", Method: "GET", Path: oldDownload + "{after}/x.png", Status: 404, Errcode: "M_NOT_FOUND"},
			{Name: "thumbnail", Method: "GET", Path: oldThumbnail + "{after}" + size, Status: 404, Errcode: "M_NOT_FOUND"},
			{Name: "thumbnail without a size", Method: "GET", Path: oldThumbnail + "{before}", Status: 400, Errcode: "M_MISSING_PARAM"},
			{Name: "a token does not help", Who: "alice", Method: "GET", Path: oldDownload + "{after}", Status: 404, Errcode: "M_NOT_FOUND"},
			{Name: "nobody waits", Method: "GET", Path: oldDownload + "{pending}?timeout_ms=60000", Status: 404, Errcode: "M_NOT_FOUND"},
			{Name: "with a token, at the new place", Who: "bob", Method: "GET", Path: downloadPath + "{after}", Status: 200},
		})
	})
	t.Run("open again", func(t *testing.T) {
		s := servertest.At(t, folder, func(c *server.Config) { c.Media.Open = true })
		s.Set("now", uploaded(t, s, "", "image/png", onePixel(t)))
		s.Run(t, []servertest.Case{{Name: "download", Method: "GET", Path: oldDownload + "{now}", Status: 200}})
	})
}

func TestRangesAndConditions(t *testing.T) {
	s := servertest.New(t)
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	id := uploaded(t, s, "", "video/mp4", content)
	ask := func(headers map[string]string) *httptest.ResponseRecorder {
		return transfer(t, s, "bob", "GET", downloadPath+id, headers, nil)
	}
	whole := ask(nil)
	etag := whole.Header().Get("ETag")
	if whole.Code != 200 || whole.Header().Get("Accept-Ranges") != "bytes" || len(etag) != 66 || !strings.Contains(whole.Header().Get("Cache-Control"), "immutable") {
		t.Errorf("%d %v", whole.Code, whole.Header())
	}
	for _, c := range []struct {
		header, value string
		status        int
		body          string
	}{
		{"Range", "bytes=0-9", 206, "0123456789"},
		{"Range", "bytes=999990-", 206, "0123456789"},
		{"Range", "bytes=-3", 206, "789"},
		{"Range", "bytes=500005-500007", 206, "567"},
		{"Range", "bytes=999999-2000000", 206, "9"},
		{"Range", "bytes=1000000-", 416, ""},
		{"Range", "bytes=5-1", 416, ""},
		{"Range", "bytes=x", 416, ""},
		{"If-None-Match", etag, 304, ""},
		{"If-None-Match", `W/` + etag + `, "other"`, 304, ""},
		{"If-Match", `"other"`, 412, ""},
		{"If-Modified-Since", whole.Header().Get("Last-Modified"), 304, ""},
	} {
		w := ask(map[string]string{c.header: c.value})
		if w.Code != c.status || c.body != "" && w.Body.String() != c.body {
			t.Errorf("%s: %s: %d %.20q", c.header, c.value, w.Code, w.Body)
		}
		if w.Code != 200 && w.Body.Len() > 2000 {
			t.Errorf("%s: %s: %d bytes", c.header, c.value, w.Body.Len())
		}
	}
	// A range of what was before is not put together with what is now.
	if w := ask(map[string]string{"Range": "bytes=0-9", "If-Range": `"other"`}); w.Code != 200 || w.Body.Len() != len(content) {
		t.Errorf("If-Range: %d", w.Code)
	}
	// Many ranges, one in another, do not multiply the answer.
	if w := ask(map[string]string{"Range": "bytes=" + strings.Repeat("0-,", 500) + "0-"}); w.Body.Len() > len(content)+1000 {
		t.Errorf("many ranges: %d, %d bytes", w.Code, w.Body.Len())
	}
}

func TestThumbnailsSayWhatTheyAre(t *testing.T) {
	s := servertest.New(t)
	id := uploaded(t, s, "?filename=evil.html", "text/html", onePixel(t))
	w := transfer(t, s, "bob", "GET", thumbnailPath+id+"?width=96&height=96", nil, nil)
	if w.Code != 200 || w.Header().Get("Content-Type") != "image/png" || w.Header().Get("Content-Disposition") != "inline; filename=thumbnail.png" || w.Header().Get("ETag") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestHeadersCannotBeAbused(t *testing.T) {
	s := servertest.New(t)
	s.User("alice")
	for _, c := range []struct{ contentType, query, wantType, want string }{
		{"image/png\x00", "", "", ""},
		{"multipart/form-data; boundary=x", "", "multipart/form-data; boundary=x", "attachment"},
		{"image/svg+xml", "?filename=a.svg", "image/svg+xml", "attachment; filename=a.svg"},
		{"TEXT/HTML", "?filename=%E6%97%A5%E6%9C%AC.html", "TEXT/HTML", "attachment; filename*=utf-8''%E6%97%A5%E6%9C%AC.html"},
		{"application/xhtml+xml", "?filename=..%2F..%2Fetc%2Fpasswd", "application/xhtml+xml", `attachment; filename="../../etc/passwd"`},
		{"image/png", "?filename=a%22%3B%20filename%3Db.exe%0D%0ASet-Cookie:%20x", "image/png", "inline; filename*=utf-8''a%22%3B%20filename%3Db.exe%0D%0ASet-Cookie%3A%20x"},
		{"text/plain; charset=utf-7", "", "text/plain; charset=utf-7", "inline"},
	} {
		w := transfer(t, s, "alice", "POST", uploadPath+c.query, map[string]string{"Content-Type": c.contentType}, strings.NewReader("<script>alert(1)</script>"))
		if c.wantType == "" {
			if w.Code != http.StatusBadRequest {
				t.Errorf("%q: %d", c.contentType, w.Code)
			}
			continue
		}
		_, id, _ := strings.Cut(strings.TrimSuffix(w.Body.String(), `"}`), servertest.Name+"/")
		w = transfer(t, s, "alice", "GET", downloadPath+id, nil, nil)
		if w.Code != 200 || w.Header().Get("Content-Type") != c.wantType || w.Header().Get("Content-Disposition") != c.want || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("%q: %d %v", c.contentType, w.Code, w.Header())
		}
	}
	id := uploaded(t, s, "", "text/plain", []byte("x"))
	if w := transfer(t, s, "alice", "GET", downloadPath+id+"/"+strings.Repeat("x", 3000), nil, nil); w.Code != http.StatusBadRequest {
		t.Errorf("a long name: %d", w.Code)
	}
	if w := transfer(t, s, "alice", "GET", downloadPath+id+"/%0D%0ASet-Cookie:x", nil, nil); strings.ContainsAny(fmt.Sprint(w.Header()), "\r\n") || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("%v", w.Header())
	}
}

func TestMediaWhenTheDiskIsFull(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.Media.MinFree = 1 << 62 })
	s.Run(t, []servertest.Case{
		{Name: "owner", Who: "owner", Method: "GET", Path: "v3/account/whoami", Status: 200},
		{Name: "upload", Who: "alice", Method: "POST", Path: uploadPath, Body: "x", Status: 403, Errcode: "M_RESOURCE_LIMIT_EXCEEDED", Want: `{"admin_contact":"matrix:u/owner:{server}"}`},
		{Name: "messages go through", Who: "alice", Method: "POST", Path: "v3/createRoom", Body: "{}", Status: 200, Changes: servertest.Any, Save: map[string]string{"room": "room_id"}},
		{Name: "a message", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/1", Body: `{"msgtype":"m.text","body":"x"}`, Status: 200, Changes: servertest.Any},
	})
}

func TestPreviewsStayOutside(t *testing.T) {
	reached := false
	router := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached = true
		_, _ = io.WriteString(w, "<title>The router's password</title>")
	}))
	defer router.Close()
	outside := httptest.NewServer(http.RedirectHandler(router.URL, http.StatusFound))
	defer outside.Close()
	const path = "/_matrix/client/v1/media/preview_url?url="
	_, port, _ := strings.Cut(strings.TrimPrefix(router.URL, "http://"), ":")

	s := servertest.New(t)
	var cases []servertest.Case
	for _, url := range []string{router.URL, "http://localhost:" + port, "http://[::1]:" + port, "http://[::ffff:127.0.0.1]:" + port, "http://0.0.0.0:" + port, "http://127.1:" + port} {
		s.Set("url", url)
		s.Run(t, []servertest.Case{{Name: url, Who: "alice", Method: "GET", Path: path + "{url}", Status: 502, Errcode: "M_UNKNOWN"}})
	}
	cases = append(cases,
		servertest.Case{Name: "no token", Method: "GET", Path: path + "https%3A%2F%2Fexample.org", Status: 401, Errcode: "M_MISSING_TOKEN"},
		servertest.Case{Name: "no address", Who: "alice", Method: "GET", Path: "/_matrix/client/v1/media/preview_url", Status: 400, Errcode: "M_MISSING_PARAM"},
		servertest.Case{Name: "a file", Who: "alice", Method: "GET", Path: path + "file%3A%2F%2F%2Fetc%2Fpasswd", Status: 400, Errcode: "M_INVALID_PARAM"},
		servertest.Case{Name: "the old path", Who: "alice", Method: "GET", Path: "/_matrix/media/v3/preview_url?url=x", Status: 400, Errcode: "M_INVALID_PARAM"},
	)
	s.Run(t, cases)
	if reached {
		t.Error("the house fetched from its own network")
	}

	open := servertest.New(t, func(c *server.Config) { c.AllowPrivateNetworks = true })
	open.Set("url", outside.URL)
	open.Run(t, []servertest.Case{
		{Name: "allowed", Who: "alice", Method: "GET", Path: path + "{url}", Status: 200, Want: `{"og:title":"The router's password"}`},
		{Name: "allowed, the old path", Who: "alice", Method: "GET", Path: "/_matrix/media/v3/preview_url?url={url}&ts=1", Status: 200, Want: `{"og:title":"The router's password"}`},
	})
	off := servertest.New(t, func(c *server.Config) { c.Media.PreviewsOff = true })
	off.Run(t, []servertest.Case{{Name: "off", Who: "alice", Method: "GET", Path: path + "https%3A%2F%2Fexample.org", Status: 404, Errcode: "M_UNRECOGNIZED"}})
}
