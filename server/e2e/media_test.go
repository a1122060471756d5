//go:build e2e

package e2e

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestMedia is <img>, <video> and <audio> in Chromium, on a page of another origin, with
// what is uploaded to the house: pictures, thumbnails, seeking in what is long.
func TestMedia(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><title>media</title><body>"))
	}))
	t.Cleanup(page.Close)
	given := newPorch(t).given()
	given["page"] = page.URL
	run(t, given, "node", "media.mjs")
}
