package history

import (
	"encoding/json"
	"slices"
	"strings"

	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// maxFilterEntries bounds each list of a filter: all of them are compared with each event.
const maxFilterEntries = 1000

// Filter is what a client wants to hear of (spec: client-server API, filtering).
type Filter struct {
	EventFields []string    `json:"event_fields"`
	EventFormat string      `json:"event_format"`
	Presence    EventFilter `json:"presence"`
	AccountData EventFilter `json:"account_data"`
	Room        RoomFilter  `json:"room"`
}

// RoomFilter is the part of a filter that is about rooms.
type RoomFilter struct {
	Rooms        []matrix.RoomID `json:"rooms"`
	NotRooms     []matrix.RoomID `json:"not_rooms"`
	IncludeLeave bool            `json:"include_leave"`
	State        RoomEventFilter `json:"state"`
	Timeline     RoomEventFilter `json:"timeline"`
	Ephemeral    RoomEventFilter `json:"ephemeral"`
	AccountData  RoomEventFilter `json:"account_data"`
}

// EventFilter chooses events by type and sender. A list that is absent (nil) lets
// everything through, an empty one nothing.
type EventFilter struct {
	Limit      *int            `json:"limit"`
	Types      []string        `json:"types"`
	NotTypes   []string        `json:"not_types"`
	Senders    []matrix.UserID `json:"senders"`
	NotSenders []matrix.UserID `json:"not_senders"`
}

// RoomEventFilter is an EventFilter for events of rooms.
type RoomEventFilter struct {
	EventFilter
	Rooms                     []matrix.RoomID `json:"rooms"`
	NotRooms                  []matrix.RoomID `json:"not_rooms"`
	ContainsURL               *bool           `json:"contains_url"`
	LazyLoadMembers           bool            `json:"lazy_load_members"`
	IncludeRedundantMembers   bool            `json:"include_redundant_members"`
	UnreadThreadNotifications bool            `json:"unread_thread_notifications"`
}

// ParseFilter reads a whole filter, as it is stored or given to /sync.
func ParseFilter(raw []byte) (Filter, error) {
	var f Filter
	if err := decodeFilter(raw, &f); err != nil {
		return f, err
	}
	if f.EventFormat != "" && f.EventFormat != "client" && f.EventFormat != "federation" {
		return f, matrix.InvalidParam("The event_format of a filter is either client or federation.")
	}
	if len(f.EventFields) > maxFilterEntries {
		return f, tooManyEntries()
	}
	if err := checkRooms(f.Room.Rooms, f.Room.NotRooms); err != nil {
		return f, err
	}
	for _, part := range []EventFilter{f.Presence, f.AccountData} {
		if err := part.check(); err != nil {
			return f, err
		}
	}
	for _, part := range []RoomEventFilter{f.Room.State, f.Room.Timeline, f.Room.Ephemeral, f.Room.AccountData} {
		if err := part.check(); err != nil {
			return f, err
		}
	}
	return f, nil
}

// ParseRoomEventFilter reads the filter that /messages and its like take; an empty string
// is no filter.
func ParseRoomEventFilter(s string) (RoomEventFilter, error) {
	var f RoomEventFilter
	if s == "" {
		return f, nil
	}
	if err := decodeFilter([]byte(s), &f); err != nil {
		return f, err
	}
	return f, f.check()
}

func decodeFilter(raw []byte, f any) error {
	if err := matrix.CheckJSON(raw); err != nil {
		return err
	}
	if _, err := matrix.ParseObject(raw); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, f); err != nil {
		return matrix.BadJSON("The filter does not have the form of a filter.")
	}
	return nil
}

func tooManyEntries() error {
	return matrix.InvalidParam("A list of the filter is too long.")
}

func (f EventFilter) check() error {
	if f.Limit != nil && *f.Limit < 0 {
		return matrix.InvalidParam("The limit of a filter can't be negative.")
	}
	if max(len(f.Types), len(f.NotTypes), len(f.Senders), len(f.NotSenders)) > maxFilterEntries {
		return tooManyEntries()
	}
	for _, user := range slices.Concat(f.Senders, f.NotSenders) {
		if _, err := matrix.ParseUserID(string(user)); err != nil {
			return err
		}
	}
	return nil
}

func (f RoomEventFilter) check() error {
	if err := checkRooms(f.Rooms, f.NotRooms); err != nil {
		return err
	}
	return f.EventFilter.check()
}

func checkRooms(lists ...[]matrix.RoomID) error {
	for _, list := range lists {
		if len(list) > maxFilterEntries {
			return tooManyEntries()
		}
		for _, room := range list {
			if _, err := matrix.ParseRoomID(string(room)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Max is the number of events to give: the filter's limit, or otherwise, but at most most.
func (f EventFilter) Max(otherwise, most int) int {
	if f.Limit != nil {
		otherwise = *f.Limit
	}
	return min(otherwise, most)
}

// Match says whether the filter lets an event of this type and sender through. A sender
// of "" is one who does not matter, as with account data.
func (f EventFilter) Match(eventType string, sender matrix.UserID) bool {
	if slices.ContainsFunc(f.NotTypes, func(p string) bool { return matchType(p, eventType) }) {
		return false
	}
	if f.Types != nil && !slices.ContainsFunc(f.Types, func(p string) bool { return matchType(p, eventType) }) {
		return false
	}
	if sender == "" {
		return true
	}
	return !slices.Contains(f.NotSenders, sender) && (f.Senders == nil || slices.Contains(f.Senders, sender))
}

// MatchRoom says whether the filter is about this room.
func (f RoomEventFilter) MatchRoom(room matrix.RoomID) bool {
	return matchRoom(f.Rooms, f.NotRooms, room)
}

// MatchRoom says whether the filter is about this room.
func (f RoomFilter) MatchRoom(room matrix.RoomID) bool {
	return matchRoom(f.Rooms, f.NotRooms, room)
}

func matchRoom(only, not []matrix.RoomID, room matrix.RoomID) bool {
	return !slices.Contains(not, room) && (only == nil || slices.Contains(only, room))
}

// MatchEvent says whether the filter lets an event of a room through.
func (f RoomEventFilter) MatchEvent(e *rooms.Event) bool {
	if !f.Match(e.Type, e.Sender) || !f.MatchRoom(e.Room) {
		return false
	}
	return f.ContainsURL == nil || *f.ContainsURL == hasURL(e.Content)
}

// Nothing says that the filter lets no event through, whatever it is, so that nobody need
// look.
func (f RoomEventFilter) Nothing() bool {
	return f.Types != nil && len(f.Types) == 0 || f.Senders != nil && len(f.Senders) == 0 ||
		f.Rooms != nil && len(f.Rooms) == 0 || slices.Contains(f.NotTypes, "*")
}

func hasURL(content json.RawMessage) bool {
	o, err := matrix.ParseObject(content)
	return err == nil && o.Has("url")
}

// matchType compares with a pattern in which * stands for any characters.
func matchType(pattern, eventType string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == eventType
	}
	eventType, ok := strings.CutPrefix(eventType, first)
	if !ok {
		return false
	}
	for {
		// What stands between two stars matches best as early as it can; what stands
		// behind the last must end the text.
		part, more, wild := strings.Cut(rest, "*")
		if !wild {
			return strings.HasSuffix(eventType, part)
		}
		i := strings.Index(eventType, part)
		if i < 0 {
			return false
		}
		eventType, rest = eventType[i+len(part):], more
	}
}
