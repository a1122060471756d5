package clientapi

import (
	"net/http"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

type deviceOut struct {
	Device     matrix.DeviceID `json:"device_id"`
	Name       string          `json:"display_name,omitempty"`
	LastSeenIP string          `json:"last_seen_ip,omitempty"`
	LastSeenTS int64           `json:"last_seen_ts,omitempty"`
}

func newDeviceOut(id matrix.DeviceID, d accounts.DeviceRow) deviceOut {
	return deviceOut{Device: id, Name: d.Name, LastSeenIP: d.SeenIP, LastSeenTS: d.SeenAt}
}

type getDevicesOut struct {
	Devices []deviceOut `json:"devices"`
}

// getDevices: spec: client-server API, GET devices.
func (a *API) getDevices(c *web.Call, tx *kv.ReadTx, _ web.Empty) (getDevicesOut, error) {
	out := getDevicesOut{Devices: []deviceOut{}}
	for id, d := range a.Accounts.Devices(tx, c.User) {
		out.Devices = append(out.Devices, newDeviceOut(id, d))
	}
	return out, nil
}

type deviceIn struct {
	Device matrix.DeviceID `path:"deviceId"`
}

// getDevice: spec: client-server API, GET devices/{deviceId}.
func (a *API) getDevice(c *web.Call, tx *kv.ReadTx, in deviceIn) (deviceOut, error) {
	d, ok := a.Accounts.Device(tx, c.User, in.Device)
	if !ok {
		return deviceOut{}, matrix.NotFound("you have no device of that name")
	}
	return newDeviceOut(in.Device, d), nil
}

type updateDeviceIn struct {
	deviceIn
	Name *string `json:"display_name"`
}

// updateDevice: spec: client-server API, PUT devices/{deviceId}.
func (a *API) updateDevice(c *web.Call, tx *kv.WriteTx, in updateDeviceIn) (web.Empty, error) {
	d, ok := a.Accounts.Device(tx, c.User, in.Device)
	if !ok && c.Service != "" { // spec: application service API, creating devices
		if a.E2EE.IsCrossSigningKey(tx, c.User, string(in.Device)) {
			return web.Empty{}, matrix.Forbidden("a device cannot be called like one of the user's cross-signing keys")
		}
		name := ""
		if in.Name != nil {
			name = *in.Name
		}
		c.Status = http.StatusCreated
		return web.Empty{}, a.Accounts.CreateDevice(tx, c.User, in.Device, name)
	}
	if !ok {
		return web.Empty{}, matrix.NotFound("you have no device of that name")
	}
	if in.Name == nil {
		in.Name = &d.Name
	}
	return web.Empty{}, a.Accounts.SetDeviceName(tx, c.User, in.Device, *in.Name)
}

type deleteDeviceIn struct {
	deviceIn
	uiaIn
}

// deleteDevice: spec: client-server API, DELETE devices/{deviceId}.
func (a *API) deleteDevice(c *web.Call, in deleteDeviceIn) (web.Empty, error) {
	return a.deleteConfirmed(c, "deleteDevice", []matrix.DeviceID{in.Device}, in.uiaIn)
}

type deleteDevicesIn struct {
	Devices []matrix.DeviceID `json:"devices" required:"true"`
	uiaIn
}

// deleteDevices: spec: client-server API, POST delete_devices.
func (a *API) deleteDevices(c *web.Call, in deleteDevicesIn) (web.Empty, error) {
	return a.deleteConfirmed(c, "deleteDevices", in.Devices, in.uiaIn)
}

func (a *API) deleteConfirmed(c *web.Call, operationID string, devices []matrix.DeviceID, in uiaIn) (web.Empty, error) {
	if c.Service == "" { // spec: application service API, deleting devices
		if err := a.confirm(c, operationID, devices, in); err != nil {
			return web.Empty{}, err
		}
	}
	return web.Empty{}, a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
		for _, device := range devices {
			if err := a.Accounts.DeleteDevice(tx, c.User, device); err != nil {
				return err
			}
		}
		return nil
	})
}
