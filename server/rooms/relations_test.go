package rooms_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// TestThreadGrowsWhileRead reads a thread while several answer in it: whatever a reader
// finds belongs together.
func TestThreadGrowsWhileRead(t *testing.T) {
	h := newHouse(t)
	room := h.create(rooms.CreateArgs{Preset: "public_chat"})
	root, err := h.say(room, alice, "root")
	h.must(err)
	const each = 5
	var writers sync.WaitGroup
	for n := range 3 {
		writers.Go(func() {
			for i := range each {
				_, err := h.send(rooms.SendArgs{Room: room, Sender: alice, Type: "m.room.message", Content: json.RawMessage(
					fmt.Sprintf(`{"body":"%d.%d","m.relates_to":{"rel_type":"m.thread","event_id":%q}}`, n, i, root.ID))})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	count := func() (n int) {
		err := h.db.View(t.Context(), func(tx *kv.ReadTx) error {
			replies, latest := 0, matrix.EventID("")
			for e := range h.rooms.Forwards(tx, room, root.Position) {
				if e.ThreadRoot() == root.ID {
					replies, latest = replies+1, e.ID
				}
			}
			shown := h.rooms.ClientEvent(tx, root, rooms.Viewer{User: alice}).Unsigned.Relations
			if shown == nil {
				return nil
			}
			n = shown.Thread.Count
			if n != replies || shown.Thread.Latest.EventID != latest {
				t.Errorf("thread of %d with %s, the timeline has %d with %s", n, shown.Thread.Latest.EventID, replies, latest)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	for range 20 {
		count()
	}
	writers.Wait()
	if n := count(); n != 3*each {
		t.Errorf("%d replies in the end", n)
	}
}

// TestNewestEditIsOfItsOwnTime sends an edit that says to be older after a newer one.
func TestNewestEditIsOfItsOwnTime(t *testing.T) {
	h := newHouse(t)
	room := h.create(rooms.CreateArgs{})
	root, err := h.say(room, alice, "root")
	h.must(err)
	edit := func(ts int64) *rooms.Event {
		e, err := h.send(rooms.SendArgs{Room: room, Sender: alice, Type: "m.room.message", TS: &ts, Content: json.RawMessage(
			fmt.Sprintf(`{"m.new_content":{},"m.relates_to":{"rel_type":"m.replace","event_id":%q}}`, root.ID))})
		h.must(err)
		return e
	}
	one, _, two := edit(5000), edit(3000), edit(5000)
	want := max(one.ID, two.ID)
	kvtest.View(t, h.db, func(tx *kv.ReadTx) {
		if got := h.rooms.ClientEvent(tx, root, rooms.Viewer{User: alice}).Unsigned.Relations.Replace.EventID; got != want {
			t.Errorf("the newest edit is %s, want %s", got, want)
		}
		if r := h.rooms.ClientEvent(tx, root, rooms.Viewer{User: alice, Plain: true}).Unsigned.Relations; r != nil {
			t.Errorf("%+v though nobody asked", r)
		}
	})
}

// FuzzRelatesTo reads relations out of any content.
func FuzzRelatesTo(f *testing.F) {
	for _, content := range []string{
		`{"m.relates_to":{"rel_type":"m.thread","event_id":"$root"}}`, `{"m.relates_to":{"rel_type":"m.thread","event_id":"root"}}`,
		`{"m.relates_to":{"rel_type":7,"event_id":["$root"]}}`, `{"M.relates_to":{"rel_type":"m.thread","event_id":"$root"}}`,
		`{"m.relates_to":{"m.in_reply_to":{"event_id":"$root"}}}`, `{"m.relates_to":[]}`, `[]`, ``,
	} {
		f.Add([]byte(content))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		e := rooms.Event{Content: content}
		root := e.ThreadRoot()
		if root == "" {
			return
		}
		if _, err := matrix.ParseEventID(string(root)); err != nil || e.RelationType() != rooms.RelThread {
			t.Errorf("%s: in the thread of %q, related as %q", content, root, e.RelationType())
		}
	})
}
