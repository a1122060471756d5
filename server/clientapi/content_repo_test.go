package clientapi_test

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"porchlight/server"
	"porchlight/server/servertest"
)

// transfer is a request with headers, whose answer need not be JSON.
func transfer(t *testing.T, s *servertest.Server, who, method, path string, headers map[string]string, body io.Reader) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, body)
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+s.User(who).Token)
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	return s.Serve(t, r)
}

const (
	uploadPath   = "/_matrix/media/v3/upload"
	downloadPath = "/_matrix/client/v1/media/download/" + servertest.Name + "/"
)

// uploaded stores content and returns its media ID.
func uploaded(t *testing.T, s *servertest.Server, query, contentType string, content []byte) string {
	t.Helper()
	w := transfer(t, s, "alice", "POST", uploadPath+query, map[string]string{"Content-Type": contentType}, bytes.NewReader(content))
	id, ok := strings.CutPrefix(strings.TrimSuffix(w.Body.String(), `"}`), `{"content_uri":"mxc://`+servertest.Name+"/")
	if w.Code != http.StatusOK || !ok {
		t.Fatalf("upload: %d %s", w.Code, w.Body)
	}
	return id
}

func TestMediaGoesInAndOut(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.MaxUpload = 1 << 20 })
	content := bytes.Repeat([]byte("0123456789"), 60_000)
	id := uploaded(t, s, "?filename=K%C3%A4se.txt", "text/plain", content)

	w := transfer(t, s, "bob", "GET", downloadPath+id, nil, nil)
	if w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), content) {
		t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
	}
	for name, want := range map[string]string{
		"Content-Type": "text/plain", "Content-Disposition": "inline; filename*=utf-8''K%C3%A4se.txt", "Content-Length": "600000",
		"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "cross-origin", "Access-Control-Allow-Origin": "*",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if w := transfer(t, s, "bob", "GET", downloadPath+id+"/other.txt", nil, nil); w.Header().Get("Content-Disposition") != "inline; filename=other.txt" {
		t.Errorf("other name: %v", w.Header())
	}
	if w := transfer(t, s, "bob", "GET", downloadPath+id, map[string]string{"Range": "bytes=599998-"}, nil); w.Code != http.StatusPartialContent || w.Body.String() != "89" {
		t.Errorf("range: %d %q", w.Code, w.Body)
	}
	if w := transfer(t, s, "bob", "HEAD", downloadPath+id, nil, nil); w.Code != http.StatusOK || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "600000" {
		t.Errorf("head: %d %v", w.Code, w.Header())
	}
	evil := uploaded(t, s, "?filename=evil.html", "text/html", []byte("<script>"))
	if w := transfer(t, s, "bob", "GET", downloadPath+evil, nil, nil); !strings.HasPrefix(w.Header().Get("Content-Disposition"), "attachment") || !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("evil: %v", w.Header())
	}
}

// brokenBody ends as a connection does that is cut.
type brokenBody struct{ err error }

func (b brokenBody) Read([]byte) (int, error) { return 0, b.err }

func TestRefusedMedia(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.MaxUpload = 1000 })
	s.User("alice")
	large := bytes.NewReader(make([]byte, 1001))
	for _, c := range []struct {
		name, who, method, path string
		headers                 map[string]string
		body                    io.Reader
		status                  int
		errcode                 string
	}{
		{"upload without token", "", "POST", uploadPath, nil, strings.NewReader("x"), 401, "M_MISSING_TOKEN"},
		{"too large and says so", "alice", "POST", uploadPath, nil, large, 413, "M_TOO_LARGE"},
		{"too large", "alice", "POST", uploadPath, nil, io.MultiReader(bytes.NewReader(make([]byte, 1001))), 413, "M_TOO_LARGE"},
		{"no content type", "alice", "POST", uploadPath, map[string]string{"Content-Type": "nonsense"}, strings.NewReader("x"), 400, "M_INVALID_PARAM"},
		{"long name", "alice", "POST", uploadPath + "?filename=" + strings.Repeat("x", 2000), nil, strings.NewReader("x"), 400, "M_INVALID_PARAM"},
		{"broken off", "alice", "POST", uploadPath, nil, brokenBody{io.ErrUnexpectedEOF}, 400, "M_UNKNOWN"},
		{"cancelled", "alice", "POST", uploadPath, nil, brokenBody{context.Canceled}, 400, "M_UNKNOWN"},
		{"download without token", "", "GET", downloadPath + "x", nil, nil, 401, "M_MISSING_TOKEN"},
		{"download of nothing", "alice", "GET", downloadPath + "x", nil, nil, 404, "M_NOT_FOUND"},
		{"download with dots", "alice", "GET", downloadPath + "..%2F..", nil, nil, 404, "M_NOT_FOUND"},
		{"download from elsewhere", "alice", "GET", "/_matrix/client/v1/media/download/elsewhere.test/x", nil, nil, 404, "M_NOT_FOUND"},
		{"download from nowhere", "alice", "GET", "/_matrix/client/v1/media/download/..%2F../x", nil, nil, 400, "M_INVALID_PARAM"},
		{"thumbnail without size", "alice", "GET", "/_matrix/client/v1/media/thumbnail/" + servertest.Name + "/x", nil, nil, 400, "M_MISSING_PARAM"},
		{"thumbnail of an odd kind", "alice", "GET", "/_matrix/client/v1/media/thumbnail/" + servertest.Name + "/x?width=1&height=1&method=bend", nil, nil, 400, "M_INVALID_PARAM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := transfer(t, s, c.who, c.method, c.path, c.headers, c.body)
			if w.Code != c.status || !strings.Contains(w.Body.String(), `"`+c.errcode+`"`) {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, c.status, c.errcode)
			}
		})
	}
	s.Run(t, []servertest.Case{
		{Name: "limits", Who: "alice", Method: "GET", Path: "v1/media/config", Status: 200, Want: `{"m.upload.size":1000}`},
		{Name: "limits, older", Who: "alice", Method: "GET", Path: "/_matrix/media/v3/config", Status: 200, Want: `{"m.upload.size":1000}`},
	})
}

func TestThumbnails(t *testing.T) {
	s := servertest.New(t)
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewRGBA(image.Rect(0, 0, 300, 200))); err != nil {
		t.Fatal(err)
	}
	id := uploaded(t, s, "", "image/png", b.Bytes())
	ask := func(query string) *httptest.ResponseRecorder {
		return transfer(t, s, "bob", "GET", "/_matrix/client/v1/media/thumbnail/"+servertest.Name+"/"+id+query, nil, nil)
	}
	for query, want := range map[string]image.Point{
		"?width=32&height=32&method=crop":       image.Pt(32, 32),
		"?width=30&height=30&method=scale":      image.Pt(48, 32),
		"?width=640&height=480":                 image.Pt(300, 200),
		"?width=96&height=96&animated=true":     image.Pt(144, 96),
		"?width=999999999&height=1&method=crop": image.Pt(300, 1),
	} {
		w := ask(query)
		config, _, err := image.DecodeConfig(w.Body)
		if w.Code != http.StatusOK || err != nil || image.Pt(config.Width, config.Height) != want {
			t.Errorf("%s: %d, %d × %d, want %v (%v)", query, w.Code, config.Width, config.Height, want, err)
		}
		if !strings.HasPrefix(w.Header().Get("Content-Disposition"), "inline") {
			t.Errorf("%s: %v", query, w.Header())
		}
	}
	if w := ask("?width=-1&height=5"); w.Code != http.StatusBadRequest {
		t.Errorf("negative: %d %s", w.Code, w.Body)
	}
	id = uploaded(t, s, "", "image/png", []byte("no picture"))
	if w := ask("?width=5&height=5"); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "M_UNKNOWN") {
		t.Errorf("no picture: %d %s", w.Code, w.Body)
	}
}
