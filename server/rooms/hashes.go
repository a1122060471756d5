package rooms

import (
	"context"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/pdu"
	"porchlight/server/roomver"
)

// checkHash holds a stored event to its ID, which is its hash, and to its content hash,
// which a redaction leaves without its content (spec: server-server API, signing events).
func (k *Keeper) checkHash(v roomver.Version, key eventKey, row eventRow, report func(string, ...any)) {
	p, err := pdu.Parse(v, row.PDU)
	switch {
	case err != nil:
		report("event %s of %s at %d is no event: %v", row.ID, key.Room, key.Position, err)
	case p.ID != row.ID:
		report("event %s of %s at %d is not what was sent: by its hash it would be %s", row.ID, key.Room, key.Position, p.ID)
	case row.RedactedBy == "" && !p.CheckContentHash():
		report("event %s of %s at %d is not what was sent: the hash of its content is wrong", row.ID, key.Room, key.Position)
	}
}

// versions are the versions of all rooms.
func (k *Keeper) versions(r kv.Reader) map[matrix.RoomID]roomver.Version {
	all := map[matrix.RoomID]roomver.Version{}
	for id, room := range k.rooms.Scan(r, kv.All()) {
		if v, known := roomver.Get(room.Version); known {
			all[id] = v
		}
	}
	return all
}

// mendBatch is how many rows Mend writes in one commit.
const mendBatch = 500

// Mend makes the indexes of events anew after rows were lost: where an event lies, what is
// a room's state and who its members are. It returns how many rows it has changed. It is
// for a database that nobody else uses.
func (k *Keeper) Mend(ctx context.Context) (changed int, err error) {
	var mends []func(*kv.WriteTx)
	err = k.DB.View(ctx, func(tx *kv.ReadTx) error {
		mends = append(k.mendIDs(tx), k.mendState(tx)...)
		return nil
	})
	for at := 0; at < len(mends) && err == nil; at += mendBatch {
		err = k.DB.Update(ctx, func(tx *kv.WriteTx) error {
			for _, mend := range mends[at:min(at+mendBatch, len(mends))] {
				mend(tx)
			}
			return nil
		})
	}
	return len(mends), err
}

// mendIDs are the changes that let each event be found by its ID and no ID lead nowhere.
func (k *Keeper) mendIDs(r kv.Reader) (mends []func(*kv.WriteTx)) {
	for key, row := range k.events.Scan(r, kv.All()) {
		place := placeRow(key)
		if now, ok := k.eventIDs.Get(r, row.ID); !ok || now != place {
			mends = append(mends, func(tx *kv.WriteTx) { k.eventIDs.Put(tx, row.ID, place) })
		}
	}
	for id, place := range k.eventIDs.Scan(r, kv.All()) {
		if row, ok := k.events.Get(r, eventKey(place)); !ok || row.ID != id {
			mends = append(mends, func(tx *kv.WriteTx) { k.eventIDs.Delete(tx, id) })
		}
	}
	return mends
}

// mendState are the changes that make the current state the last that is known.
func (k *Keeper) mendState(r kv.Reader) (mends []func(*kv.WriteTx)) {
	latest, found := map[stateKey]uint64{}, map[stateAtKey]bool{}
	for key, row := range k.events.Scan(r, kv.All()) {
		e := k.event(r, key, row)
		if e == nil || e.StateKey == nil {
			continue
		}
		at := stateKey{key.Room, e.Type, *e.StateKey}
		found[stateAtKey{at.Room, at.Type, at.StateKey, key.Position}] = true
	}
	for at := range k.history.Keys(r, kv.All()) {
		if !found[at] {
			mends = append(mends, func(tx *kv.WriteTx) { k.history.Delete(tx, at) })
			continue
		}
		key := stateKey{at.Room, at.Type, at.StateKey}
		latest[key] = max(latest[key], at.Position)
	}
	for key, pos := range k.state.Scan(r, kv.All()) {
		if at := (stateAtKey{key.Room, key.Type, key.StateKey, pos}); found[at] && pos > latest[key] {
			latest[key] = pos // its row of the history was lost
			mends = append(mends, func(tx *kv.WriteTx) { k.history.Put(tx, at, none{}) })
		}
		if latest[key] == 0 {
			mends = append(mends, func(tx *kv.WriteTx) { k.state.Delete(tx, key) })
		}
	}
	for key, pos := range latest {
		if now, ok := k.state.Get(r, key); !ok || now != pos {
			mends = append(mends, func(tx *kv.WriteTx) { k.state.Put(tx, key, pos) })
		}
		if key.Type == "m.room.member" {
			mends = append(mends, k.mendMember(r, key, pos)...)
		}
	}
	return mends
}

func (k *Keeper) mendMember(r kv.Reader, key stateKey, pos uint64) []func(*kv.WriteTx) {
	row, _ := k.events.Get(r, eventKey{key.Room, pos})
	e := k.event(r, eventKey{key.Room, pos}, row)
	who := membershipKey{matrix.UserID(key.StateKey), key.Room}
	now, ok := k.memberships.Get(r, who)
	if e == nil || ok && now.State == e.Membership() && uint64(now.Position) == pos {
		return nil
	}
	m := Membership{State: e.Membership(), Position: changes.Position(pos), WasJoined: now.WasJoined || e.Membership() == "join"}
	return []func(*kv.WriteTx){func(tx *kv.WriteTx) { k.memberships.Put(tx, who, m) }}
}
