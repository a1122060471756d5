package clientapi

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

const (
	sharedSecretPath = "/_synapse/admin/v1/register"
	// nonceLife is how long a nonce of the shared-secret form is good.
	nonceLife = time.Minute
	// maxNonces bounds the memory that strangers can make the server use.
	maxNonces = 1000
)

// nonces are the nonces that were given out and not used yet.
type nonces struct {
	mu      sync.Mutex
	expires map[string]time.Time
}

// next makes a nonce; false if too many are out.
func (n *nonces) next(now time.Time) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.expires == nil {
		n.expires = map[string]time.Time{}
	}
	for nonce, end := range n.expires {
		if !now.Before(end) {
			delete(n.expires, nonce)
		}
	}
	if len(n.expires) >= maxNonces {
		return "", false
	}
	nonce := rand.Text()
	n.expires[nonce] = now.Add(nonceLife)
	return nonce, true
}

// use says whether a nonce is good, and spends it.
func (n *nonces) use(nonce string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	end, ok := n.expires[nonce]
	delete(n.expires, nonce)
	return ok && now.Before(end)
}

type registerNonceOut struct {
	Nonce string `json:"nonce"`
}

// registerNonce begins a registration by shared secret. The operation is not of the
// standard; provisioning tools of this ecosystem know it by its path.
func (a *API) registerNonce(c *web.Call, _ web.Empty) (registerNonceOut, error) {
	nonce, ok := a.nonces.next(c.Now)
	if !ok {
		return registerNonceOut{}, matrix.LimitExceeded(nonceLife)
	}
	return registerNonceOut{Nonce: nonce}, nil
}

type registerBySecretIn struct {
	Nonce        string `json:"nonce" required:"true"`
	Username     string `json:"username" required:"true"`
	Password     string `json:"password" required:"true"`
	DisplayName  string `json:"displayname"`
	Admin        bool   `json:"admin"`
	UserType     string `json:"user_type"`
	MAC          string `json:"mac" required:"true"`
	InhibitLogin bool   `json:"inhibit_login"`
}

type registerBySecretOut struct {
	loginOut
	HomeServer matrix.ServerName `json:"home_server"`
}

// registerBySecret makes an account for one who knows the shared secret: it is the key
// of an HMAC-SHA1 over the nonce and the account's particulars.
func (a *API) registerBySecret(c *web.Call, in registerBySecretIn) (out registerBySecretOut, err error) {
	for _, part := range []string{in.Nonce, in.Username, in.Password, in.UserType} {
		if strings.Contains(part, "\x00") { // it stands between the parts in what the HMAC is of
			return out, matrix.InvalidParam("no part of the request may have a NUL character")
		}
	}
	if !a.nonces.use(in.Nonce, c.Now) {
		return out, matrix.Unknown(http.StatusBadRequest, "that nonce is not known, or no longer")
	}
	given, err := hex.DecodeString(in.MAC)
	if err != nil || !hmac.Equal(given, in.mac(a.SharedSecret)) {
		return out, matrix.Forbidden("the HMAC is wrong")
	}
	hash, err := a.Accounts.HashPassword(c.Ctx, in.Password, in.Username, asker(c))
	if err != nil {
		return out, err
	}
	err = a.DB.Update(c.Ctx, func(tx *kv.WriteTx) error {
		user, err := a.Accounts.Create(tx, accounts.NewUser{
			Localpart: in.Username, PasswordHash: hash, DisplayName: in.DisplayName, Admin: in.Admin,
		})
		if err != nil {
			return err
		}
		out = registerBySecretOut{loginOut{User: user}, user.Server()}
		if in.InhibitLogin {
			return nil
		}
		l, err := a.Accounts.Login(tx, accounts.NewLogin{User: user})
		out.loginOut = a.loginOut(l)
		return err
	})
	return out, err
}

// mac is what the caller should have computed: the parts joined by NUL.
func (in registerBySecretIn) mac(secret string) []byte {
	admin := "notadmin"
	if in.Admin {
		admin = "admin"
	}
	parts := []string{in.Nonce, in.Username, in.Password, admin}
	if in.UserType != "" {
		parts = append(parts, in.UserType)
	}
	h := hmac.New(sha1.New, []byte(secret))
	h.Write([]byte(strings.Join(parts, "\x00")))
	return h.Sum(nil)
}
