package clientapi

// The operations of keys.yaml.

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/e2ee"
	"porchlight/server/matrix"
	"porchlight/server/syncv2"
	"porchlight/server/web"
)

// maxKeysBody is the largest body with keys, signatures or messages to devices, in
// bytes: a client may write to all devices of a large room at once.
const maxKeysBody = 4 << 20

type uploadKeysIn struct {
	DeviceKeys   json.RawMessage `json:"device_keys"`
	OneTimeKeys  json.RawMessage `json:"one_time_keys"`
	FallbackKeys json.RawMessage `json:"fallback_keys"`
}

type uploadKeysOut struct {
	Counts map[string]int `json:"one_time_key_counts"`
}

// checkKeys is what of uploadKeys takes long.
func (a *API) checkKeys(c *web.Call, in uploadKeysIn) (*e2ee.CheckedUpload, error) {
	if c.Device == "" {
		return nil, matrix.InvalidParam("keys are a device's, and this token is for none")
	}
	return a.E2EE.CheckUpload(c.Ctx, c.User, c.Device, e2ee.Upload(in))
}

// uploadKeys: spec: client-server API, POST keys/upload.
func (a *API) uploadKeys(_ *web.Call, tx *kv.WriteTx, keys *e2ee.CheckedUpload) (uploadKeysOut, error) {
	counts, err := a.E2EE.UploadKeys(tx, keys)
	return uploadKeysOut{counts}, err
}

type queryKeysIn struct {
	DeviceKeys map[matrix.UserID][]matrix.DeviceID `json:"device_keys" required:"true"`
	Timeout    int64                               `json:"timeout"` // ms; for other servers, of which none is asked
}

// queryKeys: spec: client-server API, POST keys/query.
func (a *API) queryKeys(c *web.Call, tx *kv.ReadTx, in queryKeysIn) (e2ee.Queried, error) {
	return a.E2EE.Query(tx, c.User, in.DeviceKeys), nil
}

type claimKeysIn struct {
	OneTimeKeys map[matrix.UserID]map[matrix.DeviceID]string `json:"one_time_keys" required:"true"`
	Timeout     int64                                        `json:"timeout"` // ms; for other servers, of which none is asked
}

// claimKeys: spec: client-server API, POST keys/claim.
func (a *API) claimKeys(_ *web.Call, tx *kv.WriteTx, in claimKeysIn) (e2ee.Claimed, error) {
	return a.E2EE.Claim(tx, in.OneTimeKeys), nil
}

type getKeysChangesIn struct {
	From string `query:"from,required"`
	To   string `query:"to,required"`
}

type getKeysChangesOut struct {
	Changed []matrix.UserID `json:"changed"`
	Left    []matrix.UserID `json:"left"`
}

// getKeysChanges: spec: client-server API, GET keys/changes.
func (a *API) getKeysChanges(c *web.Call, in getKeysChangesIn) (out getKeysChangesOut, err error) {
	var from, to syncv2.Token
	if from, err = a.Sync.ReadToken(c.Ctx, c.User, in.From); err != nil {
		return out, err
	}
	if to, err = a.Sync.ReadToken(c.Ctx, c.User, in.To); err != nil {
		return out, err
	}
	return out, a.DB.View(c.Ctx, func(tx *kv.ReadTx) error {
		if a.Sync.Foreign(tx, from) || a.Sync.Foreign(tx, to) {
			out = getKeysChangesOut{a.E2EE.WholeDeviceList(tx, c.User), []matrix.UserID{}}
			return nil
		}
		out.Changed, out.Left = a.E2EE.DeviceListChanges(tx, c.User, from.Position, to.Position)
		return nil
	})
}
