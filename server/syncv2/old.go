package syncv2

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

// maxStreamed is how many events one answer of /events holds at most.
const maxStreamed = 250

// EventsRequest is what a client asks of /events.
type EventsRequest struct {
	Viewer  rooms.Viewer
	From    string        // token; empty: from now on
	Timeout time.Duration // how long to wait for an event
	Room    matrix.RoomID // to look into this one, as member or not; empty: all of the user's
}

// Streamed is the answer of /events (spec: client-server API, GET /events).
type Streamed struct {
	Start string               `json:"start"`
	End   string               `json:"end"`
	Chunk []matrix.ClientEvent `json:"chunk"`
}

// Events answers as soon as there is an event behind a token that the user may see, at the
// latest after the time-out. The error is M_INVALID_PARAM for a bad token, or M_FORBIDDEN
// for a room that the user may not look into.
func (v *View) Events(ctx context.Context, req EventsRequest) (Streamed, error) {
	from := v.Changes.Published()
	if req.From != "" {
		place, err := history.ParseToken(req.From)
		if err != nil {
			return Streamed{}, err
		}
		from = min(from, place) // a later place can only be from a house that was restored since
	}
	start := history.Token(from)
	deadline := time.NewTimer(min(max(req.Timeout, 0), v.MaxWait))
	defer deadline.Stop()
	for {
		wake := v.Changes.Wait() // before the look, so that nothing slips through
		chunk, end, err := v.stream(ctx, req, from)
		res := Streamed{Start: start, End: history.Token(end), Chunk: chunk}
		if err != nil || len(chunk) > 0 || req.Timeout <= 0 {
			return res, err
		}
		from = end
		select {
		case <-wake:
		case <-deadline.C:
			return res, nil
		case <-v.Closing:
			return res, nil
		case <-ctx.Done():
			return res, nil
		}
	}
}

// stream gathers the events behind a position, and says how far it has read.
func (v *View) stream(ctx context.Context, req EventsRequest, from changes.Position) (chunk []matrix.ClientEvent, end changes.Position, err error) {
	chunk, end = []matrix.ClientEvent{}, from
	err = v.DB.View(ctx, func(tx *kv.ReadTx) error {
		if req.Room != "" {
			if _, err := v.History.Horizon(tx, req.Room, req.Viewer.User); err != nil {
				return err
			}
		}
		l := v.glance(tx, req.Viewer)
		for pos, c := range v.Changes.Since(tx, from) {
			if len(chunk) == maxStreamed {
				return nil
			}
			end = pos
			if c.Kind != changes.Event || req.Room != "" && c.Room != req.Room {
				continue
			}
			if e, ok := v.Rooms.EventAt(tx, c.Room, pos); ok && l.streams(req, e) {
				chunk = append(chunk, v.Rooms.ClientEvent(tx, e, req.Viewer))
			}
		}
		return nil
	})
	return chunk, end, err
}

// glance is a looker for what is neither a sync nor filtered.
func (v *View) glance(r kv.Reader, viewer rooms.Viewer) *looker {
	l := &looker{v: v, r: r, q: &query{Request: Request{Viewer: viewer}}}
	l.listener = l.v.Rooms.Listener(l.r, l.q.Viewer.User)
	return l
}

// streams says whether the user is told of an event by /events.
func (l *looker) streams(req EventsRequest, e *rooms.Event) bool {
	user := req.Viewer.User
	if l.listener.Ignores(e.Sender) && !e.IsState() {
		return false
	}
	if e.Is("m.room.member", string(user)) {
		m, _ := l.v.Rooms.MembershipRow(l.r, e.Room, user)
		if m.Forgotten && m.Position != e.Position {
			return false
		}
		return e.Membership() != "invite" || m.Position != e.Position || l.listener.WantsInvite(e.Room, m)
	}
	return (req.Room != "" || l.isIn(e.Room)) && l.v.Rooms.Visible(l.r, user, e)
}

// InitialRequest is what a client asks of /initialSync.
type InitialRequest struct {
	Viewer   rooms.Viewer
	Limit    *int // events of a room; nil: history.DefaultPage
	Archived bool // rooms that the user has left as well
}

// Initial is the answer of /initialSync (spec: client-server API, GET /initialSync).
type Initial struct {
	End         string            `json:"end"`
	Presence    []json.RawMessage `json:"presence"`
	Rooms       []RoomInfo        `json:"rooms"`
	AccountData []any             `json:"account_data"`
}

// RoomInfo is a room as /initialSync shows it (spec: client-server API, GET /initialSync
// and GET /rooms/{roomId}/initialSync).
type RoomInfo struct {
	Room        matrix.RoomID        `json:"room_id"`
	Membership  string               `json:"membership,omitempty"`
	Invite      *matrix.ClientEvent  `json:"invite,omitempty"`
	Messages    *Messages            `json:"messages,omitempty"`
	State       []matrix.ClientEvent `json:"state,omitempty"`
	Visibility  string               `json:"visibility,omitempty"`
	AccountData []any                `json:"account_data,omitempty"`
}

// Messages is the end of a room's timeline, oldest first.
type Messages struct {
	Start string               `json:"start,omitempty"` // empty: nothing is before
	End   string               `json:"end"`
	Chunk []matrix.ClientEvent `json:"chunk"`
}

// Initial is everything that a user sees, at once. The error is M_INVALID_PARAM for a bad
// limit.
func (v *View) Initial(r kv.Reader, req InitialRequest) (Initial, error) {
	l := v.glance(r, req.Viewer)
	out := Initial{
		End: history.Token(v.Changes.Last(r)), Presence: []json.RawMessage{}, Rooms: []RoomInfo{},
		AccountData: l.accountData("", func(string, matrix.UserID) bool { return true }, true, nil),
	}
	for _, p := range v.Ephemeral.PresenceSince(0) {
		if !l.listener.Ignores(p.User) && (p.User == req.Viewer.User || v.Rooms.SharesRoom(r, req.Viewer.User, p.User)) {
			out.Presence = append(out.Presence, p.Event())
		}
	}
	for room, m := range v.Rooms.Memberships(r, req.Viewer.User) {
		switch m.State {
		case "join":
		case "invite":
			if !l.listener.WantsInvite(room, m) {
				continue
			}
		case "leave", "ban":
			if !req.Archived || m.Forgotten {
				continue
			}
		default:
			continue
		}
		info, err := l.roomInfo(room, m, req.Limit)
		if err != nil {
			return Initial{}, err
		}
		out.Rooms = append(out.Rooms, info)
	}
	return out, nil
}

// RoomInitial is one room as the user sees it, be it from outside. The error is M_FORBIDDEN
// for who may not look into it, M_INVALID_PARAM for a bad limit.
func (v *View) RoomInitial(r kv.Reader, viewer rooms.Viewer, room matrix.RoomID, limit *int) (RoomInfo, error) {
	if _, err := v.History.Horizon(r, room, viewer.User); err != nil {
		return RoomInfo{}, err
	}
	m, _ := v.Rooms.MembershipRow(r, room, viewer.User)
	return v.glance(r, viewer).roomInfo(room, m, limit)
}

func (l *looker) roomInfo(room matrix.RoomID, m rooms.Membership, limit *int) (RoomInfo, error) {
	viewer := l.q.Viewer
	info := RoomInfo{Room: room, Membership: m.State, Visibility: "private"}
	if m.State == "knock" {
		info.Membership = "" // the standard has no word for it here
	}
	if l.v.Rooms.IsPublic(l.r, room) {
		info.Visibility = "public"
	}
	info.AccountData = l.accountData(room, func(string, matrix.UserID) bool { return true }, true, nil)
	if m.State == "invite" {
		if e, ok := l.v.Rooms.EventAt(l.r, room, m.Position); ok {
			invite := l.v.Rooms.ClientEvent(l.r, e, viewer)
			info.Invite = &invite
		}
	}
	if _, err := l.v.History.Horizon(l.r, room, viewer.User); err != nil {
		return info, nil // nothing more is to be seen by who was never in it
	}
	page, err := l.v.History.Messages(l.r, viewer, history.PageArgs{Room: room, Backwards: true, Limit: limit})
	if err != nil {
		return info, err
	}
	chunk := slices.DeleteFunc(page.Chunk, func(e matrix.ClientEvent) bool { return e.StateKey == nil && l.listener.Ignores(e.Sender) })
	slices.Reverse(chunk)
	info.Messages = &Messages{Start: page.End, End: page.Start, Chunk: chunk}
	info.State, err = l.v.History.State(l.r, viewer, room)
	return info, err
}
