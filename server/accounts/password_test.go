package accounts

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"porchlight/server/matrix"
)

// badPHC are no hashes that this house takes.
var badPHC = []string{
	"",
	"$argon2id",
	"$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
	"$argon2id$v=16$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
	"$argon2id$v=19$m=64,t=1,p=2$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
	"$argon2id$v=19$m=64,t=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
	"$argon2id$v=19$m=0,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
	"$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
	"$argon2id$v=19$m=64,t=1000,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
	"$argon2id$v=19$m=+64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
	"$argon2id$v=19$m=064,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
	"$argon2id$v=19$m=64,t=1,p=1$c2F$AAAAAAAAAAAAAAAAAAAAAA",
	"$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAA",
	"$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAA\nAAAAAAAAAA",
	"$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA$",
}

const goodPHC = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"

func TestParsePHC(t *testing.T) {
	for _, s := range badPHC {
		if _, err := parsePHC(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
	p, err := parsePHC(goodPHC)
	if err != nil || p.cost != (HashCost{Memory: 64, Time: 1}) || string(p.salt) != "saltsalt" || len(p.key) != 16 {
		t.Errorf("%+v, %v", p, err)
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add(goodPHC)
	for _, s := range badPHC {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := parsePHC(s); err == nil && (p.String() != s || p.cost.Memory > maxHashMemory || p.cost.Time > maxHashTime) {
			t.Errorf("%q became %q", s, p)
		}
	})
}

// One hashes, a few wait, the rest is sent away: memory stays bounded.
func TestHashQueueIsBounded(t *testing.T) {
	h := newHasher(HashCost{Memory: 64, Time: 1})
	h.turn <- struct{}{} // somebody hashes
	h.waiting = maxHashQueue
	key := func(ctx context.Context, turn hashTurn) error {
		_, err := h.key(ctx, turn, "x", make([]byte, 16), h.cost, 32)
		return err
	}
	if err := key(t.Context(), hashTurn{}); !matrix.IsCode(err, "M_LIMIT_EXCEEDED") {
		t.Errorf("the queue is full: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := key(gone, hashTurn{known: true}); err != context.Canceled {
		t.Errorf("strangers keep out who is known: %v", err)
	}
	h.waiting = 0
	if err := key(gone, hashTurn{}); err != context.Canceled {
		t.Errorf("the client is gone: %v", err)
	}
	if h.waiting != 0 || len(h.by) != 0 {
		t.Errorf("%d still wait: %v", h.waiting, h.by)
	}
	<-h.turn
	if err := key(t.Context(), hashTurn{}); err != nil {
		t.Error(err)
	}
}

// TestHashQueueIsFair fills the queue as one user with many devices, and as one network, and
// sees that others still have a place.
func TestHashQueueIsFair(t *testing.T) {
	h := newHasher(HashCost{Memory: 64, Time: 1})
	enter := func(by Asker) bool { return h.enter(hashTurn{by: by}) == nil }
	count := func(by func(i int) Asker) (n int) {
		for i := range 100 {
			if enter(by(i)) {
				n++
			}
		}
		return n
	}
	if n := count(func(int) Asker { return Asker{User: "@a:x", Device: "A"} }); n != maxHashDevice {
		t.Errorf("one device has %d places", n)
	}
	if n := count(func(i int) Asker { return Asker{User: "@a:x", Device: matrix.DeviceID(rune('B' + i))} }); n != maxHashUser-maxHashDevice {
		t.Errorf("all devices of a user have %d more places", n)
	}
	if n := count(func(i int) Asker { return Asker{IP: fmt.Sprintf("2001:db8::%x", i)} }); n != maxHashDevice {
		t.Errorf("one IPv6 network has %d places", n)
	}
	if !enter(Asker{User: "@b:x", Device: "A"}) || !enter(Asker{IP: "192.0.2.1"}) || !enter(Asker{}) {
		t.Error("others have no place")
	}
}

// TestCommonPasswords: what is guessed first is refused with a sentence, and what is long and of
// several words is not.
func TestCommonPasswords(t *testing.T) {
	for _, bad := range []string{
		"12345678", "87654321", "password", "Password1!", "PASSWORD2026", "qwertyuiop", "11111111", "abababab", "abcdefgh", "iloveyou",
		"alice123", "Alice2026", "1alice1!", "abcabcabcabc", "!!football!!",
	} {
		if err := CheckPassword(bad, "alice"); !matrix.IsCode(err, "M_WEAK_PASSWORD") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, good := range []string{"correct horse", "battery staple", "of the thief", "k7#mQz!2pX", "alice likes purple trains", "passwords are no fun", "zwölf Boxkämpfer"} {
		if err := CheckPassword(good, "alice"); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	if err := CheckPassword("also good enough", "al"); err != nil {
		t.Errorf("a short name stands in a word: %v", err)
	}
	if n := len(commonPasswords()); n < 500 || n > 1500 {
		t.Errorf("%d common passwords", n)
	}
	for password := range commonPasswords() {
		if len(password) < MinPasswordBytes || strings.ToLower(password) != password {
			t.Errorf("%q is on the list in vain", password)
		}
	}
}

// The default asks for 32 MiB.
func TestDefaultHash(t *testing.T) {
	h := newHasher(DefaultHashCost)
	if !strings.HasPrefix(h.decoy, "$argon2id$v=19$m=32768,t=3,p=1$") {
		t.Errorf("default hash %s", h.decoy)
	}
	if h.needsRehash(h.decoy) || !h.needsRehash(goodPHC) || h.needsRehash("") {
		t.Error("needsRehash is wrong")
	}
}
