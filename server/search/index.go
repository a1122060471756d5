package search

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

const (
	// follower is the name of the index's cursor in the change log.
	follower = "search"
	// DefaultBatch is how many changes the follower lets gather before it writes.
	DefaultBatch = 1000
	// maxRows is how many rows one commit of the follower writes, about: others wait for it.
	maxRows = 2000
)

// Config is what a Keeper is made with.
type Config struct {
	DB      *kv.DB
	Changes *changes.Keeper
	Rooms   *rooms.Keeper
	Batch   int // changes that wait to be indexed; 0: DefaultBatch
}

// Keeper owns the index.
type Keeper struct {
	Config
	history *history.Keeper // for what stands around results
	words   *kv.Table[wordKey, none]
	texts   *kv.Table[uint64, textRow]
}

type wordKey struct {
	Word     string
	Position uint64
}

type none struct{}

// textRow is an event that is in the index.
type textRow struct {
	Room  matrix.RoomID `cbor:"1,keyasint"`
	Words []string      `cbor:"2,keyasint"`
}

// New opens the tables.
func New(c Config) *Keeper {
	if c.Batch <= 0 {
		c.Batch = DefaultBatch
	}
	k := &Keeper{
		Config:  c,
		history: history.New(history.Config{Rooms: c.Rooms, ScanLimit: maxContextScan}),
		words:   kv.NewTable[wordKey, none](c.DB, kv.SearchWords),
		texts:   kv.NewTable[uint64, textRow](c.DB, kv.SearchTexts),
	}
	c.DB.AddCheck("search", k.check)
	return k
}

// Run indexes what is new until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	var at changes.Position
	err := k.DB.View(ctx, func(tx *kv.ReadTx) error {
		at = k.Changes.Cursor(tx, follower)
		return nil
	})
	for err == nil {
		news := k.Changes.Wait()
		if k.Changes.Published() >= at+changes.Position(k.Batch) {
			at, err = k.batch(ctx)
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-news:
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("search index: %w", err)
}

// batch indexes the next changes, as many as one commit should hold.
func (k *Keeper) batch(ctx context.Context) (at changes.Position, err error) {
	err = k.DB.Update(ctx, func(tx *kv.WriteTx) error {
		at = k.Changes.Cursor(tx, follower)
		rows, read := 0, 0
		for pos, c := range k.Changes.Since(tx, at) {
			if read++; read > k.Batch || rows > maxRows {
				break
			}
			at = pos
			if c.Kind != changes.Event {
				continue
			}
			e, ok := k.Rooms.EventAt(tx, c.Room, pos)
			if !ok {
				continue
			}
			rows += k.put(tx, e)
			if e.Type == "m.room.redaction" && e.Redacts != "" {
				if gone, ok := k.Rooms.Event(tx, e.Redacts); ok && gone.Position < pos {
					rows += k.put(tx, gone)
				}
			}
		}
		k.Changes.SetCursor(tx, follower, at)
		return nil
	})
	return at, err
}

// put makes the index say of an event what it says now, and returns how many rows that took.
func (k *Keeper) put(tx *kv.WriteTx, e *rooms.Event) (rows int) {
	pos := uint64(e.Position)
	old, had := k.texts.Get(tx, pos)
	for _, w := range old.Words {
		k.words.Delete(tx, wordKey{w, pos})
	}
	_, said, ok := textOf(e)
	var words []string
	if ok {
		words = read(said).words
	}
	for _, w := range words {
		k.words.Put(tx, wordKey{w, pos}, none{})
	}
	switch {
	case len(words) > 0:
		k.texts.Put(tx, pos, textRow{e.Room, words})
	case had:
		k.texts.Delete(tx, pos)
	}
	return len(old.Words) + len(words)
}

// The keys that can be searched.
const (
	KeyBody  = "content.body"
	KeyName  = "content.name"
	KeyTopic = "content.topic"
)

// textOf is what an event says and under which key, if it is of a kind that is searched.
func textOf(e *rooms.Event) (key, said string, ok bool) {
	content, err := matrix.ParseObject(e.Content)
	if err != nil {
		return "", "", false
	}
	switch {
	case e.Type == "m.room.message" && !e.IsState():
		if edited, isEdit := content.Object("m.new_content"); isEdit && e.Edits() != "" {
			content = edited // the body besides is for clients that know no edits
		}
		said, ok = content.Text("body")
		return KeyBody, said, ok
	case e.Is("m.room.name", ""):
		said, ok = content.Text("name")
		return KeyName, said, ok
	case e.Is("m.room.topic", ""):
		said, ok = content.Text("topic")
		if plain, found := plainTopic(content); found && plain != said {
			said, ok = said+"\n"+plain, true
		}
		return KeyTopic, said, ok
	}
	return "", "", false
}

// plainTopic is the text/plain representation of a topic (spec: client-server API, m.room.topic).
func plainTopic(content matrix.Object) (string, bool) {
	topic, ok := content.Object("m.topic")
	if !ok {
		return "", false
	}
	var forms []json.RawMessage
	if json.Unmarshal(topic["m.text"], &forms) != nil {
		return "", false // whoever sent it wrote something else there
	}
	for _, raw := range forms {
		form, err := matrix.ParseObject(raw)
		if err != nil {
			continue
		}
		if mime, given := form.Text("mimetype"); !given || mime == "text/plain" {
			return form.Text("body")
		}
	}
	return "", false
}

func (k *Keeper) check(r kv.Reader, report func(string, ...any)) {
	for key := range k.words.Keys(r, kv.All()) {
		row, ok := k.texts.Get(r, key.Position)
		if !ok || !slices.Contains(row.Words, key.Word) {
			report("the word %q is said to be at %d, where it is not", key.Word, key.Position)
		}
	}
	for pos, row := range k.texts.Scan(r, kv.All()) {
		for _, w := range row.Words {
			if !k.words.Has(r, wordKey{w, pos}) {
				report("the word %q at %d is not in the index", w, pos)
			}
		}
		if _, ok := k.Rooms.EventAt(r, row.Room, changes.Position(pos)); !ok {
			report("there is no event of %s at %d", row.Room, pos)
		}
	}
}
