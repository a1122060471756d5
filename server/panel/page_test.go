package panel_test

import (
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"porchlight/kv/kvtest"
	"porchlight/server/panel"
	"porchlight/server/servertest"
	"porchlight/server/web"
)

// serve puts another panel on the data of a running house.
func serve(t *testing.T, s *servertest.Server, p *panel.Panel) func(method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	var open []web.Route
	for _, r := range p.Routes() {
		if r.Op == "porchlightClaim" {
			open = append(open, r)
		}
	}
	handler, err := web.New(web.Config{DB: s.DB, RateLimitsOff: true, Log: slog.New(slog.DiscardHandler), Now: time.Now, Fallback: p.Page}, open)
	if err != nil {
		t.Fatal(err)
	}
	return func(method, path, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		handler.ServeHTTP(w, r)
		return w
	}
}

// pages asks for the page's files alone.
func pages(t *testing.T) func(method, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	p, err := panel.New(panel.Config{DB: kvtest.Open(t)})
	if err != nil {
		t.Fatal(err)
	}
	return func(method, path string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		p.Page.ServeHTTP(w, r)
		return w
	}
}

func TestPageFiles(t *testing.T) {
	ask := pages(t)
	files := map[string]string{"/": "text/html; charset=utf-8"}
	kinds := map[string]string{
		".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
		".svg": "image/svg+xml", ".webmanifest": "application/manifest+json",
	}
	for name := range texts(t) {
		files["/"+name] = kinds[path.Ext(name)]
	}
	for name, kind := range files {
		got := ask("GET", name)
		if got.Code != http.StatusOK || kind == "" || got.Header().Get("Content-Type") != kind {
			t.Errorf("%s: %d %q, want %q", name, got.Code, got.Header().Get("Content-Type"), kind)
		}
		etag := got.Header().Get("ETag")
		if again := ask("GET", name, "If-None-Match", etag); etag == "" || again.Code != http.StatusNotModified || again.Body.Len() > 0 {
			t.Errorf("%s asked for again: %d with %d bytes", name, again.Code, again.Body.Len())
		}
		if other := ask("GET", name, "If-None-Match", `"another"`); other.Code != http.StatusOK {
			t.Errorf("%s after a new release: %d", name, other.Code)
		}
		if head := ask("HEAD", name); head.Code != http.StatusOK || head.Body.Len() > 0 {
			t.Errorf("HEAD %s: %d with %d bytes", name, head.Code, head.Body.Len())
		}
	}
}

func TestPageHeaders(t *testing.T) {
	ask := pages(t)
	for name, status := range map[string]int{"/": 200, "/main.js": 200, "/nothing": 404, "/../panel.go": 404, "/page/main.js": 404} {
		got := ask("GET", name)
		if got.Code != status {
			t.Errorf("%s: %d, want %d", name, got.Code, status)
		}
		h := got.Header()
		csp := h.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(csp, part) {
				t.Errorf("%s: the policy lacks %s: %s", name, part, csp)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "http") {
			t.Errorf("%s: the policy is too wide: %s", name, csp)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: headers %v", name, h)
		}
	}
	if got := ask("POST", "/"); got.Code != http.StatusMethodNotAllowed || got.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /: %d %v", got.Code, got.Header())
	}
}

// TestPageInHouse: the page is at the front door, and does not shadow the Matrix APIs.
func TestPageInHouse(t *testing.T) {
	s := servertest.New(t)
	if r := s.Ask(t.Context(), "", "GET", "/", http.NoBody); r.Status != 200 || !strings.Contains(string(r.Body), "<title>Porchlight</title>") {
		t.Errorf("GET /: %d %s", r.Status, r.Body)
	}
	for _, name := range []string{"/_matrix/nothing", "/.well-known/nothing"} {
		if r := s.Ask(t.Context(), "", "GET", name, http.NoBody); r.Status != 404 || r.Errcode() != "M_UNRECOGNIZED" {
			t.Errorf("GET %s: %d %s", name, r.Status, r.Body)
		}
	}
}

// texts are the page's files as they lie in the folder.
func texts(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := fs.ReadDir(os.DirFS("page"), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(path.Join("page", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(text)
	}
	return all
}

var (
	// reference is how files name others: attributes of HTML, imports of JavaScript,
	// icons of the manifest, the service worker.
	reference = regexp.MustCompile(`(?:src|href|from|"src":|"start_url":|register\(|icon:)[= ]*"([^"]+)"`)
	// inline is what the content security policy would refuse.
	inline = regexp.MustCompile(`<script[^>]*>[^<]|<style|\sstyle="|\son[a-z]+="|javascript:|innerHTML|insertAdjacentHTML|document\.write|\beval\(`)
	// elsewhere is an address outside of this server. Names of things are none.
	elsewhere = regexp.MustCompile(`(https?:)?//[a-z0-9-]+\.[a-z]`)
	namespace = "http://www.w3.org/2000/svg"
)

// TestPageReferences: whatever the page's files name is there, everything that is there
// is named, and nothing comes from elsewhere.
func TestPageReferences(t *testing.T) {
	all := texts(t)
	named := map[string]bool{"index.html": true}
	for name, text := range all {
		for _, found := range reference.FindAllStringSubmatch(text, -1) {
			target := strings.TrimPrefix(strings.TrimPrefix(found[1], "./"), "/")
			if target == "" {
				continue // the front door
			}
			named[target] = true
			if _, ok := all[target]; !ok {
				t.Errorf("%s names %q, which is not there", name, found[1])
			}
		}
		text = strings.ReplaceAll(text, namespace, "")
		if bad := inline.FindString(text); bad != "" {
			t.Errorf("%s: the policy or good sense forbids %q", name, bad)
		}
		if bad := elsewhere.FindString(text); bad != "" {
			t.Errorf("%s: %q is not of this server", name, bad)
		}
	}
	for name := range all {
		if !named[name] {
			t.Errorf("%s is used by nobody", name)
		}
	}
}
