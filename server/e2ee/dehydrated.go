package e2ee

import (
	"bytes"
	"context"
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

// CheckedDehydrated is a Dehydrated of the right form, whose signatures have been looked at.
type CheckedDehydrated struct {
	name string
	data json.RawMessage
	keys *CheckedUpload
}

// Device is the device's ID.
func (d *CheckedDehydrated) Device() matrix.DeviceID { return d.keys.device }

// CheckDehydrated reads a dehydrated device and checks its signatures, outside of any
// transaction. The errors are M_MISSING_PARAM, M_BAD_JSON, M_TOO_LARGE, and those of
// CheckUpload.
func (k *Keeper) CheckDehydrated(ctx context.Context, user matrix.UserID, d Dehydrated) (*CheckedDehydrated, error) {
	if !present(d.Keys.DeviceKeys) {
		return nil, matrix.MissingParam("device_keys is missing: a dehydrated device cannot be written to without")
	}
	if len(d.Data) > maxDehydratedData {
		return nil, matrix.TooLarge(fmt.Sprintf("device_data may have at most %d bytes", maxDehydratedData))
	}
	data, err := matrix.ParseObject(d.Data)
	if err != nil {
		return nil, matrix.BadJSON("device_data has to be an object")
	}
	if _, ok := data.Text("algorithm"); !ok {
		return nil, matrix.BadJSON("device_data needs a string \"algorithm\"")
	}
	keys, err := k.CheckUpload(ctx, user, d.Device, d.Keys)
	return &CheckedDehydrated{d.Name, d.Data, keys}, err
}

// PutDehydrated stores the user's dehydrated device in place of the one before, of which
// nothing stays. The same device with the same keys again only updates it, so that a client
// may repeat itself and no message is lost by it. The errors are those of UploadKeys, and
// M_FORBIDDEN if the user is logged in on a device of that name or has too many.
func (k *Keeper) PutDehydrated(tx *kv.WriteTx, d *CheckedDehydrated) error {
	if err := k.makeRoom(tx, d); err != nil {
		return err
	}
	k.dehydrated.Put(tx, d.keys.user, dehydratedRow{Device: d.keys.device, Data: d.data})
	_, err := k.UploadKeys(tx, d.keys)
	return err
}

// makeRoom makes the device, after deleting the one before, unless it is the same.
func (k *Keeper) makeRoom(tx *kv.WriteTx, d *CheckedDehydrated) error {
	user, device := d.keys.user, d.keys.device
	old, had := k.dehydrated.Get(tx, user)
	if had {
		was, _ := k.deviceKeys.Get(tx, deviceKey{user, old.Device})
		if old.Device == device && bytes.Equal(withoutSignatures(was), d.keys.deviceKeys.SigningBytes()) {
			return k.Accounts.SetDeviceName(tx, user, device, d.name)
		}
		if err := k.Accounts.DeleteDevice(tx, user, old.Device); err != nil {
			return err
		}
	}
	return k.Accounts.CreateDehydratedDevice(tx, user, device, d.name)
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
