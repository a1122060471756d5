package syncv2_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/e2ee"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/syncv2"
)

// manyRooms makes n rooms in which bob is, each with some messages.
func manyRooms(h *house, n, messages int) []matrix.RoomID {
	var all []matrix.RoomID
	for len(all) < n {
		h.do(func(tx *kv.WriteTx) error {
			for range min(20, n-len(all)) {
				room, err := h.rooms.Create(tx, rooms.CreateArgs{Creator: alice, Preset: "public_chat", Name: fmt.Sprint("Room ", len(all))})
				if err != nil {
					return err
				}
				if _, err := h.rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: bob, Target: bob, Membership: "join"}); err != nil {
					return err
				}
				for i := range messages {
					if _, err := h.rooms.Send(tx, rooms.SendArgs{Room: room, Sender: alice, Type: "m.room.message",
						Content: []byte(fmt.Sprintf(`{"msgtype":"m.text","body":"message %d"}`, i))}); err != nil {
						return err
					}
				}
				all = append(all, room)
			}
			return nil
		})
	}
	return all
}

// BenchmarkWake is the time from a commit to the encoded answer of a /sync that waits.
func BenchmarkWake(b *testing.B) {
	h := newHouse(b)
	room := manyRooms(h, 50, 20)[0]
	since := h.sync(bob, "").Next
	var took []time.Duration
	for b.Loop() {
		answered := make(chan time.Time)
		ready := make(chan struct{})
		go func() {
			close(ready)
			res, err := h.view.Sync(context.Background(), syncv2.Request{Viewer: rooms.Viewer{User: bob, Device: "PHONE"}, Since: since, Timeout: time.Minute, SetPresence: "offline"})
			if err != nil {
				b.Error(err)
			} else if _, err := json.Marshal(res); err != nil {
				b.Error(err)
			}
			since = res.NextBatch
			answered <- time.Now()
		}()
		<-ready
		b.StopTimer()
		time.Sleep(2 * time.Millisecond) // until it waits
		var committed time.Time
		h.do(func(tx *kv.WriteTx) error {
			tx.AfterCommit(func() { committed = time.Now() })
			_, err := h.rooms.Send(tx, rooms.SendArgs{Room: room, Sender: alice, Type: "m.room.message", Content: []byte(`{"body":"x"}`)})
			return err
		})
		took = append(took, (<-answered).Sub(committed))
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}

// BenchmarkFirst is a first sync, and BenchmarkNext one with a single new message, both
// with 100 rooms and with 1,000.
func BenchmarkFirst(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint("rooms=", n), func(b *testing.B) {
			h := newHouse(b)
			manyRooms(h, n, 100)
			for b.Loop() {
				res, err := h.view.Sync(context.Background(), syncv2.Request{Viewer: rooms.Viewer{User: bob, Device: "PHONE"}, SetPresence: "offline"})
				if err != nil || len(res.Rooms.Join) != n {
					b.Fatal(err, len(res.Rooms.Join))
				}
				raw, err := json.Marshal(res)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(raw)), "bytes")
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint("rooms=", n), func(b *testing.B) {
			h := newHouse(b)
			all := manyRooms(h, n, 5)
			since := h.sync(bob, "").Next
			h.say(all[n/2], alice, "news")
			for b.Loop() {
				res, err := h.view.Sync(context.Background(), syncv2.Request{Viewer: rooms.Viewer{User: bob, Device: "PHONE"}, Since: since, SetPresence: "offline"})
				if err != nil || len(res.Rooms.Join) != 1 {
					b.Fatal(err)
				}
				if _, err := json.Marshal(res); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOld is a sync with a token from which on 10,000 events in 100 rooms and 100,000
// other changes happened: reading each change, and as it is.
func BenchmarkOld(b *testing.B) {
	h := newHouse(b)
	since := h.sync(bob, "").Next
	manyRooms(h, 100, 100)
	for range 10 {
		h.do(func(tx *kv.WriteTx) error {
			for range 10_000 {
				h.changes.Append(tx, changes.Change{Kind: changes.Receipt, Room: "!elsewhere:house.local", User: alice})
			}
			return nil
		})
	}
	for name, far := range map[string]changes.Position{"each": 1 << 40, "far": 0} {
		b.Run(name, func(b *testing.B) {
			h.view = h.viewWith(syncv2.Config{FarBehind: far})
			h.e2ee.FarBehind = cmp.Or(far, e2ee.DefaultFarBehind)
			for b.Loop() {
				res, err := h.view.Sync(context.Background(), syncv2.Request{Viewer: rooms.Viewer{User: bob, Device: "PHONE"}, Since: since, SetPresence: "offline"})
				if err != nil || len(res.Rooms.Join) != 100 {
					b.Fatal(err, len(res.Rooms.Join))
				}
			}
		})
	}
}
