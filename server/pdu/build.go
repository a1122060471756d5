package pdu

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"porchlight/server/matrix"
	"porchlight/server/roomver"
)

// givenIDBytes is how many random bytes make an event ID in room versions where
// the sender chooses it.
const givenIDBytes = 18

// Draft is an event to be built.
type Draft struct {
	// Room is the room; empty for the create event of a room whose ID is a hash.
	Room matrix.RoomID
	// Sender is the user who sends.
	Sender matrix.UserID
	// Type is the event type.
	Type string
	// StateKey makes it a state event, unless nil.
	StateKey *string
	// Content is any JSON object; floats are refused in all room versions.
	Content json.RawMessage
	// Redacts is what an m.room.redaction redacts; Build puts it where the room
	// version wants it. Empty for all other types.
	Redacts matrix.EventID
	// AuthEvents are the events that allow this one.
	AuthEvents []matrix.EventID
	// PrevEvents are the parents.
	PrevEvents []matrix.EventID
	// ReferenceHashes are those of all AuthEvents and PrevEvents, as ReferenceHash
	// returns them: needed only where Version.HashedReferences.
	ReferenceHashes map[matrix.EventID]string
	// Depth is one more than that of the deepest parent, see NextDepth.
	Depth int64
	// OriginServerTS is the time in milliseconds since 1970.
	OriginServerTS int64
}

// Build makes a complete event: content hash, signature of the sending server and
// event ID. random is read only where Version.EventID is EventIDGiven. What the
// draft got wrong is an error as of Parse; an error of random is passed on.
func Build(v roomver.Version, d Draft, origin matrix.ServerName, id matrix.KeyID, key ed25519.PrivateKey, random io.Reader) (*PDU, error) {
	content, err := d.content(v)
	if err != nil {
		return nil, err
	}
	fields := matrix.Object{
		"content":          content,
		"depth":            strconv.AppendInt(nil, d.Depth, 10),
		"origin_server_ts": strconv.AppendInt(nil, d.OriginServerTS, 10),
		"signatures":       json.RawMessage(`{}`),
	}
	fields.SetText("sender", string(d.Sender))
	fields.SetText("type", d.Type)
	if d.StateKey != nil {
		fields.SetText("state_key", *d.StateKey)
	}
	if d.Room != "" {
		fields.SetText("room_id", string(d.Room))
	}
	if d.Redacts != "" && !v.RedactsInContent {
		fields.SetText("redacts", string(d.Redacts))
	}
	if fields["auth_events"], err = d.references(v, d.AuthEvents); err != nil {
		return nil, err
	}
	if fields["prev_events"], err = d.references(v, d.PrevEvents); err != nil {
		return nil, err
	}
	if v.EventID == roomver.EventIDGiven {
		opaque := make([]byte, givenIDBytes)
		if _, err := io.ReadFull(random, opaque); err != nil {
			return nil, fmt.Errorf("event ID: %w", err)
		}
		fields.SetText("event_id", "$"+base64.RawURLEncoding.EncodeToString(opaque)+":"+string(origin))
	}
	if err := hashAndSign(v, fields, origin, id, key); err != nil {
		return nil, err
	}
	return Parse(v, fields.Encode())
}

// hashAndSign adds the content hash and one signature
// (spec: server-server API, adding hashes and signatures to outgoing events).
func hashAndSign(v roomver.Version, fields matrix.Object, origin matrix.ServerName, id matrix.KeyID, key ed25519.PrivateKey) error {
	fields["hashes"] = matrix.Object{"sha256": quote(contentHash(fields))}.Encode()
	signature := ed25519.Sign(key, redact(v, fields).SigningBytes())
	return fields.AddSignature(string(origin), id, signature)
}

// content is the draft's content in canonical form. It is made canonical on its
// own, so that it cannot reach out into the event around it.
func (d Draft) content(v roomver.Version) (json.RawMessage, error) {
	canonical, err := matrix.Canonical(d.Content)
	if err != nil {
		return nil, err
	}
	content, err := matrix.ParseObject(canonical)
	if err != nil {
		return nil, matrix.BadJSON("the content of an event has to be an object")
	}
	if d.Redacts == "" || !v.RedactsInContent {
		return canonical, nil
	}
	content.SetText("redacts", string(d.Redacts))
	return content.Encode(), nil
}

func (d Draft) references(v roomver.Version, ids []matrix.EventID) (json.RawMessage, error) {
	list := make([]json.RawMessage, 0, len(ids))
	for _, id := range ids {
		ref := quote(string(id))
		if v.HashedReferences {
			hash, ok := d.ReferenceHashes[id]
			if !ok {
				return nil, fmt.Errorf("the reference hash of %s is not known", id)
			}
			ref = join([]json.RawMessage{ref, matrix.Object{"sha256": quote(hash)}.Encode()})
		}
		list = append(list, ref)
	}
	return join(list), nil
}

// join writes a JSON array of values that are JSON already.
func join(values []json.RawMessage) json.RawMessage {
	out := []byte{'['}
	for i, value := range values {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, value...)
	}
	return append(out, ']')
}

// quote writes a string as canonical JSON.
func quote(s string) json.RawMessage {
	o := matrix.Object{}
	o.SetText("", s)
	return o[""]
}
