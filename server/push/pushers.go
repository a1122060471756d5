package push

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// The kinds of pushers.
const (
	HTTP  = "http"
	Email = "email"
)

const (
	// MaxPushers is how many pushers a user may have.
	MaxPushers = 50
	// maxPushkey and maxAppID are in bytes (spec: POST pushers/set).
	maxPushkey = 512
	maxAppID   = 64
	// maxPusherText is the length of each further text in bytes, and maxPusherData that of
	// the data.
	maxPusherText = 1024
	maxPusherData = 4 << 10
	// gatewayPath is the path of a push gateway (spec: POST pushers/set).
	gatewayPath = "/_matrix/push/v1/notify"
	// mailAppID is the app of all pushers that send e-mails.
	mailAppID = "m.email"
	// eventIDOnly is the format of notifications that tell nothing but where to look.
	eventIDOnly = "event_id_only"
)

// Pusher is what a user has asked for to be told of notifications (spec: GET pushers).
type Pusher struct {
	Pushkey    string          `json:"pushkey"`
	Kind       string          `json:"kind"`
	AppID      string          `json:"app_id"`
	AppName    string          `json:"app_display_name"`
	DeviceName string          `json:"device_display_name"`
	ProfileTag string          `json:"profile_tag,omitempty"`
	Lang       string          `json:"lang"`
	Data       json.RawMessage `json:"data"`
}

type pusherKey struct {
	User    matrix.UserID
	AppID   string
	Pushkey string
}

type pusherRow struct {
	Kind       string           `cbor:"1,keyasint"`
	AppName    string           `cbor:"2,keyasint"`
	DeviceName string           `cbor:"3,keyasint"`
	ProfileTag string           `cbor:"4,keyasint,omitempty"`
	Lang       string           `cbor:"5,keyasint"`
	Data       []byte           `cbor:"6,keyasint"`            // JSON
	Device     matrix.DeviceID  `cbor:"7,keyasint,omitempty"`  // that made it
	Set        int64            `cbor:"8,keyasint"`            // when, in ms
	Since      changes.Position `cbor:"9,keyasint"`            // nothing up to there is for it
	Pending    changes.Position `cbor:"10,keyasint,omitempty"` // the first event still to send, or 0
}

// data is what the pusher's data say.
func (row *pusherRow) data() (address, format string) {
	o, err := matrix.ParseObject(row.Data)
	if err != nil {
		return "", ""
	}
	address, _ = o.Text("url")
	format, _ = o.Text("format")
	return address, format
}

// Pushers are the pushers of a user.
func (k *Keeper) Pushers(r kv.Reader, user matrix.UserID) []Pusher {
	all := []Pusher{}
	for key, row := range k.pushers.Scan(r, kv.Prefix(user)) {
		all = append(all, Pusher{
			Pushkey: key.Pushkey, Kind: row.Kind, AppID: key.AppID, AppName: row.AppName,
			DeviceName: row.DeviceName, ProfileTag: row.ProfileTag, Lang: row.Lang, Data: row.Data,
		})
	}
	return all
}

// SetPusher adds or replaces a pusher of a user, made by a device. Unless others may keep
// theirs, pushers of other users for the same app and key go. The errors are M_INVALID_PARAM,
// M_MISSING_PARAM and M_TOO_LARGE.
func (k *Keeper) SetPusher(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID, p Pusher, others bool) error {
	if p.Kind == Email {
		p.Pushkey = accounts.CanonicalEmail(p.Pushkey)
	}
	if err := checkPusherKey(p.AppID, p.Pushkey); err != nil {
		return err
	}
	if err := k.checkPusher(tx, user, &p); err != nil {
		return err
	}
	key := pusherKey{user, p.AppID, p.Pushkey}
	old, had := k.pushers.Get(tx, key)
	if !had && len(k.Pushers(tx, user)) >= MaxPushers {
		return matrix.TooLarge(fmt.Sprintf("there can be at most %d pushers", MaxPushers))
	}
	if !others {
		for other := range k.pushers.Keys(tx, kv.All()) {
			if other.User != user && other.AppID == p.AppID && other.Pushkey == p.Pushkey {
				k.deletePusher(tx, other)
			}
		}
	}
	row := pusherRow{
		Kind: p.Kind, AppName: p.AppName, DeviceName: p.DeviceName, ProfileTag: p.ProfileTag, Lang: p.Lang, Data: p.Data,
		Device: device, Set: k.Now().UnixMilli(), Since: k.Changes.Last(tx),
	}
	if had {
		row.Since, row.Pending = old.Since, old.Pending
	}
	if k.Changes.Cursor(tx, follower) == 0 {
		k.Changes.SetCursor(tx, follower, row.Since)
	}
	k.pushers.Put(tx, key, row)
	tx.AfterCommit(k.pushersChanged)
	return nil
}

// DeletePusher deletes a pusher of a user, if it is there.
func (k *Keeper) DeletePusher(tx *kv.WriteTx, user matrix.UserID, appID, pushkey string) error {
	if err := checkPusherKey(appID, pushkey); err != nil {
		return err
	}
	k.deletePusher(tx, pusherKey{user, appID, pushkey})
	if appID == mailAppID {
		k.deletePusher(tx, pusherKey{user, appID, accounts.CanonicalEmail(pushkey)})
	}
	return nil
}

func (k *Keeper) deletePusher(tx *kv.WriteTx, key pusherKey) {
	k.pushers.Delete(tx, key)
	tx.AfterCommit(k.pushersChanged)
}

// DeviceDeleted deletes the pushers and secrets that a device has made. It is a witness of
// server/accounts.
func (k *Keeper) DeviceDeleted(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID) error {
	for key, row := range k.pushers.Scan(tx, kv.Prefix(user)) {
		if row.Device == device {
			k.deletePusher(tx, key)
		}
	}
	k.deleteSecrets(tx, user, func(row secretRow) bool { return row.Device == device })
	return nil
}

// LoggedOutEverywhere deletes the pushers and secrets that no device has made, or one that is
// not there any more: those of earlier releases. It is a witness of server/accounts.
func (k *Keeper) LoggedOutEverywhere(tx *kv.WriteTx, user matrix.UserID, _ matrix.DeviceID) error {
	gone := func(device matrix.DeviceID) bool {
		_, there := k.Accounts.Device(tx, user, device)
		return !there
	}
	for key, row := range k.pushers.Scan(tx, kv.Prefix(user)) {
		if gone(row.Device) {
			k.deletePusher(tx, key)
		}
	}
	k.deleteSecrets(tx, user, func(row secretRow) bool { return gone(row.Device) })
	return nil
}

// UserDeactivated deletes the pushers and secrets of a user. It is a witness of server/accounts.
func (k *Keeper) UserDeactivated(tx *kv.WriteTx, user matrix.UserID, _ bool) error {
	for key := range k.pushers.Keys(tx, kv.Prefix(user)) {
		k.deletePusher(tx, key)
	}
	k.deleteSecrets(tx, user, func(secretRow) bool { return true })
	k.disown(tx, user)
	return nil
}

func checkPusherKey(appID, pushkey string) error {
	switch {
	case appID == "" || pushkey == "":
		return matrix.MissingParam("a pusher needs app_id and pushkey")
	case len(appID) > maxAppID:
		return matrix.InvalidParam(fmt.Sprintf("app_id may have at most %d bytes", maxAppID))
	case len(pushkey) > maxPushkey:
		return matrix.InvalidParam(fmt.Sprintf("pushkey may have at most %d bytes", maxPushkey))
	}
	return nil
}

func (k *Keeper) checkPusher(r kv.Reader, user matrix.UserID, p *Pusher) error {
	for name, text := range map[string]string{"app_display_name": p.AppName, "device_display_name": p.DeviceName, "lang": p.Lang} {
		if text == "" {
			return matrix.MissingParam("a pusher needs " + name)
		}
		if len(text) > maxPusherText {
			return matrix.InvalidParam(fmt.Sprintf("%s may have at most %d bytes", name, maxPusherText))
		}
	}
	if len(p.ProfileTag) > maxPusherText || len(p.Data) > maxPusherData {
		return matrix.TooLarge("the pusher's profile_tag or data are too long")
	}
	data, err := matrix.ParseObject(p.Data)
	if err != nil {
		return matrix.MissingParam("a pusher needs data, an object")
	}
	switch p.Kind {
	case HTTP:
		address, ok := data.Text("url")
		if !ok {
			return matrix.MissingParam("the data of an http pusher need url")
		}
		if _, err := k.subscription(p.Pushkey, data); err != nil {
			return err
		}
		return checkGateway(address)
	case Email:
		return k.checkMailPusher(r, user, p)
	}
	return matrix.InvalidParam("a pusher is of kind http or email")
}

func (k *Keeper) checkMailPusher(r kv.Reader, user matrix.UserID, p *Pusher) error {
	if k.Mail == nil {
		return matrix.InvalidParam("this server sends no e-mails")
	}
	if p.AppID != mailAppID {
		return matrix.InvalidParam("the app_id of an e-mail pusher is " + mailAppID)
	}
	if owner, ok := k.Accounts.ThreepidOwner(r, accounts.MediumEmail, p.Pushkey); !ok || owner != user {
		return matrix.InvalidParam("that e-mail address is not one of your account")
	}
	return nil
}

// checkGateway looks at the address of a push gateway. It may be without TLS in the
// household's own network only; whether that is allowed, and where the name leads, is seen
// when it is used.
func checkGateway(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return matrix.InvalidParam("the url of a push gateway has to be an address on the web")
	case u.Path != gatewayPath:
		return matrix.InvalidParam("the path of a push gateway has to be " + gatewayPath)
	case u.Scheme == "https" || u.Scheme == "http" && inHouse(u.Hostname()):
		return nil
	}
	return matrix.InvalidParam("the url of a push gateway has to begin with https://")
}

// inHouse says whether a host's name belongs to a network at home.
func inHouse(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if !strings.Contains(host, ".") {
		return true
	}
	return slices.ContainsFunc([]string{".local", ".lan", ".home", ".home.arpa", ".internal", ".localdomain", ".test"}, func(end string) bool {
		return strings.HasSuffix(host, end)
	})
}
