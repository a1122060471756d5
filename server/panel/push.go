package panel

// The page's operations about being told of what one misses.

import (
	"porchlight/kv"
	"porchlight/server/push"
	"porchlight/server/web"
)

// maxRenewBody is the largest request to move a subscription in bytes.
const maxRenewBody = 8 << 10

// maxSecretBody is the largest request for a secret in bytes.
const maxSecretBody = 4 << 10

type pushOut struct {
	// WebPushKey is what a browser's subscription is bound to, and Gateway the url of its pusher.
	WebPushKey string        `json:"web_push_key,omitempty"`
	Gateway    string        `json:"gateway"`
	Topics     string        `json:"topics"` // "secret", "open" or "off"
	Secrets    []push.Secret `json:"secrets"`
}

// push is what the page needs to be told, and shows of it: the devices that may listen to
// topics.
func (p *Panel) push(c *web.Call, tx *kv.ReadTx, _ web.Empty) (pushOut, error) {
	return pushOut{WebPushKey: p.Push.WebPushKey(), Gateway: p.Gateway(), Topics: p.Topics, Secrets: p.Push.Secrets(tx, c.User)}, nil
}

type newSecretIn struct {
	Name string `json:"name" required:"true"` // of the device
}

type newSecretOut struct {
	push.Secret
	Plain string `json:"secret"` // told once
}

// newSecret makes a secret by which a phone may listen to topics while the session that asks for
// it is signed in.
func (p *Panel) newSecret(c *web.Call, tx *kv.WriteTx, in newSecretIn) (newSecretOut, error) {
	plain, secret, err := p.Push.NewSecret(tx, c.User, c.Device, in.Name)
	return newSecretOut{secret, plain}, err
}

type deleteSecretIn struct {
	ID string `path:"id"`
}

// deleteSecret lets a phone listen no more; where it does at the moment, it hears nothing more.
func (p *Panel) deleteSecret(c *web.Call, tx *kv.WriteTx, in deleteSecretIn) (web.Empty, error) {
	return web.Empty{}, p.Push.DeleteSecret(tx, c.User, in.ID)
}

type renewPushIn struct {
	Old push.Browser `json:"old" required:"true"`
	New push.Browser `json:"new" required:"true"`
}

// renewPush is what the page's service worker asks when the browser has another subscription:
// it runs without anybody, and so without an access token.
func (p *Panel) renewPush(_ *web.Call, tx *kv.WriteTx, in renewPushIn) (web.Empty, error) {
	return web.Empty{}, p.Push.MoveBrowser(tx, in.Old, in.New)
}
