package appservice_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"porchlight/server/matrix"
	"porchlight/server/servertest"
)

// bridge is an application service that keeps what it is told.
type bridge struct {
	t    *testing.T
	url  string
	news chan struct{} // holds one

	mu     sync.Mutex
	status int // of transactions
	ids    []string
	bodies map[string][]string // by transaction
}

// told is a transaction as a service reads it.
type told struct {
	Events []struct {
		Type     string
		Content  struct{ Body string }
		Unsigned json.RawMessage
	}
	Ephemeral    []ephemeralTold
	OldEphemeral []ephemeralTold                      `json:"de.sorunome.msc2409.ephemeral"`
	ToDevice     []map[string]any                     `json:"de.sorunome.msc2409.to_device"`
	Lists        struct{ Changed, Left []string }     `json:"org.matrix.msc3202.device_lists"`
	Counts       map[string]map[string]map[string]int `json:"org.matrix.msc3202.device_one_time_keys_count"`
	Fallback     map[string]map[string][]string       `json:"org.matrix.msc3202.device_unused_fallback_key_types"`
}

type ephemeralTold struct {
	Type    string
	Room    string `json:"room_id"`
	Sender  string
	Content json.RawMessage
}

func newBridge(t *testing.T) *bridge {
	b := &bridge{t: t, news: make(chan struct{}, 1), status: 200, bodies: map[string][]string{}}
	web := httptest.NewServer(b)
	t.Cleanup(web.Close)
	b.url = web.URL
	return b
}

func (b *bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	id, is := strings.CutPrefix(r.URL.Path, "/_matrix/app/v1/transactions/")
	if !is {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bodies[id] == nil {
		b.ids = append(b.ids, id)
	}
	b.bodies[id] = append(b.bodies[id], string(raw))
	w.WriteHeader(b.status)
	fmt.Fprint(w, "{}")
	select {
	case b.news <- struct{}{}:
	default:
	}
}

func (b *bridge) answer(status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = status
}

// all are the transactions, each once.
func (b *bridge) all() (all []told) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range b.ids {
		var x told
		if err := json.Unmarshal([]byte(b.bodies[id][0]), &x); err != nil {
			b.t.Errorf("%v in %s", err, b.bodies[id][0])
		}
		for _, again := range b.bodies[id][1:] {
			if again != b.bodies[id][0] {
				b.t.Errorf("transaction %s is another one when it is repeated:\n%s\n%s", id, b.bodies[id][0], again)
			}
		}
		all = append(all, x)
	}
	return all
}

// until waits until a condition holds of what the service was told.
func (b *bridge) until(t *testing.T, what string, done func(all []told) bool) {
	t.Helper()
	for !done(b.all()) {
		select {
		case <-b.news:
		case <-t.Context().Done():
			t.Fatalf("not told: %s", what)
		}
	}
}

// texts are the bodies of all messages.
func texts(all []told) (bodies []string) {
	for _, x := range all {
		for _, e := range x.Events {
			if e.Content.Body != "" {
				bodies = append(bodies, e.Content.Body)
			}
		}
	}
	return bodies
}

// ephemerals are all ephemeral events, as one line each.
func ephemerals(all []told) (lines []string) {
	for _, x := range all {
		if len(x.Ephemeral) != len(x.OldEphemeral) {
			lines = append(lines, "the names differ")
		}
		for _, e := range x.Ephemeral {
			lines = append(lines, strings.TrimSpace(e.Type+" "+e.Room+e.Sender+" "+string(e.Content)))
		}
	}
	return lines
}

func has(lines []string, parts ...string) bool {
	return slices.ContainsFunc(lines, func(line string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) })
	})
}

const curious = "receive_ephemeral: true\nde.sorunome.msc2409.push_ephemeral: true\norg.matrix.msc3202: true\n"

// bridged is a house with a bridge that wants to hear everything, a ghost, and a room with
// the ghost and alice.
func bridged(t *testing.T, s *servertest.Server, b *bridge) {
	t.Helper()
	add(t, s, registration(b.url)+curious)
	as(t, s, "", "POST", "v3/register", `{"type":"m.login.application_service","username":"_irc_ann","inhibit_login":true}`)
	room := as(t, s, ghost, "POST", "v3/createRoom", `{"preset":"public_chat"}`)
	s.Set("room", room["room_id"].(string))
	s.User("alice").Must("POST", "v3/join/{room}", `{}`, nil)
}

const ghost = "@_irc_ann:house.test"

// as sends a request of the service, as one of its users if one is named.
func as(t *testing.T, s *servertest.Server, who, method, path, body string) map[string]any {
	t.Helper()
	if who != "" {
		mark := "?"
		if strings.Contains(path, "?") {
			mark = "&"
		}
		path += mark + "user_id=" + who
	}
	r := s.Ask(t.Context(), appToken, method, path, strings.NewReader(body))
	var out map[string]any
	if r.JSON(t, &out); r.Status != 200 && r.Status != 201 {
		t.Fatalf("%s %s: %d %s", method, path, r.Status, r.Body)
	}
	return out
}

func TestEphemeralData(t *testing.T) {
	s := servertest.New(t)
	b := newBridge(t)
	bridged(t, s, b)
	alice := s.User("alice")
	room := s.Var("room")
	var other, sent, secret struct {
		Room  string `json:"room_id"`
		Event string `json:"event_id"`
	}
	alice.Must("POST", "v3/createRoom", `{"name":"Not the bridge's"}`, &other)
	alice.Must("PUT", "v3/rooms/"+other.Room+"/send/m.room.message/1", `{"msgtype":"m.text","body":"secret"}`, &secret)
	alice.Must("PUT", "v3/rooms/"+other.Room+"/typing/{@alice}", `{"typing":true,"timeout":30000}`, nil)
	alice.Must("POST", "v3/rooms/"+other.Room+"/receipt/m.read/"+secret.Event, `{}`, nil)

	alice.Must("PUT", "v3/rooms/{room}/send/m.room.message/1", `{"msgtype":"m.text","body":"hello"}`, &sent)
	alice.Must("PUT", "v3/rooms/{room}/typing/{@alice}", `{"typing":true,"timeout":30000}`, nil)
	alice.Must("PUT", "v3/presence/{@alice}/status", `{"presence":"unavailable","status_msg":"at the door"}`, nil)
	s.User("bob").Must("PUT", "v3/presence/{@bob}/status", `{"presence":"online","status_msg":"nowhere near"}`, nil)
	alice.Must("POST", "v3/rooms/{room}/receipt/m.read/"+sent.Event, `{}`, nil)
	alice.Must("POST", "v3/rooms/{room}/receipt/m.read.private/"+sent.Event, `{"thread_id":"main"}`, nil)
	as(t, s, ghost, "POST", "v3/rooms/"+room+"/receipt/m.read.private/"+sent.Event, `{}`)
	if err := s.DB.Flush(); err != nil { // receipts reach the disk, and the log
		t.Fatal(err)
	}
	b.until(t, "typing, presence and receipts", func(all []told) bool {
		lines := ephemerals(all)
		return has(lines, "m.typing", room, `["@alice:house.test"]`) && has(lines, "m.presence @alice:house.test", "at the door") &&
			has(lines, "m.receipt", room, `"m.read":{"@alice:house.test"`) && has(lines, `"m.read.private":{"@_irc_ann:house.test"`)
	})
	alice.Must("PUT", "v3/rooms/{room}/typing/{@alice}", `{"typing":false}`, nil)
	b.until(t, "that nobody types", func(all []told) bool { return has(ephemerals(all), "m.typing", room, `[]`) })
	alice.Must("PUT", "v3/rooms/{room}/send/m.room.message/2", `{"msgtype":"m.text","body":"bye"}`, nil)
	b.until(t, "the last message", func(all []told) bool { return slices.Contains(texts(all), "bye") })
	lines := ephemerals(b.all())
	for _, never := range []string{other.Room, "nowhere near", "the names differ", `"m.read.private":{"@alice`} {
		if has(lines, never) {
			t.Errorf("told of %s: %s", never, lines)
		}
	}
	n := 0
	for _, line := range lines {
		if strings.Contains(line, `"m.read":{"@alice`) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the receipt was told %d times", n)
	}
}

// TestNotCurious: who does not ask for ephemeral data gets none, under no name.
func TestNotCurious(t *testing.T) {
	s := servertest.New(t)
	b := newBridge(t)
	bridged(t, s, b)
	add(t, s, registration(b.url))
	s.User("alice").Must("PUT", "v3/rooms/{room}/typing/{@alice}", `{"typing":true,"timeout":30000}`, nil)
	as(t, s, ghost, "PUT", "v3/devices/GHOST", `{}`)
	s.User("alice").Must("PUT", "v3/sendToDevice/m.x/1", `{"messages":{"`+ghost+`":{"GHOST":{}}}}`, nil)
	s.User("alice").Must("PUT", "v3/rooms/{room}/send/m.room.message/1", `{"msgtype":"m.text","body":"last"}`, nil)
	before := len(b.all())
	b.until(t, "the message", func(all []told) bool { return slices.Contains(texts(all), "last") })
	for _, x := range b.all()[min(before, len(b.all())-1):] {
		if len(x.Ephemeral)+len(x.OldEphemeral)+len(x.ToDevice) > 0 || len(x.Lists.Changed) > 0 {
			t.Errorf("%+v", x)
		}
	}
}

func TestMessagesToDevices(t *testing.T) {
	s := servertest.New(t)
	b := newBridge(t)
	bridged(t, s, b)
	alice := s.User("alice")
	as(t, s, ghost, "PUT", "v3/devices/GHOST", `{"display_name":"the bridge"}`)
	const device = "&device_id=GHOST"
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	signed := func(raw string) string {
		out, err := matrix.SignJSON([]byte(raw), ghost, "ed25519:GHOST", private)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	public := matrix.EncodeBase64(private.Public().(ed25519.PublicKey))
	as(t, s, ghost, "POST", "v3/keys/upload?x="+device, `{
		"device_keys":`+signed(`{"user_id":"`+ghost+`","device_id":"GHOST","algorithms":["m.olm.v1.curve25519-aes-sha2"],"keys":{"ed25519:GHOST":"`+public+`"}}`)+`,
		"one_time_keys":{"signed_curve25519:A":`+signed(`{"key":"a"}`)+`,"signed_curve25519:B":`+signed(`{"key":"b"}`)+`},
		"fallback_keys":{"signed_curve25519:F":`+signed(`{"key":"f","fallback":true}`)+`}}`)
	alice.Must("POST", "v3/keys/claim", `{"one_time_keys":{"`+ghost+`":{"GHOST":"signed_curve25519"}}}`, nil)
	alice.Must("PUT", "v3/sendToDevice/m.room.encrypted/1", `{"messages":{"`+ghost+`":{"*":{"ciphertext":"for the bridge"}},"@alice:house.test":{"*":{"ciphertext":"not for it"}}}}`, nil)
	b.until(t, "the message and the counts", func(all []told) bool {
		message, counts := false, false
		for _, x := range all {
			for _, m := range x.ToDevice {
				if m["to_user_id"] != ghost {
					t.Fatalf("told %v", m)
				}
				message = m["to_device_id"] == "GHOST" && m["sender"] == "@alice:house.test" && m["type"] == "m.room.encrypted" &&
					fmt.Sprint(m["content"]) == "map[ciphertext:for the bridge]"
			}
			if x.Counts[ghost]["GHOST"]["signed_curve25519"] == 1 && slices.Equal(x.Fallback[ghost]["GHOST"], []string{"signed_curve25519"}) {
				counts = true
			}
		}
		return message && counts
	})
	// What the service has taken does not wait for a /sync, the user being its alone.
	alice.Must("PUT", "v3/rooms/{room}/send/m.room.message/1", `{"msgtype":"m.text","body":"next"}`, nil)
	b.until(t, "the next message", func(all []told) bool { return slices.Contains(texts(all), "next") })
	if sync := as(t, s, ghost, "GET", "v3/sync?x="+device, ""); strings.Contains(fmt.Sprint(sync["to_device"]), "for the bridge") {
		t.Error("the message still waits")
	}

	changed := func(user string) func(all []told) bool {
		return func(all []told) bool {
			return slices.ContainsFunc(all, func(x told) bool { return slices.Contains(x.Lists.Changed, user) })
		}
	}
	s.User("stranger#2")
	s.User("alice#2") // a further device
	b.until(t, "alice's devices", changed("@alice:house.test"))
	s.User("carol").Must("POST", "v3/join/{room}", `{}`, nil)
	b.until(t, "carol's devices", changed("@carol:house.test"))
	s.User("carol").Must("POST", "v3/rooms/{room}/leave", `{}`, nil)
	b.until(t, "that carol left", func(all []told) bool {
		return slices.ContainsFunc(all, func(x told) bool { return slices.Contains(x.Lists.Left, "@carol:house.test") })
	})
	if changed("@stranger:house.test")(b.all()) {
		t.Error("told of somebody who shares no room with the bridge")
	}
}

// TestRepeatsAreTheSame: a transaction that was not answered is sent again, byte by byte,
// also after a restart and when what it speaks of is gone.
func TestRepeatsAreTheSame(t *testing.T) {
	folder := t.TempDir()
	b := newBridge(t)
	var room string
	t.Run("before", func(t *testing.T) {
		s := servertest.At(t, folder)
		bridged(t, s, b)
		room = s.Var("room")
		as(t, s, ghost, "PUT", "v3/devices/GHOST", `{}`)
		s.User("alice").Must("PUT", "v3/rooms/{room}/send/m.room.message/0", `{"msgtype":"m.text","body":"zero"}`, nil)
		b.until(t, "the beginning", func(all []told) bool { return slices.Contains(texts(all), "zero") })
		b.answer(502)
		var out struct {
			Event string `json:"event_id"`
		}
		s.User("alice").Must("PUT", "v3/sendToDevice/m.x/1", `{"messages":{"`+ghost+`":{"GHOST":{"n":1}}}}`, &out)
		b.until(t, "the message", func(all []told) bool {
			return slices.ContainsFunc(all, func(x told) bool { return len(x.ToDevice) > 0 })
		})
		as(t, s, ghost, "DELETE", "v3/devices/GHOST", `{}`) // and with it the message
		s.User("alice").Must("PUT", "v3/rooms/{room}/send/m.room.message/1", `{"msgtype":"m.text","body":"one"}`, &out)
		s.User("alice").Must("PUT", "v3/rooms/{room}/send/m.room.message/2", `{"msgtype":"m.text","body":"* one","m.relates_to":{"rel_type":"m.replace","event_id":"`+out.Event+`"},"m.new_content":{"msgtype":"m.text","body":"uno"}}`, nil)
	})
	t.Run("after", func(t *testing.T) {
		s := servertest.At(t, folder)
		b.answer(200)
		s.User("alice").Must("PUT", "v3/rooms/"+room+"/send/m.room.message/3", `{"msgtype":"m.text","body":"three"}`, nil)
		b.until(t, "the rest", func(all []told) bool { return slices.Contains(texts(all), "three") })
	})
	if got := strings.Join(texts(b.all()), ", "); got != "zero, one, * one, three" { // all checks the repeats
		t.Errorf("told %q", got)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.ContainsFunc(b.ids, func(id string) bool { return len(b.bodies[id]) > 1 }) {
		t.Error("nothing was repeated")
	}
}

// TestWhatWasBeforeGoing: while the service is away its ghost is thrown out; what was said
// before is told, what came after is not.
func TestWhatWasBeforeGoing(t *testing.T) {
	folder := t.TempDir()
	b := newBridge(t)
	b.answer(502)
	s := servertest.At(t, folder)
	bridged(t, s, b)
	s.User("bob").Must("POST", "v3/join/{room}", `{}`, nil)
	s.User("alice").Must("PUT", "v3/rooms/{room}/send/m.room.message/1", `{"msgtype":"m.text","body":"while it was there"}`, nil)
	as(t, s, ghost, "POST", "v3/rooms/"+s.Var("room")+"/leave", `{}`)
	s.User("alice").Must("PUT", "v3/rooms/{room}/send/m.room.message/2", `{"msgtype":"m.text","body":"behind its back"}`, nil)
	as(t, s, ghost, "POST", "v3/rooms/"+s.Var("room")+"/join", `{}`)
	s.User("alice").Must("PUT", "v3/rooms/{room}/send/m.room.message/3", `{"msgtype":"m.text","body":"back"}`, nil)
	b.answer(200)
	b.until(t, "everything", func(all []told) bool { return slices.Contains(texts(all), "back") })
	if got := strings.Join(texts(b.all()), ", "); got != "while it was there, back" {
		t.Errorf("told %q", got)
	}
}

// TestLegacyServices knows the paths of old only.
func TestLegacyServices(t *testing.T) {
	for _, status := range []int{404, 405, 500, 501} {
		s := servertest.New(t)
		var mu sync.Mutex
		var paths []string
		news := make(chan struct{}, 1)
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/_matrix/") {
				w.WriteHeader(status)
				return
			}
			mu.Lock()
			paths = append(paths, r.URL.Path)
			mu.Unlock()
			fmt.Fprint(w, "{}")
			select {
			case news <- struct{}{}:
			default:
			}
		}))
		defer web.Close()
		add(t, s, registration(web.URL))
		as(t, s, "", "POST", "v3/createRoom", `{}`)
		select {
		case <-news:
		case <-t.Context().Done():
			t.Fatal("not told")
		}
		mu.Lock()
		if !strings.HasPrefix(paths[0], "/transactions/") {
			t.Errorf("%d: %v", status, paths)
		}
		mu.Unlock()
	}
}

// TestBadAnswers: whatever a service answers, the house goes on, and tells it again.
func TestBadAnswers(t *testing.T) {
	elsewhere := 0
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer trap.Close()
	flood := strings.Repeat("x", 1<<20)
	for name, serve := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, trap.URL+"/x", http.StatusTemporaryRedirect)
		},
		"garbage": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); fmt.Fprint(w, "\xff\x00<html>") },
		"flood": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(503)
			for range 100 {
				if _, err := io.WriteString(w, flood); err != nil {
					return
				}
			}
		},
		"cut off": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			s := servertest.New(t)
			var mu sync.Mutex
			var ids []string
			news := make(chan struct{}, 1)
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				ids = append(ids, r.URL.Path)
				first := len(ids) == 1
				mu.Unlock()
				if first {
					serve(w, r)
					return
				}
				fmt.Fprint(w, "{}")
				select {
				case news <- struct{}{}:
				default:
				}
			}))
			defer web.Close()
			add(t, s, registration(web.URL))
			as(t, s, "", "POST", "v3/createRoom", `{}`)
			select {
			case <-news:
			case <-t.Context().Done():
				t.Fatal("not told again")
			}
			mu.Lock()
			defer mu.Unlock()
			if ids[0] != ids[1] {
				t.Errorf("told under %v", ids)
			}
		})
	}
	if elsewhere > 0 {
		t.Error("a redirect was followed")
	}
}

// TestServicesAreToldWhole: a service is told of what is attached to an event, too, whether or
// not its own user could see that; and of nobody's membership.
func TestServicesAreToldWhole(t *testing.T) {
	s := servertest.New(t)
	b := newBridge(t)
	bridged(t, s, b)
	alice := s.User("alice")
	var made struct {
		Room string `json:"room_id"`
	}
	alice.Must("POST", "v3/createRoom", `{"preset":"public_chat","topic":"before","initial_state":[{"type":"m.room.history_visibility","content":{"history_visibility":"joined"}}]}`, &made)
	s.Set("room", made.Room)
	as(t, s, ghost, "POST", "v3/rooms/"+made.Room+"/join", `{}`)
	alice.Must("PUT", "v3/rooms/{room}/state/m.room.topic", `{"topic":"after"}`, nil)
	var unsigned string
	b.until(t, "the topic", func(all []told) bool {
		for _, x := range all {
			for _, e := range x.Events {
				if e.Type == "m.room.topic" {
					unsigned = string(e.Unsigned)
				}
			}
		}
		return strings.Contains(unsigned, "replaces_state")
	})
	if !strings.Contains(unsigned, `"prev_content":{`) || !strings.Contains(unsigned, "before") || strings.Contains(unsigned, "membership") {
		t.Errorf("it is told %s", unsigned)
	}
}
