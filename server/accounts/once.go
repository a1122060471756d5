package accounts

import (
	"context"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// AnswerLife is how long the answer to a once-only request is kept at least.
	AnswerLife = 24 * time.Hour
	// cleanBatch is how many rows one cleaning transaction looks at or removes.
	cleanBatch = 500
)

// answerKey names a request that may be repeated: a device and a hash of method and
// path, transaction ID included (spec: MSC3970).
type answerKey struct {
	User   matrix.UserID
	Device matrix.DeviceID
	Path   [32]byte
}

type answerRow struct {
	Answer []byte `cbor:"1,keyasint"`
	At     int64  `cbor:"2,keyasint"` // ms
}

// Answer is what a once-only request was answered when it came first.
func (k *Keeper) Answer(r kv.Reader, user matrix.UserID, device matrix.DeviceID, path [32]byte) ([]byte, bool) {
	row, ok := k.answers.Get(r, answerKey{user, device, path})
	return row.Answer, ok
}

// Remember keeps the answer of a once-only request, in the transaction that does it.
func (k *Keeper) Remember(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID, path [32]byte, answer []byte, now time.Time) {
	k.answers.Put(tx, answerKey{user, device, path}, answerRow{Answer: answer, At: ms(now)})
}

// cleanAnswers removes expired answers. It reads all of them, which is cheap once an
// hour; an index by time would cost every message a further row.
func (k *Keeper) cleanAnswers(ctx context.Context) error {
	var old []answerKey
	err := k.db.View(ctx, func(tx *kv.ReadTx) error {
		for key, row := range k.answers.Scan(tx, kv.All()) {
			if ms(k.now())-row.At >= AnswerLife.Milliseconds() {
				old = append(old, key)
			}
		}
		return nil
	})
	for err == nil && len(old) > 0 {
		batch := old[:min(cleanBatch, len(old))]
		old = old[len(batch):]
		err = k.db.Update(ctx, func(tx *kv.WriteTx) error {
			for _, key := range batch {
				k.answers.Delete(tx, key)
			}
			return nil
		})
	}
	return err
}
