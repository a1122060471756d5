package setup

import (
	"crypto/rand"
	"crypto/subtle"
	"strings"
	"sync"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const (
	// claimAlphabet is Crockford's base 32: no letter that reads like another.
	claimAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	// claimSecretLetters of 5 bits each are 160 bits: no one guesses them.
	claimSecretLetters = 32
	// claimCodeLetters are 40 bits: few enough to type, and only MaxClaimAttempts
	// guesses are answered.
	claimCodeLetters = 8
	// MaxClaimAttempts is how many wrong claims are taken before the short code is
	// withdrawn; then only the link works, until the next start makes a new code. It is little
	// beside 2^40 codes.
	MaxClaimAttempts = 100
	// MaxClaimAttemptsEach is how many wrong claims are taken from one network; from there,
	// only the link works afterwards.
	MaxClaimAttemptsEach = 10
)

// ClaimCode is what the first start shows to whoever stands before the box.
type ClaimCode struct {
	Secret string // for a link: 160 random bits
	Code   string // for a person, "ABCD-EFGH"; empty once withdrawn
}

// claim is the pending claim; the zero value is none.
type claim struct {
	mu     sync.Mutex
	secret string
	code   string // without the dash
	wrong  int
	by     map[string]int // how many of the wrong ones came from a network
}

func randomLetters(n int) string {
	letters := make([]byte, n)
	rand.Read(letters) // never fails: see crypto/rand
	for i, b := range letters {
		letters[i] = claimAlphabet[b&31]
	}
	return string(letters)
}

func (c *claim) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secret, c.code, c.wrong, c.by = randomLetters(claimSecretLetters), randomLetters(claimCodeLetters), 0, nil
}

func (c *claim) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secret, c.code = "", ""
}

// normalClaim undoes what people do to a code when they type it.
func normalClaim(given string) string {
	if len(given) > 2*claimSecretLetters {
		return ""
	}
	return strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1").
		Replace(strings.ToUpper(strings.TrimSpace(given)))
}

// ClaimCode is the claim that waits to be used; false if the house has an owner.
func (k *Keeper) ClaimCode() (ClaimCode, bool) {
	c := &k.claim
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.secret == "" {
		return ClaimCode{}, false
	}
	shown := ClaimCode{Secret: c.secret}
	if c.code != "" {
		half := claimCodeLetters / 2
		shown.Code = c.code[:half] + "-" + c.code[half:]
	}
	return shown, true
}

// CheckClaim says whether this is the claim's secret or code, before anything costly
// such as hashing a password is done for it. A wrong one counts as an attempt, of the network
// that it came from. The error is M_FORBIDDEN.
func (k *Keeper) CheckClaim(given, from string) error {
	given = normalClaim(given)
	c := &k.claim
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.secret == "" {
		return matrix.Forbidden("this house has an owner already")
	}
	right := subtle.ConstantTimeCompare([]byte(given), []byte(c.secret))
	if c.code != "" && c.by[from] < MaxClaimAttemptsEach {
		right |= subtle.ConstantTimeCompare([]byte(given), []byte(c.code))
	}
	if right == 1 {
		return nil
	}
	if c.by == nil {
		c.by = map[string]int{}
	}
	c.by[from]++
	if c.wrong++; c.wrong >= MaxClaimAttempts {
		c.code = ""
	}
	if c.code == "" || c.by[from] >= MaxClaimAttemptsEach {
		return matrix.Forbidden("that is not the claim code, and it was tried too often: " +
			"use the link that the server printed, or restart it for a new code")
	}
	return matrix.Forbidden("that is not the claim code that the server printed")
}

// Claim makes user the owner of the house, if given is the claim's secret or code and
// there is no owner yet. The account is made by the caller, in the same transaction;
// the claim is gone once that is on disk. The error is M_FORBIDDEN.
func (k *Keeper) Claim(tx *kv.WriteTx, given, from string, user matrix.UserID) error {
	if owner := k.Owner(tx); owner != "" {
		return matrix.Forbidden("this house has an owner already")
	}
	if err := k.CheckClaim(given, from); err != nil {
		return err
	}
	return k.SetOwner(tx, user)
}
