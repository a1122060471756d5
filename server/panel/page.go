package panel

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed page
var pageFiles embed.FS

// pageFolder is where the page's files lie in the binary.
const pageFolder = "page"

// policy lets the page load what this server serves and nothing else. connect-src is
// for the Matrix API; blob is what a browser makes of media that it already has.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; " +
	"media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; worker-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// permissions are what the page may ask the browser for.
const permissions = "camera=(self), microphone=(self), autoplay=(self), fullscreen=(self), " +
	"screen-wake-lock=(self), speaker-selection=(self), display-capture=(), geolocation=(), payment=(), usb=()"

// contentTypes are spelt out, since those of the standard library come from the machine.
var contentTypes = map[string]string{
	".html":        "text/html; charset=utf-8",
	".css":         "text/css; charset=utf-8",
	".js":          "text/javascript; charset=utf-8",
	".svg":         "image/svg+xml",
	".webmanifest": "application/manifest+json",
}

// asset is one file of the page.
type asset struct {
	kind string // media type
	etag string
	text []byte
}

// page serves the files; the keys are paths.
type page map[string]asset

// newPage reads all files once.
func newPage(files fs.FS) (page, error) {
	p := page{}
	err := fs.WalkDir(files, pageFolder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		p[strings.TrimPrefix(name, pageFolder)] = asset{
			kind: contentTypes[path.Ext(name)], text: text,
			etag: `"` + hex.EncodeToString(sum[:12]) + `"`,
		}
		return nil
	})
	p["/"] = p["/index.html"]
	return p, err
}

// ServeHTTP answers GET and HEAD. Browsers keep the files and ask each time whether
// they changed, so a new release shows at once.
func (p page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Permissions-Policy", permissions)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "This page can only be read.", http.StatusMethodNotAllowed)
		return
	}
	file, ok := p[r.URL.Path]
	if !ok {
		h.Set("Cache-Control", "no-store")
		http.Error(w, "There is no such page here. The front door is at / .", http.StatusNotFound)
		return
	}
	h.Set("Content-Type", file.kind)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", file.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file.text))
}
