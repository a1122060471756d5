package rooms

import (
	"encoding/json"
	"iter"
	"slices"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/pdu"
	"porchlight/server/roomver"
)

// The types of relations that the server knows more of than that they are there
// (spec: client-server API, relationship types).
const (
	RelThread     = "m.thread"
	relReplace    = "m.replace"
	relReference  = "m.reference"
	relAnnotation = "m.annotation"
)

// MaxAggregated is how many of the newest events that relate to an event are looked at to
// tell what they come to.
const MaxAggregated = 5000

type relationKey struct {
	Parent   matrix.EventID
	Position uint64 // of the child
}

// relationRow is as much of a child as it takes to count, choose and find it. A relation to
// an event that is not in the room, or not there yet, has none: it is ignored
// (spec: client-server API, forming relationships between events).
type relationRow struct {
	ID     matrix.EventID `cbor:"1,keyasint"`
	Rel    string         `cbor:"2,keyasint"`
	Type   string         `cbor:"3,keyasint"`
	Sender matrix.UserID  `cbor:"4,keyasint"`
	TS     int64          `cbor:"5,keyasint,omitempty"` // ms
	Key    string         `cbor:"6,keyasint,omitempty"` // of an annotation
	State  bool           `cbor:"7,keyasint,omitempty"`
}

// Relation is that an event, the child, relates to another one.
type Relation struct {
	Position changes.Position // the child's
	ID       matrix.EventID
	Rel      string // the type of the relation, as "m.thread"
	Type     string
	Sender   matrix.UserID
	TS       int64 // ms, as the sender has it
	State    bool  // the child is a state event
}

// relatesTo is the relation that a content tells of. A reply is none by itself.
type relatesTo struct {
	rel    string
	parent matrix.EventID
	key    string
	hasKey bool
}

func parseRelatesTo(content json.RawMessage) (relatesTo, bool) {
	o, err := matrix.ParseObject(content)
	if err != nil || !o.Has("m.relates_to") {
		return relatesTo{}, false
	}
	inner, _ := o.Object("m.relates_to")
	rel, hasRel := inner.Text("rel_type")
	parent, hasParent := inner.Text("event_id")
	key, hasKey := inner.Text("key")
	if _, err := matrix.ParseEventID(parent); err != nil || !hasRel || !hasParent {
		return relatesTo{}, false
	}
	return relatesTo{rel, matrix.EventID(parent), key, hasKey}, true
}

// RelationType is the type of the relation that an event is the child of, "" if none.
func (e *Event) RelationType() string {
	to, _ := parseRelatesTo(e.Content)
	return to.rel
}

// ThreadRoot is the event at which the event's thread starts, "" if it is in none.
func (e *Event) ThreadRoot() matrix.EventID {
	if to, ok := parseRelatesTo(e.Content); ok && to.rel == RelThread {
		return to.parent
	}
	return ""
}

// relate writes down what a new event relates to.
func (k *Keeper) relate(tx *kv.WriteTx, e *Event) {
	to, ok := parseRelatesTo(e.Content)
	if !ok {
		return
	}
	parent, ok := k.eventIDs.Get(tx, to.parent)
	if !ok || parent.Room != e.Room || parent.Position >= uint64(e.Position) {
		return
	}
	row := relationRow{ID: e.ID, Rel: to.rel, Type: e.Type, Sender: e.Sender, TS: e.TS, State: e.IsState()}
	if to.rel == relAnnotation {
		row.Key = to.key
	}
	k.relations.Put(tx, relationKey{to.parent, uint64(e.Position)}, row)
}

// unrelate forgets the relation of an event that is being redacted.
func (k *Keeper) unrelate(tx *kv.WriteTx, e *Event) {
	if to, ok := parseRelatesTo(e.Content); ok {
		k.relations.Delete(tx, relationKey{to.parent, uint64(e.Position)})
	}
}

// checkRelation refuses the same annotation a second time, and threads that start at an
// event that relates to another one (spec: client-server API, avoiding duplicate
// annotations, validation of m.thread relationships).
func (k *Keeper) checkRelation(r kv.Reader, a SendArgs) error {
	to, ok := parseRelatesTo(a.Content)
	if !ok {
		return nil
	}
	parent, ok := k.Event(r, to.parent)
	if !ok || parent.Room != a.Room || !k.Visible(r, a.Sender, parent) {
		return nil
	}
	if to.rel == RelThread && parent.RelationType() != "" {
		return matrix.Unknown(400, "a thread can't start at an event that relates to another one")
	}
	if to.rel != relAnnotation || !to.hasKey {
		return nil
	}
	for _, row := range k.relations.Scan(r, kv.Prefix(to.parent)) {
		if row.Rel == relAnnotation && row.Sender == a.Sender && row.Type == a.Type && row.Key == to.key {
			return matrix.Refusal(400, "M_DUPLICATE_ANNOTATION", "you have annotated the event with this already")
		}
	}
	return nil
}

// Relations yields what relates to an event, behind after and up to through, oldest first
// or newest first. Whether the viewer may see the children is Sight's to say.
func (k *Keeper) Relations(r kv.Reader, parent matrix.EventID, after, through changes.Position, backwards bool) iter.Seq[Relation] {
	rg := kv.Prefix(parent).After(uint64(after)).Through(uint64(through))
	if backwards {
		rg = rg.Reverse()
	}
	return func(yield func(Relation) bool) {
		for key, row := range k.relations.Scan(r, rg) {
			if !yield(Relation{changes.Position(key.Position), row.ID, row.Rel, row.Type, row.Sender, row.TS, row.State}) {
				return
			}
		}
	}
}

// aggregate is what the events that relate to an event come to for a viewer, nil if nothing.
// State events have none, and annotations are left to clients (spec: client-server API,
// aggregations of child events).
//
// A child is always later than its parent, a thread does not start at a child and an edit is
// not edited: so what is inside of the result ends after a few steps.
func (k *Keeper) aggregate(r kv.Reader, e *Event, v Viewer) *matrix.Relations {
	if e.IsState() {
		return nil
	}
	var all aggregation
	var sight *Sight // read when there is something to see
	read := 0
	for rel := range k.Relations(r, e.ID, e.Position, lastPosition, true) {
		if sight == nil {
			sight = k.Sight(r, v.User, e.Room)
		}
		if read++; read > MaxAggregated {
			break
		}
		if rel.Rel != relAnnotation && !sight.Ignores(rel.Sender) && sight.Sees(rel) {
			all.add(rel, v.User)
		}
	}
	if read == 0 {
		return nil
	}
	return k.shown(r, e, v, &all)
}

// aggregation gathers the relations to one event, newest first.
type aggregation struct {
	references []matrix.Reference
	edits      []Relation
	latest     *Relation // in the thread
	count      int       // of the thread
	took       bool      // the viewer's part in the thread
}

func (a *aggregation) add(rel Relation, viewer matrix.UserID) {
	switch rel.Rel {
	case relReference:
		a.references = append(a.references, matrix.Reference{EventID: rel.ID})
	case relReplace:
		a.edits = append(a.edits, rel)
	case RelThread:
		if a.latest == nil {
			a.latest = &rel
		}
		a.count++
		a.took = a.took || rel.Sender == viewer
	}
}

func (k *Keeper) shown(r kv.Reader, e *Event, v Viewer, all *aggregation) *matrix.Relations {
	var out matrix.Relations
	relation := e.RelationType()
	if edit := k.newestEdit(r, e, all.edits); edit != nil && relation != relReplace && k.Served(r, edit, v.User) == edit {
		shown := k.ClientEvent(r, edit, v)
		out.Replace = &shown
	}
	if len(all.references) > 0 {
		slices.Reverse(all.references)
		out.Reference = &matrix.References{Chunk: all.references}
	}
	if all.latest != nil && relation == "" {
		if latest, ok := k.EventAt(r, e.Room, all.latest.Position); ok {
			out.Thread = &matrix.Thread{
				Latest: k.ClientEvent(r, latest, v), Count: all.count, Participated: all.took || e.Sender == v.User,
			}
		}
	}
	if out == (matrix.Relations{}) {
		return nil
	}
	return &out
}

// Edits is the event that an event replaces the content of, "" if none. Whether it may is
// LatestEdit's to say.
func (e *Event) Edits() matrix.EventID {
	if to, ok := parseRelatesTo(e.Content); ok && to.rel == relReplace && !e.IsState() {
		return to.parent
	}
	return ""
}

// LatestEdit is the newest valid edit of an event at or before a position that the viewer
// sees; nil if there is none. Of very many relations, only the newest are looked at.
func (k *Keeper) LatestEdit(r kv.Reader, e *Event, through changes.Position, sight *Sight) *Event {
	if e.IsState() || e.RelationType() == relReplace {
		return nil
	}
	var edits []Relation
	read := 0
	for rel := range k.Relations(r, e.ID, e.Position, through, true) {
		if read++; read > MaxAggregated {
			break
		}
		if rel.Rel == relReplace && sight.Sees(rel) {
			edits = append(edits, rel)
		}
	}
	return k.newestEdit(r, e, edits)
}

// newestEdit is the edit that is valid and the newest by its own time; nil if there is none
// (spec: client-server API, validity of replacement events).
func (k *Keeper) newestEdit(r kv.Reader, e *Event, edits []Relation) *Event {
	if e.RedactedBy != "" {
		return nil
	}
	var newest *Event
	for _, rel := range edits {
		if rel.Sender != e.Sender || rel.Type != e.Type || rel.State || newest != nil && rel.TS < newest.TS {
			continue
		}
		edit, ok := k.EventAt(r, e.Room, rel.Position)
		if !ok || !hasNewContent(edit) {
			continue
		}
		if newest == nil || edit.TS > newest.TS || edit.ID > newest.ID {
			newest = edit
		}
	}
	return newest
}

// hasNewContent says whether an edit tells what to replace with. An encrypted one does so
// where no server sees it.
func hasNewContent(e *Event) bool {
	if e.Type == "m.room.encrypted" {
		return true
	}
	content, err := matrix.ParseObject(e.Content)
	return err == nil && content.Has("m.new_content")
}

// Redacted is the event as if it had been redacted, as a thread's root is shown to those who
// ignore its sender (spec: client-server API, GET rooms/{roomId}/threads).
func (k *Keeper) Redacted(r kv.Reader, e *Event) (*Event, error) {
	room, _ := k.rooms.Get(r, e.Room)
	v, ok := roomver.Get(room.Version)
	if !ok {
		return nil, matrix.UnsupportedRoomVersion(room.Version)
	}
	stripped, err := pdu.Redact(v, e.PDU)
	if err != nil {
		return nil, err
	}
	redacted := k.event(r, eventKey{e.Room, uint64(e.Position)}, eventRow{ID: e.ID, PDU: stripped})
	if redacted == nil {
		return nil, matrix.BadJSON("the event cannot be read back")
	}
	return redacted, nil
}

func (k *Keeper) checkRelations(r kv.Reader, report func(string, ...any)) {
	for key, row := range k.relations.Scan(r, kv.All()) {
		parent, ok := k.Event(r, key.Parent)
		if !ok {
			report("event %s relates to %s, which is not there", row.ID, key.Parent)
			continue
		}
		child, ok := k.EventAt(r, parent.Room, changes.Position(key.Position))
		if !ok || child.ID != row.ID || child.Position <= parent.Position {
			report("the relation to %s at %d leads to no later event of its room", key.Parent, key.Position)
			continue
		}
		if to, ok := parseRelatesTo(child.Content); !ok || to.parent != key.Parent || to.rel != row.Rel {
			report("event %s is written down to relate to %s, and does not", row.ID, key.Parent)
		}
	}
}
