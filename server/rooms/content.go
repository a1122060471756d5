package rooms

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// checkContent refuses content that the standard tells servers to refuse, beyond the
// format of events.
func (k *Keeper) checkContent(r kv.Reader, a SendArgs) error {
	if err := checkMentions(a.Content); err != nil {
		return err
	}
	if a.Type == "m.room.canonical_alias" && a.StateKey != nil && *a.StateKey == "" {
		return k.checkCanonicalAlias(r, a.Room, a.Content)
	}
	return nil
}

// checkMentions refuses malformed m.mentions (spec: MSC3952, and client-server API, user
// and room mentions).
func checkMentions(content json.RawMessage) error {
	var c struct {
		Mentions *json.RawMessage `json:"m.mentions"`
	}
	if err := json.Unmarshal(content, &c); err != nil {
		return matrix.BadJSON("the content of an event has to be an object")
	}
	if c.Mentions == nil {
		return nil
	}
	var m *struct {
		UserIDs []string `json:"user_ids"`
		Room    *bool    `json:"room"`
	}
	if err := json.Unmarshal(*c.Mentions, &m); err != nil || m == nil {
		return matrix.InvalidParam("m.mentions has to hold user_ids, a list of user IDs, and room, true or false")
	}
	return nil
}

// checkCanonicalAlias refuses aliases that do not lead to the room
// (spec: client-server API, PUT state, M_BAD_ALIAS).
func (k *Keeper) checkCanonicalAlias(r kv.Reader, room matrix.RoomID, content json.RawMessage) error {
	var now, before struct {
		Alias *string  `json:"alias"`
		Alt   []string `json:"alt_aliases"`
	}
	if err := json.Unmarshal(content, &now); err != nil {
		return matrix.InvalidParam("alias has to be text, alt_aliases a list of texts")
	}
	known := map[string]bool{}
	if e, ok := k.State(r, room, "m.room.canonical_alias", ""); ok && json.Unmarshal(e.Content, &before) == nil {
		for _, alias := range before.Alt {
			known[alias] = true
		}
		if before.Alias != nil {
			known[*before.Alias] = true
		}
	}
	all := now.Alt
	if now.Alias != nil && *now.Alias != "" {
		all = append(all, *now.Alias)
	}
	for _, s := range all {
		if known[s] {
			continue // only new aliases are checked, old ones may have lost their way
		}
		alias, err := matrix.ParseRoomAlias(s)
		if err != nil {
			return err
		}
		if row, ok := k.aliases.Get(r, alias); !ok || row.Room != room {
			return matrix.Refusal(400, "M_BAD_ALIAS", "the alias "+s+" does not lead to this room")
		}
	}
	return nil
}
