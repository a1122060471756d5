package rooms

import (
	"context"
	"encoding/json"
	"errors"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// Some changes touch every room of a user, or every guest of a room. They begin in the
// transaction that asks for them, and if that is not enough go on in others, each of which
// writes to no more than TaskRooms rooms: so nobody waits for long, however large an account
// is. What is left to do is in a row, so that a crash loses nothing. A task looks at what is
// so when it gets to a room: doing it twice does no harm, and of two changes of a name the
// last one counts.

// Kinds of tasks. The words are stored.
const (
	taskProfile = "profile" // of a user: tell the rooms of the name and picture
	taskLeave   = "leave"   // of a user: leave every room
	taskGuests  = "guests"  // of a room: make the guests leave
)

const (
	// taskRooms is the default of Config.
	taskRooms = 20
	// lookedAtPerRoom is how many rooms or members a task looks at, for each to which it may
	// write, before it lets others write.
	lookedAtPerRoom = 50
)

type taskKey struct {
	Kind    string
	Subject string // a user or a room
}

// taskRow is how far a task is.
type taskRow struct {
	After string `cbor:"1,keyasint,omitempty"` // the last room or member that was looked at
}

// begin starts a task, or starts it again from the beginning, and does its first portion.
func (k *Keeper) begin(tx *kv.WriteTx, key taskKey) error {
	if err := k.portion(tx, key, taskRow{}); err != nil || !k.tasks.Has(tx, key) {
		return err
	}
	k.begun.Add(1) // before the commit: what is read meanwhile need only be careful
	tx.AfterCommit(func() {
		k.landed.Add(1)
		k.wakeTasks()
	})
	return nil
}

// portion does some of a task, and notes what is left of it.
func (k *Keeper) portion(tx *kv.WriteTx, key taskKey, row taskRow) error {
	done, err := k.walkTask(tx, key, &row)
	if err != nil {
		return err
	}
	if done {
		if k.tasks.Has(tx, key) {
			k.tasks.Delete(tx, key)
		}
		return nil
	}
	k.tasks.Put(tx, key, row)
	return nil
}

// walkTask goes on where row says; done says that it came to the end.
func (k *Keeper) walkTask(tx *kv.WriteTx, key taskKey, row *taskRow) (done bool, err error) {
	looked, written := 0, 0
	for _, next := range k.taskSubjects(tx, key, row.After, k.TaskRooms*lookedAtPerRoom+1) {
		if written == k.TaskRooms || looked == k.TaskRooms*lookedAtPerRoom {
			return false, nil
		}
		wrote, err := k.doTask(tx, key, next)
		if refused := (*matrix.Error)(nil); err != nil && !errors.As(err, &refused) {
			return false, err
		}
		// A room that refuses stays as it is: a restricted one whose authoriser is gone keeps
		// the old name.
		looked++
		if wrote {
			written++
		}
		row.After = next
	}
	return true, nil
}

// taskSubjects are the rooms or members behind one, at most so many.
func (k *Keeper) taskSubjects(r kv.Reader, key taskKey, after string, most int) (all []string) {
	if key.Kind == taskGuests {
		room := matrix.RoomID(key.Subject)
		for at := range k.state.Keys(r, kv.Prefix(room, "m.room.member").After(after)) {
			if all = append(all, at.StateKey); len(all) == most {
				break
			}
		}
		return all
	}
	for at := range k.memberships.Keys(r, kv.Prefix(matrix.UserID(key.Subject)).After(after)) {
		if all = append(all, string(at.Room)); len(all) == most {
			break
		}
	}
	return all
}

// doTask does what a task does in one room, or to one member; wrote says that it had to.
func (k *Keeper) doTask(tx *kv.WriteTx, key taskKey, next string) (wrote bool, err error) {
	user, room := matrix.UserID(key.Subject), matrix.RoomID(next)
	switch key.Kind {
	case taskProfile:
		return k.tellProfile(tx, user, room)
	case taskGuests:
		room, user = matrix.RoomID(key.Subject), matrix.UserID(next)
		if k.People == nil || k.GuestsCanJoin(tx, room) || k.Membership(tx, room, user) != "join" || !k.People.IsGuest(tx, user) {
			return false, nil
		}
	case taskLeave:
		switch k.Membership(tx, room, user) {
		case "join", "invite", "knock":
		default:
			return false, nil
		}
	}
	_, err = k.SetMembership(tx, MemberArgs{Room: room, Sender: user, Target: user, Membership: "leave"})
	return true, err
}

// tellProfile sends a member event with a user's name and picture, if the room has others.
func (k *Keeper) tellProfile(tx *kv.WriteTx, user matrix.UserID, room matrix.RoomID) (wrote bool, err error) {
	now, ok := k.State(tx, room, "m.room.member", string(user))
	if !ok || now.Membership() != "join" {
		return false, nil
	}
	content, err := matrix.ParseObject(now.Content)
	if err != nil {
		return false, err
	}
	name, avatar := k.Profiles.MemberProfile(tx, user)
	hasName, _ := content.Text("displayname")
	hasAvatar, _ := content.Text("avatar_url")
	if hasName == name && hasAvatar == avatar {
		return false, nil
	}
	setText(content, "displayname", name)
	setText(content, "avatar_url", avatar)
	delete(content, "reason")
	raw, err := json.Marshal(content)
	if err != nil {
		return false, err
	}
	key := string(user)
	row, _ := k.rooms.Get(tx, room)
	_, err = k.send(tx, row, SendArgs{
		Room: room, Sender: user, Type: "m.room.member", StateKey: &key, Content: raw, automatic: true,
	})
	return true, err
}

// leaving says whether a user whose account is closed may still be in rooms.
func (k *Keeper) leaving(r kv.Reader, user matrix.UserID) bool {
	return k.begun.Load() != k.settled.Load() && k.tasks.Has(r, taskKey{taskLeave, string(user)})
}

// Run does what is left of tasks, also from before the last start. It returns nil when ctx
// ends.
func (k *Keeper) Run(ctx context.Context) error {
	for {
		landed := k.landed.Load()
		key, row, any, err := k.nextTask(ctx)
		if any && err == nil {
			err = k.DB.Update(ctx, func(tx *kv.WriteTx) error {
				row, there := k.tasks.Get(tx, key)
				if !there {
					return nil // it came to its end otherwise
				}
				return k.portion(tx, key, row)
			})
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			k.Log.Error("rooms: a task goes on after the next start or request", "kind", key.Kind, "subject", key.Subject, "after", row.After, "error", err)
		case any:
			continue
		default:
			k.settled.Store(landed) // all tasks that had begun by then are done
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.wake:
		}
	}
}

// nextTask finds a task that is not done. Those of the same kind take turns only in so far as
// the row that comes first is done first.
func (k *Keeper) nextTask(ctx context.Context) (key taskKey, row taskRow, any bool, err error) {
	err = k.DB.View(ctx, func(tx *kv.ReadTx) error {
		for key, row = range k.tasks.Scan(tx, kv.All()) {
			any = true
			return nil
		}
		return nil
	})
	return key, row, any, err
}

func (k *Keeper) wakeTasks() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *Keeper) checkTasks(r kv.Reader, report func(string, ...any)) {
	for key := range k.tasks.Keys(r, kv.All()) {
		switch key.Kind {
		case taskProfile, taskLeave, taskGuests:
		default:
			report("there is a task of the unknown kind %q", key.Kind)
		}
	}
}
