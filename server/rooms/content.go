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
	if err := k.checkRelation(r, a); err != nil {
		return err
	}
	if a.Type == "m.room.canonical_alias" && a.StateKey != nil && *a.StateKey == "" {
		return k.checkCanonicalAlias(r, a.Room, a.Content)
	}
	if a.Type == "m.room.server_acl" && a.StateKey != nil && *a.StateKey == "" {
		return checkServerACL(a.Content)
	}
	return nil
}

// checkMentions refuses malformed m.mentions (spec: MSC3952, and client-server API, user
// and room mentions).
func checkMentions(raw json.RawMessage) error {
	content, err := matrix.ParseObject(raw)
	if err != nil {
		return matrix.BadJSON("the content of an event has to be an object")
	}
	if !content.Has("m.mentions") {
		return nil
	}
	mentions, ok := content.Object("m.mentions")
	_, listed := texts(mentions, "user_ids")
	var room *bool
	if !ok || !listed || mentions.Has("room") && (json.Unmarshal(mentions["room"], &room) != nil || room == nil) {
		return matrix.InvalidParam("m.mentions has to hold user_ids, a list of user IDs, and room, true or false")
	}
	return nil
}

// texts is a list of texts in an object, nil if there is none; false if it is anything
// else.
func texts(o matrix.Object, key string) ([]string, bool) {
	if !o.Has(key) {
		return nil, true
	}
	var list []*string
	if json.Unmarshal(o[key], &list) != nil || list == nil {
		return nil, false
	}
	all := make([]string, len(list))
	for i, s := range list {
		if s == nil {
			return nil, false
		}
		all[i] = *s
	}
	return all, true
}

// checkServerACL refuses lists that cannot be read, since whoever sent them meant
// something by them (spec: client-server API, m.room.server_acl).
func checkServerACL(raw json.RawMessage) error {
	content, err := matrix.ParseObject(raw)
	if err != nil {
		return err
	}
	for _, key := range []string{"allow", "deny"} {
		if _, ok := texts(content, key); !ok {
			return matrix.InvalidParam(key + " has to be a list of texts")
		}
	}
	return nil
}

// canonicalAliases are the alias and the alt_aliases of m.room.canonical_alias; false if
// they have another form.
func canonicalAliases(raw json.RawMessage) (alias string, alt []string, ok bool) {
	content, err := matrix.ParseObject(raw)
	if err != nil {
		return "", nil, false
	}
	var main *string // null is as good as none
	if content.Has("alias") && json.Unmarshal(content["alias"], &main) != nil {
		return "", nil, false
	}
	if main != nil {
		alias = *main
	}
	alt, ok = texts(content, "alt_aliases")
	return alias, alt, ok
}

// checkCanonicalAlias refuses aliases that do not lead to the room
// (spec: client-server API, PUT state, M_BAD_ALIAS).
func (k *Keeper) checkCanonicalAlias(r kv.Reader, room matrix.RoomID, content json.RawMessage) error {
	alias, all, ok := canonicalAliases(content)
	if !ok {
		return matrix.InvalidParam("alias has to be text, alt_aliases a list of texts")
	}
	known := map[string]bool{}
	if e, ok := k.State(r, room, "m.room.canonical_alias", ""); ok {
		before, alt, _ := canonicalAliases(e.Content)
		for _, s := range append(alt, before) {
			known[s] = true
		}
	}
	if alias != "" {
		all = append(all, alias)
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
