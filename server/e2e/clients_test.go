//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"
)

// scenarioTime is the longest that one script may take.
const scenarioTime = 3 * time.Minute

// testPage serves the page with the newest matrix-js-sdk and gives its address.
func testPage(t testing.TB) string {
	t.Helper()
	return testPageWith(t, sdkVersions[0])
}

// testPageWith is testPage with another version of the library.
func testPageWith(t testing.TB, sdk string) string {
	t.Helper()
	folder := bundled(t, sdk)
	server := httptest.NewServer(http.FileServer(http.Dir(folder)))
	t.Cleanup(server.Close)
	return server.URL + "/"
}

// bundled makes the folder with the page.
func bundled(t testing.TB, sdk string) string {
	t.Helper()
	folder := t.TempDir()
	bundle := exec.Command("node", "bundle.mjs", folder, sdk)
	if out, err := bundle.CombinedOutput(); err != nil {
		t.Fatalf("bundling the test page: %v\n%s", err, out)
	}
	return folder
}

// run runs a script with what it is given as JSON in PORCHLIGHT_E2E.
func run(t testing.TB, given map[string]any, command ...string) {
	t.Helper()
	text, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), scenarioTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "PORCHLIGHT_E2E="+string(text), "PYTHONDONTWRITEBYTECODE=1")
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if _, measures := t.(*testing.B); !measures || err != nil {
		t.Logf("%v:\n%s", command, out.Bytes())
	}
	if err != nil {
		t.Fatalf("%v: %v", command, err)
	}
}

// given is what every script needs to know of the house.
func (p *porch) given() map[string]any {
	users := map[string]any{}
	for _, name := range []string{owner, guest} {
		users[name] = map[string]string{"id": "@" + name + ":" + serverName, "password": password}
	}
	return map[string]any{
		"server": p.url,
		"users":  users,
		"board":  map[string]any{"id": "@porch:" + serverName, "toneHz": 440},
	}
}

// TestHarness proves the tools before anything is said about the server: the
// page, the crypto library, the fake camera and microphone.
func TestHarness(t *testing.T) {
	run(t, map[string]any{"page": testPage(t)}, "node", "harness.mjs")
}

// TestJSSDK is matrix-js-sdk in Chromium.
func TestJSSDK(t *testing.T) {
	page := testPage(t)
	for _, script := range []string{"messages.mjs", "encrypted.mjs", "call.mjs"} {
		t.Run(script, func(t *testing.T) {
			given := newPorch(t).given()
			given["page"] = page
			run(t, given, "node", script)
		})
	}
}

// TestNio is matrix-nio. Debian's Python has it; another Python on the path may not.
func TestNio(t *testing.T) {
	run(t, newPorch(t).given(), "/usr/bin/python3", "nio_client.py")
}
