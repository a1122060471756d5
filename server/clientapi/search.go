package clientapi

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/history"
	"porchlight/server/matrix"
	"porchlight/server/search"
	"porchlight/server/web"
)

type searchIn struct {
	NextBatch  string `query:"next_batch"`
	Categories struct {
		RoomEvents *searchRoomEvents `json:"room_events"`
	} `json:"search_categories" required:"true"`
}

type searchRoomEvents struct {
	Term         string          `json:"search_term" required:"true"`
	Keys         []string        `json:"keys"`
	Filter       json.RawMessage `json:"filter"`
	OrderBy      *string         `json:"order_by"`
	EventContext *struct {
		Before   *int `json:"before_limit"`
		After    *int `json:"after_limit"`
		Profiles bool `json:"include_profile"`
	} `json:"event_context"`
	IncludeState bool `json:"include_state"`
	Groupings    struct {
		GroupBy []struct {
			Key string `json:"key"`
		} `json:"group_by"`
	} `json:"groupings"`
}

type searchOut struct {
	Categories struct {
		RoomEvents *search.Results `json:"room_events,omitempty"`
	} `json:"search_categories"`
}

// search: spec: client-server API, POST search.
func (a *API) search(c *web.Call, tx *kv.ReadTx, in searchIn) (out searchOut, err error) {
	want := in.Categories.RoomEvents
	if want == nil {
		if in.NextBatch != "" {
			err = matrix.InvalidParam("That next_batch belongs to a search of room_events.")
		}
		return out, err
	}
	args := search.Args{Term: want.Term, Keys: want.Keys, State: want.IncludeState, From: in.NextBatch}
	if args.Filter, err = history.ParseRoomEventFilter(string(want.Filter)); err != nil {
		return out, err
	}
	if want.OrderBy != nil {
		if args.OrderBy = *want.OrderBy; args.OrderBy == "" {
			return out, matrix.InvalidParam("order_by is either rank or recent.")
		}
	}
	if around := want.EventContext; around != nil {
		args.Context = &search.ContextArgs{Before: around.Before, After: around.After, Profiles: around.Profiles}
	}
	for _, by := range want.Groupings.GroupBy {
		args.GroupBy = append(args.GroupBy, by.Key)
	}
	found, err := a.Search.Search(tx, viewer(c), args)
	out.Categories.RoomEvents = &found
	return out, err
}
