//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"
)

// claimLink is how a house without an owner says how to become it.
var claimLink = regexp.MustCompile(`http://\S+/#claim=\w+`)

// TestPage is our own page in Chromium, from the claim of a fresh house on. With
// PORCHLIGHT_SHOTS set to a folder, screenshots are put there.
func TestPage(t *testing.T) {
	p := newPorchWithoutOwner(t)
	p.porchlight("user", "add", guest, "--password", password)
	given := p.given()
	given["claimLink"] = p.waitForLog(claimLink)
	given["shots"] = shotsFolder(t)
	run(t, given, "node", "page.mjs")
}

// TestPageRings is two of our pages that call each other.
func TestPageRings(t *testing.T) {
	given := newPorch(t).given()
	given["shots"] = shotsFolder(t)
	run(t, given, "node", "page_rings.mjs")
}

// newPorchWithoutOwner starts a server on an empty data folder.
func newPorchWithoutOwner(t *testing.T) *porch {
	t.Helper()
	p := &porch{t: t, data: filepath.Join(t.TempDir(), "data"), log: &lockedBuffer{}, flags: quietFlags}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("the server's log:\n%s", p.log.String())
		}
	})
	p.start()
	return p
}

// waitForLog waits until the server has printed something and gives it.
func (p *porch) waitForLog(what *regexp.Regexp) string {
	p.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if found := what.FindString(p.log.String()); found != "" {
			return found
		}
	}
	p.t.Fatalf("the server did not print %v:\n%s", what, p.log.String())
	return ""
}

func shotsFolder(t *testing.T) string {
	folder := os.Getenv("PORCHLIGHT_SHOTS")
	if folder == "" {
		return ""
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

// TestPagePush is our page being told while it is closed.
func TestPagePush(t *testing.T) {
	given := newPorchAt(t, nil, append(slices.Clone(quietFlags), "--push-gateway", "127.0.0.1", "--push-active-delay=-1s")...).given()
	given["shots"] = shotsFolder(t)
	run(t, given, "node", "page_push.mjs")
}
