package eventauth

import (
	"encoding/json"
	"fmt"
	"slices"

	"porchlight/server/matrix"
	"porchlight/server/pdu"
	"porchlight/server/roomver"
)

// AuthTypes names the state that an event has to list in its auth_events, as far as
// the room has it (spec: server-server API, auth events selection). stateKey and
// content are those of the event.
func AuthTypes(v roomver.Version, eventType string, sender matrix.UserID, stateKey *string, content json.RawMessage) []Key {
	if eventType == "m.room.create" {
		return nil
	}
	var keys []Key
	add := func(eventType, stateKey string) {
		if key := (Key{eventType, stateKey}); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	if !v.AuthEventsWithoutCreate {
		add("m.room.create", "")
	}
	add("m.room.power_levels", "")
	add("m.room.member", string(sender))
	if eventType != "m.room.member" {
		return keys
	}
	if stateKey != nil {
		add("m.room.member", *stateKey)
	}
	fields, _ := matrix.ParseObject(content)
	membership, _ := fields.Text("membership")
	switch membership {
	case "join", "invite", "knock":
		add("m.room.join_rules", "")
	}
	if membership == "invite" {
		proof, _ := fields.Object("third_party_invite")
		signed, _ := proof.Object("signed")
		if token, ok := signed.Text("token"); ok {
			add("m.room.third_party_invite", token)
		}
	}
	if membership == "join" && v.Restricted {
		if user, ok := fields.Text("join_authorised_via_users_server"); ok {
			add("m.room.member", user)
		}
	}
	return keys
}

// AuthEvent is what CheckAuthEvents wants to know of an event in auth_events.
type AuthEvent struct {
	Room     matrix.RoomID
	Type     string
	StateKey *string // nil for an event that is no state
	Rejected bool    // whether it was itself refused
}

// CheckAuthEvents judges the auth_events of an event, for events that other servers
// built: rule 2, and 3 in room version 12. What they allow is for Check to say, with
// the same events for State.
func CheckAuthEvents(v roomver.Version, ev *pdu.PDU, auth []AuthEvent) error {
	if ev.Type == "m.room.create" {
		return nil // judged by rule 1 alone
	}
	c := &check{v: v, ev: ev}
	wanted := AuthTypes(v, ev.Type, ev.Sender, ev.StateKey, ev.Content)
	seen := make(map[Key]bool, len(auth))
	for _, a := range auth {
		var key Key
		if a.StateKey != nil {
			key = Key{a.Type, *a.StateKey}
		}
		// spec: rooms/v1 auth 2.1, rooms/v12 auth 3.1
		if seen[key] {
			return c.reject(authDuplicate, fmt.Sprintf("there are two auth events of type %s", a.Type))
		}
		seen[key] = true
		// spec: rooms/v1 auth 2.2, rooms/v12 auth 3.2
		if a.StateKey == nil || !slices.Contains(wanted, key) {
			return c.reject(authUnexpected, fmt.Sprintf("an event of type %s should not be among the auth events", a.Type))
		}
		// spec: rooms/v1 auth 2.3, rooms/v12 auth 3.3
		if a.Rejected {
			return c.reject(authRejected, "an auth event was itself rejected")
		}
	}
	// spec: rooms/v1 auth 2.4
	if !v.AuthEventsWithoutCreate && !seen[Key{"m.room.create", ""}] {
		return c.reject(authNoCreate, "the create event is missing among the auth events")
	}
	// spec: rooms/v1 auth 2.5, rooms/v12 auth 3.5
	for _, a := range auth {
		if a.Room != ev.Room {
			return c.reject(authOtherRoom, "an auth event is of another room")
		}
	}
	return nil
}
