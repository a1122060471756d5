package ephemeral

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

const (
	alice matrix.UserID = "@alice:example.org"
	bob   matrix.UserID = "@bob:example.org"
	carol matrix.UserID = "@carol:example.org"
	room  matrix.RoomID = "!r:example.org"
	other matrix.RoomID = "!o:example.org"
)

// house is a stand-in for rooms: Alice and Bob are in both, Carol in none.
type house struct {
	events map[matrix.EventID]*rooms.Event
}

func (h *house) Membership(_ kv.Reader, _ matrix.RoomID, user matrix.UserID) string {
	if user == carol {
		return "leave"
	}
	return "join"
}

func (h *house) Event(_ kv.Reader, id matrix.EventID) (*rooms.Event, bool) {
	e, ok := h.events[id]
	return e, ok
}

func (h *house) Visible(_ kv.Reader, _ matrix.UserID, e *rooms.Event) bool {
	return e.Type != "hidden"
}

type fixture struct {
	*testing.T
	db *kv.DB
	k  *Keeper
	c  *changes.Keeper
	h  *house
}

func setUp(t *testing.T) *fixture { return openAt(t, filepath.Join(t.TempDir(), "db")) }

func openAt(t *testing.T, path string) *fixture {
	db := kvtest.OpenAt(t, path)
	c, err := changes.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{map[matrix.EventID]*rooms.Event{}}
	return &fixture{t, db, New(Config{DB: db, Changes: c, Rooms: h}), c, h}
}

// event adds an event to the log and the house.
func (f *fixture) event(id matrix.EventID, in matrix.RoomID, content string) {
	f.Helper()
	kvtest.Update(f, f.db, func(tx *kv.WriteTx) error {
		pos := f.c.Append(tx, changes.Change{Kind: changes.Event, Room: in})
		f.h.events[id] = &rooms.Event{ID: id, Room: in, Position: pos, Type: "m.room.message", Content: json.RawMessage(content)}
		return nil
	})
}

func (f *fixture) view(fn func(r kv.Reader)) {
	f.Helper()
	kvtest.View(f, f.db, func(tx *kv.ReadTx) { fn(tx) })
}

func (f *fixture) read(user matrix.UserID, kind string, event matrix.EventID, thread string) (err error) {
	f.Helper()
	f.view(func(r kv.Reader) { err = f.k.SetReceipt(r, room, user, kind, event, thread) })
	return err
}

func (f *fixture) since(viewer matrix.UserID, s Since) (got []string) {
	f.Helper()
	f.view(func(r kv.Reader) {
		for _, x := range f.k.ReceiptsSince(r, viewer, s, func(id matrix.RoomID) bool { return id == room })[room] {
			got = append(got, fmt.Sprintf("%s %s %s %s", x.User, x.Type, x.Event, x.Thread))
		}
	})
	slices.Sort(got)
	return got
}

func (f *fixture) token() Since { return Since{f.c.Published(), f.k.Boot(), f.k.Counter()} }

func running(t *testing.T, k *Keeper) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
}

func TestTypingEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := setUp(t)
		running(t, f.k)
		typing := func(user matrix.UserID, yes bool, timeout time.Duration) (err error) {
			f.view(func(r kv.Reader) { err = f.k.SetTyping(r, room, user, yes, timeout) })
			return err
		}
		if err := typing(carol, true, time.Second); !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Errorf("a stranger types: %v", err)
		}
		start := f.k.Counter()
		news := f.c.Wait()
		if err := typing(bob, true, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		<-news
		if err := typing(alice, true, time.Hour); err != nil {
			t.Fatal(err)
		}
		if got := f.k.TypingSince(start)[room]; !slices.Equal(got, []matrix.UserID{alice, bob}) {
			t.Errorf("typing: %v", got)
		}
		both := f.k.Counter()
		time.Sleep(5 * time.Second)
		if err := typing(bob, true, 10*time.Second); err != nil { // goes on
			t.Fatal(err)
		}
		if f.k.Counter() != both {
			t.Error("going on typing is no news")
		}
		news = f.c.Wait()
		<-news // Bob's time is over
		if got := f.k.TypingSince(both)[room]; !slices.Equal(got, []matrix.UserID{alice}) {
			t.Errorf("after 15 s: %v", got)
		}
		time.Sleep(MaxTyping)
		synctest.Wait()
		if got, ok := f.k.TypingSince(both)[room]; !ok || len(got) != 0 {
			t.Errorf("in the end: %v", got)
		}
		if got := f.k.TypingSince(0); len(got) != 0 {
			t.Errorf("nobody types, but: %v", got)
		}
		if string(TypingEvent(nil)) != `{"content":{"user_ids":[]},"type":"m.typing"}` {
			t.Error(string(TypingEvent(nil)))
		}
	})
}

func TestStoppedTyping(t *testing.T) {
	f := setUp(t)
	f.view(func(r kv.Reader) {
		if err := f.k.SetTyping(r, room, alice, true, 0); err != nil {
			t.Fatal(err)
		}
		n := f.k.Counter()
		if err := f.k.SetTyping(r, room, alice, false, 0); err != nil {
			t.Fatal(err)
		}
		f.k.StopTyping(room, alice)
		if f.k.Counter() != n+1 || len(f.k.Typing(room)) != 0 {
			t.Error("stopping twice is news once")
		}
	})
}

func TestEventsEndTyping(t *testing.T) {
	f := setUp(t)
	key := string(bob)
	for name, e := range map[string]*rooms.Event{
		"message": {Type: "m.room.message", Sender: bob, Room: room},
		"leaving": {Type: "m.room.member", Sender: alice, Room: room, StateKey: &key, Content: json.RawMessage(`{"membership":"leave"}`)},
	} {
		f.view(func(r kv.Reader) {
			if err := f.k.SetTyping(r, room, bob, true, 0); err != nil {
				t.Fatal(err)
			}
		})
		kvtest.Update(t, f.db, func(tx *kv.WriteTx) error {
			f.c.Append(tx, changes.Change{Kind: changes.Event, Room: room})
			return f.k.EventAppended(tx, e)
		})
		if got := f.k.Typing(room); len(got) != 0 {
			t.Errorf("after %s: %v", name, got)
		}
	}
}

func TestPresenceGoesWithTheClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := setUp(t)
		running(t, f.k)
		state := func() string { synctest.Wait(); return f.k.Presence(alice).State }
		expect := func(what, want string) {
			t.Helper()
			if got := state(); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		expect("at first", Offline)
		done, err := f.k.Connect(alice, "PHONE", "")
		if err != nil {
			t.Fatal(err)
		}
		expect("connected", Online)
		time.Sleep(idleAfter)
		expect("idle", Unavailable)
		f.k.Active(alice)
		expect("active", Online)
		done()
		time.Sleep(offlineAfter - time.Second)
		expect("just gone", Online)
		time.Sleep(2 * time.Second)
		expect("gone", Offline)
		if _, err := f.k.Connect(alice, "PHONE", "dreaming"); !matrix.IsCode(err, "M_INVALID_PARAM") {
			t.Error(err)
		}
		status := "at lunch"
		n := f.k.Counter()
		if err := f.k.SetPresence(alice, "PHONE", Unavailable, &status); err != nil {
			t.Fatal(err)
		}
		all := f.k.PresenceSince(n)
		if len(all) != 1 || all[0].Status != status || len(f.k.PresenceSince(f.k.Counter())) != 0 {
			t.Errorf("%+v", all)
		}
		var e struct {
			Sender  matrix.UserID
			Content struct {
				Presence string
				Status   string `json:"status_msg"`
			}
		}
		if err := json.Unmarshal(all[0].Event(), &e); err != nil || e.Sender != alice || e.Content.Presence != Unavailable || e.Content.Status != status {
			t.Errorf("%s %v", all[0].Event(), err)
		}
	})
}

func TestReceiptsGoForwardAndReachTheDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	var before Since
	var events map[matrix.EventID]*rooms.Event
	t.Run("first", func(t *testing.T) {
		f := openAt(t, path)
		f.event("$1", room, `{}`)
		f.event("$2", room, `{}`)
		f.event("$x", other, `{}`)
		before, events = f.token(), f.h.events
		for _, step := range []struct {
			user   matrix.UserID
			kind   string
			event  matrix.EventID
			thread string
			code   string
		}{
			{bob, Read, "$2", "", ""},
			{bob, Read, "$1", "", ""}, // backwards: passed over
			{bob, ReadPrivate, "$1", "", ""},
			{bob, Read, "$1", MainThread, ""},
			{carol, Read, "$1", "", "M_FORBIDDEN"},
			{bob, Read, "$nowhere", "", "M_NOT_FOUND"},
			{bob, Read, "$x", "", "M_NOT_FOUND"},
			{bob, "m.seen", "$1", "", "M_INVALID_PARAM"},
			{bob, Read, "$2", "$1", "M_INVALID_PARAM"},
		} {
			err := f.read(step.user, step.kind, step.event, step.thread)
			if (err == nil) != (step.code == "") || err != nil && !matrix.IsCode(err, step.code) {
				t.Errorf("%+v: %v", step, err)
			}
		}
		public := []string{"@bob:example.org m.read $1 main", "@bob:example.org m.read $2 "}
		if got := f.since(alice, before); !slices.Equal(got, public) {
			t.Errorf("in memory: %q", got)
		}
		if got := f.since(bob, before); len(got) != 3 {
			t.Errorf("Bob sees %q", got)
		}
		now := f.token()
		if err := f.db.Flush(); err != nil {
			t.Fatal(err)
		}
		if got := f.since(alice, now); len(got) != 0 {
			t.Errorf("told again after they reached the disk: %q", got)
		}
		f.view(func(r kv.Reader) {
			if got := f.k.Receipts(r, room, alice); len(got) != 2 {
				t.Errorf("all: %+v", got)
			}
			all, threads := f.k.ReadUpTo(r, room, bob)
			if all != f.h.events["$2"].Position || threads[MainThread] != f.h.events["$1"].Position {
				t.Errorf("read up to %d, %v", all, threads)
			}
			if n := len(ReceiptEvents(f.k.Receipts(r, room, bob))); n != 2 {
				t.Errorf("%d events for two threads", n)
			}
		})
	})
	t.Run("after a restart", func(t *testing.T) {
		f := openAt(t, path)
		f.h.events = events
		public := []string{"@bob:example.org m.read $1 main", "@bob:example.org m.read $2 "}
		if got := f.since(alice, before); !slices.Equal(got, public) {
			t.Errorf("from the log: %q", got)
		}
		if got := f.since(alice, f.token()); len(got) != 0 {
			t.Errorf("nothing is new, but: %q", got)
		}
		if err := f.read(bob, Read, "$1", ""); err != nil {
			t.Fatal(err)
		}
		if got := f.since(alice, f.token()); len(got) != 0 {
			t.Errorf("went backwards: %q", got)
		}
	})
}

func TestThreadOfAnEvent(t *testing.T) {
	f := setUp(t)
	f.event("$root", room, `{}`)
	f.event("$reply", room, `{"m.relates_to":{"rel_type":"m.thread","event_id":"$root"}}`)
	f.event("$reaction", room, `{"m.relates_to":{"rel_type":"m.annotation","event_id":"$reply"}}`)
	f.event("$edit", room, `{"m.relates_to":{"rel_type":"m.replace","event_id":"$root"}}`)
	f.event("$odd", room, `{"m.relates_to":7}`)
	for event, want := range map[matrix.EventID]string{
		"$root": MainThread, "$reply": "$root", "$reaction": "$root", "$edit": MainThread, "$odd": MainThread,
	} {
		f.view(func(r kv.Reader) {
			if got := f.k.Thread(r, f.h.events[event]); got != want {
				t.Errorf("%s is in %s, want %s", event, got, want)
			}
		})
		if err := f.read(bob, Read, event, want); err != nil {
			t.Errorf("%s: %v", event, err)
		}
	}
	if err := f.read(alice, Read, "$root", "$root"); err != nil {
		t.Errorf("the root in its own thread: %v", err)
	}
}
