package rooms_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// counter counts the events that each transaction appends.
type counter struct{ in map[*kv.WriteTx]int }

func (c *counter) EventAppended(tx *kv.WriteTx, _ *rooms.Event) error {
	c.in[tx]++
	return nil
}

// most is the most that one did, and all of them together; it begins to count again.
func (c *counter) most() (most, all int) {
	for _, n := range c.in {
		most, all = max(most, n), all+n
	}
	c.in = map[*kv.WriteTx]int{}
	return most, all
}

// crowd is a house with a user who is in many rooms.
func crowd(t *testing.T, user matrix.UserID, n int, path string) (*house, *counter, []matrix.RoomID) {
	h := houseAt(t, path)
	c := &counter{in: map[*kv.WriteTx]int{}}
	var all []matrix.RoomID
	for len(all) < n {
		h.must(h.do(func(tx *kv.WriteTx) error {
			for range min(20, n-len(all)) {
				room, err := h.rooms.Create(tx, rooms.CreateArgs{Creator: user, CreationContent: fmt.Appendf(nil, `{"org.example.n":%d}`, len(all))})
				if err != nil {
					return err
				}
				all = append(all, room)
			}
			return nil
		}))
	}
	h.rooms.AddWitness(c)
	return h, c, all
}

// names are in how many rooms a user goes by which name.
func (h *house) names(all []matrix.RoomID, user matrix.UserID) map[string]int {
	names := map[string]int{}
	h.view(func(tx *kv.ReadTx) {
		for _, room := range all {
			e, _ := h.rooms.State(tx, room, "m.room.member", string(user))
			var c struct{ Displayname, Membership string }
			if err := json.Unmarshal(e.Content, &c); err != nil {
				h.t.Fatal(err)
			}
			names[c.Membership+" "+c.Displayname]++
		}
	})
	return names
}

// finish does the rest of all tasks.
func (h *house) finish() {
	h.t.Helper()
	for more := true; more; {
		var err error
		more, err = h.rooms.Portion(h.t.Context())
		h.must(err)
	}
}

// TestTasksAreBounded: no transaction writes more for a user in more rooms, and in the end
// every room has been told.
func TestTasksAreBounded(t *testing.T) {
	const per = 2
	for _, n := range []int{1, 5, 50, 200} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			h, c, all := crowd(t, bob, n, filepath.Join(t.TempDir(), "db"))
			h.rooms.TaskRooms = per
			h.people[bob] = "Robert"
			h.must(h.do(func(tx *kv.WriteTx) error { return h.rooms.ProfileChanged(tx, bob) }))
			if got := h.names(all, bob)["join Robert"]; got != min(n, per) {
				t.Errorf("%d rooms were told at once, want %d", got, min(n, per))
			}
			h.finish()
			if most, sum := c.most(); most > per || sum != n {
				t.Errorf("a name: %d events, %d in one transaction; want %d and at most %d", sum, most, n, per)
			}
			if got := h.names(all, bob); got["join Robert"] != n {
				t.Errorf("%v", got)
			}
			h.must(h.do(func(tx *kv.WriteTx) error { return h.rooms.ProfileChanged(tx, bob) }))
			h.finish()
			if _, sum := c.most(); sum != 0 {
				t.Errorf("%d events, and nothing was changed", sum)
			}
			h.must(h.do(func(tx *kv.WriteTx) error { return h.rooms.UserDeactivated(tx, bob, false) }))
			h.finish()
			if most, sum := c.most(); most > per || sum != n {
				t.Errorf("leaving: %d events, %d in one transaction; want %d and at most %d", sum, most, n, per)
			}
			if got := h.names(all, bob); got["leave "] != n {
				t.Errorf("%v", got)
			}
		})
	}
}

// TestTasksGoOnAfterACrash: what was begun comes to its end after the next start, and of two
// changes the last one counts, whenever the server died between them.
func TestTasksGoOnAfterACrash(t *testing.T) {
	const n, per = 30, 4
	for dies := range 9 {
		path := filepath.Join(t.TempDir(), "db")
		h, c, all := crowd(t, bob, n, path)
		h.rooms.TaskRooms = per
		rename := func(name string) {
			h.people[bob] = name
			h.must(h.do(func(tx *kv.WriteTx) error { return h.rooms.ProfileChanged(tx, bob) }))
		}
		rename("first")
		for range dies { // so many portions reach the disk
			_, err := h.rooms.Portion(t.Context())
			h.must(err)
		}
		last := "first"
		if dies%2 == 0 {
			last = "second"
			rename(last)
		}
		h.must(h.db.Close())

		h = houseAt(t, path) // it knows only what is on disk
		h.rooms.AddWitness(c)
		h.rooms.TaskRooms = per
		h.people[bob] = last
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.rooms.Run(ctx) }()
		for {
			news := h.changes.Wait()
			if h.names(all, bob)["join "+last] == n {
				break
			}
			<-news
		}
		cancel()
		h.must(<-done)
		if most, _ := c.most(); most > per {
			t.Errorf("%d events in one transaction", most)
		}
	}
}
