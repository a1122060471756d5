package syncv2_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/syncv2"
)

// waiting is a /sync under way.
type waiting struct {
	finished chan struct{} // closed once answer and took are there
	answer   answer
	took     time.Duration
}

func (w *waiting) done() bool {
	select {
	case <-w.finished:
		return true
	default:
		return false
	}
}

func (h *house) wait(ctx context.Context, user matrix.UserID, since string, d time.Duration) *waiting {
	w := &waiting{finished: make(chan struct{})}
	started := time.Now()
	go func() {
		res, err := h.view.Sync(ctx, syncv2.Request{Viewer: rooms.Viewer{User: user, Device: "PHONE"}, Since: since, Timeout: d, SetPresence: "offline"})
		if err != nil {
			h.t.Error(err)
			return
		}
		raw, err := json.Marshal(res)
		if err == nil {
			err = json.Unmarshal(raw, &w.answer)
		}
		if err != nil {
			h.t.Error(err)
		}
		w.answer.raw, w.took = string(raw), time.Since(started)
		close(w.finished)
	}()
	synctest.Wait()
	return w
}

func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		r := h.public(bob)
		other := h.public(carol)
		since := h.sync(bob, "").Next
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()

		w := h.wait(ctx, bob, since, 30*time.Second)
		time.Sleep(10 * time.Second)
		h.say(other, carol, "not for bob")
		synctest.Wait()
		if w.done() {
			t.Fatalf("answered for somebody else's news: %s", w.answer.raw)
		}
		time.Sleep(5 * time.Second)
		h.say(r, alice, "hello")
		synctest.Wait()
		if !w.done() || w.took != 15*time.Second {
			t.Fatalf("not woken: %v", w.took)
		}
		want(t, "news", bodies(w.answer.Rooms.Join[r].Timeline.Events), []string{"hello"})

		w = h.wait(ctx, bob, w.answer.Next, 30*time.Second)
		time.Sleep(29 * time.Second)
		synctest.Wait()
		if w.done() {
			t.Error("answered early")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !w.done() || len(w.answer.Rooms.Join) != 0 || w.answer.Next == "" {
			t.Errorf("time is over: %s", w.answer.raw)
		}

		w = h.wait(ctx, bob, w.answer.Next, time.Hour)
		time.Sleep(syncv2.DefaultMaxWait)
		synctest.Wait()
		if !w.done() {
			t.Error("the wait has no bound")
		}

		cut, stop := context.WithCancel(ctx)
		w = h.wait(cut, bob, w.answer.Next, time.Minute)
		stop()
		synctest.Wait()
		if !w.done() {
			t.Error("the client is gone and the wait goes on")
		}
		w = h.wait(ctx, bob, w.answer.Next, time.Minute)
		close(h.closing)
		synctest.Wait()
		if !w.done() || w.took != 0 || w.answer.Next == "" {
			t.Error("the server closes and the wait goes on")
		}
	})
}

func TestWhatWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		r := h.public(bob)
		since := h.sync(bob, "").Next
		steps := []struct {
			name string
			do   func()
			told func(a answer) bool
		}{
			{"typing", func() {
				view(h, func(tx *kv.ReadTx) error { return h.ephemeral.SetTyping(tx, r, alice, true, time.Minute) })
			}, func(a answer) bool { return a.Rooms.Join[r].Ephemeral.Events[0].Type == "m.typing" }},
			{"receipt", func() {
				e := h.last(r)
				view(h, func(tx *kv.ReadTx) error { return h.ephemeral.SetReceipt(tx, r, alice, "m.read", e, "") })
			}, func(a answer) bool { return a.Rooms.Join[r].Ephemeral.Events[0].Type == "m.receipt" }},
			{"presence", func() {
				if err := h.ephemeral.SetPresence(alice, "PHONE", "online", nil); err != nil {
					t.Fatal(err)
				}
			}, func(a answer) bool { return a.Presence.Events[0].Sender == alice }},
			{"account data", func() {
				h.do(func(tx *kv.WriteTx) error {
					return h.accounts.SetAccountData(tx, bob, "", "org.x", []byte(`{"a":1}`))
				})
			}, func(a answer) bool { return a.AccountData.Events[0].Type == "org.x" }},
			{"account data of a room", func() {
				h.do(func(tx *kv.WriteTx) error {
					return h.accounts.SetAccountData(tx, bob, r, "m.tag", []byte(`{"tags":{}}`))
				})
			}, func(a answer) bool { return a.Rooms.Join[r].AccountData.Events[0].Type == "m.tag" }},
			{"to-device", func() {
				h.do(func(tx *kv.WriteTx) error {
					return h.e2ee.SendToDevice(tx, alice, "m.x", map[matrix.UserID]map[matrix.DeviceID]json.RawMessage{bob: {"PHONE": []byte(`{}`)}})
				})
			}, func(a answer) bool { return a.ToDevice.Events[0].Type == "m.x" }},
			{"invitation", func() { h.create(rooms.CreateArgs{Invite: []matrix.UserID{bob}}) },
				func(a answer) bool { return len(a.Rooms.Invite) == 1 }},
			{"kick", func() { h.member(r, alice, bob, "leave") },
				func(a answer) bool { return len(a.Rooms.Leave) == 1 }},
		}
		for _, s := range steps {
			w := h.wait(t.Context(), bob, since, 30*time.Second)
			if w.done() {
				t.Errorf("%s: answered before: %s", s.name, w.answer.raw)
			}
			s.do()
			synctest.Wait()
			if !w.done() || !s.told(w.answer) {
				t.Fatalf("%s: not told: %s", s.name, w.answer.raw)
			}
			since = w.answer.Next
		}
	})
}

func view(h *house, fn func(tx *kv.ReadTx) error) {
	h.t.Helper()
	if err := h.db.View(h.ctx, fn); err != nil {
		h.t.Fatal(err)
	}
}

// last is the last event of a room.
func (h *house) last(room matrix.RoomID) (id matrix.EventID) {
	view(h, func(tx *kv.ReadTx) error {
		for e := range h.rooms.Backwards(tx, room, 1<<62) {
			id = e.ID
			break
		}
		return nil
	})
	return id
}
