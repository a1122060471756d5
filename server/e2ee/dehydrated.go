package e2ee

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// maxDehydratedData is the size of a dehydrated device's own keys, in bytes. Those of a
// client that has a hundred one-time keys are some 20 KiB.
const maxDehydratedData = 256 << 10

// Dehydrated is a device that a client leaves with the server, encrypted, so that messages
// can be sent to it while the user is logged in nowhere; a later login reads them with its
// help (MSC3814). A user has at most one.
type Dehydrated struct {
	Device matrix.DeviceID
	Name   string          // shown to the user
	Data   json.RawMessage // an object that only the user's clients can read, but for its algorithm
	Keys   Upload          // with DeviceKeys
}

type dehydratedRow struct {
	Device matrix.DeviceID `cbor:"1,keyasint"`
	Data   []byte          `cbor:"2,keyasint"` // JSON
}

// PutDehydrated stores the user's dehydrated device in place of the one before, of which
// nothing stays. The same device with the same keys again only updates it, so that a client
// may repeat itself and no message is lost by it. The errors are M_MISSING_PARAM,
// M_BAD_JSON, M_TOO_LARGE, those of UploadKeys, and M_FORBIDDEN if the user is logged in on
// a device of that name or has too many.
func (k *Keeper) PutDehydrated(tx *kv.WriteTx, user matrix.UserID, d Dehydrated) error {
	if !present(d.Keys.DeviceKeys) {
		return matrix.MissingParam("device_keys is missing: a dehydrated device cannot be written to without")
	}
	if len(d.Data) > maxDehydratedData {
		return matrix.TooLarge(fmt.Sprintf("device_data may have at most %d bytes", maxDehydratedData))
	}
	data, err := matrix.ParseObject(d.Data)
	if err != nil {
		return matrix.BadJSON("device_data has to be an object")
	}
	if _, ok := data.Text("algorithm"); !ok {
		return matrix.BadJSON("device_data needs a string \"algorithm\"")
	}
	keys, err := parseDeviceKeys(d.Keys.DeviceKeys, user, d.Device)
	if err != nil {
		return err
	}
	if err := k.makeRoom(tx, user, d, keys); err != nil {
		return err
	}
	k.dehydrated.Put(tx, user, dehydratedRow{Device: d.Device, Data: d.Data})
	_, err = k.UploadKeys(tx, user, d.Device, d.Keys)
	return err
}

// makeRoom makes the device, after deleting the one before, unless it is the same.
func (k *Keeper) makeRoom(tx *kv.WriteTx, user matrix.UserID, d Dehydrated, keys matrix.Object) error {
	old, had := k.dehydrated.Get(tx, user)
	if had {
		was, _ := k.deviceKeys.Get(tx, deviceKey{user, old.Device})
		if old.Device == d.Device && bytes.Equal(withoutSignatures(was), keys.SigningBytes()) {
			return k.Accounts.SetDeviceName(tx, user, d.Device, d.Name)
		}
		if err := k.Accounts.DeleteDevice(tx, user, old.Device); err != nil {
			return err
		}
	}
	return k.Accounts.CreateDehydratedDevice(tx, user, d.Device, d.Name)
}

// Dehydrated is the user's dehydrated device; M_NOT_FOUND if there is none. The answer has
// no name and no public keys.
func (k *Keeper) Dehydrated(r kv.Reader, user matrix.UserID) (Dehydrated, error) {
	row, ok := k.dehydrated.Get(r, user)
	if !ok {
		return Dehydrated{}, matrix.NotFound("you have no dehydrated device")
	}
	return Dehydrated{Device: row.Device, Data: row.Data}, nil
}

// DeleteDehydrated deletes the user's dehydrated device with its keys and messages and
// returns its ID; M_NOT_FOUND if there is none.
func (k *Keeper) DeleteDehydrated(tx *kv.WriteTx, user matrix.UserID) (matrix.DeviceID, error) {
	d, err := k.Dehydrated(tx, user)
	if err != nil {
		return "", err
	}
	return d.Device, k.Accounts.DeleteDevice(tx, user, d.Device)
}

// DehydratedEvents are the messages for the user's dehydrated device behind a token, which
// may be empty, oldest first and at most limit, and the token of the next ones. They stay
// until the device is deleted, so that several logins can read them. The errors are
// M_NOT_FOUND if the user's dehydrated device is not this one, and M_INVALID_PARAM for a
// token that is none.
func (k *Keeper) DehydratedEvents(r kv.Reader, user matrix.UserID, device matrix.DeviceID, token string, limit int) (events []json.RawMessage, next string, err error) {
	d, err := k.Dehydrated(r, user)
	if err != nil {
		return nil, "", err
	}
	if d.Device != device {
		return nil, "", matrix.NotFound("that is not your dehydrated device")
	}
	after := uint64(0)
	if token != "" {
		if after, err = strconv.ParseUint(token, 10, 63); err != nil {
			return nil, "", matrix.InvalidParam("next_batch is no token of this server")
		}
	}
	upTo := k.Changes.Last(r)
	events, pos, err := k.ToDevice(r, user, device, min(changes.Position(after), upTo), upTo, limit)
	return events, strconv.FormatUint(uint64(pos), 10), err
}
