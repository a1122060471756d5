package search

import (
	"context"

	"porchlight/kv"
)

// IndexAll indexes whatever is in the log.
func (k *Keeper) IndexAll(ctx context.Context) error {
	for at, err := k.batch(ctx); at < k.Changes.Published(); at, err = k.batch(ctx) {
		if err != nil {
			return err
		}
	}
	return nil
}

// Indexed is how many rows the index has, and how many changes are not in it.
func (k *Keeper) Indexed(r kv.Reader) (words, texts, waiting int) {
	for range k.words.Keys(r, kv.All()) {
		words++
	}
	for range k.texts.Keys(r, kv.All()) {
		texts++
	}
	return words, texts, int(k.Changes.Last(r) - k.Changes.Cursor(r, follower))
}
