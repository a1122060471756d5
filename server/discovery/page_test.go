package discovery

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func page(t *testing.T, a *Authority, name string) *Page {
	t.Helper()
	p, err := NewPage(a, func() Where {
		return Where{Name: name, Wanted: "house.local", Plain: "http://192.168.1.20:8008",
			Secure: []string{"https://" + name + ":8443", "https://192.168.1.20:8443"}}
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func get(t *testing.T, p *Page, path, agent string) *httptest.ResponseRecorder {
	t.Helper()
	if !p.Serves(path) {
		t.Fatalf("%s is not served", path)
	}
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("User-Agent", agent)
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	if w.Code != 200 || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Fatalf("%s: %d %v", path, w.Code, w.Header())
	}
	return w
}

func TestTrustPage(t *testing.T) {
	a := authority(t)
	for agent, first := range map[string]string{
		"Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X)": "<details open><summary>iPhone",
		"Mozilla/5.0 (Linux; Android 15; Pixel 9)":               "<details open><summary>Android",
		"Mozilla/5.0 (X11; Linux x86_64)":                        "<details open><summary>Windows",
		"":                                                       "<details open><summary>Windows",
	} {
		w := get(t, page(t, a, "house.local"), "/trust", agent)
		text := w.Body.String()
		for _, want := range []string{
			first, a.Fingerprint(), a.Label(), `href="/ca.crt"`, `href="/ca.mobileconfig"`, `src="/trust/qr.png"`, "Certificate Trust Settings",
			`<a href="https://house.local:8443">`, `<a href="https://192.168.1.20:8443">`, "http://192.168.1.20:8008/trust",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", agent, want, text)
			}
		}
		if strings.Contains(text, "<script") || strings.Contains(text, "style=") || strings.Contains(text, "already") {
			t.Error("the page has what it should not have")
		}
		if csp := w.Header().Get("Content-Security-Policy"); strings.Contains(csp, "script") || !strings.HasPrefix(csp, "default-src 'none'") {
			t.Errorf("policy %q", csp)
		}
	}
	if text := get(t, page(t, a, "house-2.local"), "/trust", "").Body.String(); !strings.Contains(text, "called house.local already") {
		t.Error("nothing about the other name")
	}
}

func TestDownloads(t *testing.T) {
	a := authority(t)
	p := page(t, a, "house.local")
	w := get(t, p, "/ca.crt", "")
	if w.Header().Get("Content-Type") != "application/x-x509-ca-cert" {
		t.Error(w.Header())
	}
	if cert, err := x509.ParseCertificate(w.Body.Bytes()); err != nil || !cert.Equal(a.cert) {
		t.Errorf("DER: %v", err)
	}
	block, _ := pem.Decode(get(t, p, "/ca.pem", "").Body.Bytes())
	if block == nil || !bytes.Equal(block.Bytes, a.cert.Raw) {
		t.Error("PEM")
	}
	if img, err := png.Decode(get(t, p, "/trust/qr.png", "").Body); err != nil || img.Bounds().Dx() < 150 {
		t.Errorf("the code: %v", err)
	}
	if w := get(t, p, "/trust/trust.css", ""); !strings.HasPrefix(w.Header().Get("Content-Type"), "text/css") {
		t.Error(w.Header())
	}
	for _, path := range []string{"/", "/trust/", "/trust/x", "/ca", "/ca.key"} {
		if p.Serves(path) {
			t.Errorf("%s is served", path)
		}
	}
	r := httptest.NewRecorder()
	p.ServeHTTP(r, httptest.NewRequest(http.MethodPost, "/trust", nil))
	if r.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", r.Code)
	}
}

// TestMobileConfig reads the profile as a device does: a property list with one payload.
func TestMobileConfig(t *testing.T) {
	a, err := NewAuthority(now, "<house> & co", []string{"house.local"})
	if err != nil {
		t.Fatal(err)
	}
	w := get(t, page(t, a, "house.local"), "/ca.mobileconfig", "")
	if w.Header().Get("Content-Type") != "application/x-apple-aspen-config" {
		t.Error(w.Header())
	}
	values := map[string][]string{}
	key := ""
	for dec := xml.NewDecoder(w.Body); ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		element, ok := token.(xml.StartElement)
		if !ok || element.Name.Local == "plist" || element.Name.Local == "dict" || element.Name.Local == "array" {
			continue
		}
		var text string
		if err := dec.DecodeElement(&text, &element); err != nil {
			t.Fatal(err)
		}
		if element.Name.Local == "key" {
			key = text
		} else {
			values[key] = append(values[key], text)
		}
	}
	if der, err := base64.StdEncoding.DecodeString(values["PayloadContent"][0]); err != nil || !bytes.Equal(der, a.cert.Raw) {
		t.Errorf("the certificate in the profile: %v", err)
	}
	for key, want := range map[string][]string{
		"PayloadType":        {"com.apple.security.root", "Configuration"},
		"PayloadVersion":     {"1", "1"},
		"PayloadDisplayName": {"Porchlight <house> & co", "Porchlight <house> & co"},
	} {
		if strings.Join(values[key], "|") != strings.Join(want, "|") {
			t.Errorf("%s is %q", key, values[key])
		}
	}
	for _, d := range values["PayloadDescription"] {
		if !strings.Contains(d, a.Fingerprint()) {
			t.Errorf("no fingerprint in %q", d)
		}
	}
	if ids := values["PayloadUUID"]; len(ids) != 2 || ids[0] == ids[1] || len(ids[0]) != 36 {
		t.Errorf("identifiers %q", ids)
	}
	again, err := a.MobileConfig()
	if err != nil || !strings.Contains(string(again), values["PayloadUUID"][0]) {
		t.Error("the profile has another identifier each time")
	}
}
