package rooms

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/eventauth"
	"porchlight/server/matrix"
	"porchlight/server/pdu"
	"porchlight/server/roomver"
)

// SendArgs is an event that somebody of this server sends.
type SendArgs struct {
	Room     matrix.RoomID
	Sender   matrix.UserID
	Type     string
	StateKey *string // nil: no state event
	Content  json.RawMessage
	Redacts  matrix.EventID // m.room.redaction only
	TS       *int64         // ms; nil: now
	Device   matrix.DeviceID
	TxnID    string // that Device gave, told back to it alone

	automatic bool // as of Event
}

// Send builds, authorises and appends an event. The error is M_FORBIDDEN when the sender
// is not in the room or the rules of the room forbid it, M_TOO_LARGE, M_BAD_JSON or
// M_INVALID_PARAM when the content is no good, M_NOT_FOUND when there is nothing to redact,
// M_DUPLICATE_ANNOTATION or M_UNKNOWN when it must not relate to what it does.
func (k *Keeper) Send(tx *kv.WriteTx, a SendArgs) (*Event, error) {
	row, ok := k.rooms.Get(tx, a.Room)
	if !ok {
		return nil, notInRoom()
	}
	if err := k.checkContent(tx, a); err != nil {
		return nil, err
	}
	if a.Type == "m.room.redaction" && a.StateKey == nil {
		return k.redact(tx, row, a)
	}
	if a.Type == "m.room.member" && a.StateKey != nil {
		return k.sendMember(tx, row, a)
	}
	e, err := k.send(tx, row, a)
	if err == nil && e.Is("m.room.guest_access", "") {
		err = k.evictGuests(tx, a.Room)
	}
	return e, err
}

func notInRoom() *matrix.Error { return matrix.Forbidden("you are not in that room") }

// send is Send behind the checks of content.
func (k *Keeper) send(tx *kv.WriteTx, row RoomRow, a SendArgs) (*Event, error) {
	v, ok := roomver.Get(row.Version)
	if !ok {
		return nil, matrix.UnsupportedRoomVersion(row.Version)
	}
	d := pdu.Draft{
		Room: a.Room, Sender: a.Sender, Type: a.Type, StateKey: a.StateKey, Content: a.Content,
		Redacts: a.Redacts, OriginServerTS: k.Now().UnixMilli(),
	}
	for last := range k.walk(tx, kv.Prefix(a.Room).Reverse()) {
		d.PrevEvents, d.Depth = []matrix.EventID{last.ID}, pdu.NextDepth(v, last.Depth)
		break
	}
	if a.TS != nil {
		d.OriginServerTS = *a.TS
	}
	state := k.authState(tx, a.Room)
	for _, key := range eventauth.AuthTypes(v, d.Type, d.Sender, d.StateKey, d.Content) {
		if e, ok := state.StateEvent(key.Type, key.StateKey); ok {
			d.AuthEvents = append(d.AuthEvents, e.ID)
		}
	}
	if v.HashedReferences {
		hashes, err := k.referenceHashes(tx, v, d.AuthEvents, d.PrevEvents)
		if err != nil {
			return nil, err
		}
		d.ReferenceHashes = hashes
	}
	p, err := pdu.Build(v, d, k.Server, k.KeyID, k.Key, k.Random)
	if err != nil {
		return nil, err
	}
	if err := eventauth.Check(v, p, state, p.HasSignature); err != nil {
		return nil, err
	}
	return k.append(tx, p, eventRow{Device: a.Device, TxnID: a.TxnID, Automatic: a.automatic})
}

// referenceHashes are what rooms of version 1 and 2 want beside each reference.
func (k *Keeper) referenceHashes(r kv.Reader, v roomver.Version, lists ...[]matrix.EventID) (map[matrix.EventID]string, error) {
	hashes := map[matrix.EventID]string{}
	for _, list := range lists {
		for _, id := range list {
			e, ok := k.Event(r, id)
			if !ok {
				return nil, matrix.NotFound("the event before is not there")
			}
			p, err := pdu.Parse(v, e.PDU)
			if err != nil {
				return nil, err
			}
			hashes[id] = p.ReferenceHash()
		}
	}
	return hashes, nil
}

// append gives an authorised event its position and its rows; er is what the row says besides.
func (k *Keeper) append(tx *kv.WriteTx, p *pdu.PDU, er eventRow) (*Event, error) {
	if p.StateKey != nil {
		if err := k.grow(tx, p); err != nil {
			return nil, err
		}
	}
	pos := k.Changes.Append(tx, changes.Change{Kind: changes.Event, Room: p.Room})
	er.ID, er.PDU = p.ID, p.Raw
	if p.StateKey != nil {
		er.Replaces = k.setState(tx, p, pos)
	}
	key := eventKey{p.Room, uint64(pos)}
	k.events.Put(tx, key, er)
	k.eventIDs.Put(tx, p.ID, placeRow(key))

	e := k.event(tx, key, er)
	if e == nil {
		return nil, matrix.BadJSON("the event cannot be read back")
	}
	if m := e.Membership(); m != "" {
		k.setMembership(tx, e, m)
	}
	k.relate(tx, e)
	for _, w := range k.witnesses {
		if err := w.EventAppended(tx, e); err != nil {
			return nil, err
		}
	}
	k.noticed(tx, key, er, e)
	return e, nil
}

// setState makes the event current and returns the position of the one it replaces, or 0.
func (k *Keeper) setState(tx *kv.WriteTx, p *pdu.PDU, pos changes.Position) (before uint64) {
	key := stateKey{p.Room, p.Type, *p.StateKey}
	before, _ = k.state.Get(tx, key)
	k.state.Put(tx, key, uint64(pos))
	k.history.Put(tx, stateAtKey{p.Room, p.Type, *p.StateKey, uint64(pos)}, none{})
	return before
}

func (k *Keeper) setMembership(tx *kv.WriteTx, e *Event, membership string) {
	key := membershipKey{matrix.UserID(*e.StateKey), e.Room}
	before, _ := k.memberships.Get(tx, key)
	k.memberships.Put(tx, key, Membership{
		State: membership, Position: e.Position,
		WasJoined: before.WasJoined || before.State == "join" || membership == "join",
		// What others do meanwhile brings nothing back (spec: client-server API, leaving rooms).
		Forgotten: before.Forgotten && (membership == "leave" || membership == "ban"),
	})
}

// authState shows the authorisation rules the current state of a room. It remembers what
// it has read, since the rules ask for the same few events several times: use it for one
// event only.
type authState struct {
	k    *Keeper
	r    kv.Reader
	room matrix.RoomID
	read map[eventauth.Key]*Event // nil: there is none
}

func (k *Keeper) authState(r kv.Reader, room matrix.RoomID) *authState {
	return &authState{k: k, r: r, room: room, read: map[eventauth.Key]*Event{}}
}

// StateEvent is the current state event of a type and key.
func (s *authState) StateEvent(eventType, key string) (eventauth.StateEvent, bool) {
	at := eventauth.Key{Type: eventType, StateKey: key}
	e, known := s.read[at]
	if !known {
		e, _ = s.k.State(s.r, s.room, eventType, key)
		s.read[at] = e
	}
	if e == nil {
		return eventauth.StateEvent{}, false
	}
	return eventauth.StateEvent{ID: e.ID, Sender: e.Sender, Content: e.Content}, true
}

// redact sends a redaction and strips the event that it names. A sender may redact what
// the same server's users sent, or anything with the power to redact
// (spec: rooms/v3, handling redactions).
func (k *Keeper) redact(tx *kv.WriteTx, row RoomRow, a SendArgs) (*Event, error) {
	v, ok := roomver.Get(row.Version)
	if !ok {
		return nil, matrix.UnsupportedRoomVersion(row.Version)
	}
	if a.Redacts == "" {
		a.Redacts = matrix.EventID(contentText(a.Content, "redacts"))
	}
	target, ok := k.Event(tx, a.Redacts)
	if !ok || target.Room != a.Room || !k.Visible(tx, a.Sender, target) {
		return nil, matrix.NotFound("there is no such event in this room")
	}
	if target.Sender != a.Sender {
		if levels := k.Power(tx, a.Room); levels.User(a.Sender) < levels.Redact {
			return nil, matrix.Forbidden("you do not have the power level to redact what others sent here")
		}
	}
	e, err := k.send(tx, row, a)
	if err != nil {
		return nil, err
	}
	if target.RedactedBy != "" {
		return e, nil
	}
	key := eventKey{target.Room, uint64(target.Position)}
	er, _ := k.events.Get(tx, key)
	stripped, err := pdu.Redact(v, er.PDU)
	if err != nil {
		return nil, err
	}
	k.unrelate(tx, target)
	k.shrink(tx, target, er.PDU, stripped)
	er.PDU, er.RedactedBy, er.Notice = stripped, e.ID, er.Notice.kept()
	k.events.Put(tx, key, er)
	return e, nil
}

// Power is the power levels in force in a room.
func (k *Keeper) Power(r kv.Reader, room matrix.RoomID) eventauth.PowerLevels {
	row, _ := k.rooms.Get(r, room)
	v, _ := roomver.Get(row.Version)
	return eventauth.Levels(v, k.authState(r, room))
}
