package accounts

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"

	"porchlight/server/matrix"
)

const (
	// MinPasswordBytes is the shortest password that is taken.
	MinPasswordBytes = 8
	// MaxPasswordBytes is the longest one; it bounds the work of reading it.
	MaxPasswordBytes = 512

	hashSaltBytes = 16
	hashKeyBytes  = 32
	// maxHashMemory bounds what a stored hash may ask for, in KiB.
	maxHashMemory = 256 << 10
	maxHashTime   = 16
	// maxHashQueue is how many may wait for the one who is hashing, and maxHashKnown how many
	// more of those who ask from where the user has logged in before: strangers cannot keep
	// them out.
	maxHashQueue, maxHashKnown = 16, 8
	// maxHashDevice and maxHashUser are how many of them may be of one device or network, and
	// of one user.
	maxHashDevice, maxHashUser = 4, 6
	// hashRetry is what a client is told when the queue is full.
	hashRetry = 5 * time.Second
)

// HashCost is the cost of one argon2id hash (RFC 9106).
type HashCost struct {
	Memory uint32 // KiB
	Time   uint32 // passes over the memory
}

// DefaultHashCost is 32 MiB and 3 passes: some 0.1 s on a desktop, under 1 s on a
// small board, and never more memory than that, since one hash is made at a time.
var DefaultHashCost = HashCost{Memory: 32 << 10, Time: 3}

// hasher makes and compares password hashes, one at a time.
type hasher struct {
	cost  HashCost
	turn  chan struct{} // holds one token while somebody hashes
	decoy string        // a hash that no password has, to compare with for unknown users

	mu      sync.Mutex
	waiting int            // those who hash or wait for it
	by      map[string]int // how many of them are of a device or network, and of a user
}

// hashTurn is for whom a hash is made.
type hashTurn struct {
	by    Asker
	known bool // as Keeper.isKnown says
}

// enter takes a place in the queue. The error is M_LIMIT_EXCEEDED.
func (h *hasher) enter(t hashTurn) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	most := maxHashQueue
	if t.known {
		most += maxHashKnown
	}
	from := t.by.from()
	if h.waiting >= most || from != "" && h.by[from] >= maxHashDevice || t.by.User != "" && h.by[string(t.by.User)] >= maxHashUser {
		return matrix.LimitExceeded(hashRetry)
	}
	if h.by == nil {
		h.by = map[string]int{}
	}
	h.waiting++
	h.by[from]++
	if t.by.User != "" {
		h.by[string(t.by.User)]++
	}
	return nil
}

// leave gives the place back, and says whether the queue is empty then.
func (h *hasher) leave(t hashTurn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting--
	for _, who := range []string{t.by.from(), string(t.by.User)} {
		if h.by[who]--; h.by[who] <= 0 {
			delete(h.by, who)
		}
	}
}

// isLast says whether nobody waits behind the one who hashes.
func (h *hasher) isLast() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiting == 1
}

func newHasher(cost HashCost) *hasher {
	h := &hasher{cost: cost, turn: make(chan struct{}, 1)}
	h.decoy = phc{cost: cost, salt: make([]byte, hashSaltBytes), key: make([]byte, hashKeyBytes)}.String()
	return h
}

// key is the argon2id of a password; it waits for its turn. The error is
// M_LIMIT_EXCEEDED when too many wait already, or that of ctx.
func (h *hasher) key(ctx context.Context, t hashTurn, password string, salt []byte, cost HashCost, size uint32) ([]byte, error) {
	if err := h.enter(t); err != nil {
		return nil, err
	}
	defer h.leave(t)
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-h.turn }()
	key := argon2.IDKey([]byte(password), salt, cost.Time, cost.Memory, 1, size)
	if h.isLast() {
		// Nobody hashes next: give the memory back now, which is more than all else of an
		// idle house. The collector would keep it for minutes. It costs a few ms.
		debug.FreeOSMemory()
	}
	return key, nil
}

// CheckPassword says whether a password may be taken: M_WEAK_PASSWORD if it is too short or
// too long, one of those that are guessed first, or made of the user's name, if that is known.
func CheckPassword(password, localpart string) error {
	switch {
	case len(password) < MinPasswordBytes:
		return matrix.WeakPassword(fmt.Sprintf("a password needs at least %d characters", MinPasswordBytes))
	case len(password) > MaxPasswordBytes:
		return matrix.WeakPassword(fmt.Sprintf("a password may have at most %d bytes", MaxPasswordBytes))
	case isCommon(password):
		return matrix.WeakPassword("that password is one of those that are guessed first: please choose another one, such as four words that have nothing to do with each other")
	case namesUser(password, localpart):
		return matrix.WeakPassword("a password that is made of the user name is guessed first: please choose another one")
	}
	return nil
}

// HashPassword checks and hashes a new password for a user of a name; it is empty if it is not
// known. It takes a good part of a second and must not be called in a transaction. The errors
// are M_WEAK_PASSWORD and M_LIMIT_EXCEEDED.
func (k *Keeper) HashPassword(ctx context.Context, password, localpart string, by Asker) (string, error) {
	if err := CheckPassword(password, localpart); err != nil {
		return "", err
	}
	return k.hasher.hash(ctx, hashTurn{by, false}, password)
}

func (h *hasher) hash(ctx context.Context, t hashTurn, password string) (string, error) {
	salt := make([]byte, hashSaltBytes)
	rand.Read(salt) // never fails: see crypto/rand
	key, err := h.key(ctx, t, password, salt, h.cost, hashKeyBytes)
	if err != nil {
		return "", err
	}
	return phc{cost: h.cost, salt: salt, key: key}.String(), nil
}

// matches says whether the password has this hash; an empty hash has none, after the
// same time.
func (h *hasher) matches(ctx context.Context, t hashTurn, password, hash string) (bool, error) {
	if len(password) > MaxPasswordBytes {
		return false, nil
	}
	real := hash != ""
	if !real {
		hash = h.decoy
	}
	p, err := parsePHC(hash)
	if err != nil {
		return false, err
	}
	key, err := h.key(ctx, t, password, p.salt, p.cost, uint32(len(p.key)))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(key, p.key) == 1 && real, nil
}

// needsRehash says that a hash was made at another cost than today's.
func (h *hasher) needsRehash(hash string) bool {
	p, err := parsePHC(hash)
	return err == nil && p.cost != h.cost
}

// phc is a password hash in the PHC string format:
// $argon2id$v=19$m=32768,t=3,p=1$salt$key
type phc struct {
	cost      HashCost
	salt, key []byte
}

var errPHC = errors.New("the stored password hash is not one of argon2id")

// String is the form in which it is stored.
func (p phc) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s",
		argon2.Version, p.cost.Memory, p.cost.Time, b64.EncodeToString(p.salt), b64.EncodeToString(p.key))
}

// parsePHC reads the forms that String writes, and no hash that would cost more than
// this house can bear.
func parsePHC(s string) (phc, error) {
	fields := strings.Split(s, "$")
	if len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" || fields[2] != "v="+strconv.Itoa(argon2.Version) {
		return phc{}, errPHC
	}
	var p phc
	costs := strings.Split(fields[3], ",")
	if len(costs) != 3 || costs[2] != "p=1" {
		return phc{}, errPHC
	}
	var err error
	if p.cost.Memory, err = costField(costs[0], "m=", maxHashMemory); err != nil {
		return phc{}, err
	}
	if p.cost.Time, err = costField(costs[1], "t=", maxHashTime); err != nil {
		return phc{}, err
	}
	b64 := base64.RawStdEncoding.Strict()
	if p.salt, err = b64.DecodeString(fields[4]); err != nil || len(p.salt) < 8 || len(p.salt) > 64 {
		return phc{}, errPHC
	}
	if p.key, err = b64.DecodeString(fields[5]); err != nil || len(p.key) < 16 || len(p.key) > 64 {
		return phc{}, errPHC
	}
	if p.String() != s { // line breaks in base64, signs and zeros before numbers
		return phc{}, errPHC
	}
	return p, nil
}

func costField(field, name string, most uint64) (uint32, error) {
	digits, ok := strings.CutPrefix(field, name)
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || n == 0 || n > most {
		return 0, errPHC
	}
	return uint32(n), nil
}
