package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"porchlight/server"
	"porchlight/server/servertest"
)

// handedOut is everything that the server numbers and that a client, a bridge or another
// server keeps the number of. What is random or a hash is not among it: IDs of events, rooms,
// media, devices, filters and validations, access, login and OpenID tokens, messages of
// push topics, nonces. Numbers of reports are for the owner's eyes and kept nowhere.
var handedOut = []struct {
	name string
	take func(l *numbered) string
}{
	{"next_batch of /sync", func(l *numbered) string { return l.sync("").Next }},
	{"prev_batch of /sync", func(l *numbered) string {
		l.say(l.more, l.more+30)
		l.more += 30
		return l.sync("").Join[l.room].Timeline.Prev
	}},
	{"end of /messages", func(l *numbered) string {
		return l.text("bob", "GET", "v3/rooms/"+url.PathEscape(l.room)+"/messages?dir=b&limit=3", "", "end")
	}},
	{"start of /context", func(l *numbered) string {
		return l.text("bob", "GET", "v3/rooms/"+url.PathEscape(l.room)+"/context/"+url.PathEscape(l.latest())+"?limit=2", "", "start")
	}},
	{"end of /events", func(l *numbered) string { return l.text("bob", "GET", "v3/events?timeout=0", "", "end") }},
	{"next_token of /notifications", func(l *numbered) string { return l.text("bob", "GET", "v3/notifications?limit=2", "", "next_token") }},
	{"pos of sliding sync", func(l *numbered) string { return l.text("bob", "POST", "v4/sync", sliding, "pos") }},
	{"bump_stamp of sliding sync", func(l *numbered) string {
		return l.text("bob", "POST", "v4/sync", sliding, "rooms", l.room, "bump_stamp")
	}},
	{"next_batch of sliding sync's to_device", func(l *numbered) string {
		return l.text("bob", "POST", "v4/sync", sliding, "extensions", "to_device", "next_batch")
	}},
	{"version of a key backup", func(l *numbered) string {
		return l.text("bob", "POST", "v3/room_keys/version", `{"algorithm":"m.megolm_backup.v1.curve25519-aes-sha2","auth_data":{}}`, "version")
	}},
	{"etag of a key backup", func(l *numbered) string {
		l.more++
		version := l.text("bob", "GET", "v3/room_keys/version", "", "version")
		return l.text("bob", "PUT", "v3/room_keys/keys/!r:house.test/"+fmt.Sprint(l.more)+"?version="+version,
			`{"first_message_index":0,"forwarded_count":0,"is_verified":true,"session_data":{}}`, "etag")
	}},
	{"transaction ID for a bridge", func(l *numbered) string {
		l.say(l.more, l.more+1)
		l.more++
		return l.bridge.carried(fmt.Sprintf(`"body":"%d"`, l.more-1))
	}},
}

const sliding = `{"lists":{"a":{"ranges":[[0,9]],"timeline_limit":2,"required_state":{}}},"extensions":{"to_device":{"enabled":true}}}`

type numbered struct {
	*twin
	more   int
	bridge *numberedBridge
}

// text asks, and picks a value out of the answer.
func (l *numbered) text(who, method, path, body string, at ...string) string {
	l.Helper()
	r := l.at.Ask(l.Context(), l.tokens[who], method, "/_matrix/client/"+path, strings.NewReader(body))
	raw := json.RawMessage(r.Body)
	for _, name := range at {
		var o map[string]json.RawMessage
		if err := json.Unmarshal(raw, &o); err != nil || o[name] == nil {
			l.Fatalf("%s %s has no %s: %d %s", method, path, at, r.Status, r.Body)
		}
		raw = o[name]
	}
	return strings.Trim(string(raw), `"`)
}

func (l *numbered) latest() string {
	l.Helper()
	events := l.sync("").Join[l.room].Timeline.Events
	return string(events[len(events)-1].EventID)
}

// numberedBridge notes which transaction had which text in it.
type numberedBridge struct{ told chan [2]string }

func (b *numberedBridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body) // what was cut short has not the text that is looked for
	if id, is := strings.CutPrefix(r.URL.Path, "/_matrix/app/v1/transactions/"); is {
		b.told <- [2]string{id, string(raw)}
	}
	fmt.Fprint(w, "{}")
}

// carried waits for the transaction with a text in it, and returns its ID.
func (b *numberedBridge) carried(text string) string {
	for told := range b.told {
		if strings.Contains(told[1], text) {
			return told[0]
		}
	}
	return ""
}

// TestRestoredServerNumbersAnew: no number that a client may have from the lost server is
// given out again for something else.
func TestRestoredServerNumbersAnew(t *testing.T) {
	bridge := &numberedBridge{told: make(chan [2]string, 1000)}
	web := httptest.NewServer(bridge)
	defer web.Close()
	folder := t.TempDir()
	registration := fmt.Sprintf("id: bridge\nurl: %q\nas_token: a-token-of-a-bridge\nhs_token: a-token-of-a-server\nsender_localpart: bridgebot\nrate_limited: false\n"+
		"namespaces: {users: [{exclusive: false, regex: '@alice:.*'}]}\n", web.URL)
	if err := os.WriteFile(filepath.Join(folder, "bridge.yaml"), []byte(registration), 0o600); err != nil {
		t.Fatal(err)
	}
	services := func(c *server.Config) { c.Appservices = folder }
	var archive bytes.Buffer
	s := servertest.New(t, services)
	l := &numbered{twin: &twin{T: t, at: s, tokens: map[string]string{"alice": s.User("alice").Token, "bob": s.User("bob").Token}}, bridge: bridge}
	l.room = l.text("alice", "POST", "v3/createRoom", `{"preset":"public_chat"}`, "room_id")
	l.text("bob", "POST", "v3/join/"+url.PathEscape(l.room), `{}`, "room_id")
	l.say(0, 5)
	l.more = 5
	if err := s.Backup(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	copied := archive.Bytes()
	take := func(times int) map[string][]string {
		all := map[string][]string{}
		for range times {
			for _, n := range handedOut {
				all[n.name] = append(all[n.name], n.take(l))
			}
		}
		return all
	}
	given := take(3)
	for range 2 { // and no number of the first restored server by the second
		into := t.TempDir()
		if err := server.Restore(into, bytes.NewReader(copied)); err != nil {
			t.Fatal(err)
		}
		l.at = servertest.At(t, into, services)
		for name, again := range take(3) {
			for _, number := range again {
				if slices.Contains(given[name], number) {
					t.Errorf("%s: %s is given out again; the lost server gave %v", name, number, given[name])
				}
			}
			given[name] = append(given[name], again...)
		}
	}
}
