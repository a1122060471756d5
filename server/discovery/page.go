package discovery

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"rsc.io/qr"
)

//go:embed page
var pageFiles embed.FS

var trustPage = template.Must(template.ParseFS(pageFiles, "page/trust.html"))

// policy lets the page load what this server serves, and run nothing.
const policy = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Where says how the board can be reached at the moment.
type Where struct {
	Name   string   // at the moment, such as "house-2.local"
	Wanted string   // as it was to be, such as "house.local"
	Plain  string   // URL without TLS that other devices reach even if they know no .local names
	Secure []string // URLs with TLS, the best first
}

// Page tells people how to trust an authority, and hands it out.
//
// It is an http.Handler for the paths for which Serves is true.
type Page struct {
	authority *Authority
	where     func() Where
	css       []byte
}

// NewPage makes a Page; where may be called from any goroutine.
func NewPage(a *Authority, where func() Where) (*Page, error) {
	css, err := pageFiles.ReadFile("page/trust.css")
	return &Page{a, where, css}, err
}

// Serves says whether a path is one of the page.
func (p *Page) Serves(path string) bool {
	return slices.Contains([]string{"/trust", "/trust/trust.css", "/trust/qr.png", "/ca.crt", "/ca.pem", "/ca.mobileconfig"}, path)
}

// ServeHTTP answers GET and HEAD.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "This page can only be read.", http.StatusMethodNotAllowed)
		return
	}
	kind, file, body, err := p.answer(r)
	if err != nil {
		http.Error(w, "This cannot be shown at the moment.", http.StatusInternalServerError)
		return
	}
	if kind == "" {
		http.NotFound(w, r)
		return
	}
	h.Set("Content-Type", kind)
	if file != "" {
		h.Set("Content-Disposition", `attachment; filename="`+file+`"`)
	}
	h.Set("Content-Length", fmt.Sprint(len(body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // who has gone does not hear of it
	}
}

// answer gives the media type, the name to save it under (empty: it is shown), and what
// there is at a path.
func (p *Page) answer(r *http.Request) (kind, file string, body []byte, err error) {
	switch r.URL.Path {
	case "/trust":
		body, err = p.html(r)
		return "text/html; charset=utf-8", "", body, err
	case "/trust/trust.css":
		return "text/css; charset=utf-8", "", p.css, nil
	case "/trust/qr.png":
		code, err := qr.Encode(p.here(), qr.M)
		if err != nil {
			return "", "", nil, err
		}
		code.Scale = 6
		return "image/png", "", code.PNG(), nil
	case "/ca.crt":
		return "application/x-x509-ca-cert", "porchlight.crt", p.authority.DER(), nil
	case "/ca.pem":
		return "application/x-pem-file", "porchlight.pem", p.authority.PEM(), nil
	case "/ca.mobileconfig":
		body, err = p.authority.MobileConfig()
		return "application/x-apple-aspen-config", "porchlight.mobileconfig", body, err
	}
	return "", "", nil, nil
}

// here is the address of the page itself.
func (p *Page) here() string { return p.where().Plain + "/trust" }

func (p *Page) html(r *http.Request) ([]byte, error) {
	at := p.where()
	var out bytes.Buffer
	err := trustPage.Execute(&out, map[string]any{
		"Name": at.Name, "Wanted": at.Wanted, "Renamed": at.Name != at.Wanted, "Secure": at.Secure, "Here": p.here(),
		"Label": p.authority.Label(), "Fingerprint": p.authority.Fingerprint(),
		"Until": p.authority.Until().Format("2 January 2006"), "Device": device(r.UserAgent()),
	})
	return out.Bytes(), err
}

// device guesses which of the page's instructions to show first.
func device(agent string) string {
	switch {
	case strings.Contains(agent, "iPhone"), strings.Contains(agent, "iPad"):
		return "apple"
	case strings.Contains(agent, "Android"):
		return "android"
	}
	return "desktop"
}

// MobileConfig is a profile for Apple's devices with the authority in it. Installing it is
// not enough on iPhones: the page says what else there is to do.
func (a *Authority) MobileConfig() ([]byte, error) {
	var label bytes.Buffer
	if err := xml.EscapeText(&label, []byte(a.Label())); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(a.cert.Raw)
	id := fmt.Sprintf("%x", sum[:8])
	return fmt.Appendf(nil, mobileConfig, base64.StdEncoding.EncodeToString(a.cert.Raw), label.String(), a.Fingerprint(),
		id, uuid(sum, 0), uuid(sum, 1)), nil
}

// uuid makes one of a certificate's hash, so that the same profile replaces itself.
func uuid(sum [sha256.Size]byte, n byte) string {
	u := sha256.Sum256(append(sum[:], n))
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80 // version 8, RFC 9562
	return strings.ToUpper(fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:16]))
}

const mobileConfig = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>PayloadContent</key>
	<array>
		<dict>
			<key>PayloadCertificateFileName</key>
			<string>porchlight.crt</string>
			<key>PayloadContent</key>
			<data>%[1]s</data>
			<key>PayloadDescription</key>
			<string>SHA-256 %[3]s</string>
			<key>PayloadDisplayName</key>
			<string>%[2]s</string>
			<key>PayloadIdentifier</key>
			<string>porchlight.%[4]s.root</string>
			<key>PayloadType</key>
			<string>com.apple.security.root</string>
			<key>PayloadUUID</key>
			<string>%[5]s</string>
			<key>PayloadVersion</key>
			<integer>1</integer>
		</dict>
	</array>
	<key>PayloadDescription</key>
	<string>Lets this device trust the pages of your house. SHA-256 %[3]s</string>
	<key>PayloadDisplayName</key>
	<string>%[2]s</string>
	<key>PayloadIdentifier</key>
	<string>porchlight.%[4]s</string>
	<key>PayloadOrganization</key>
	<string>Porchlight</string>
	<key>PayloadRemovalDisallowed</key>
	<false/>
	<key>PayloadType</key>
	<string>Configuration</string>
	<key>PayloadUUID</key>
	<string>%[6]s</string>
	<key>PayloadVersion</key>
	<integer>1</integer>
</dict>
</plist>
`
