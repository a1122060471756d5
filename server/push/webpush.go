package push

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"porchlight/kv"
	"porchlight/server/matrix"
	"porchlight/server/webpush"
)

const (
	// vapidKey is the name of the key for push services.
	vapidKey = "vapid"
	// callLife is how long a push service keeps it that somebody calls.
	callLife = time.Minute
	// maxBody is how much of a message's text a browser is told, in bytes.
	maxBody = 1024
)

// OpenKeys reads the house's keys, and makes those that are not there. Without it there is no
// Web Push.
func (k *Keeper) OpenKeys(ctx context.Context) error {
	return k.DB.Update(ctx, func(tx *kv.WriteTx) (err error) {
		if stored, ok := k.keys.Get(tx, vapidKey); ok {
			k.vapid, err = webpush.OpenKey(stored)
			return err
		}
		if k.vapid, err = webpush.NewKey(); err != nil {
			return err
		}
		stored, err := k.vapid.Store()
		if err != nil {
			return err
		}
		k.keys.Put(tx, vapidKey, stored)
		return nil
	})
}

// WebPushKey is the public key that browsers bind their subscriptions to, in base64 for URLs;
// empty if there is no Web Push.
func (k *Keeper) WebPushKey() string {
	if k.vapid == nil {
		return ""
	}
	return k.vapid.Public()
}

// subscription is the browser that an http pusher is for: one at the gateway of this house
// itself, whose push key is the browser's, and whose data have its endpoint and auth. nil and
// no error: it is no such pusher. The error is M_INVALID_PARAM.
func (k *Keeper) subscription(pushkey string, data matrix.Object) (*webpush.Subscription, error) {
	endpoint, ok := data.Text("endpoint")
	auth, has := data.Text("auth")
	address, _ := data.Text("url")
	if !ok || !has || k.vapid == nil || k.OwnGateway == nil {
		return nil, nil
	}
	if u, err := url.Parse(address); err != nil || !k.OwnGateway(u) {
		return nil, nil
	}
	s, err := webpush.NewSubscription(endpoint, pushkey, auth)
	if err != nil {
		return nil, matrix.InvalidParam(err.Error())
	}
	if u, err := url.Parse(endpoint); err != nil || u.Scheme != "https" && !inHouse(u.Hostname()) {
		return nil, matrix.InvalidParam("the endpoint of a subscription has to begin with https://")
	}
	return s, nil
}

// Browser is what a browser says of its subscription.
type Browser struct {
	Endpoint string `json:"endpoint"`
	P256dh   string `json:"p256dh"`
	Auth     string `json:"auth"`
}

// MoveBrowser puts one subscription of a browser in the place of another, as when its push
// service gives it a new one while nobody is there to log in. Whoever knows all of the old one
// is that browser: its auth is a secret that even the push service does not know. The errors
// are M_NOT_FOUND if no pusher is for the old one, and M_INVALID_PARAM.
func (k *Keeper) MoveBrowser(tx *kv.WriteTx, old, anew Browser) error {
	var moved []pusherKey
	for key := range k.pushers.Keys(tx, kv.All()) {
		if key.Pushkey == old.P256dh && k.isFor(tx, key, old) {
			moved = append(moved, key)
		}
	}
	if len(moved) == 0 {
		return matrix.NotFound("there is no pusher for that subscription")
	}
	for _, key := range moved {
		row, _ := k.pushers.Get(tx, key)
		data, err := matrix.ParseObject(row.Data)
		if err != nil {
			return err
		}
		data.SetText("endpoint", anew.Endpoint)
		data.SetText("auth", anew.Auth)
		row.Data, row.Set = data.Encode(), k.Now().UnixMilli()
		p := Pusher{Pushkey: anew.P256dh, Kind: row.Kind, AppID: key.AppID, AppName: row.AppName, DeviceName: row.DeviceName, ProfileTag: row.ProfileTag, Lang: row.Lang, Data: row.Data}
		if err := checkPusherKey(p.AppID, p.Pushkey); err != nil {
			return err
		}
		if err := k.checkPusher(tx, key.User, &p); err != nil {
			return err
		}
		k.deletePusher(tx, key)
		key.Pushkey = anew.P256dh
		k.pushers.Put(tx, key, row)
	}
	return nil
}

// isFor says whether a pusher is for a browser's subscription.
func (k *Keeper) isFor(r kv.Reader, key pusherKey, b Browser) bool {
	row, _ := k.pushers.Get(r, key)
	data, err := matrix.ParseObject(row.Data)
	if err != nil {
		return false // Check reports such a row
	}
	if s, err := k.subscription(key.Pushkey, data); s == nil || err != nil {
		return false
	}
	endpoint, _ := data.Text("endpoint")
	auth, _ := data.Text("auth")
	return endpoint == b.Endpoint && subtle.ConstantTimeCompare([]byte(auth), []byte(b.Auth)) == 1
}

// tellBrowser sends one notification to a browser. If its push service does not know it any
// more, the pusher is deleted.
func (k *Keeper) tellBrowser(ctx context.Context, key pusherKey, row *pusherRow, s *webpush.Subscription, p *payload) error {
	if p.Notification.EventID == "" {
		return nil // browsers have to show something each time, and a count alone is nothing to show
	}
	text, err := p.forBrowser()
	if err != nil {
		return err
	}
	m := webpush.Message{Text: text, TTL: maxAge, Urgent: p.Notification.Prio != "low"}
	if p.Notification.Type == typeCall {
		m.TTL = callLife
	}
	ask, cancel := context.WithTimeout(ctx, gatewayTimeout)
	defer cancel()
	r, err := k.vapid.NewRequest(ask, s, m, k.Contact, k.Now())
	if err != nil {
		return err
	}
	status, _, err := k.ask(r, false)
	switch {
	case err != nil:
		return err
	case status == http.StatusNotFound || status == http.StatusGone || status == http.StatusForbidden:
		k.Log.Info("push service does not know a browser any more", "user", key.User, "status", status)
		return k.forgetPusher(ctx, key, row)
	case status == http.StatusRequestEntityTooLarge:
		k.Log.Warn("push service finds a message too long", "user", key.User, "bytes", len(text))
		return nil // it would find so again
	case status < 200 || status > 299:
		return fmt.Errorf("status %d", status)
	}
	return nil
}

// forBrowser is what a browser is told: the notification, with no more of the content than
// what is shown, and without what makes it too long.
func (p *payload) forBrowser() ([]byte, error) {
	n := p.Notification
	n.Devices = nil
	o, err := matrix.ParseObject(n.Content)
	body, ok := o.Text("body")
	if n.Content = nil; err == nil && ok {
		if len(body) > maxBody {
			body = string(bytes.ToValidUTF8([]byte(body[:maxBody]), nil)) + "…"
		}
		if n.Content, err = json.Marshal(map[string]string{"body": body}); err != nil {
			return nil, err
		}
	}
	for _, leave := range []func(){
		func() {}, func() { n.Content = nil }, func() { n.RoomName, n.RoomAlias = "", "" }, func() { n.SenderName = "" },
		func() { n = notification{EventID: n.EventID, Room: n.Room} },
	} {
		leave()
		text, err := json.Marshal(n)
		if err != nil || len(text) <= webpush.MaxMessage {
			return text, err
		}
	}
	return []byte(`{}`), nil
}
