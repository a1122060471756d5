package relay

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what the format demands; HMAC-SHA1 is not broken
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

const (
	// Lifetime is how long credentials open new allocations.
	Lifetime = 12 * time.Hour
	// callGrace is how long after that an allocation that is open already can be kept up:
	// a baby monitor's call may well be longer than Lifetime.
	callGrace = 24 * time.Hour
	// maxName bounds a user name in bytes; the longest user ID has 255.
	maxName = 300
	// realm is the one that clients are told; it has no meaning here.
	realm = "porchlight"
)

// Credentials are what a client needs to be relayed.
type Credentials struct {
	Username, Password string
	Lifetime           time.Duration
}

// Credentials makes those of a user, from now on.
//
// spec: client-server API, GET voip/turnServer; draft-uberti-behave-turn-rest-00
func (r *Relay) Credentials(user string) Credentials {
	name := strconv.FormatInt(r.cfg.Now().Add(Lifetime).Unix(), 10) + ":" + user
	return Credentials{Username: name, Password: r.password(name), Lifetime: Lifetime}
}

func (r *Relay) password(name string) string {
	mac := hmac.New(sha1.New, r.cfg.Secret)
	mac.Write([]byte(name)) // never fails: see hash.Hash
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// authenticate says whose a request is and by what key it has to be signed. Pion checks
// the signature.
func (r *Relay) authenticate(ra *turn.RequestAttributes) (user string, key []byte, ok bool) {
	if user, key, ok = r.key(ra.Username, ra.Realm, ra.Method); !ok {
		r.unauthorised()
	}
	return user, key, ok
}

// key is whose a name is, and by what key that signs; false if the name is not good, or no
// more.
func (r *Relay) key(name, realm string, method stun.Method) (user string, key []byte, ok bool) {
	end, user, ok := splitName(name)
	if method != stun.MethodAllocate {
		end = end.Add(callGrace)
	}
	if !ok || !r.cfg.Now().Before(end) || r.cfg.Allowed != nil && !r.cfg.Allowed(user) {
		return "", nil, false
	}
	return user, turn.GenerateAuthKey(name, realm, r.password(name)), true
}

// splitName takes a user name apart: when it ends, and whose it is.
func splitName(name string) (end time.Time, user string, ok bool) {
	if len(name) > maxName {
		return end, "", false
	}
	stamp, user, ok := strings.Cut(name, ":")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if !ok || user == "" || err != nil || seconds < 0 {
		return end, "", false
	}
	return time.Unix(seconds, 0), user, true
}
