package clientapi

// The operations of MSC3814, which the standard does not have yet. Clients look for them
// under its name, and ask GET dehydrated_device whether they are there.

import (
	"cmp"
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/e2ee"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// dehydratedPath is where the operations are.
const dehydratedPath = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"

// maxDehydratedBody is the largest body with a dehydrated device and all of its keys, in bytes.
const maxDehydratedBody = 1 << 20

// dehydratedRoutes is their part of the table.
func (a *API) dehydratedRoutes() []web.Route {
	return []web.Route{
		{Op: "putDehydratedDevice", Method: put, Path: dehydratedPath, Access: web.User, MaxBody: maxDehydratedBody, Handler: web.WriteWith(a.checkDehydratedDevice, a.putDehydratedDevice)},
		{Op: "getDehydratedDevice", Method: get, Path: dehydratedPath, Access: web.User, Handler: web.Read(a.getDehydratedDevice)},
		{Op: "deleteDehydratedDevice", Method: remove, Path: dehydratedPath, Access: web.User, Handler: web.Write(a.deleteDehydratedDevice)},
		{Op: "postDehydratedDeviceEvents", Method: post, Path: dehydratedPath + "/{deviceId}/events", Access: web.User, Handler: web.Read(a.postDehydratedDeviceEvents)},
		{Op: "getDehydratedDeviceEvents", Method: get, Path: dehydratedPath + "/{deviceId}/events", Access: web.User, Handler: web.Read(a.getDehydratedDeviceEvents)},
	}
}

type putDehydratedDeviceIn struct {
	Device       matrix.DeviceID `json:"device_id" required:"true"`
	Data         json.RawMessage `json:"device_data" required:"true"`
	Name         string          `json:"initial_device_display_name"`
	DeviceKeys   json.RawMessage `json:"device_keys" required:"true"`
	OneTimeKeys  json.RawMessage `json:"one_time_keys"`
	FallbackKeys json.RawMessage `json:"fallback_keys"`
}

type dehydratedDeviceOut struct {
	Device matrix.DeviceID `json:"device_id"`
	Data   json.RawMessage `json:"device_data,omitempty"`
}

// checkDehydratedDevice is what of putDehydratedDevice takes long.
func (a *API) checkDehydratedDevice(c *web.Call, in putDehydratedDeviceIn) (*e2ee.CheckedDehydrated, error) {
	return a.E2EE.CheckDehydrated(c.Ctx, c.User, e2ee.Dehydrated{
		Device: in.Device, Name: in.Name, Data: in.Data,
		Keys: e2ee.Upload{DeviceKeys: in.DeviceKeys, OneTimeKeys: in.OneTimeKeys, FallbackKeys: in.FallbackKeys},
	})
}

// putDehydratedDevice: spec: MSC3814, PUT dehydrated_device.
func (a *API) putDehydratedDevice(_ *web.Call, tx *kv.WriteTx, d *e2ee.CheckedDehydrated) (dehydratedDeviceOut, error) {
	return dehydratedDeviceOut{Device: d.Device()}, a.E2EE.PutDehydrated(tx, d)
}

// getDehydratedDevice: spec: MSC3814, GET dehydrated_device.
func (a *API) getDehydratedDevice(c *web.Call, tx *kv.ReadTx, _ web.Empty) (dehydratedDeviceOut, error) {
	d, err := a.E2EE.Dehydrated(tx, c.User)
	return dehydratedDeviceOut{d.Device, d.Data}, err
}

// deleteDehydratedDevice: spec: MSC3814, DELETE dehydrated_device.
func (a *API) deleteDehydratedDevice(c *web.Call, tx *kv.WriteTx, _ web.Empty) (dehydratedDeviceOut, error) {
	device, err := a.E2EE.DeleteDehydrated(tx, c.User)
	return dehydratedDeviceOut{Device: device}, err
}

type postDehydratedDeviceEventsIn struct {
	deviceIn
	NextBatch string `json:"next_batch"`
}

type dehydratedDeviceEventsOut struct {
	Events    []json.RawMessage `json:"events"`
	NextBatch string            `json:"next_batch,omitempty"`
}

// postDehydratedDeviceEvents: spec: MSC3814, POST dehydrated_device/{device_id}/events.
func (a *API) postDehydratedDeviceEvents(c *web.Call, tx *kv.ReadTx, in postDehydratedDeviceEventsIn) (dehydratedDeviceEventsOut, error) {
	return a.dehydratedEvents(c, tx, in.Device, in.NextBatch)
}

type getDehydratedDeviceEventsIn struct {
	deviceIn
	From      string `query:"from"`
	NextBatch string `query:"next_batch"` // the name that "from" has in the answer, and had in earlier revisions
}

// getDehydratedDeviceEvents is the same as later revisions of MSC3814 ask it. The last
// page has no token: matrix-js-sdk goes on for as long as it gets one.
func (a *API) getDehydratedDeviceEvents(c *web.Call, tx *kv.ReadTx, in getDehydratedDeviceEventsIn) (dehydratedDeviceEventsOut, error) {
	out, err := a.dehydratedEvents(c, tx, in.Device, cmp.Or(in.From, in.NextBatch))
	if len(out.Events) == 0 {
		out.NextBatch = ""
	}
	return out, err
}

func (a *API) dehydratedEvents(c *web.Call, tx *kv.ReadTx, device matrix.DeviceID, token string) (dehydratedDeviceEventsOut, error) {
	events, next, err := a.E2EE.DehydratedEvents(tx, c.User, device, token, e2ee.MaxToDevice)
	if events == nil {
		events = []json.RawMessage{}
	}
	return dehydratedDeviceEventsOut{events, next}, err
}
