package accounts

import (
	"context"
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
	h.waiting.Store(maxHashQueue)
	if _, err := h.key(t.Context(), "x", make([]byte, 16), h.cost, 32); !matrix.IsCode(err, "M_LIMIT_EXCEEDED") {
		t.Errorf("the queue is full: %v", err)
	}
	h.waiting.Store(0)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.key(gone, "x", make([]byte, 16), h.cost, 32); err != context.Canceled {
		t.Errorf("the client is gone: %v", err)
	}
	if n := h.waiting.Load(); n != 0 {
		t.Errorf("%d still wait", n)
	}
	<-h.turn
	if _, err := h.key(t.Context(), "x", make([]byte, 16), h.cost, 32); err != nil {
		t.Error(err)
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
