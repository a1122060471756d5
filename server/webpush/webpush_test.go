package webpush

import (
	"crypto/ecdh"
	"encoding/base64"
	"strings"
	"testing"
)

func bytesOf(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	p256dh = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
	auth   = "BTBZMqHH6r4Tts7J_aSIgg"
)

// TestKnownMessage is the example of RFC 8291, section 5 and appendix A.
func TestKnownMessage(t *testing.T) {
	s, err := NewSubscription("https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV", p256dh, auth)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := ecdh.P256().NewPrivateKey(bytesOf(t, "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := s.encrypt([]byte("When I grow up, I want to be a watermelon"), sender, bytesOf(t, "DGv6ra1nlYgDCS1FRnbzlw"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
	if got := base64.RawURLEncoding.EncodeToString(body); got != want {
		t.Errorf("%s", got)
	}
	if _, err := s.encrypt(make([]byte, MaxMessage+1), sender, make([]byte, saltSize)); err == nil {
		t.Error("a message too long was encrypted")
	}
	if longest, err := s.encrypt(make([]byte, MaxMessage), sender, make([]byte, saltSize)); err != nil || len(longest) != 4096 {
		t.Errorf("the longest message has %d bytes: %v", len(longest), err)
	}
}

func TestSubscriptions(t *testing.T) {
	for _, c := range []struct {
		endpoint, key, auth string
		ok                  bool
	}{
		{"https://push.example/x", p256dh, auth, true},
		{"https://push.example/x", p256dh + "=", auth + "==", true},
		{"ftp://push.example/x", p256dh, auth, false},
		{"https://user@push.example/x", p256dh, auth, false},
		{"push.example", p256dh, auth, false},
		{"https://push.example/x", p256dh[:80], auth, false},
		{"https://push.example/x", strings.Replace(p256dh, "BC", "BD", 1), auth, false}, // not on the curve
		{"https://push.example/x", "", auth, false},
		{"https://push.example/x", p256dh, "", false},
		{"https://push.example/x", p256dh, auth + "AA", false},
		{"https://push.example/x", p256dh, "!", false},
	} {
		if _, err := NewSubscription(c.endpoint, c.key, c.auth); (err == nil) != c.ok {
			t.Errorf("%s %.9s… %s: %v", c.endpoint, c.key, c.auth, err)
		}
	}
}

func TestKeysAreKept(t *testing.T) {
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	stored, err := k.Store()
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenKey(stored)
	if err != nil || again.Public() != k.Public() || len(bytesOf(t, k.Public())) != keySize {
		t.Errorf("%v, %v", again, err)
	}
	if _, err := OpenKey([]byte("x")); err == nil {
		t.Error("nonsense is a key")
	}
}

func FuzzSubscription(f *testing.F) {
	f.Add("https://push.example/x", p256dh, auth)
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, endpoint, key, auth string) {
		s, err := NewSubscription(endpoint, key, auth)
		if (s == nil) == (err == nil) {
			t.Errorf("%v and %v", s, err)
		}
	})
}
