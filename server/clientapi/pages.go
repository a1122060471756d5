package clientapi

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"errors"
	"html/template"
	"net/http"
	"time"

	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// pageData is what the few pages of the API show. What comes from outside is escaped by
// the template.
type pageData struct {
	Nonce     string
	House     string
	Stage     string
	Problem   string
	Documents []accounts.Document

	// Who asks for what, for pages that confirm it.
	Asked      string // what, after "to"
	User       matrix.UserID
	NewUser    matrix.UserID
	Device     matrix.DeviceID
	DeviceName string
	IP         string
	Ago        time.Duration // since it was asked, in full minutes

	Address string
	Purpose string
}

//go:embed pages.html
var pagesHTML string

var pages = template.Must(template.New("pages").Parse(pagesHTML))

// show writes a page. Nothing runs in it but its own script, and its form goes to this
// server, or from there to next if that is not empty.
func show(c *web.Call, status int, name string, data pageData, next string) error {
	data.Nonce = rand.Text()
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		return err
	}
	h := c.W.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'nonce-"+data.Nonce+"'; style-src 'nonce-"+data.Nonce+
		"'; connect-src 'self'; form-action 'self' "+next+"; base-uri 'none'; frame-ancestors 'none'")
	c.W.WriteHeader(status)
	_, err := c.W.Write(b.Bytes())
	return err
}

// showRefusal is a page that says what is wrong. Errors that are nobody's business go on.
func showRefusal(c *web.Call, err error) error {
	var refused *matrix.Error
	if !errors.As(err, &refused) || refused.Status == http.StatusInternalServerError {
		return err
	}
	return show(c, refused.Status, "refused", pageData{Problem: refused.Message}, "")
}
