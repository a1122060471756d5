package e2ee

import (
	"encoding/json"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// Queried is the answer of /keys/query.
type Queried struct {
	DeviceKeys      map[matrix.UserID]map[matrix.DeviceID]json.RawMessage `json:"device_keys"`
	MasterKeys      map[matrix.UserID]json.RawMessage                     `json:"master_keys"`
	SelfSigningKeys map[matrix.UserID]json.RawMessage                     `json:"self_signing_keys"`
	UserSigningKeys map[matrix.UserID]json.RawMessage                     `json:"user_signing_keys"`
	Failures        map[matrix.ServerName]Failure                         `json:"failures"`
}

// Query returns the keys of users as the viewer may see them: of the devices named, or of
// all for an empty list. Unknown users and devices are left out (spec: queryKeys).
func (k *Keeper) Query(r kv.Reader, viewer matrix.UserID, want map[matrix.UserID][]matrix.DeviceID) Queried {
	out := Queried{
		DeviceKeys:      map[matrix.UserID]map[matrix.DeviceID]json.RawMessage{},
		MasterKeys:      map[matrix.UserID]json.RawMessage{},
		SelfSigningKeys: map[matrix.UserID]json.RawMessage{},
		UserSigningKeys: map[matrix.UserID]json.RawMessage{},
		Failures:        map[matrix.ServerName]Failure{},
	}
	for user, devices := range want {
		if !k.isLocal(user) {
			out.Failures[user.Server()] = unreachable
			continue
		}
		if !k.Accounts.Exists(r, user) {
			continue
		}
		out.DeviceKeys[user] = k.queryDevices(r, viewer, user, devices)
		for usage, into := range map[string]map[matrix.UserID]json.RawMessage{
			usageMaster: out.MasterKeys, usageSelf: out.SelfSigningKeys, usageUser: out.UserSigningKeys,
		} {
			if usage == usageUser && user != viewer {
				continue // only its owner sees it
			}
			if raw, ok := k.crossKeys.Get(r, crossKey{user, usage}); ok {
				if o, err := matrix.ParseObject(raw); err == nil {
					into[user] = k.signed(r, o, viewer, user, crossPublicKey(o))
				}
			}
		}
	}
	return out
}

func (k *Keeper) queryDevices(r kv.Reader, viewer, user matrix.UserID, devices []matrix.DeviceID) map[matrix.DeviceID]json.RawMessage {
	found := map[matrix.DeviceID]json.RawMessage{}
	add := func(device matrix.DeviceID, raw []byte) {
		o, err := matrix.ParseObject(raw)
		if err != nil {
			return // Check reports such a row
		}
		if d, _ := k.Accounts.Device(r, user, device); d.Name != "" {
			unsigned := matrix.Object{}
			unsigned.SetText("device_display_name", d.Name)
			o["unsigned"] = unsigned.Encode()
		}
		found[device] = k.signed(r, o, viewer, user, string(device))
	}
	if len(devices) == 0 {
		for id, raw := range k.deviceKeys.Scan(r, kv.Prefix(user)) {
			add(id.Device, raw)
		}
		return found
	}
	for _, device := range devices {
		if raw, ok := k.deviceKeys.Get(r, deviceKey{user, device}); ok {
			add(device, raw)
		}
	}
	return found
}

// signed is a key with the signatures that the viewer may see: its owner's and the
// viewer's own, uploaded with it or later (spec: key and signature security).
func (k *Keeper) signed(r kv.Reader, o matrix.Object, viewer, owner matrix.UserID, key string) json.RawMessage {
	was, _ := o.Object("signatures")
	now := matrix.Object{}
	for _, signer := range []matrix.UserID{owner, viewer} {
		by, _ := was.Object(string(signer))
		if by == nil {
			by = matrix.Object{}
		}
		for id, signature := range k.signatures.Scan(r, kv.Prefix(owner, key, signer)) {
			by.SetText(string(id.SigningKey), signature)
		}
		if len(by) > 0 {
			now[string(signer)] = by.Encode()
		}
	}
	delete(o, "signatures")
	if was != nil || len(now) > 0 {
		o["signatures"] = now.Encode()
	}
	return o.Encode()
}
