package clientapi

import (
	"cmp"
	"slices"
	"strings"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// mutualRoomsPage is how many rooms one answer of getMutualRooms has at most.
const mutualRoomsPage = 250

type getMutualRoomsIn struct {
	User matrix.UserID `query:"user_id,required"`
	From string        `query:"from"`
	// What MSC2666 called the two tokens before it was accepted, and clients still do.
	UnstableFrom string `query:"batch_token"`
}

type getMutualRoomsOut struct {
	Joined []matrix.RoomID `json:"joined"`
	Count  int             `json:"count"`
	Next   string          `json:"next_batch,omitempty"`

	UnstableNext string `json:"next_batch_token,omitempty"`
}

// getMutualRooms: spec: client-server API, GET mutual_rooms. A token is the last room of
// the page before, so it is good for ever.
func (a *API) getMutualRooms(c *web.Call, tx *kv.ReadTx, in getMutualRoomsIn) (getMutualRoomsOut, error) {
	if !matrix.ValidLocalpart(in.User.Localpart()) {
		return getMutualRoomsOut{}, matrix.InvalidParam("that is no user ID as the standard wants them today")
	}
	if in.User == c.User {
		return getMutualRoomsOut{}, matrix.InvalidParam("you share all of your rooms with yourself")
	}
	shared := a.Rooms.MutualRooms(tx, c.User, in.User)
	out := getMutualRoomsOut{Joined: shared, Count: len(shared)}
	if from := cmp.Or(in.From, in.UnstableFrom); from != "" {
		after, found := strings.CutPrefix(from, "m")
		if _, err := matrix.ParseRoomID(after); !found || err != nil {
			return getMutualRoomsOut{}, matrix.InvalidParam("that is no token of this operation")
		}
		i, exact := slices.BinarySearch(shared, matrix.RoomID(after))
		if exact {
			i++
		}
		out.Joined = shared[i:]
	}
	if len(out.Joined) > mutualRoomsPage {
		out.Joined = out.Joined[:mutualRoomsPage]
		out.Next = "m" + string(out.Joined[mutualRoomsPage-1])
		out.UnstableNext = out.Next
	}
	return out, nil
}
