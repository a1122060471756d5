package e2ee

import (
	"context"

	"porchlight/kv"
)

// dropAtOnce is how many one-time keys are deleted in one transaction at most.
const dropAtOnce = 500

// Restored makes the keys safe to give out after the database came back from an older copy.
// One-time keys may have been given out since the copy was made, and none may be given out
// twice (spec: claimKeys): all are dropped, and clients upload others when they see that
// none are left. A fallback key stays, as it is what others use until then, but counts as
// used, so that its device replaces it. This is done in portions, and may be repeated.
func (k *Keeper) Restored(ctx context.Context) error {
	for more := true; more; {
		err := k.DB.Update(ctx, func(tx *kv.WriteTx) error {
			left := dropAtOnce
			k.dropPortion(tx, &left)
			more = left <= 0
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dropPortion deletes as many keys as are left of a portion, and writes the counts of those
// devices whose keys it touched.
func (k *Keeper) dropPortion(tx *kv.WriteTx, left *int) {
	rows := map[algorithmKey]countRow{}
	for key := range k.oneTime.Keys(tx, kv.All()) {
		if *left--; *left < 0 {
			break
		}
		at := algorithmKey{key.User, key.Device, key.Algorithm}
		row, known := rows[at]
		if !known {
			row, _ = k.counts.Get(tx, at)
		}
		if row.Left > 0 {
			row.Left--
		}
		rows[at] = row
		k.oneTime.Delete(tx, key)
	}
	for at, row := range rows {
		k.counts.Put(tx, at, row)
		k.keysUsed(tx, at)
	}
	for at, row := range k.fallback.Scan(tx, kv.All()) {
		if row.Used {
			continue
		}
		if *left--; *left < 0 {
			return
		}
		row.Used = true
		k.fallback.Put(tx, at, row)
		k.keysUsed(tx, at)
	}
}

// unused is the next number of a sequence that clients keep the numbers of: one that no
// server gave out that had this database and lost it.
func (k *Keeper) unused(r kv.Reader, after uint64) uint64 {
	return max(after+1, uint64(k.Changes.First(r)))
}
