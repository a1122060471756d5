package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/servertest"
)

// twin is two servers of one database: one that was copied, went on and is lost, and one
// that was made from the copy. Requests go to the one that is there.
type twin struct {
	*testing.T
	at      *servertest.Server
	tokens  map[string]string // access tokens by user
	room    string
	before  string // bob's token from before the copy
	since   string // bob's token from the lost time
	archive bytes.Buffer
	claimed map[string]int // one-time keys of bob's, how often each was given out
}

func (l *twin) ask(who, method, path, body string, out any) *servertest.Response {
	l.Helper()
	r := l.at.Ask(l.Context(), l.tokens[who], method, "/_matrix/client/v3/"+path, strings.NewReader(body))
	if out != nil {
		if r.Status != 200 {
			l.Fatalf("%s %s: %d %s", method, path, r.Status, r.Body)
		}
		r.JSON(l, out)
	}
	return r
}

// say sends messages with the numbers from one to another.
func (l *twin) say(from, to int) {
	l.Helper()
	for n := from; n < to; n++ {
		var sent struct{}
		l.ask("alice", "PUT", fmt.Sprintf("rooms/%s/send/m.room.message/%d", url.PathEscape(l.room), n), fmt.Sprintf(`{"msgtype":"m.text","body":"%d"}`, n), &sent)
	}
}

// post sends messages to bob's device.
func (l *twin) post(from, to int) {
	l.Helper()
	for n := from; n < to; n++ {
		var sent struct{}
		l.ask("alice", "PUT", fmt.Sprintf("sendToDevice/m.test/%d", n), fmt.Sprintf(`{"messages":{"@bob:house.test":{"BOB":{"n":"%d"}}}}`, n), &sent)
	}
}

// claim takes one of bob's keys.
func (l *twin) claim() (key string) {
	l.Helper()
	var out struct {
		Keys map[matrix.UserID]map[string]map[string]string `json:"one_time_keys"`
	}
	l.ask("alice", "POST", "keys/claim", `{"one_time_keys":{"@bob:house.test":{"BOB":"curve25519"}}}`, &out)
	for _, key = range out.Keys["@bob:house.test"]["BOB"] {
		if key != "fallback" {
			l.claimed[key]++
		}
	}
	return key
}

func (l *twin) upload(name string, n int) {
	l.Helper()
	keys := map[string]string{}
	for i := range n {
		keys[fmt.Sprintf("curve25519:%s%d", name, i)] = fmt.Sprintf("%s%d", name, i)
	}
	raw, err := json.Marshal(map[string]any{"one_time_keys": keys, "fallback_keys": map[string]string{"curve25519:f": "fallback"}})
	if err != nil {
		l.Fatal(err)
	}
	var out struct{}
	l.ask("bob", "POST", "keys/upload", string(raw), &out)
}

type heard struct {
	Next string `json:"next_batch"`
	Join map[string]struct {
		Timeline struct {
			Events  []matrix.ClientEvent
			Limited bool
			Prev    string `json:"prev_batch"`
		}
		State struct{ Events []matrix.ClientEvent }
	}
	ToDevice struct {
		Events []struct{ Content struct{ N string } }
	} `json:"to_device"`
	Lists  struct{ Changed []matrix.UserID }        `json:"device_lists"`
	Data   struct{ Events []struct{ Type string } } `json:"account_data"`
	Keys   map[string]int                           `json:"device_one_time_keys_count"`
	Unused []string                                 `json:"device_unused_fallback_key_types"`
}

func (l *twin) sync(since string) (h heard) {
	l.Helper()
	var out struct {
		heard
		Rooms struct {
			Join map[string]struct {
				Timeline struct {
					Events  []matrix.ClientEvent
					Limited bool
					Prev    string `json:"prev_batch"`
				}
				State struct{ Events []matrix.ClientEvent }
			}
		}
	}
	l.ask("bob", "GET", "sync?since="+url.QueryEscape(since), "", &out)
	out.heard.Join = out.Rooms.Join
	return out.heard
}

// fill reads back from a token until nothing is left, and returns the bodies of messages.
func (l *twin) fill(from string) (all []string) {
	l.Helper()
	for range 100 {
		var page struct {
			End   string
			Chunk []matrix.ClientEvent
		}
		l.ask("bob", "GET", "rooms/"+url.PathEscape(l.room)+"/messages?dir=b&limit=20&from="+url.QueryEscape(from), "", &page)
		all = append(all, bodies(page.Chunk)...)
		if from = page.End; from == "" {
			return all
		}
	}
	l.Fatal("there is no end to the history")
	return nil
}

func bodies(events []matrix.ClientEvent) (all []string) {
	for _, e := range events {
		var content struct{ Body string }
		if e.Type == "m.room.message" && json.Unmarshal(e.Content, &content) == nil {
			all = append(all, content.Body)
		}
	}
	return all
}

func numbers(ranges ...[2]int) (all []string) {
	for _, r := range ranges {
		for n := r[0]; n < r[1]; n++ {
			all = append(all, fmt.Sprint(n))
		}
	}
	slices.Sort(all)
	return all
}

// lose makes a server, copies it with copied, and lets it go on; then bob has seen more
// than the copy holds.
func lose(t *testing.T, copied func(s *servertest.Server, archive *bytes.Buffer)) *twin {
	l := &twin{T: t, at: servertest.New(t), tokens: map[string]string{}, claimed: map[string]int{}}
	for _, name := range []string{"alice", "bob"} {
		l.tokens[name] = l.at.User(name).Token
	}
	var made struct {
		Room string `json:"room_id"`
	}
	l.ask("alice", "POST", "createRoom", `{"preset":"public_chat","initial_state":[
		{"type":"m.room.encryption","state_key":"","content":{"algorithm":"m.megolm.v1.aes-sha2"}}]}`, &made)
	l.room = made.Room
	l.ask("bob", "POST", "join/"+url.PathEscape(l.room), `{}`, &made)
	l.ask("bob", "PUT", "user/@bob:house.test/account_data/m.test", `{}`, &struct{}{})
	l.upload("k", 20)
	l.say(0, 3)
	l.before = l.sync("").Next
	l.say(3, 5)
	l.post(0, 2)
	copied(l.at, &l.archive)
	l.claim()
	l.say(1000, 1050) // these are lost
	l.since = l.sync(l.before).Next
	return l
}

// goOn lets the server that was made from the copy go on where there may be the same
// positions again.
func (l *twin) goOn(folder string) {
	l.at = servertest.At(l, folder)
	l.post(2, 12)
	l.say(5, 85)
	for range 30 {
		l.claim()
	}
}

// gap checks what bob is told by an answer that has to repeat everything.
func (l *twin) gap(h heard, messages [][2]int, inbox [2]int) {
	l.Helper()
	in := h.Join[l.room]
	state := len(in.State.Events)
	for _, e := range in.Timeline.Events {
		if e.StateKey != nil {
			state++
		}
	}
	if !in.Timeline.Limited || state < 6 {
		l.Errorf("limited %v with %d state events, want a gap with the whole state", in.Timeline.Limited, state)
	}
	got := append(bodies(in.Timeline.Events), l.fill(in.Timeline.Prev)...)
	slices.Sort(got)
	if want := numbers(messages...); !slices.Equal(got, want) {
		l.Errorf("messages %v, want each once of %v", got, want)
	}
	var posted []string
	for _, m := range h.ToDevice.Events {
		posted = append(posted, m.Content.N)
	}
	slices.Sort(posted)
	if want := numbers(inbox); !slices.Equal(posted, want) {
		l.Errorf("messages to the device %v, want %v", posted, want)
	}
	if !slices.Equal(h.Lists.Changed, []matrix.UserID{"@alice:house.test", "@bob:house.test"}) {
		l.Errorf("device lists of %v have changed", h.Lists.Changed)
	}
	if len(h.Data.Events) < 2 || h.Keys["curve25519"] != 0 || len(h.Unused) != 0 {
		l.Errorf("%d kinds of account data, %v keys, unused fallback keys %v", len(h.Data.Events), h.Keys, h.Unused)
	}
}

// keysOnce checks that no one-time key was given out twice, and that others come.
func (l *twin) keysOnce() {
	l.Helper()
	l.upload("n", 5)
	for range 5 {
		l.claim()
	}
	for key, n := range l.claimed {
		if n > 1 {
			l.Errorf("the one-time key %s was given out %d times", key, n)
		}
	}
	if len(l.claimed) < 6 {
		l.Errorf("keys were given out: %v", l.claimed)
	}
}

// A client that has seen what the restored server never had misses nothing that it has.
func TestRestoredServerTellsEverything(t *testing.T) {
	l := lose(t, func(s *servertest.Server, archive *bytes.Buffer) {
		if err := s.Backup(t.Context(), archive); err != nil {
			t.Fatal(err)
		}
	})
	folder := t.TempDir()
	if err := server.Restore(folder, &l.archive); err != nil {
		t.Fatal(err)
	}
	l.goOn(folder)
	position, _, _ := strings.Cut(l.since, "_")
	plain := l.since[:strings.LastIndex(l.since, "_")]
	for _, since := range []string{position, plain, l.before, l.since} { // nothing is acknowledged by any of them
		l.gap(l.sync(since), [][2]int{{0, 85}}, [2]int{0, 12})
	}
	var lists struct{ Changed, Left []matrix.UserID }
	l.ask("bob", "GET", "keys/changes?from="+l.since+"&to="+l.since, "", &lists)
	if len(lists.Changed) != 2 {
		t.Errorf("changed between tokens of the lost server: %+v", lists)
	}
	if got := l.fill(l.since); !slices.Equal(got, []string{"4", "3", "2", "1", "0"}) {
		t.Errorf("back from a token of the lost server: %v", got)
	}
	l.goesOn(l.sync(l.since))
	l.keysOnce()
}

// goesOn checks that behind an answer everything is told once, and nothing again.
func (l *twin) goesOn(h heard) {
	l.Helper()
	if next := l.sync(h.Next); len(next.ToDevice.Events)+len(next.Join)+len(next.Data.Events) != 0 {
		l.Errorf("behind the gap there is more: %+v", next)
	}
	l.say(200, 203)
	l.post(200, 202)
	next := l.sync(h.Next)
	if in := next.Join[l.room]; in.Timeline.Limited || !slices.Equal(bodies(in.Timeline.Events), []string{"200", "201", "202"}) || len(next.ToDevice.Events) != 2 {
		l.Errorf("what is new: %+v", next)
	}
}

// A database that came back by other means than the restore command is an older copy as
// well. The first client that shows a place ahead of it brings that to light, for all.
func TestCopiedDatabaseIsNoticed(t *testing.T) {
	folder := t.TempDir()
	l := lose(t, func(s *servertest.Server, _ *bytes.Buffer) {
		if err := s.DB.Flush(); err != nil {
			t.Fatal(err)
		}
		copyFile(t, filepath.Join(s.Config.Data, "porchlight.db"), filepath.Join(folder, "porchlight.db"))
	})
	l.at = servertest.At(t, folder)
	first := func() (at changes.Position) {
		kvtest.View(t, l.at.DB, func(tx *kv.ReadTx) { at = l.at.Changes.First(tx) })
		return at
	}
	// Whoever invents a place has a gap, or nothing, and nobody else has.
	fields := strings.Split(l.since, "_")
	for invented, status := range map[string]int{
		"s99999999": 200, "s99999999_99999999_ABCDEFGH_7": 200,
		"s99999999_99999999_ABCDEFGH_7_AAAAAAAAA":                       400,
		strings.Join(append([]string{"s99999999"}, fields[1:]...), "_"): 400,
	} {
		r := l.ask("bob", "GET", "sync?since="+invented, "", nil)
		if r.Status != status || status != 200 && r.Errcode() != "M_INVALID_PARAM" {
			t.Errorf("%s: %d %s", invented, r.Status, r.Body)
		}
	}
	if r := l.ask("alice", "GET", "sync?since="+l.since, "", nil); r.Status != 400 {
		t.Errorf("bob's token, shown by alice: %d %s", r.Status, r.Body)
	}
	if at := first(); at != 0 {
		t.Fatalf("an invented token began an incarnation at %d", at)
	}
	l.gap(l.sync(l.since), [][2]int{{0, 5}}, [2]int{0, 2})
	began := first()
	if began == 0 {
		t.Fatal("nobody noticed")
	}
	l.post(2, 12)
	l.say(5, 85)
	l.gap(l.sync(l.since), [][2]int{{0, 85}}, [2]int{0, 12})
	l.gap(l.sync(l.before), [][2]int{{0, 85}}, [2]int{0, 12})
	if at := first(); at != began {
		t.Errorf("another incarnation begins at %d behind that at %d", at, began)
	}
	l.goesOn(l.sync(l.since))
	if key := l.claim(); key != "fallback" {
		t.Errorf("the key %s was given out, which may be known already", key)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
