package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/push"
	"porchlight/server/rooms"
)

// mover takes what a user has set for a room along when the user comes into the room that
// replaces it: tags, push rules, and that it is a direct chat (spec: client-server API,
// room upgrades, server behaviour).
type mover struct{ s *Server }

// EventAppended implements rooms.Witness.
func (m mover) EventAppended(tx *kv.WriteTx, e *rooms.Event) error {
	if e.Membership() != "join" {
		return nil
	}
	user := matrix.UserID(*e.StateKey)
	if before, ok := m.s.Rooms.EventAt(tx, e.Room, e.Replaces); ok && before.Membership() == "join" {
		return nil
	}
	old, ok := m.s.Rooms.Replaced(tx, e.Room, user)
	if !ok || !m.s.Accounts.Exists(tx, user) {
		return nil
	}
	if row, known := m.s.Rooms.MembershipRow(tx, old, user); !known || !row.WasJoined {
		return nil
	}
	for _, move := range []func(*kv.WriteTx, matrix.UserID, matrix.RoomID, matrix.RoomID) error{m.tags, m.direct, m.rules} {
		err := move(tx, user, old, e.Room)
		if refused := (*matrix.Error)(nil); err != nil && !errors.As(err, &refused) {
			return err // what is refused, for there being too much of it, stays behind
		}
	}
	return nil
}

func (m mover) tags(tx *kv.WriteTx, user matrix.UserID, from, to matrix.RoomID) error {
	tags, ok := m.s.Accounts.AccountData(tx, user, from, accounts.TypeTag)
	if _, already := m.s.Accounts.AccountData(tx, user, to, accounts.TypeTag); !ok || already {
		return nil
	}
	return m.s.Accounts.StoreAccountData(tx, user, to, accounts.TypeTag, tags)
}

func (m mover) direct(tx *kv.WriteTx, user matrix.UserID, from, to matrix.RoomID) error {
	raw, _ := m.s.Accounts.AccountData(tx, user, "", "m.direct")
	people, err := matrix.ParseObject(raw)
	if err != nil {
		return nil // the user's own data, of any form
	}
	changed := false
	for person, list := range people {
		var direct []matrix.RoomID
		if json.Unmarshal(list, &direct) != nil || !slices.Contains(direct, from) || slices.Contains(direct, to) {
			continue
		}
		if people[person], err = json.Marshal(append(direct, to)); err != nil {
			return err
		}
		changed = true
	}
	if !changed {
		return nil
	}
	return m.s.Accounts.StoreAccountData(tx, user, "", "m.direct", people.Encode())
}

// rules copies the rules that clients make for a room: one of kind room, or one of kind
// override that is called like it and has it among its conditions.
func (m mover) rules(tx *kv.WriteTx, user matrix.UserID, from, to matrix.RoomID) error {
	for _, kind := range []string{"room", "override"} {
		rule, err := m.s.Push.Rule(tx, user, kind, string(from))
		if err != nil {
			continue // there is none
		}
		rule.ID = string(to)
		rule.Conditions = bytes.ReplaceAll(rule.Conditions, quoted(from), quoted(to))
		if err := m.s.Push.SetRule(tx, user, kind, rule, push.Place{}); err != nil {
			return err
		}
	}
	return nil
}

// quoted is a room ID as it stands in JSON.
func quoted(room matrix.RoomID) []byte {
	o := matrix.Object{}
	o.SetText("", string(room))
	return o[""]
}
