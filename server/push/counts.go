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
	// lookBack is the default of Config.
	lookBack = 20_000
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
	events  int64                       // how many the room has, by the depth of its last; 0: not known
	behind  changes.Position            // what is up to there does not count any more
	all     changes.Position            // read up to, in all threads
	threads map[string]changes.Position // read up to, in each
	acted   map[string]changes.Position // the user's last own event, in each
	ignored map[matrix.UserID]bool
	counts  map[string]Counts // by thread
	hidden  bool              // something would be unread if the user ignored nobody
}

// read is how far the user has read in a thread. Who sends an event has read what came before
// (spec: push, marking notifications as read).
func (t *tally) read(thread string) changes.Position {
	return max(t.joined, t.behind, t.all, t.threads[thread], t.acted[thread])
}

// passedOver is how many of a room's first events do not count any more when it has so many. It
// grows in steps, so that who has counted along and who counts from the end agree, and seldom
// have to count again.
func (k *Keeper) passedOver(events int64) int64 {
	step := max(1, k.LookBack/2)
	return max(0, (events-k.LookBack)/step*step)
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

// Hidden says whether there may be something in a room that counts as unread, or would if the
// user did not ignore who sent it. Where not, the counts do not depend on whom the user ignores.
func (k *Keeper) Hidden(r kv.Reader, user matrix.UserID, room matrix.RoomID) bool {
	t := k.tally(r, user, room)
	return t != nil && (t.hidden || len(t.counts) > 0)
}

// UnreadTotal counts what a user has not read in all rooms.
func (k *Keeper) UnreadTotal(r kv.Reader, user matrix.UserID) (sum Counts) {
	ignored := k.Rooms.Ignored(r, user)
	for room, m := range k.Rooms.Memberships(r, user) {
		if m.State != "join" {
			continue
		}
		for _, n := range k.tallyIn(r, user, room, m, ignored).counts {
			sum = sum.plus(n)
		}
	}
	return sum
}

// tally is tallyIn for a room that the user may be in; nil if the user is not.
func (k *Keeper) tally(r kv.Reader, user matrix.UserID, room matrix.RoomID) *tally {
	m, _ := k.Rooms.MembershipRow(r, room, user)
	if m.State != "join" {
		return nil
	}
	return k.tallyIn(r, user, room, m, k.Rooms.Ignored(r, user))
}

// tallyIn brings what is kept up to what r sees, or counts from the end of the room.
func (k *Keeper) tallyIn(r kv.Reader, user matrix.UserID, room matrix.RoomID, m rooms.Membership, ignored map[matrix.UserID]bool) *tally {
	key := tallyKey{user, room}
	last := k.Changes.Last(r)
	all, threads := k.Ephemeral.ReadUpTo(r, room, user)
	old := k.tallies.get(key)
	now := &tally{
		member: m.Position, upTo: last, all: all, threads: threads, ignored: ignored,
		acted: map[string]changes.Position{}, counts: map[string]Counts{},
	}
	if old != nil && old.member == m.Position && old.upTo <= last && maps.Equal(old.ignored, ignored) {
		if old.upTo == last && old.all == all && maps.Equal(old.threads, threads) {
			return old
		}
		if t := *now; k.advance(r, key, old, &t) {
			k.tallies.keep(key, &t)
			return &t
		}
	}
	now.joined = k.Rooms.JoinedSince(r, room, m)
	k.recount(r, key, now)
	k.tallies.keep(key, now)
	return now
}

// advance brings an older tally up to the position and to what the user has read since, in t;
// false if it has to be counted from the end of the room.
func (k *Keeper) advance(r kv.Reader, key tallyKey, old, t *tally) bool {
	t.joined, t.behind, t.events, t.hidden = old.joined, old.behind, old.events, old.hidden
	t.acted, t.counts = maps.Clone(old.acted), maps.Clone(old.counts)
	// A thread that was read further is counted again from there.
	again, from := map[string]bool{}, old.upTo
	for thread := range old.counts {
		if now := t.read(thread); now > old.read(thread) {
			again[thread] = true
			delete(t.counts, thread)
			from = min(from, now)
		}
	}
	news := int64(0)
	for trace := range k.Rooms.Notices(r, key.room, from) {
		fresh := trace.Position > old.upTo
		if fresh {
			k.number(r, key.room, t, &trace)
			news++
			if thread := k.act(r, key, t, &trace); thread != "" {
				delete(t.counts, thread) // all of it came before
			}
		}
		if news > k.LookBack || fresh && trace.Notice != nil && trace.Notice.Undone > t.read(threadOf(trace.Notice)) {
			return false
		}
		if fresh || trace.Notice != nil && again[threadOf(trace.Notice)] {
			t.add(&trace, key.user)
		}
	}
	return k.passedOver(t.events) == k.passedOver(old.events) || len(old.counts) == 0
}

// number counts the room's events along with one more.
func (k *Keeper) number(r kv.Reader, room matrix.RoomID, t *tally, trace *rooms.Trace) {
	if t.events > 0 {
		t.events++
	} else if e, ok := k.Rooms.EventAt(r, room, trace.Position); ok {
		t.events = e.Depth
	}
}

// recount counts from the end of the room back to what was read.
func (k *Keeper) recount(r kv.Reader, key tallyKey, t *tally) {
	at := int64(0) // which of the room's events is being looked at
	for trace := range k.Rooms.NoticesBackwards(r, key.room, max(t.joined, t.all)) {
		if t.events == 0 {
			k.number(r, key.room, t, &trace)
			at = t.events
		}
		if at <= k.passedOver(t.events) {
			t.behind = trace.Position
			return
		}
		at--
		k.act(r, key, t, &trace)
		t.add(&trace, key.user)
	}
}

// act notes an event of the user's own, with which everything before it in its thread is read:
// the result. It is empty for other events.
func (k *Keeper) act(r kv.Reader, key tallyKey, t *tally, trace *rooms.Trace) string {
	if trace.Automatic || trace.Sender() != key.user {
		return ""
	}
	thread := ephemeral.MainThread
	switch {
	case trace.Notice != nil && trace.Notice.Thread != "":
		thread = string(trace.Notice.Thread)
	case trace.MayRelate(): // it may be from when the thread was not kept
		if e, ok := k.Rooms.EventAt(r, key.room, trace.Position); ok {
			thread = k.Ephemeral.Thread(r, e)
		}
	}
	t.acted[thread] = max(t.acted[thread], trace.Position)
	return thread
}

// add counts an event, if it notifies the user and is not read.
func (t *tally) add(trace *rooms.Trace, user matrix.UserID) {
	if trace.Notice == nil {
		return
	}
	g := trace.Notice.For(user)
	thread := threadOf(trace.Notice)
	if g == nil || trace.Position <= t.read(thread) {
		return
	}
	if len(t.ignored) > 0 && t.ignored[trace.Sender()] {
		t.hidden = true
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
