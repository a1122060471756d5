//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// third is somebody who is neither the owner nor the guest, for what takes three.
const third = "carol"

// tokenLife is how long access tokens last that can be refreshed, in the walk that waits for it.
const tokenLife = 5 * time.Second

// TestWalks goes with matrix-js-sdk through what people do in their clients day
// by day. Each walk has a house of its own.
func TestWalks(t *testing.T) {
	page := testPage(t)
	for _, walk := range []struct {
		script string
		flags  []string // of the server, beside the quiet ones
	}{
		{script: "walk_trust.mjs"},
		{script: "walk_relations.mjs"},
		{script: "walk_rooms.mjs"},
		{script: "walk_people.mjs"},
		{script: "walk_nio.mjs"},
		{script: "walk_dehydrated.mjs"},
		{script: "walk_start.mjs", flags: []string{"--guests", "on", "--access-token-life", tokenLife.String()}},
	} {
		t.Run(walk.script, func(t *testing.T) {
			p := newPorchAt(t, nil, append(walk.flags, quietFlags...)...)
			p.porchlight("user", "add", third, "--password", password)
			given := p.given()
			given["page"] = page
			given["users"].(map[string]any)[third] = map[string]string{"id": "@" + third + ":" + serverName, "password": password}
			given["tokenLife"] = tokenLife.Milliseconds()
			began := time.Now()
			run(t, given, "node", walk.script)
			t.Logf("%s took %.1f s", walk.script, time.Since(began).Seconds())
			p.checkLog()
		})
	}
}

// checkLog fails the test if the server has logged a failure of its own.
func (p *porch) checkLog() {
	p.t.Helper()
	for line := range strings.Lines(p.log.String()) {
		if strings.Contains(line, "level=ERROR") {
			p.t.Errorf("the server logged: %s", line)
		}
	}
}
