package clientapi

// The operation of to_device.yaml.

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type sendToDeviceIn struct {
	Type     string                                                `path:"eventType"`
	Messages map[matrix.UserID]map[matrix.DeviceID]json.RawMessage `json:"messages" required:"true"`
}

// sendToDevice: spec: client-server API, PUT sendToDevice.
func (a *API) sendToDevice(c *web.Call, tx *kv.WriteTx, in sendToDeviceIn) (web.Empty, error) {
	return web.Empty{}, a.E2EE.SendToDevice(tx, c.User, in.Type, in.Messages)
}
