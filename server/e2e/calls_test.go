//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// sdkVersions are the versions of matrix-js-sdk that clients in use are made of, as
// package.json names them. Before 42 it reads stream metadata under its unstable name only.
var sdkVersions = []string{"matrix-js-sdk", "matrix-js-sdk-37"}

// TestCalls has browsers call the board and the board call browsers, with either codec
// that the board may send.
func TestCalls(t *testing.T) {
	for _, sdk := range sdkVersions {
		page := testPageWith(t, sdk)
		t.Run(sdk+"/VP8", func(t *testing.T) {
			given := newPorch(t).given()
			given["page"], given["videoCodec"], given["seconds"] = page, "VP8", 6
			run(t, given, "node", "calls.mjs")
		})
		t.Run(sdk+"/H264", func(t *testing.T) {
			given := newPorchWithH264Camera(t).given()
			given["page"], given["videoCodec"], given["seconds"], given["short"] = page, "H264", 6, true
			run(t, given, "node", "calls.mjs")
		})
	}
}

// TestCrossingCalls has the board and a browser call each other at the same moment, and
// people answer on two devices.
func TestCrossingCalls(t *testing.T) {
	for _, sdk := range sdkVersions {
		t.Run(sdk, func(t *testing.T) {
			given := newPorch(t).given()
			given["page"] = testPageWith(t, sdk)
			run(t, given, "node", "crossing.mjs")
		})
	}
}

// TestViewers has as many people look at once as the board takes, and one more.
func TestViewers(t *testing.T) {
	p := newPorch(t)
	given := p.given()
	given["page"], given["pid"] = testPage(t), p.cmd.Process.Pid
	run(t, given, "node", "viewers.mjs")
}

// newPorchWithH264Camera is a house whose camera is one that codes its pictures itself, as
// that of a Raspberry Pi does: this test binary plays the program that shows it.
func newPorchWithH264Camera(t testing.TB) *porch {
	t.Helper()
	if _, err := exec.LookPath("x264"); err != nil {
		t.Skip("x264 is not installed")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Symlink(self, filepath.Join(folder, cameraName)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return newPorchAt(t, nil, append([]string{"--camera", "auto"}, quietFlags...)...)
}
