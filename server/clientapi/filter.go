package clientapi

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/history"
	"porchlight/server/web"
)

type defineFilterIn struct {
	userIn
	Body json.RawMessage `body:"raw"`
}

type defineFilterOut struct {
	Filter string `json:"filter_id"`
}

// defineFilter: spec: client-server API, POST user/{userId}/filter.
func (a *API) defineFilter(c *web.Call, tx *kv.WriteTx, in defineFilterIn) (defineFilterOut, error) {
	if err := own(c, in.User); err != nil {
		return defineFilterOut{}, err
	}
	if _, err := history.ParseFilter(in.Body); err != nil {
		return defineFilterOut{}, err
	}
	id, err := a.Accounts.StoreFilter(tx, c.User, in.Body)
	return defineFilterOut{Filter: id}, err
}

type getFilterIn struct {
	userIn
	Filter string `path:"filterId"`
}

// getFilter: spec: client-server API, GET user/{userId}/filter/{filterId}.
func (a *API) getFilter(c *web.Call, tx *kv.ReadTx, in getFilterIn) (json.RawMessage, error) {
	if err := own(c, in.User); err != nil {
		return nil, err
	}
	return a.Accounts.Filter(tx, c.User, in.Filter)
}
