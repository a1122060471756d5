package search_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/search"
)

const (
	alice = matrix.UserID("@alice:house.local")
	bob   = matrix.UserID("@bob:house.local")
)

type house struct {
	t      testing.TB
	db     *kv.DB
	log    *changes.Keeper
	rooms  *rooms.Keeper
	search *search.Keeper
}

// everybody exists and has no profile.
type everybody struct{}

func (everybody) MemberProfile(kv.Reader, matrix.UserID) (name, avatar string) { return "", "" }
func (everybody) UserExists(kv.Reader, matrix.UserID) bool                     { return true }

func newHouse(t testing.TB, db *kv.DB, batch int) *house {
	t.Helper()
	log, err := changes.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	k := rooms.New(rooms.Config{DB: db, Changes: log, Profiles: everybody{}, Server: "house.local", KeyID: "ed25519:t",
		Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))})
	s := search.New(search.Config{DB: db, Changes: log, Rooms: k, Batch: batch})
	return &house{t: t, db: db, log: log, rooms: k, search: s}
}

func (h *house) create(who matrix.UserID) (room matrix.RoomID) {
	h.t.Helper()
	kvtest.Update(h.t, h.db, func(tx *kv.WriteTx) (err error) {
		room, err = h.rooms.Create(tx, rooms.CreateArgs{Creator: who, Preset: "public_chat"})
		return err
	})
	return room
}

func (h *house) say(room matrix.RoomID, who matrix.UserID, bodies ...string) (last matrix.EventID) {
	h.t.Helper()
	kvtest.Update(h.t, h.db, func(tx *kv.WriteTx) error {
		for _, body := range bodies {
			content, err := json.Marshal(map[string]string{"body": body})
			if err != nil {
				return err
			}
			e, err := h.rooms.Send(tx, rooms.SendArgs{Room: room, Sender: who, Type: "m.room.message", Content: content})
			if err != nil {
				return err
			}
			last = e.ID
		}
		return nil
	})
	return last
}

func (h *house) redact(room matrix.RoomID, id matrix.EventID) {
	h.t.Helper()
	kvtest.Update(h.t, h.db, func(tx *kv.WriteTx) error {
		_, err := h.rooms.Send(tx, rooms.SendArgs{Room: room, Sender: alice, Type: "m.room.redaction", Redacts: id, Content: json.RawMessage("{}")})
		return err
	})
}

func (h *house) index() {
	h.t.Helper()
	if err := h.search.IndexAll(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) find(who matrix.UserID, a search.Args) (out search.Results) {
	h.t.Helper()
	err := h.db.View(h.t.Context(), func(tx *kv.ReadTx) (err error) {
		out, err = h.search.Search(tx, rooms.Viewer{User: who}, a)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

func bodies(out search.Results) string {
	var all []string
	for _, r := range out.Results {
		var c struct{ Body string }
		if err := json.Unmarshal(r.Event.Content, &c); err != nil {
			panic(err)
		}
		all = append(all, c.Body)
	}
	return strings.Join(all, "|")
}

// TestIndexedOrNot asks the same before the follower has come, half-way and after.
func TestIndexedOrNot(t *testing.T) {
	h := newHouse(t, kvtest.Open(t), 0)
	room, other := h.create(alice), h.create(bob)
	ask := func(when string) {
		t.Helper()
		for _, c := range []struct{ term, want string }{
			{"apple", "apple apple|pear and apple|apple pie"},
			{"APPLE and", "pear and apple"},
			{"apple missing", ""},
			{"app", ""},
			{"京都", "京都へ行く|東京都"},
			{"東京都", "東京都"},
			{"👍", ""},
		} {
			if got := bodies(h.find(alice, search.Args{Term: c.term, OrderBy: search.ByRecent})); got != c.want {
				t.Errorf("%s, %q: %s, want %s", when, c.term, got, c.want)
			}
		}
	}
	h.say(room, alice, "apple pie", "東京都", "京都へ行く")
	h.say(other, bob, "bob's own apple")
	h.index()
	gone := h.say(room, alice, "pear and apple", "a rotten apple")
	h.redact(room, gone)
	h.say(room, alice, "apple apple")
	ask("half-way")
	h.index()
	ask("indexed")
}

func TestRedactedWordsLeaveTheIndex(t *testing.T) {
	h := newHouse(t, kvtest.Open(t), 0)
	room := h.create(alice)
	id := h.say(room, alice, "a secret word")
	h.index()
	h.redact(room, id)
	if got := h.find(alice, search.Args{Term: "secret"}); got.Count != 0 {
		t.Errorf("found after the redaction: %s", bodies(got))
	}
	h.index()
	kvtest.View(t, h.db, func(tx *kv.ReadTx) {
		if words, texts, waiting := h.search.Indexed(tx); words+texts+waiting != 0 {
			t.Errorf("%d words of %d events are left, %d wait", words, texts, waiting)
		}
	})
}

// TestFollowerRestarts stops the follower and has another one go on where it was.
func TestFollowerRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "porchlight.db")
	var room matrix.RoomID
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			h := newHouse(t, kvtest.OpenAt(t, path), 3)
			if i == 0 {
				room = h.create(alice)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ran := make(chan error, 1)
			go func() { ran <- h.search.Run(ctx) }()
			for n := range 10 {
				h.say(room, alice, fmt.Sprintf("again %d", n))
			}
			for waiting := 3; waiting >= 3; runtime.Gosched() {
				kvtest.View(t, h.db, func(tx *kv.ReadTx) { _, _, waiting = h.search.Indexed(tx) })
			}
			cancel()
			if err := <-ran; err != nil {
				t.Error(err)
			}
			if got := h.find(alice, search.Args{Term: "again"}); got.Count != 10*(i+1) {
				t.Errorf("%d found, want %d", got.Count, 10*(i+1))
			}
		})
	}
}

// TestPages reads all pages in either order, of all results and of groups, while more come.
func TestPages(t *testing.T) {
	for i := range 4 {
		order, grouped := []string{search.ByRank, search.ByRecent}[i%2], i/2 == 1
		h := newHouse(t, kvtest.Open(t), 0)
		one, two := h.create(alice), h.create(alice)
		for i := range 30 {
			h.say([]matrix.RoomID{one, two}[i%2], alice, strings.Repeat("word ", i%3+1)+fmt.Sprint(i))
		}
		h.index()
		args := search.Args{Term: "word", OrderBy: order, GroupBy: []string{search.ByRoom}}
		seen := map[matrix.EventID]bool{}
		first := h.find(alice, args)
		if grouped {
			args.From = first.Groups[search.ByRoom][string(one)].NextBatch
		} else {
			args.From = first.NextBatch
		}
		for _, r := range first.Results {
			if !grouped || r.Event.RoomID == one {
				seen[r.Event.EventID] = true
			}
		}
		for args.From != "" {
			h.say(one, alice, "word word word word")
			out := h.find(alice, args)
			if !grouped && out.Count != 30 {
				t.Errorf("%s: %d are counted, want 30", order, out.Count)
			}
			for _, r := range out.Results {
				if seen[r.Event.EventID] || grouped && r.Event.RoomID != one {
					t.Errorf("%s: %s should not be on this page", order, r.Event.Content)
				}
				seen[r.Event.EventID] = true
			}
			args.From = out.NextBatch
		}
		want := 30
		if grouped {
			want = 15
		}
		if len(seen) != want {
			t.Errorf("%s, grouped %v: %d on all pages, want %d", order, grouped, len(seen), want)
		}
	}
}

func TestManyMatches(t *testing.T) {
	h := newHouse(t, kvtest.Open(t), 0)
	room := h.create(alice)
	const many = 1100 // more than one search gathers
	h.say(room, alice, slices.Repeat([]string{"same"}, many)...)
	h.index()
	limit := 50
	for _, order := range []string{search.ByRecent, search.ByRank} {
		args := search.Args{Term: "same", OrderBy: order}
		args.Filter.Limit = &limit
		seen := map[matrix.EventID]bool{}
		for more := true; more; more = args.From != "" {
			out := h.find(alice, args)
			for _, r := range out.Results {
				if seen[r.Event.EventID] {
					t.Errorf("%s: %s is shown twice", order, r.Event.EventID)
				}
				seen[r.Event.EventID] = true
			}
			args.From = out.NextBatch
		}
		if len(seen) != many {
			t.Errorf("%s: %d on all pages, want %d", order, len(seen), many)
		}
	}
}

// edit is a message that replaces the content of another one.
func (h *house) edit(room matrix.RoomID, who matrix.UserID, id matrix.EventID, fallback, body string) (edit matrix.EventID) {
	h.t.Helper()
	kvtest.Update(h.t, h.db, func(tx *kv.WriteTx) error {
		e, err := h.rooms.Send(tx, rooms.SendArgs{Room: room, Sender: who, Type: "m.room.message", Content: fmt.Appendf(nil,
			`{"body":%q,"m.new_content":{"body":%q},"m.relates_to":{"rel_type":"m.replace","event_id":%q}}`, fallback, body, id)})
		if err == nil {
			edit = e.ID
		}
		return err
	})
	return edit
}

// TestEdits: a message is found by what its newest version says, once, and shown with it.
func TestEdits(t *testing.T) {
	h := newHouse(t, kvtest.Open(t), 0)
	room := h.create(alice)
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
		_, err := h.rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: bob, Target: bob, Membership: "join"})
		return err
	})
	message := h.say(room, alice, "early words")
	finds := func(when string, who matrix.UserID, counts map[string]int) {
		t.Helper()
		for term, want := range counts {
			for _, order := range []string{search.ByRank, search.ByRecent} {
				out := h.find(who, search.Args{Term: term, OrderBy: order})
				if len(out.Results) != want || out.Count != want {
					t.Errorf("%s, %s: %q is found %d times, want %d", when, order, term, len(out.Results), want)
				}
				for _, r := range out.Results {
					if r.Event.EventID != message {
						t.Errorf("%s: found %s, want the message %s", when, r.Event.EventID, message)
					}
				}
			}
		}
	}
	for _, indexed := range []bool{false, true} {
		step := func(when string, counts map[string]int) {
			t.Helper()
			if indexed {
				h.index()
			}
			finds(when, alice, counts)
		}
		step("at first", map[string]int{"early": 1, "middle": 0})
		first := h.edit(room, alice, message, "* fallback", "middle words")
		step("edited", map[string]int{"early": 0, "middle": 1, "words": 1, "fallback": 0})
		second := h.edit(room, alice, message, "* fallback", "late words")
		step("edited again", map[string]int{"early": 0, "middle": 0, "late": 1, "words": 1})
		h.edit(room, bob, message, "* fallback", "forged words")
		step("edited by another", map[string]int{"forged": 0, "late": 1, "words": 1})
		h.redact(room, second)
		step("the edit is redacted", map[string]int{"late": 0, "middle": 1, "words": 1})
		h.redact(room, first)
		step("both are", map[string]int{"middle": 0, "early": 1, "words": 1})
	}
	// Who left before the edit sees, and finds, what was said then.
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
		_, err := h.rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: bob, Target: bob, Membership: "leave"})
		return err
	})
	h.edit(room, alice, message, "* fallback", "private words")
	finds("after he left", bob, map[string]int{"early": 1, "private": 0})
	finds("for who stayed", alice, map[string]int{"early": 0, "private": 1})
}

// TestRank: the closer a text is to the term, the earlier it comes.
func TestRank(t *testing.T) {
	h := newHouse(t, kvtest.Open(t), 0)
	room := h.create(alice)
	best := []string{
		"red door", "the red door is open", "a red door, a red bell, a red wall and more that is red, about which much is said",
		"a red bell, and somewhere else the door, too, each once and among many more words of a long message that speaks of others",
	}
	for _, body := range []string{best[2], best[0], best[3], best[1], "a red bell"} {
		h.say(room, alice, body)
	}
	out := h.find(alice, search.Args{Term: "red door"})
	var got []string
	for i, r := range out.Results {
		content, err := matrix.ParseObject(r.Event.Content)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := content.Text("body")
		got = append(got, body)
		if i > 0 && r.Rank > out.Results[i-1].Rank {
			t.Errorf("rank %v comes after %v", r.Rank, out.Results[i-1].Rank)
		}
	}
	if !slices.Equal(got, best) {
		t.Errorf("found %q", got)
	}
}

// TestPagesWhileMuchHappens: what is redacted, edited and said between the pages of a search
// by rank makes it neither repeat nor lose anything else, also behind what is ordered at once.
func TestPagesWhileMuchHappens(t *testing.T) {
	h := newHouse(t, kvtest.Open(t), 0)
	room := h.create(alice)
	const many = 1100 // more than are ordered together
	var ids []matrix.EventID
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
		for i := range many {
			e, err := h.rooms.Send(tx, rooms.SendArgs{Room: room, Sender: alice, Type: "m.room.message",
				Content: fmt.Appendf(nil, `{"body":%q}`, strings.Repeat("same ", i%7+1))})
			if err != nil {
				return err
			}
			ids = append(ids, e.ID)
		}
		return nil
	})
	limit := 50
	args := search.Args{Term: "same"}
	args.Filter.Limit = &limit
	seen := map[matrix.EventID]bool{}
	gone := map[matrix.EventID]bool{}
	for page := 0; ; page++ {
		out := h.find(alice, args)
		for _, r := range out.Results {
			if seen[r.Event.EventID] {
				t.Fatalf("page %d repeats %s", page, r.Event.EventID)
			}
			seen[r.Event.EventID] = true
		}
		if args.From = out.NextBatch; args.From == "" {
			break
		}
		old, other := ids[(page*37)%many], ids[(page*53+11)%many]
		h.redact(room, old)
		gone[old] = true
		if !gone[other] {
			h.edit(room, alice, other, "*", "same same same same same same same")
		}
		h.say(room, alice, "same same")
		if page%5 == 0 {
			h.index()
		}
	}
	for i, id := range ids {
		if !seen[id] && !gone[id] {
			t.Errorf("message %d is on no page", i)
		}
	}
}

func BenchmarkSearch(b *testing.B) {
	h := newHouse(b, kvtest.Open(b), 0)
	room := h.create(alice)
	for i := range 50 {
		var said []string
		for j := range 200 {
			said = append(said, fmt.Sprintf("this is message number%d of day%d", j, i))
		}
		h.say(room, alice, said...)
	}
	h.index()
	for _, term := range []string{"number7 day7", "number7", "message"} {
		b.Run(term, func(b *testing.B) {
			for b.Loop() {
				h.find(alice, search.Args{Term: term})
			}
		})
	}
}

// TestLongTexts: a search that reads much ends early, and the next page goes on there.
func TestLongTexts(t *testing.T) {
	h := newHouse(t, kvtest.Open(t), 0)
	room := h.create(alice)
	const many = 150 // of 40 KB, more than one search reads
	h.say(room, alice, slices.Repeat([]string{strings.Repeat("long text ", 4000)}, many)...)
	args := search.Args{Term: "long", OrderBy: search.ByRecent}
	limit := 50
	args.Filter.Limit = &limit
	out := h.find(alice, args)
	if out.Count >= many || out.NextBatch == "" {
		t.Fatalf("%d were counted at once", out.Count)
	}
	seen := len(out.Results)
	for out.NextBatch != "" {
		args.From = out.NextBatch
		out = h.find(alice, args)
		seen += len(out.Results)
	}
	if seen != many {
		t.Errorf("%d on all pages, want %d", seen, many)
	}
}
