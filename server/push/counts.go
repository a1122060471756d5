package push

import (
	"maps"
	"sync"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/ephemeral"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

const (
	// maxTallies is how many counts are kept, each of a user in a room.
	maxTallies = 20_000
	// maxLookBack is how many events of a room are looked at to count what is unread; what
	// is behind them does not count any more.
	maxLookBack = 20_000
)

// Counts are unread notifications.
type Counts struct {
	Notifications int
	Highlights    int // of these, those that are to stand out
}

func (c Counts) plus(d Counts) Counts {
	return Counts{c.Notifications + d.Notifications, c.Highlights + d.Highlights}
}

type tallyKey struct {
	user matrix.UserID
	room matrix.RoomID
}

// tally is what a user has not read in a room, as of a position. It does not change.
type tally struct {
	member  changes.Position // of the user's member event
	joined  changes.Position
	upTo    changes.Position
	all     changes.Position            // read up to, in all threads
	threads map[string]changes.Position // read up to, in each
	counts  map[string]Counts           // by thread
}

// read is how far the user has read in a thread.
func (t *tally) read(thread string) changes.Position {
	return max(t.joined, t.all, t.threads[thread])
}

// tallies keeps counts.
type tallies struct {
	mu  sync.Mutex
	all map[tallyKey]*tally // guarded by mu
}

func (s *tallies) get(key tallyKey) *tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[key]
}

func (s *tallies) keep(key tallyKey, t *tally) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.all[key]; old != nil && old.upTo > t.upTo {
		return
	}
	if s.all == nil || len(s.all) >= maxTallies {
		s.all = map[tallyKey]*tally{}
	}
	s.all[key] = t
}

// Unread counts what a user has not read in a room. Threads apart, the first result is of
// what is in no thread, and the second of each thread by its root in which something is
// unread; otherwise the first is of all (spec: receiving notifications).
func (k *Keeper) Unread(r kv.Reader, user matrix.UserID, room matrix.RoomID, apart bool) (Counts, map[string]Counts) {
	t := k.tally(r, user, room)
	if t == nil {
		return Counts{}, nil
	}
	var sum Counts
	var threads map[string]Counts
	for thread, n := range t.counts {
		switch {
		case !apart || thread == ephemeral.MainThread:
			sum = sum.plus(n)
		case n.Notifications > 0:
			if threads == nil {
				threads = map[string]Counts{}
			}
			threads[thread] = n
		}
	}
	return sum, threads
}

// UnreadTotal counts what a user has not read in all rooms.
func (k *Keeper) UnreadTotal(r kv.Reader, user matrix.UserID) (sum Counts) {
	for room, m := range k.Rooms.Memberships(r, user) {
		if m.State == "join" {
			n, _ := k.Unread(r, user, room, false)
			sum = sum.plus(n)
		}
	}
	return sum
}

// tally brings what is kept up to what r sees, or makes it anew; nil if the user is not in
// the room.
func (k *Keeper) tally(r kv.Reader, user matrix.UserID, room matrix.RoomID) *tally {
	m, _ := k.Rooms.MembershipRow(r, room, user)
	if m.State != "join" {
		return nil
	}
	key := tallyKey{user, room}
	last := k.Changes.Last(r)
	all, threads := k.Ephemeral.ReadUpTo(r, room, user)
	old := k.tallies.get(key)
	var t *tally
	if old != nil && old.member == m.Position && old.upTo <= last {
		if old.upTo == last && old.all == all && maps.Equal(old.threads, threads) {
			return old
		}
		t = k.advance(r, key, old, last, all, threads)
	}
	if t == nil {
		t = &tally{member: m.Position, upTo: last, all: all, threads: threads, counts: map[string]Counts{}}
		t.joined = k.Rooms.JoinedSince(r, room, m)
		k.recount(r, key, t)
	}
	k.tallies.keep(key, t)
	return t
}

// advance is an older tally brought up to a position and to what the user has read since;
// nil if it has to be made anew.
func (k *Keeper) advance(r kv.Reader, key tallyKey, old *tally, last, all changes.Position, threads map[string]changes.Position) *tally {
	t := &tally{member: old.member, joined: old.joined, upTo: last, all: all, threads: threads, counts: maps.Clone(old.counts)}
	// A thread that was read further is counted anew from there.
	anew, from := map[string]bool{}, old.upTo
	for thread, n := range old.counts {
		if now := t.read(thread); n.Notifications > 0 && now > old.read(thread) {
			anew[thread] = true
			delete(t.counts, thread)
			from = min(from, now)
		}
	}
	for pos, notice := range k.Rooms.Notices(r, key.room, from) {
		if notice == nil {
			continue
		}
		if pos > old.upTo && notice.Undone > t.joined {
			return nil
		}
		if pos > old.upTo || anew[threadOf(notice)] {
			t.add(pos, notice, key.user)
		}
	}
	return t
}

// recount counts from the end of the room back to what was read.
func (k *Keeper) recount(r kv.Reader, key tallyKey, t *tally) {
	seen := 0
	for pos, notice := range k.Rooms.NoticesBackwards(r, key.room, max(t.joined, t.all)) {
		if notice != nil {
			t.add(pos, notice, key.user)
		}
		if seen++; seen >= maxLookBack {
			return
		}
	}
}

// add counts an event, if it notifies the user and is not read.
func (t *tally) add(pos changes.Position, notice *rooms.Notice, user matrix.UserID) {
	g := notice.For(user)
	thread := threadOf(notice)
	if g == nil || pos <= t.read(thread) {
		return
	}
	n := Counts{Notifications: 1}
	if g.Highlight {
		n.Highlights = 1
	}
	t.counts[thread] = t.counts[thread].plus(n)
}

func threadOf(n *rooms.Notice) string {
	if n.Thread == "" {
		return ephemeral.MainThread
	}
	return string(n.Thread)
}
