package slidingsync

import (
	"bytes"
	"encoding/json"
	"regexp"
	"time"

	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// The bounds of a request (MSC4186, request body).
const (
	maxLists         = 100
	maxSubscriptions = 100
	// maxPatterns is how many elements one required_state has at most.
	maxPatterns = 256
	// maxNames is how many spaces, tags, types, lists or rooms a filter or an extension names.
	maxNames = 1000
)

// Request is what a client asks.
type Request struct {
	Viewer        rooms.Viewer
	Conn          string        // which of the device's connections
	Pos           string        // of the answer before; empty: a new connection
	Timeout       time.Duration // how long to wait for news
	SetPresence   string        // empty: online
	TxnID         string        // repeated in the answer; only of the unstable form
	Lists         map[string]List
	Subscriptions map[matrix.RoomID]RoomConfig
	Extensions    Extensions
	// Unstable: the answer has the names that the proposal had before it was accepted.
	Unstable bool
}

// List asks for the rooms at some places of the user's list, by their activity.
type List struct {
	RoomConfig
	Ranges [][2]int // first and last, from 0; nil: all rooms
	Filter Filter
}

// RoomConfig says what to tell of a room.
type RoomConfig struct {
	Timeline int // events
	State    StateRule
}

// Filter chooses rooms; what is nil does not count (MSC4186, SlidingRoomFilter).
type Filter struct {
	DM           *bool
	Encrypted    *bool
	Invited      *bool
	Spaces       []matrix.RoomID
	RoomTypes    []*string // nil among them: rooms without a type
	NotRoomTypes []*string
	Tags         []string
	NotTags      []string
}

// Extensions are what to tell besides rooms; nil: not asked for.
type Extensions struct {
	ToDevice    *ToDeviceExtension
	E2EE        *Extension
	AccountData *RoomExtension
	Receipts    *RoomExtension
	Typing      *RoomExtension
}

// Extension is one that has only a switch.
type Extension struct {
	Enabled bool `json:"enabled"`
}

// ToDeviceExtension asks for the messages to the device.
type ToDeviceExtension struct {
	Enabled bool   `json:"enabled"`
	Limit   int    `json:"limit"`
	Since   string `json:"since"` // next_batch of the answer before
}

// RoomExtension asks for something of rooms; nil lists or rooms are all that the answer
// is about.
type RoomExtension struct {
	Enabled bool            `json:"enabled"`
	Lists   []string        `json:"lists"`
	Rooms   []matrix.RoomID `json:"rooms"` // "*" stands for all subscriptions
}

// requestJSON is the body, in its stable and its unstable form: where they differ in more
// than a name, the value tells which one it is.
type requestJSON struct {
	Conn        string                           `json:"conn_id"`
	Pos         string                           `json:"pos"`
	Timeout     int64                            `json:"timeout"` // ms
	SetPresence string                           `json:"set_presence"`
	TxnID       string                           `json:"txn_id"`
	Lists       map[string]listJSON              `json:"lists"`
	Rooms       map[matrix.RoomID]roomConfigJSON `json:"room_subscriptions"`
	Extensions  struct {
		ToDevice    *ToDeviceExtension `json:"to_device"`
		E2EE        *Extension         `json:"e2ee"`
		AccountData *RoomExtension     `json:"account_data"`
		Receipts    *RoomExtension     `json:"receipts"`
		Typing      *RoomExtension     `json:"typing"`
	} `json:"extensions"`
}

type listJSON struct {
	roomConfigJSON
	Range   []int      `json:"range"`
	Ranges  [][]int    `json:"ranges"` // unstable
	Filters filterJSON `json:"filters"`
}

type roomConfigJSON struct {
	Timeline *int            `json:"timeline_limit"`
	State    json.RawMessage `json:"required_state"`
}

type filterJSON struct {
	DM           *bool           `json:"is_dm"`
	Encrypted    *bool           `json:"is_encrypted"`
	Invited      *bool           `json:"is_invited"`
	Invite       *bool           `json:"is_invite"` // unstable
	Spaces       []matrix.RoomID `json:"spaces"`
	RoomTypes    []*string       `json:"room_types"`
	NotRoomTypes []*string       `json:"not_room_types"`
	Tags         []string        `json:"tags"`
	NotTags      []string        `json:"not_tags"`
}

// opaque is the grammar of opaque identifiers (spec: appendices).
var opaque = regexp.MustCompile(`^[0-9a-zA-Z._~-]{1,255}$`)

// maxTimeout keeps a time-out in milliseconds from overflowing; the view bounds it further.
const maxTimeout = int64(24 * time.Hour / time.Millisecond)

// ParseRequest reads a body. The errors are M_BAD_JSON and M_INVALID_PARAM.
func ParseRequest(body []byte, unstable bool) (Request, error) {
	var in requestJSON
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &in); err != nil {
			return Request{}, matrix.BadJSON("That is no request of this operation: a part of it has another type than it must have.")
		}
	}
	switch {
	case len(in.Lists) > maxLists:
		return Request{}, matrix.InvalidParam("That asks for too many lists: 100 are the most.")
	case len(in.Rooms) > maxSubscriptions:
		return Request{}, matrix.InvalidParam("That subscribes to too many rooms: 100 are the most.")
	case in.Conn != "" && !opaque.MatchString(in.Conn):
		return Request{}, matrix.InvalidParam("conn_id is no opaque identifier.")
	}
	q := Request{
		Conn: in.Conn, Pos: in.Pos, Timeout: time.Duration(max(0, min(in.Timeout, maxTimeout))) * time.Millisecond,
		SetPresence: in.SetPresence, TxnID: in.TxnID, Unstable: unstable,
		Lists: map[string]List{}, Subscriptions: map[matrix.RoomID]RoomConfig{}, Extensions: Extensions(in.Extensions),
	}
	for name, l := range in.Lists {
		if !opaque.MatchString(name) {
			return Request{}, matrix.InvalidParam("The name of a list is no opaque identifier.")
		}
		parsed, err := l.parse()
		if err != nil {
			return Request{}, err
		}
		q.Lists[name] = parsed
	}
	for room, c := range in.Rooms {
		if _, err := matrix.ParseRoomID(string(room)); err != nil {
			continue // there is no such room, and those are passed over
		}
		parsed, err := c.parse()
		if err != nil {
			return Request{}, err
		}
		q.Subscriptions[room] = parsed
	}
	for _, x := range []*RoomExtension{q.Extensions.AccountData, q.Extensions.Receipts, q.Extensions.Typing} {
		if x != nil && len(x.Lists)+len(x.Rooms) > maxNames {
			return Request{}, matrix.InvalidParam("An extension names too many lists or rooms.")
		}
	}
	return q, nil
}

func (l listJSON) parse() (List, error) {
	c, err := l.roomConfigJSON.parse()
	if err != nil {
		return List{}, err
	}
	ranges := l.Ranges
	if l.Range != nil {
		ranges = [][]int{l.Range}
	}
	if len(ranges) > maxLists {
		return List{}, matrix.InvalidParam("A list has too many ranges.")
	}
	out := List{RoomConfig: c}
	for _, r := range ranges {
		if len(r) != 2 || r[0] < 0 || r[1] < r[0] {
			return List{}, matrix.InvalidParam("A range is two numbers from 0 on, the first not greater than the second.")
		}
		out.Ranges = append(out.Ranges, [2]int{r[0], r[1]})
	}
	f := l.Filters
	if len(f.Spaces)+len(f.RoomTypes)+len(f.NotRoomTypes)+len(f.Tags)+len(f.NotTags) > maxNames {
		return List{}, matrix.InvalidParam("A filter names too many spaces, types or tags.")
	}
	if f.Invited == nil {
		f.Invited = f.Invite
	}
	out.Filter = Filter{f.DM, f.Encrypted, f.Invited, f.Spaces, f.RoomTypes, f.NotRoomTypes, f.Tags, f.NotTags}
	return out, nil
}

func (c roomConfigJSON) parse() (RoomConfig, error) {
	if c.Timeline == nil || *c.Timeline < 0 {
		return RoomConfig{}, matrix.InvalidParam("timeline_limit has to be there, a number from 0 on.")
	}
	rule, err := parseStateRule(c.State)
	return RoomConfig{Timeline: *c.Timeline, State: rule}, err
}
