package search

import (
	"cmp"
	"iter"
	"slices"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

const (
	// maxWork is how many steps one search makes in the index: each finds one row.
	maxWork = 20000
	// maxProbes is how many words of the term are looked up in the index; all are compared.
	maxProbes = 12
	// maxTail is how many changes are read that are not in the index yet. There are more
	// only while the index is built for the first time.
	maxTail = 4 * DefaultBatch
	// maxMatches is how many results are gathered, the newest first, and then ordered
	// together by rank; behind them come the next ones.
	maxMatches = 1000
	// maxRead is how much of events is read to compare them, in bytes; most are below 1 KiB.
	maxRead = 4 << 20
)

// finder is one search under way.
type finder struct {
	k     *Keeper
	r     kv.Reader
	user  matrix.UserID
	args  *Args
	from  token
	runs  []run    // of the term
	words []string // of the runs
	rooms map[matrix.RoomID]*rooms.Sight
	// work is what is left of maxWork. cut says that the search ended early; only what is
	// newer than reached has been looked at then.
	work    int
	bytes   int // left of maxRead
	cut     bool
	reached changes.Position
}

// newFinder prepares a search; the term has at least one word.
func (k *Keeper) newFinder(r kv.Reader, user matrix.UserID, a *Args, from token, term *text) *finder {
	f := &finder{k: k, r: r, user: user, args: a, from: from, runs: distinct(term.runs), words: term.words, work: maxWork, bytes: maxRead}
	slices.SortStableFunc(f.words, func(a, b string) int { return len(b) - len(a) }) // the long are rare
	f.words = f.words[:min(len(f.words), maxProbes)]
	f.rooms = map[matrix.RoomID]*rooms.Sight{}
	listener := k.Rooms.Listener(r, user)
	if from.Floor != 0 {
		f.work *= 4 // what the page before found in the log may be in the index by now
	}
	for room, m := range k.Rooms.Memberships(r, user) {
		if !m.WasJoined && m.State != "join" || m.Forgotten || !a.Filter.MatchRoom(room) {
			continue
		}
		if _, encrypted := k.Rooms.State(r, room, "m.room.encryption", ""); !encrypted {
			f.rooms[room] = listener.In(room, m)
		}
	}
	return f
}

func distinct(all []run) []run {
	var some []run
	for _, r := range all {
		if !slices.Contains(some, r) {
			some = append(some, r)
		}
	}
	return some
}

// all finds what matches, in the order that is wanted.
func (f *finder) all() []match {
	var found []match
	if len(f.rooms) == 0 || f.args.Filter.Nothing() {
		return nil
	}
	for room, pos := range f.candidates() {
		if len(found) == maxMatches || f.bytes <= 0 || pos <= changes.Position(f.from.Floor) {
			f.cut, f.reached = true, pos
			break
		}
		if m, ok := f.match(room, pos); ok {
			found = append(found, m)
		}
	}
	if f.from.Order == ByRank {
		slices.SortStableFunc(found, func(a, b match) int { return cmp.Compare(b.rank, a.rank) })
	}
	return found
}

// match reads an event and says whether it is a result.
func (f *finder) match(room matrix.RoomID, pos changes.Position) (match, bool) {
	sight := f.rooms[room]
	if sight == nil || f.from.Group == ByRoom && f.from.Value != string(room) {
		return match{}, false
	}
	e, ok := f.k.Rooms.EventAt(f.r, room, pos)
	if !ok || f.from.Group != "" && f.from.Value != group(f.from.Group, e) || !f.args.Filter.MatchEvent(e) {
		return match{}, false
	}
	key, said, ok := textOf(e)
	if !ok || e.RedactedBy != "" || !f.args.wants(key) {
		return match{}, false
	}
	f.bytes -= len(e.PDU)
	rank := f.rank(read(said))
	if rank == 0 || !f.shows(e) {
		return match{}, false
	}
	message, ok := f.message(e, sight)
	return match{message, pos, rank}, ok
}

// shows says whether the viewer sees what an event says.
func (f *finder) shows(e *rooms.Event) bool {
	return f.k.Rooms.Visible(f.r, f.user, e) && f.k.Rooms.Served(f.r, e, f.user) == e
}

// message is the message whose newest version an event is: itself, or what it edits. False
// if there is a newer version, by whose words the message is found then.
func (f *finder) message(e *rooms.Event, sight *rooms.Sight) (*rooms.Event, bool) {
	message := e
	if id := e.Edits(); id != "" {
		edited, ok := f.k.Rooms.Event(f.r, id)
		if !ok || edited.Room != e.Room || !f.shows(edited) {
			return nil, false
		}
		message = edited
	}
	latest := f.k.Rooms.LatestEdit(f.r, message, changes.Position(f.from.As), sight)
	if latest == nil {
		latest = message
	}
	return message, latest.Position == e.Position
}

// saturation is how fast it stops to matter that a word stands there once more, and
// usualWords how many words are neither few nor many for a text, as in Okapi BM25.
const (
	saturation = 1.2
	usualWords = 20
)

// rank says how close a text is to the term: the more often it has each of the words and the
// less it says besides, the closer, as in Okapi BM25. How rare a word is does not matter, as
// every text has all of them, and what a text is worth stays the same from page to page. It
// is 0 if a word is not there.
func (f *finder) rank(t *text) float64 {
	rank := 0.0
	length := 0.25 + 0.75*float64(t.total)/usualWords
	for _, r := range f.runs {
		n := float64(t.has(r))
		if n == 0 {
			return 0
		}
		rank += n * (saturation + 1) / (n + saturation*length)
	}
	return rank
}

// candidates are the events that may match, newest first: all of those that are not in the
// index yet, and behind them those that the index has under every word.
func (f *finder) candidates() iter.Seq2[matrix.RoomID, changes.Position] {
	return func(yield func(matrix.RoomID, changes.Position) bool) {
		indexed := f.k.Changes.Cursor(f.r, follower)
		through := changes.Position(f.from.Through)
		read := 0
		for pos, c := range f.k.Changes.Before(f.r, through) {
			if read++; pos <= indexed || read > maxTail {
				break
			}
			if c.Kind == changes.Event && !yield(c.Room, pos) {
				return
			}
		}
		for pos := range f.common(uint64(min(through, indexed))) {
			row, ok := f.k.texts.Get(f.r, pos)
			if ok && !yield(row.Room, changes.Position(pos)) {
				return
			}
		}
	}
}

// common are the positions at or before one that stand under every word. Each word in turn
// says where it stands next; whoever is behind sets the pace for the others.
func (f *finder) common(at uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for at > 0 {
			agree := 0
			for i := 0; agree < len(f.words); i = (i + 1) % len(f.words) {
				if f.work--; f.work < 0 {
					f.cut, f.reached = true, changes.Position(at)
					return
				}
				next, ok := f.lookUp(f.words[i], at)
				if !ok {
					return
				}
				if next == at {
					agree++
				} else {
					at, agree = next, 1
				}
			}
			if !yield(at) {
				return
			}
			at--
		}
	}
}

// lookUp is the newest position at or before one that stands under a word.
func (f *finder) lookUp(word string, through uint64) (uint64, bool) {
	for key := range f.k.words.Keys(f.r, kv.Prefix(word).Through(through).Reverse()) {
		return key.Position, true
	}
	return 0, false
}

// around is what stands around a result, whatever it is: the filter chose the result.
func (f *finder) around(e *rooms.Event) (earlier, later []*rooms.Event, start, end string) {
	c := f.args.Context
	filter := f.args.Filter
	filter.Types, filter.NotTypes, filter.Senders, filter.NotSenders, filter.ContainsURL = nil, nil, nil, nil, nil
	return f.k.history.Around(f.r, f.user, e, c.before(), c.after(), filter)
}
