package appservice

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"porchlight/kv"
	"porchlight/server/ephemeral"
	"porchlight/server/matrix"
)

// maxVolatile is how many ephemeral events a transaction has at most.
const maxVolatile = 200

// volatile is a transaction of what is on no disk: who is typing, and who is there. It is
// lost with the process; the same is then never sent under another ID, since its ID has a
// word in it that is another one after each start.
type volatile struct {
	id   string
	body []byte
}

// stepVolatile sends one transaction of typing and presence, if there is news of them.
func (w *worker) stepVolatile(ctx context.Context) (more bool, err error) {
	if !w.service.wantsEphemeral() {
		return false, nil
	}
	if len(w.volatile) == 0 {
		if w.volatile, err = w.nextVolatile(ctx); err != nil || len(w.volatile) == 0 {
			return false, err
		}
	}
	if err := w.put(ctx, w.volatile[0].id, w.volatile[0].body); err != nil {
		return false, err
	}
	w.volatile = w.volatile[1:]
	return true, nil
}

// nextVolatile freezes what has changed since it was asked last.
func (w *worker) nextVolatile(ctx context.Context) ([]volatile, error) {
	counter := w.k.Ephemeral.Counter()
	if counter == w.heard {
		return nil, nil
	}
	var all []json.RawMessage
	err := w.k.DB.View(ctx, func(tx *kv.ReadTx) error {
		now := w.interest.now(tx)
		typing := w.k.Ephemeral.TypingSince(w.heard)
		for _, room := range slices.Sorted(maps.Keys(typing)) {
			if !now.room(room) {
				continue
			}
			raw, err := inRoom(ephemeral.TypingEvent(typing[room]), room)
			if err != nil {
				return err
			}
			all = append(all, raw)
		}
		for _, p := range w.k.Ephemeral.PresenceSince(w.heard) {
			if now.user(p.User) {
				all = append(all, p.Event())
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	w.heard = counter
	var made []volatile
	for part := range slices.Chunk(all, maxVolatile) {
		t := transaction{Events: []matrix.ClientEvent{}}
		t.setEphemeral(w.service, part)
		body, err := json.Marshal(t)
		if err != nil {
			return nil, err
		}
		id := w.k.Ephemeral.Boot() + "." + strconv.FormatUint(w.k.volatiles.Add(1), 10)
		made = append(made, volatile{id, body})
	}
	return made, nil
}
