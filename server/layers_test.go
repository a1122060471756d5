package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// module is the name of this module; the import paths of our own packages begin with it.
const module = "porchlight"

// room says what one package may import. A package with no row here fails the
// test: whoever adds one decides where it stands.
type room struct {
	ours    []string // our packages, without "porchlight/"
	outside []string // modules of others, by the beginning of their import paths
	tests   []string // either kind, for its test files only
}

// The decks, from the ground up. What is in a later list may import what is in
// an earlier one, if its row says so; nothing may import upwards.
var (
	ground  = []string{"kv", "server/matrix"}
	rules   = []string{"server/roomver", "server/pdu", "server/eventauth", "server/pushrule", "server/webpush", "server/dialguard"}
	keepers = []string{
		"server/setup", "server/changes", "server/accounts", "server/rooms",
		"server/history", "server/search", "server/ephemeral", "server/e2ee", "server/push",
		"server/notices", "server/reports", "server/appservice",
	}
	views = []string{"server/syncv2", "server/slidingsync"}
)

// pion is what a call between two peers is made of.
var pion = []string{
	"github.com/pion/webrtc/v4", "github.com/pion/ice/v4", "github.com/pion/interceptor", "github.com/pion/rtp", "github.com/pion/rtcp",
	"github.com/pion/sdp/v3", "github.com/pion/transport/v5", "github.com/pion/turn/v5", "github.com/pion/stun/v4",
	"github.com/pion/mdns/v2", "github.com/pion/logging",
}

// house is the plan of the house: README.md tells it in words, this list holds
// the code to it. Among keepers, imports go to those further left only.
var house = map[string]room{
	"kv":        {outside: []string{"go.etcd.io/bbolt", "github.com/fxamacker/cbor/v2"}},
	"kv/kvtest": {ours: []string{"kv"}},

	"server/matrix": {},

	"server/roomver":   {ours: []string{"server/matrix"}},
	"server/pdu":       {ours: []string{"server/matrix", "server/roomver"}},
	"server/eventauth": {ours: []string{"server/matrix", "server/roomver", "server/pdu"}},
	"server/pushrule":  {ours: []string{"server/matrix"}},

	"server/webpush":             {},
	"server/webpush/webpushtest": {},

	"server/dialguard": {},

	"server/setup":     {ours: upTo("server/setup")},
	"server/changes":   {ours: upTo("server/changes")},
	"server/accounts":  {ours: upTo("server/accounts"), outside: []string{"golang.org/x/crypto/argon2", "golang.org/x/text"}},
	"server/rooms":     {ours: upTo("server/rooms")},
	"server/history":   {ours: upTo("server/history")},
	"server/search":    {ours: upTo("server/search"), outside: []string{"golang.org/x/text"}},
	"server/ephemeral": {ours: upTo("server/ephemeral")},
	"server/e2ee":      {ours: upTo("server/e2ee")},
	"server/push":      {ours: upTo("server/push"), tests: []string{"server"}},

	"server/notices": {ours: upTo("server/notices")},
	"server/reports": {ours: upTo("server/reports")},

	"server/appservice": {ours: upTo("server/appservice"), outside: []string{"gopkg.in/yaml.v3"}, tests: []string{"server"}},

	"media":         {ours: join(ground, "media/thumb", "media/preview"), outside: []string{"go.etcd.io/bbolt"}},
	"media/thumb":   {outside: []string{"golang.org/x/image"}},
	"media/preview": {outside: []string{"golang.org/x/net/html", "golang.org/x/text"}},

	"voip/call":              {ours: []string{"server/matrix"}},
	"voip/alert":             {},
	"voip/gpio":              {outside: []string{"periph.io/x/host/v3", "periph.io/x/conn/v3"}},
	"voip/clip":              {outside: []string{"github.com/at-wat/ebml-go"}},
	"voip/device":            {ours: []string{"voip/clip"}, tests: []string{"github.com/at-wat/ebml-go"}, outside: []string{"github.com/pion/mediadevices", "github.com/pion/opus", "github.com/blackjack/webcam", "golang.org/x/sys"}},
	"voip/device/devicetest": {ours: []string{"voip/device"}},
	"voip/pionlog":           {outside: []string{"github.com/pion/logging"}},
	"voip/congestion":        {outside: []string{"github.com/pion/interceptor", "github.com/pion/rtp", "github.com/pion/rtcp"}},
	"voip/bridge":            {ours: []string{"voip/call", "voip/congestion", "voip/device", "voip/pionlog"}, outside: pion, tests: []string{"server/matrix", "voip/relay"}},
	"voip/relay":             {ours: []string{"voip/pionlog"}, outside: []string{"github.com/pion/turn/v5", "github.com/pion/stun/v4", "github.com/pion/logging"}},
	"voip/agent":             {ours: join(ground, "voip/call", "voip/alert")},

	"server/syncv2":      {ours: join(ground, rules, keepers)},
	"server/slidingsync": {ours: join(ground, rules, keepers)},

	"server/mail":          {},
	"server/mail/mailtest": {},

	"server/web":       {ours: ground, outside: []string{"github.com/julienschmidt/httprouter", "golang.org/x/time/rate"}},
	"server/ntfy":      {ours: join(ground, "server/web"), outside: []string{"github.com/coder/websocket", "golang.org/x/time/rate"}, tests: []string{"server"}},
	"server/clientapi": {ours: join(ground, rules, keepers, views, "server/web", "server/mail", "media", "media/thumb"), tests: []string{"server"}},
	"server/panel":     {ours: join(ground, keepers, "server/web", "media"), tests: []string{"server"}},

	"server/discovery": {ours: []string{"voip/pionlog"}, outside: []string{"github.com/pion/mdns/v2", "golang.org/x/net", "rsc.io/qr"}},

	"server":            {ours: []string{"*"}},
	"server/servertest": {ours: []string{"*"}, outside: []string{"github.com/santhosh-tekuri/jsonschema/v6"}, tests: []string{"gopkg.in/yaml.v3"}},
	"server/bench":      {tests: join(ground, "server", "server/rooms", "go.etcd.io/bbolt")}, // orders; a bare commit to compare with
	// To ask for the house's name; to listen as the ntfy app; to compare rules; to be a second board.
	"server/e2e":     {tests: join(ground, "golang.org/x/net/dns/dnsmessage", "github.com/coder/websocket", "server/pushrule", "voip/agent", "voip/bridge", "voip/call", "voip/device")},
	"cmd/porchlight": {ours: join(ground, "server"), outside: []string{"github.com/alecthomas/kong", "golang.org/x/term"}},

	// A peer that calls the board, and somebody who looks at its clips.
	"server/devices": {tests: join(pion, "github.com/pion/opus", "github.com/at-wat/ebml-go", "voip/device")},

	"firmware/guest":      {},
	"firmware/guest/init": {},
}

// Test files may use these besides what their package may.
var testHelpers = []string{"kv/kvtest", "server/servertest", "server/mail/mailtest", "server/webpush/webpushtest", "voip/device/devicetest", "pgregory.net/rapid"}

// upTo gives the ground, the rules and the keepers left of the one named.
func upTo(keeper string) []string {
	return join(ground, rules, keepers[:slices.Index(keepers, keeper)])
}

// join makes one list of names and lists of names.
func join(parts ...any) []string {
	var all []string
	for _, part := range parts {
		switch part := part.(type) {
		case string:
			all = append(all, part)
		case []string:
			all = append(all, part...)
		}
	}
	return all
}

// listed is what "go list" tells of a package.
type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func listPackages(t *testing.T) map[string]listed {
	t.Helper()
	// With the tags of all tests, and from the module's root whatever this package's folder is.
	cmd := exec.Command("go", "list", "-tags", "e2e,guest,damage", "-json=ImportPath,Imports,TestImports,XTestImports", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	packages := map[string]listed{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[strings.TrimPrefix(p.ImportPath, module+"/")] = p
	}
}

// TestHouseLayers holds every import to the plan above.
func TestHouseLayers(t *testing.T) {
	packages := listPackages(t)
	for name, p := range packages {
		row, ok := house[name]
		if !ok {
			t.Errorf("%s has no row in the plan of the house (server/layers_test.go)", name)
			continue
		}
		for _, path := range p.Imports {
			if !row.allows(path) {
				t.Errorf("%s must not import %s", name, path)
			}
		}
		for _, path := range slices.Concat(p.TestImports, p.XTestImports) {
			if path != p.ImportPath && !row.allows(path) && !matches(path, row.tests) && !matches(path, testHelpers) {
				t.Errorf("the tests of %s must not import %s", name, path)
			}
		}
	}
	for name := range house {
		if _, ok := packages[name]; !ok {
			t.Errorf("the plan of the house has a row for %s, which is not there", name)
		}
	}
}

func (r room) allows(path string) bool {
	ours, isOurs := strings.CutPrefix(path, module+"/")
	switch {
	case isOurs:
		return slices.Contains(r.ours, ours) || slices.Contains(r.ours, "*")
	case path == "C" || !strings.Contains(strings.SplitN(path, "/", 2)[0], "."):
		return true // the standard library
	default:
		return matches(path, r.outside)
	}
}

// matches says whether path is one of the packages or modules named, or inside one.
func matches(path string, names []string) bool {
	path = strings.TrimPrefix(path, module+"/")
	return slices.ContainsFunc(names, func(name string) bool {
		return path == name || strings.HasPrefix(path, name+"/")
	})
}

// TestHouseSingleRooms guards the plan itself: some modules belong to one or
// two packages, whatever is edited into the rows.
func TestHouseSingleRooms(t *testing.T) {
	for _, only := range []struct {
		what string
		who  []string
	}{
		{"go.etcd.io/bbolt", []string{"kv", "media"}},
		{"github.com/julienschmidt/httprouter", []string{"server/web"}},
		{"github.com/pion/webrtc/v4", []string{"voip/bridge"}},
		{"github.com/pion/mediadevices", []string{"voip/device"}},
	} {
		var have []string
		for name := range maps.Keys(house) {
			if matches(only.what, house[name].outside) {
				have = append(have, name)
			}
		}
		slices.Sort(have)
		if !slices.Equal(have, only.who) {
			t.Errorf("%s may be imported by %v, but belongs to %v alone", only.what, have, only.who)
		}
	}
	for name, row := range house {
		if !strings.HasPrefix(name, "voip/") && name != "media" && !strings.HasPrefix(name, "media/") {
			continue
		}
		for _, path := range row.ours {
			if strings.HasPrefix(path, "server") && path != "server/matrix" {
				t.Errorf("%s may import %s: voip and media know of the server nothing but server/matrix", name, path)
			}
		}
	}
}
