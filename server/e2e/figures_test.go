//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkBrowserCalls prints what somebody in front of a browser notices of a call, each
// figure beside what others reached: for both codecs, and for one viewer after the other.
func BenchmarkBrowserCalls(b *testing.B) {
	page := testPage(b)
	for _, c := range []struct {
		name, script string
		house        func(testing.TB) *porch
		given        map[string]any
	}{
		{"VP8", "calls.mjs", newPorch, map[string]any{"videoCodec": "VP8", "seconds": 6, "short": true}},
		{"H264", "calls.mjs", newPorchWithH264Camera, map[string]any{"videoCodec": "H264", "seconds": 6, "short": true}},
		{"viewers", "viewers.mjs", newPorch, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				p := c.house(b)
				given := p.given()
				for name, value := range c.given {
					given[name] = value
				}
				table := filepath.Join(b.TempDir(), "figures.json")
				given["page"], given["pid"], given["figures"] = page, p.cmd.Process.Pid, table
				run(b, given, "node", c.script)
				printFigures(b, c.name, table)
				p.stop()
			}
		})
	}
}

// printFigures prints the table that a script has made.
func printFigures(b *testing.B, name, table string) {
	b.Helper()
	text, err := os.ReadFile(table)
	if err != nil {
		b.Fatal(err)
	}
	var rows []struct {
		Figure, Reference string
		Reached           []string
	}
	if err := json.Unmarshal(text, &rows); err != nil {
		b.Fatal(err)
	}
	if len(rows) == 0 {
		b.Fatal("the script has measured nothing")
	}
	fmt.Printf("\n%s: in a browser, in milliseconds unless it says otherwise\n", name)
	for _, r := range rows {
		fmt.Printf("  %-46s %-32s %s\n", r.Figure, strings.Join(r.Reached, ", "), r.Reference)
	}
}
