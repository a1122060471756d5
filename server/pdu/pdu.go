// Package pdu is the format in which events are kept, hashed, signed and sent
// between servers: the persistent data unit of each room version.
//
// It builds events (Build), reads them (Parse), computes content hashes, reference
// hashes and event IDs, makes and checks signatures, and redacts. It knows nothing
// of rooms: whether an event is allowed is decided in eventauth. Nothing here keeps
// state, and events from other servers never make it panic.
//
// Invariants: PDU.Raw is canonical JSON as the room version wants it, within
// matrix.MaxEventBytes, without "unsigned"; all other fields of a PDU repeat what
// Raw says. A PDU is not changed after it was made: Sign and Redacted return copies.
package pdu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"porchlight/server/matrix"
	"porchlight/server/roomver"
)

// Bounds of the event format (spec: client-server API, size limits; spec: rooms/v1,
// event format).
const (
	// MaxKeyBytes is the longest type and the longest state key.
	MaxKeyBytes = 255
	// MaxAuthEvents is the largest number of auth_events.
	MaxAuthEvents = 10
	// MaxPrevEvents is the largest number of prev_events.
	MaxPrevEvents = 20
)

// PDU is one event.
type PDU struct {
	// Version is the version of the event's room.
	Version roomver.Version
	// ID is the event's ID, given or computed as the room version asks.
	ID matrix.EventID
	// Room is the event's room. In room versions whose room ID is a hash, the
	// create event has no room_id and Room is computed from ID.
	Room matrix.RoomID
	// HasRoomID is whether the event itself says room_id.
	HasRoomID bool
	// Sender is who sent it; historical user IDs are possible, see ValidUserID.
	Sender matrix.UserID
	// Type is the event type.
	Type string
	// StateKey is nil unless this is a state event.
	StateKey *string
	// Content is the canonical JSON object under "content".
	Content json.RawMessage
	// Redacts is what an m.room.redaction redacts, wherever the room version keeps
	// it; empty for other types, or if it is missing.
	Redacts matrix.EventID
	// AuthEvents are the events that allow this one.
	AuthEvents []matrix.EventID
	// PrevEvents are the parents in the room's graph.
	PrevEvents []matrix.EventID
	// Depth is one more than the depth of the deepest parent.
	Depth int64
	// OriginServerTS is the sending server's time in milliseconds since 1970.
	OriginServerTS int64
	// Raw is the whole event as canonical JSON, without "unsigned".
	Raw []byte
	// Unsigned is what Parse found under "unsigned", or nil. It is another
	// server's unproven word.
	Unsigned json.RawMessage

	fields matrix.Object // Raw, one level deep
}

// Parse reads an event of a room of version v and checks its format: sizes,
// required fields, types, bounds of numbers. It does not check hashes and
// signatures. What is too large is M_TOO_LARGE, anything else wrong is M_BAD_JSON
// or M_NOT_JSON (spec: server-server API, checks performed on receipt of a PDU, 1).
func Parse(v roomver.Version, raw []byte) (*PDU, error) {
	canonical, err := canonicalise(v, raw)
	if err != nil {
		return nil, err
	}
	if len(canonical) > matrix.MaxEventBytes {
		return nil, matrix.TooLarge(fmt.Sprintf("the event is larger than %d bytes", matrix.MaxEventBytes))
	}
	fields, err := matrix.ParseObject(canonical)
	if err != nil {
		return nil, err
	}
	p := &PDU{Version: v, fields: fields, Raw: canonical}
	if fields.Has("unsigned") {
		p.Unsigned = fields["unsigned"]
		delete(fields, "unsigned")
		p.Raw = fields.Encode()
	}
	if err := p.read(); err != nil {
		return nil, err
	}
	return p, nil
}

func canonicalise(v roomver.Version, raw []byte) ([]byte, error) {
	if v.StrictCanonicalJSON {
		return matrix.Canonical(raw)
	}
	return matrix.CanonicalLenient(raw)
}

// read fills the PDU from its fields.
func (p *PDU) read() error {
	if err := p.readKeys(); err != nil {
		return err
	}
	var err error
	if p.Depth, err = integer(p.fields, "depth"); err != nil {
		return err
	}
	if p.Depth < 0 || p.Depth > p.Version.MaxDepth() {
		return matrix.BadJSON(fmt.Sprintf("depth has to be between 0 and %d", p.Version.MaxDepth()))
	}
	if p.OriginServerTS, err = integer(p.fields, "origin_server_ts"); err != nil {
		return err
	}
	if _, ok := p.fields.Object("content"); !ok {
		return matrix.BadJSON("content has to be an object")
	}
	p.Content = p.fields["content"]
	if p.AuthEvents, err = references(p.Version, p.fields, "auth_events", MaxAuthEvents); err != nil {
		return err
	}
	if p.PrevEvents, err = references(p.Version, p.fields, "prev_events", MaxPrevEvents); err != nil {
		return err
	}
	if err := p.readProofs(); err != nil {
		return err
	}
	if err := p.readID(); err != nil {
		return err
	}
	if err := p.readRoom(); err != nil {
		return err
	}
	return p.readRedacts()
}

func (p *PDU) readKeys() error {
	sender, ok := p.fields.Text("sender")
	if !ok || !ValidUserID(sender) {
		return matrix.BadJSON("sender has to be a user ID")
	}
	p.Sender = matrix.UserID(sender)
	if p.Type, ok = p.fields.Text("type"); !ok {
		return matrix.BadJSON("type has to be a string")
	}
	if len(p.Type) > MaxKeyBytes {
		return matrix.TooLarge(fmt.Sprintf("the event type is longer than %d bytes", MaxKeyBytes))
	}
	if !p.fields.Has("state_key") {
		return nil
	}
	key, ok := p.fields.Text("state_key")
	if !ok {
		return matrix.BadJSON("state_key has to be a string")
	}
	if len(key) > MaxKeyBytes {
		return matrix.TooLarge(fmt.Sprintf("the state key is longer than %d bytes", MaxKeyBytes))
	}
	p.StateKey = &key
	return nil
}

// readProofs checks the shape of hashes and signatures, not what they say.
func (p *PDU) readProofs() error {
	hashes, ok := p.fields.Object("hashes")
	if !ok {
		return matrix.BadJSON("hashes has to be an object")
	}
	if _, ok := hashes.Text("sha256"); !ok {
		return matrix.BadJSON("hashes has to hold a string under sha256")
	}
	signatures, ok := p.fields.Object("signatures")
	if !ok {
		return matrix.BadJSON("signatures has to be an object")
	}
	for server := range signatures {
		keys, ok := signatures.Object(server)
		if !ok {
			return matrix.BadJSON("signatures has to hold objects")
		}
		for id := range keys {
			if _, ok := keys.Text(id); !ok {
				return matrix.BadJSON("a signature has to be a string")
			}
		}
	}
	return nil
}

func (p *PDU) readID() error {
	if p.Version.EventID != roomver.EventIDGiven {
		p.ID = hashedID(p.Version, p.fields)
		return nil
	}
	id, ok := p.fields.Text("event_id")
	if !ok || !validID(id, '$') {
		return matrix.BadJSON("event_id has to be an event ID")
	}
	if _, host, found := strings.Cut(id, ":"); !found || !validServer(host) {
		return matrix.BadJSON("event_id has to name a server")
	}
	p.ID = matrix.EventID(id)
	return nil
}

func (p *PDU) readRoom() error {
	p.HasRoomID = p.fields.Has("room_id")
	if p.Version.RoomIDIsHash && p.IsCreate() && !p.HasRoomID {
		p.Room = RoomIDOf(p.ID)
		return nil
	}
	id, ok := p.fields.Text("room_id")
	if !ok || !validID(id, '!') {
		return matrix.BadJSON("room_id has to be a room ID")
	}
	p.Room = matrix.RoomID(id)
	return nil
}

func (p *PDU) readRedacts() error {
	if p.Type != "m.room.redaction" {
		return nil
	}
	if p.Version.RedactsInContent {
		content, _ := p.fields.Object("content")
		id, _ := content.Text("redacts")
		p.Redacts = matrix.EventID(id)
		return nil
	}
	if !p.fields.Has("redacts") {
		return nil // a redacted redaction
	}
	id, ok := p.fields.Text("redacts")
	if !ok {
		return matrix.BadJSON("redacts has to be a string")
	}
	p.Redacts = matrix.EventID(id)
	return nil
}

// IsCreate says whether this is the first event of a room.
func (p *PDU) IsCreate() bool {
	return p.Type == "m.room.create" && p.StateKey != nil && *p.StateKey == ""
}

// RoomIDOf is the ID of the room that a create event begins, in room versions whose
// room ID is a hash (spec: rooms/v12, event format).
func RoomIDOf(create matrix.EventID) matrix.RoomID {
	return matrix.RoomID("!" + strings.TrimPrefix(string(create), "$"))
}

// CreateEventOf is the create event of a room whose ID is a hash
// (spec: rooms/v12 auth 2).
func CreateEventOf(room matrix.RoomID) matrix.EventID {
	return matrix.EventID("$" + strings.TrimPrefix(string(room), "!"))
}

// ValidUserID says whether a user ID may stand in an event: all that ever existed,
// even with an empty localpart or control characters (spec: appendices, historical
// user IDs). New users are held to matrix.ParseUserID.
func ValidUserID(s string) bool {
	if !validID(s, '@') {
		return false
	}
	_, host, found := strings.Cut(s, ":")
	return found && validServer(host)
}

func validServer(host string) bool {
	_, err := matrix.ParseServerName(host)
	return err == nil
}

func validID(s string, sigil byte) bool {
	return len(s) > 1 && s[0] == sigil && len(s) <= matrix.MaxIDBytes &&
		strings.IndexByte(s, 0) < 0 && utf8.ValidString(s)
}

// integer reads a whole number; lenient room versions may write it as they like.
func integer(fields matrix.Object, key string) (int64, error) {
	n, err := strconv.ParseInt(string(fields[key]), 10, 64)
	if err != nil {
		return 0, matrix.BadJSON(fmt.Sprintf("%s has to be an integer", key))
	}
	return n, nil
}

// references reads auth_events or prev_events: event IDs, or in old room versions
// pairs of ID and hashes.
func references(v roomver.Version, fields matrix.Object, key string, most int) ([]matrix.EventID, error) {
	bad := matrix.BadJSON(fmt.Sprintf("%s has to be a list of references to events", key))
	var list []json.RawMessage
	if json.Unmarshal(fields[key], &list) != nil || list == nil {
		return nil, bad
	}
	if len(list) > most {
		return nil, matrix.BadJSON(fmt.Sprintf("%s may hold no more than %d events", key, most))
	}
	ids := make([]matrix.EventID, 0, len(list))
	for _, item := range list {
		if v.HashedReferences {
			var pair []json.RawMessage
			if json.Unmarshal(item, &pair) != nil || len(pair) != 2 || !bytes.HasPrefix(pair[1], []byte("{")) {
				return nil, bad
			}
			item = pair[0]
		}
		var id *string
		if json.Unmarshal(item, &id) != nil || id == nil || !validID(*id, '$') {
			return nil, bad
		}
		ids = append(ids, matrix.EventID(*id))
	}
	return ids, nil
}

// NextDepth is the depth of an event whose deepest parent has the depth given: one
// more, up to the limit of the room version.
func NextDepth(v roomver.Version, deepest int64) int64 {
	if deepest >= v.MaxDepth() || deepest == math.MaxInt64 {
		return v.MaxDepth()
	}
	return deepest + 1
}
