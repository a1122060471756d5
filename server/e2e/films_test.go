//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestClips is the board's clips in Chromium: the test picture in VP8 as WebM, and the
// H.264 of a camera as MP4. Both are asked for in the room and played from the house.
func TestClips(t *testing.T) {
	t.Run("webm", func(t *testing.T) {
		given := newPorch(t).given()
		given["page"] = given["server"].(string) + "/"
		given["want"] = map[string]any{"type": "video/webm", "width": 640, "height": 480}
		run(t, given, "node", "films.mjs")
	})
	t.Run("mp4", func(t *testing.T) {
		if _, err := os.Stat("/dev/video0"); err == nil {
			t.Skip("this machine has a camera of its own")
		}
		t.Setenv("PATH", filmCamera(t)+string(os.PathListSeparator)+os.Getenv("PATH"))
		given := newPorchAt(t, nil, append([]string{"--camera", "auto"}, quietFlags...)...).given()
		given["page"] = given["server"].(string) + "/"
		given["want"] = map[string]any{"type": "video/mp4", "width": 160, "height": 120}
		run(t, given, "node", "films.mjs")
	})
}

// filmCamera makes a folder with a stand-in for the program of a Raspberry Pi's camera, which
// shows a short film again and again.
func filmCamera(t *testing.T) string {
	t.Helper()
	film, err := os.ReadFile("../../voip/clip/testdata/baseline.h264")
	if err != nil {
		t.Fatal(err)
	}
	folder, pictures := t.TempDir(), t.TempDir()
	var unit []byte
	for n, nal := range bytes.Split(film, []byte{0, 0, 1})[1:] {
		unit = append(append(unit, 0, 0, 1), nal...)
		if kind := nal[0] & 0x1f; kind == 1 || kind == 5 { // the picture is whole
			if err := os.WriteFile(filepath.Join(pictures, fmt.Sprintf("%04d", n)), unit, 0o600); err != nil {
				t.Fatal(err)
			}
			unit = nil
		}
	}
	script := `#!/bin/sh
case "$1" in
--list-cameras) echo "Available cameras"; echo "0 : imx219" ;;
--help) echo "  --low-latency" ;;
*) while :; do for picture in ` + pictures + `/*; do cat "$picture"; sleep 0.1; done; done ;;
esac
`
	if err := os.WriteFile(filepath.Join(folder, "rpicam-vid"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return folder
}
