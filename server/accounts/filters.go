package accounts

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// MaxFilters is how many filters a user may store.
	MaxFilters = 500
	// MaxFilterBytes is the largest filter.
	MaxFilterBytes = 16 << 10
	// MaxFilterEntries is the longest list in a filter.
	MaxFilterEntries = 1000
	filterIDBytes    = 12
)

// EventFilter says which events a client wants (spec: client-server API, filtering).
// A nil list is one that was not given.
type EventFilter struct {
	Limit      *int            `json:"limit,omitempty"`
	Senders    []matrix.UserID `json:"senders,omitzero"`
	NotSenders []matrix.UserID `json:"not_senders,omitzero"`
	Types      []string        `json:"types,omitzero"`
	NotTypes   []string        `json:"not_types,omitzero"`
}

// RoomEventFilter says which events of rooms a client wants.
type RoomEventFilter struct {
	EventFilter
	Rooms                     []matrix.RoomID `json:"rooms,omitzero"`
	NotRooms                  []matrix.RoomID `json:"not_rooms,omitzero"`
	ContainsURL               *bool           `json:"contains_url,omitempty"`
	LazyLoadMembers           bool            `json:"lazy_load_members,omitempty"`
	IncludeRedundantMembers   bool            `json:"include_redundant_members,omitempty"`
	UnreadThreadNotifications bool            `json:"unread_thread_notifications,omitempty"`
}

// RoomFilter says which rooms a client wants, and what of them.
type RoomFilter struct {
	Rooms        []matrix.RoomID `json:"rooms,omitzero"`
	NotRooms     []matrix.RoomID `json:"not_rooms,omitzero"`
	IncludeLeave bool            `json:"include_leave,omitempty"`
	State        RoomEventFilter `json:"state,omitzero"`
	Timeline     RoomEventFilter `json:"timeline,omitzero"`
	Ephemeral    RoomEventFilter `json:"ephemeral,omitzero"`
	AccountData  RoomEventFilter `json:"account_data,omitzero"`
}

// Filter is what a client wants of /sync.
type Filter struct {
	EventFields []string    `json:"event_fields,omitzero"`
	EventFormat string      `json:"event_format,omitempty"`
	Presence    EventFilter `json:"presence,omitzero"`
	AccountData EventFilter `json:"account_data,omitzero"`
	Room        RoomFilter  `json:"room,omitzero"`
}

// ParseFilter reads and checks a filter. The errors are M_BAD_JSON, M_TOO_LARGE and
// M_INVALID_PARAM.
func ParseFilter(raw []byte) (*Filter, error) {
	if len(raw) > MaxFilterBytes {
		return nil, matrix.TooLarge(fmt.Sprintf("a filter may have at most %d bytes", MaxFilterBytes))
	}
	if err := matrix.CheckJSON(raw); err != nil {
		return nil, err
	}
	if _, err := matrix.ParseObject(raw); err != nil {
		return nil, err
	}
	f := new(Filter)
	if err := json.Unmarshal(raw, f); err != nil {
		return nil, matrix.BadJSON("the filter has a field of the wrong type")
	}
	return f, f.check()
}

// ParseRoomEventFilter reads and checks the filter that /messages and /context take.
// The errors are those of ParseFilter.
func ParseRoomEventFilter(raw []byte) (*RoomEventFilter, error) {
	var whole bytes.Buffer
	whole.WriteString(`{"room":{"timeline":`)
	whole.Write(raw)
	whole.WriteString(`}}`)
	if !json.Valid(raw) {
		return nil, matrix.NotJSON("the filter is no JSON")
	}
	f, err := ParseFilter(whole.Bytes())
	if err != nil {
		return nil, err
	}
	return &f.Room.Timeline, nil
}

func (f *Filter) check() error {
	switch f.EventFormat {
	case "", "client", "federation":
	default:
		return matrix.InvalidParam("event_format has to be client or federation")
	}
	if err := checkEntries(len(f.EventFields), len(f.Room.Rooms), len(f.Room.NotRooms)); err != nil {
		return err
	}
	for _, e := range []*EventFilter{&f.Presence, &f.AccountData} {
		if err := e.check(); err != nil {
			return err
		}
	}
	for _, e := range []*RoomEventFilter{&f.Room.State, &f.Room.Timeline, &f.Room.Ephemeral, &f.Room.AccountData} {
		if err := e.EventFilter.check(); err != nil {
			return err
		}
		if err := checkEntries(len(e.Rooms), len(e.NotRooms)); err != nil {
			return err
		}
		if err := checkRoomIDs(e.Rooms, e.NotRooms); err != nil {
			return err
		}
	}
	return checkRoomIDs(f.Room.Rooms, f.Room.NotRooms)
}

func (e *EventFilter) check() error {
	if e.Limit != nil && *e.Limit < 0 {
		return matrix.InvalidParam("the limit of a filter has to be greater than 0")
	}
	for _, list := range [][]matrix.UserID{e.Senders, e.NotSenders} {
		for _, user := range list {
			if _, err := matrix.ParseUserID(string(user)); err != nil {
				return err
			}
		}
	}
	return checkEntries(len(e.Senders), len(e.NotSenders), len(e.Types), len(e.NotTypes))
}

func checkRoomIDs(lists ...[]matrix.RoomID) error {
	for _, list := range lists {
		for _, room := range list {
			if _, err := matrix.ParseRoomID(string(room)); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkEntries(lengths ...int) error {
	for _, n := range lengths {
		if n > MaxFilterEntries {
			return matrix.InvalidParam(fmt.Sprintf("a list in a filter may have at most %d entries", MaxFilterEntries))
		}
	}
	return nil
}

// filterKey names a stored filter.
type filterKey struct {
	User   matrix.UserID
	Filter string
}

// StoreFilter keeps a filter and returns its ID, the same for the same filter, so that
// a client that uploads its filter at every start costs nothing. The errors are those
// of ParseFilter, and M_FORBIDDEN if the user has too many.
func (k *Keeper) StoreFilter(tx *kv.WriteTx, user matrix.UserID, raw json.RawMessage) (string, error) {
	if _, err := ParseFilter(raw); err != nil {
		return "", err
	}
	canonical, err := matrix.Canonical(raw)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(canonical)
	id := base64.RawURLEncoding.EncodeToString(sum[:filterIDBytes])
	key := filterKey{user, id}
	if k.filters.Has(tx, key) {
		return id, nil
	}
	n := 0
	for range k.filters.Keys(tx, kv.Prefix(user)) {
		n++
	}
	if n >= MaxFilters {
		return "", matrix.Forbidden(fmt.Sprintf("you have %d filters already", n))
	}
	k.filters.Put(tx, key, canonical)
	return id, nil
}

// Filter is a stored filter as JSON; M_NOT_FOUND if the user has none of that ID.
func (k *Keeper) Filter(r kv.Reader, user matrix.UserID, id string) (json.RawMessage, error) {
	raw, ok := k.filters.Get(r, filterKey{user, id})
	if !ok {
		return nil, matrix.NotFound("you have no such filter")
	}
	return raw, nil
}
