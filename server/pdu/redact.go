package pdu

import (
	"encoding/json"

	"porchlight/server/matrix"
	"porchlight/server/roomver"
)

// Redact strips an event to what survives redaction in its room version and
// returns it as canonical JSON. It takes whole events with any subset of the
// fields. The error is that of Parse for what is no canonical JSON object.
func Redact(v roomver.Version, raw []byte) ([]byte, error) {
	canonical, err := canonicalise(v, raw)
	if err != nil {
		return nil, err
	}
	fields, err := matrix.ParseObject(canonical)
	if err != nil {
		return nil, err
	}
	return redact(v, fields).Encode(), nil
}

// Redacted is the event stripped to what survives redaction. Its ID is the same.
func (p *PDU) Redacted() (*PDU, error) {
	return Parse(p.Version, redact(p.Version, p.fields).Encode())
}

// RedactContent is what survives redaction of the content of an event.
func RedactContent(v roomver.Version, eventType string, content json.RawMessage) (json.RawMessage, error) {
	fields, err := matrix.ParseObject(content)
	if err != nil {
		return nil, err
	}
	return redactContent(v, eventType, fields).Encode(), nil
}

// redact returns what survives of an event.
func redact(v roomver.Version, fields matrix.Object) matrix.Object {
	keep := []string{ // spec: rooms/v11, redactions
		"event_id", "type", "room_id", "sender", "state_key", "content", "hashes",
		"signatures", "depth", "prev_events", "auth_events", "origin_server_ts",
	}
	if !v.UpdatedRedactionRules { // spec: rooms/v1, redactions
		keep = append(keep, "prev_state", "origin", "membership")
	}
	left := pick(fields, keep...)
	eventType, _ := fields.Text("type")
	if content, ok := fields.Object("content"); ok {
		left["content"] = redactContent(v, eventType, content).Encode()
	}
	return left
}

func redactContent(v roomver.Version, eventType string, content matrix.Object) matrix.Object {
	switch eventType {
	case "m.room.member":
		return redactMember(v, content)
	case "m.room.create":
		if v.UpdatedRedactionRules {
			return content // spec: rooms/v11, redactions
		}
		return pick(content, "creator")
	case "m.room.join_rules":
		if v.Restricted {
			return pick(content, "join_rule", "allow") // spec: rooms/v8, redactions
		}
		return pick(content, "join_rule")
	case "m.room.power_levels":
		left := pick(content, "ban", "events", "events_default", "kick", "redact",
			"state_default", "users", "users_default")
		if v.UpdatedRedactionRules && content.Has("invite") {
			left["invite"] = content["invite"] // spec: rooms/v11, redactions
		}
		return left
	case "m.room.aliases":
		if v.AliasesAuthRule {
			return pick(content, "aliases") // until spec: rooms/v6, redactions
		}
	case "m.room.history_visibility":
		return pick(content, "history_visibility")
	case "m.room.redaction":
		if v.UpdatedRedactionRules {
			return pick(content, "redacts") // spec: rooms/v11, redactions
		}
	}
	return matrix.Object{}
}

func redactMember(v roomver.Version, content matrix.Object) matrix.Object {
	left := pick(content, "membership")
	if v.RedactionKeepsJoinAuthoriser && content.Has("join_authorised_via_users_server") {
		left["join_authorised_via_users_server"] = content["join_authorised_via_users_server"]
	}
	// The object stays even if it holds nothing that does, as in other servers: the
	// event's hash must come out the same everywhere.
	if invite, ok := content.Object("third_party_invite"); ok && v.UpdatedRedactionRules {
		left["third_party_invite"] = pick(invite, "signed").Encode() // spec: rooms/v11, redactions
	}
	return left
}

// pick copies those of the keys that are there.
func pick(from matrix.Object, keys ...string) matrix.Object {
	left := make(matrix.Object, len(keys))
	for _, key := range keys {
		if value, ok := from[key]; ok {
			left[key] = value
		}
	}
	return left
}
