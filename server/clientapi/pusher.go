package clientapi

// The operations of pusher.yaml.

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/push"
	"porchlight/server/web"
)

type getPushersOut struct {
	Pushers []push.Pusher `json:"pushers"`
}

// getPushers: spec: client-server API, GET pushers.
func (a *API) getPushers(c *web.Call, tx *kv.ReadTx, _ web.Empty) (getPushersOut, error) {
	return getPushersOut{a.Push.Pushers(tx, c.User)}, nil
}

type postPusherIn struct {
	Body json.RawMessage `body:"raw"`
}

// pusherBody is the body of postPusher. Its kind is null for a pusher that is to go, which
// is not the same as absent.
type pusherBody struct {
	push.Pusher
	Kind   *string `json:"kind"`
	Append bool    `json:"append"`
}

// postPusher: spec: client-server API, POST pushers/set.
func (a *API) postPusher(c *web.Call, tx *kv.WriteTx, in postPusherIn) (web.Empty, error) {
	o, err := matrix.ParseObject(in.Body)
	if err != nil {
		return web.Empty{}, err
	}
	for _, name := range []string{"kind", "app_id", "pushkey"} {
		if !o.Has(name) {
			return web.Empty{}, matrix.MissingParam("a pusher needs " + name)
		}
	}
	var body pusherBody
	if err := json.Unmarshal(in.Body, &body); err != nil {
		return web.Empty{}, matrix.InvalidParam("a field of the pusher has the wrong type")
	}
	if body.Kind == nil {
		return web.Empty{}, a.Push.DeletePusher(tx, c.User, body.AppID, body.Pushkey)
	}
	body.Pusher.Kind = *body.Kind
	return web.Empty{}, a.Push.SetPusher(tx, c.User, c.Device, body.Pusher, body.Append)
}
