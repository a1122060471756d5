package push

import (
	"context"

	"porchlight/kv"
)

// TopicLine is a message of a topic of this house, as it outlives a restart. What is in it,
// server/ntfy knows.
type TopicLine struct {
	Number uint64 // counts up
	Line   []byte
}

// KeepTopicLines has the messages that all gives at the time written, in place of those that
// were kept, with the next commit or soon. It is called after each message; what a crash
// takes, the pushers of those who have missed it cannot know, but clients ask when they start.
func (k *Keeper) KeepTopicLines(all func() []TopicLine) {
	k.DB.Defer("push topics", func(tx *kv.WriteTx) error {
		wanted := map[uint64]bool{}
		for _, line := range all() {
			wanted[line.Number] = true
			if !k.topics.Has(tx, line.Number) {
				k.topics.Put(tx, line.Number, line.Line)
			}
		}
		for number := range k.topics.Keys(tx, kv.All()) {
			if !wanted[number] {
				k.topics.Delete(tx, number)
			}
		}
		return nil
	})
}

// TopicLines are the messages that were kept, oldest first.
func (k *Keeper) TopicLines(ctx context.Context) (all []TopicLine, err error) {
	err = k.DB.View(ctx, func(tx *kv.ReadTx) error {
		for number, line := range k.topics.Scan(tx, kv.All()) {
			all = append(all, TopicLine{number, line})
		}
		return nil
	})
	return all, err
}
