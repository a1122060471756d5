package agent

import (
	"context"
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/voip/call"
)

// Journal remembers which calls go on, so that a house that was killed in the middle of one
// can hang up when it starts again: the other side would wait for minutes otherwise.
type Journal struct {
	db    *kv.DB
	table *kv.Table[liveKey, liveRow]
}

// liveKey and liveRow are a call that goes on, and who we are in it.
type liveKey struct {
	Room matrix.RoomID
	Call string
}

type liveRow struct {
	Party string `cbor:"1,keyasint,omitempty"`
}

// NewJournal makes a Journal, before db is used.
func NewJournal(db *kv.DB) *Journal {
	return &Journal{db, kv.NewTable[liveKey, liveRow](db, kv.BoardCalls)}
}

// begun notes a call, durably: it is called before the first event of ours goes out.
func (j *Journal) begun(ctx context.Context, key callKey, party string) error {
	return j.db.Update(ctx, func(tx *kv.WriteTx) error {
		j.table.Put(tx, liveKey{key.room, key.id}, liveRow{party})
		return nil
	})
}

// over forgets a call, with the next commit or soon: to hang up once too often does no harm.
func (j *Journal) over(key callKey) {
	j.db.Defer("board call "+string(key.room)+" "+key.id, func(tx *kv.WriteTx) error {
		j.table.Delete(tx, liveKey{key.room, key.id})
		return nil
	})
}

// left are the calls that went on when the house ended.
func (j *Journal) left(ctx context.Context) (calls map[callKey]string, err error) {
	calls = map[callKey]string{}
	err = j.db.View(ctx, func(tx *kv.ReadTx) error {
		for key, row := range j.table.Scan(tx, kv.All()) {
			calls[callKey{key.Room, key.Call}] = row.Party
		}
		return nil
	})
	return calls, err
}

// record has the journal know of a call before others do.
func (a *Agent) record(ctx context.Context, c *activeCall, content call.Content) {
	switch content.(type) {
	case *call.Invite, *call.AnswerEvent:
	default:
		return
	}
	if a.Journal == nil || c.noted {
		return
	}
	c.noted = true
	if err := a.Journal.begun(ctx, c.key, c.state.PartyID()); err != nil {
		a.Log.Error("a call cannot be noted, and would not be hung up after a crash", "room", c.key.room, "error", err)
	}
}

// hangUpLeft ends the calls that a house that was killed has left.
func (a *Agent) hangUpLeft(ctx context.Context) {
	if a.Journal == nil {
		return
	}
	calls, err := a.Journal.left(ctx)
	if err != nil {
		a.Log.Error("it cannot be told which calls were left when the house ended", "error", err)
	}
	for key, party := range calls {
		hangup := &call.Hangup{Common: call.Common{CallID: key.id, PartyID: party, Version: call.V1}, Reason: call.UnknownError}
		raw, err := json.Marshal(hangup)
		if err == nil {
			err = a.House.Send(ctx, key.room, hangup.EventType(), raw)
		}
		if ctx.Err() != nil {
			return // at the next start, then
		}
		if err != nil { // the board may have left the room since
			a.Log.Warn("a call that was left when the house ended cannot be hung up", "room", key.room, "error", err)
		} else {
			a.Log.Info("hung up a call that was left when the house ended", "room", key.room, "call", key.id)
		}
		a.Journal.over(key)
	}
}
