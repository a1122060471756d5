package pushrule

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"

	"porchlight/server/matrix"
)

// RoomInfo is what rules ask about the room of an event. It is asked at most once each for an
// event, and not at all if no rule wants to know.
type RoomInfo interface {
	// MemberCount is how many users are joined.
	MemberCount() int
	// MayNotify says whether the sender of the event has the power to notify in this way,
	// such as "room" (spec: m.room.power_levels, notifications).
	MayNotify(key string) bool
	// DisplayName is the name of a user in the room; empty if there is none.
	DisplayName(user matrix.UserID) string
}

// Event is an event, read for rules to look at. It is for one goroutine.
type Event struct {
	Room   matrix.RoomID
	Sender matrix.UserID

	fields  map[string]any
	info    RoomInfo
	members int // -1: not asked yet
	may     map[string]bool
	folded  map[string]foldedText // by the path of the property
	left    effort                // for the patterns of the user at hand
}

// mentions and oldMentions are the property that says whom an event mentions, and its name
// before it was in the standard (MSC3952).
const (
	mentions    = "m.mentions"
	oldMentions = "org.matrix.msc3952.mentions"
)

// betweenServers are what of an event only servers see; rules do not look at it.
var betweenServers = [...]string{"auth_events", "prev_events", "prev_state", "depth", "hashes", "signatures", "origin"}

type foldedText struct {
	text string
	ok   bool // the property is there and a string
}

// NewEvent reads an event in JSON, as clients or as servers have it. id is the event's, which the JSON need not hold. The
// error says that this is no event.
func NewEvent(id matrix.EventID, event []byte, info RoomInfo) (*Event, error) {
	e := &Event{info: info, members: -1, may: map[string]bool{}, folded: map[string]foldedText{}}
	d := json.NewDecoder(bytes.NewReader(event))
	d.UseNumber()
	if err := d.Decode(&e.fields); err != nil {
		return nil, err
	}
	room, hasRoom := e.fields["room_id"].(string)
	sender, hasSender := e.fields["sender"].(string)
	if !hasRoom || !hasSender {
		return nil, errors.New("an event without room or sender")
	}
	e.Room, e.Sender = matrix.RoomID(room), matrix.UserID(sender)
	e.fields["event_id"] = string(id)
	for _, name := range betweenServers {
		delete(e.fields, name)
	}
	if content, ok := e.fields["content"].(map[string]any); ok && content[mentions] == nil && content[oldMentions] != nil {
		content[mentions] = content[oldMentions]
	}
	return e, nil
}

// Named are the users whom the event names: those that it mentions, and that of its state key.
// To all others, the rules that Predefined gives them do the same.
func (e *Event) Named() []matrix.UserID {
	var all []matrix.UserID
	if key, ok := e.fields["state_key"].(string); ok && key != "" {
		all = append(all, matrix.UserID(key))
	}
	list, _ := e.property([]string{"content", mentions, "user_ids"})
	mentioned, _ := list.([]any)
	known := map[string]bool{}
	for _, item := range mentioned {
		if user, ok := item.(string); ok && !known[user] {
			known[user] = true
			all = append(all, matrix.UserID(user))
		}
	}
	return all
}

// property is what stands at a path; false if nothing does.
func (e *Event) property(path []string) (any, bool) {
	var at any = e.fields
	for _, name := range path {
		object, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		if at, ok = object[name]; !ok {
			return nil, false
		}
	}
	return at, true
}

// text is the string at a path, folded; false if there is none.
func (e *Event) text(key string, path []string) (string, bool) {
	f, known := e.folded[key]
	if !known {
		v, _ := e.property(path)
		s, ok := v.(string)
		f = foldedText{foldText(s), ok}
		e.folded[key] = f
	}
	return f.text, f.ok
}

func (e *Event) memberCount() int {
	if e.members < 0 {
		e.members = e.info.MemberCount()
	}
	return e.members
}

func (e *Event) mayNotify(key string) bool {
	may, known := e.may[key]
	if !known {
		may = e.info.MayNotify(key)
		e.may[key] = may
	}
	return may
}

// simple is a value that can be compared: a string, a boolean, nil or an int64 that
// canonical JSON allows; false for any other.
func simple(v any) (any, bool) {
	const most = 1<<53 - 1
	switch v := v.(type) {
	case string, bool, nil:
		return v, true
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		if err != nil || n < -most || n > most {
			return nil, false
		}
		return n, true
	}
	return nil, false
}
