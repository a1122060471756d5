package agent

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/kv/kvtest"
	"porchlight/server/matrix"
)

// TestEncryptedRooms: in an encrypted room of somebody who may talk to it the board says once
// that it can read nothing there, however it comes to know that, and not again after a restart.
func TestEncryptedRooms(t *testing.T) {
	const secret = matrix.RoomID("!secret")
	in := func(e Event, key string) Event {
		if e.Room = secret; key != "none" {
			e.StateKey = &key
		}
		return e
	}
	message := func(by matrix.UserID) Event { return in(event(by, "m.room.encrypted", `{"ciphertext":"x"}`), "none") }
	invited := func(by matrix.UserID) Event {
		return in(event(by, "m.room.member", `{"membership":"invite"}`), string(porch))
	}
	switched := func(by matrix.UserID) Event {
		return in(event(by, "m.room.encryption", `{"algorithm":"m.megolm.v1.aes-sha2"}`), "")
	}
	for name, tt := range map[string]struct {
		events []Event
		want   int
	}{
		"a message":               {[]Event{message(alice)}, 1},
		"many messages":           {[]Event{message(alice), message(alice), message(alice)}, 1},
		"an invitation":           {[]Event{invited(alice)}, 1},
		"and all together":        {[]Event{invited(alice), switched(alice), message(alice)}, 1},
		"encryption later":        {[]Event{switched(alice)}, 1},
		"a stranger's":            {[]Event{invited(bob), switched(bob), message(bob)}, 0},
		"a stranger beside alice": {[]Event{message(bob), message(alice)}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			board(t, nil, func(h *house, _ *media, _ *Agent) {
				h.mu.Lock()
				h.encrypted = map[matrix.RoomID]bool{secret: true}
				h.mu.Unlock()
				h.put(tt.events...)
				synctest.Wait()
				said := 0
				for _, text := range h.words() {
					if strings.HasPrefix(text, string(secret)) && strings.Contains(text, "encrypted, so I can read nothing") {
						said++
					}
				}
				if said != tt.want {
					t.Errorf("said %d times", said)
				}
			})
		})
	}
	db := kvtest.Open(t)
	s := NewStore(db, DefaultSettings(0), nil)
	again := &Store{db: db, told: s.told}
	key := toldKey{"encrypted", string(secret)}
	for i, store := range []*Store{s, s, again} {
		if first, err := store.first(t.Context(), key, time.Unix(1, 0)); err != nil || first != (i == 0) {
			t.Errorf("time %d: first %t, %v", i, first, err)
		}
	}
}

// TestNames: people are named with or without the server, and those of others are refused.
func TestNames(t *testing.T) {
	for _, tt := range []struct{ name, value, want, fault string }{
		{"allow", "ann", "@ann:h", ""},
		{"allow", "ann, @bob @carol:h", "@ann:h @bob:h @carol:h", ""},
		{"allow", "ann @ann:h", "@ann:h", ""},
		{"allow", "", "", ""},
		{"allow", "@ann:wrong", "", "is a user of another server; those of this one are called like @ann:h"},
		{"allow", "ann:h:1", "", "another server"},
		{"allow", "@", "", "is no user"},
		{"ring_people", "bob", "@bob:h", ""},
		{"alert_people", "bob", "@bob:h", ""},
		{"commands", "bob", "@bob:h", ""},
		{"door_people", "bob", "@bob:h", ""},
		{"auto_answer", "ann = now audio; *=after 10s both", "@ann:h=now audio; *=after 10s both", ""},
		{"auto_answer", "@ann:wrong=never", "", "another server"},
		{"auto_answer", "ann", "", "no \"=\""},
	} {
		s := NewStore(nil, DefaultSettings(0), nil)
		s.Serves("h")
		err := s.Set(t.Context(), tt.name, tt.value, "")
		if tt.fault != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fault) || !matrix.IsCode(err, "M_INVALID_PARAM") {
				t.Errorf("%s=%q: %v", tt.name, tt.value, err)
			}
			continue
		}
		if got, gerr := s.Get(tt.name); err != nil || gerr != nil || got.Value != tt.want {
			t.Errorf("%s=%q is %q, %v, %v", tt.name, tt.value, got.Value, err, gerr)
		}
	}
	// Each setting that names people says how.
	for _, x := range settings() {
		var s Settings
		if x.parse(&s, "@ann:h") == nil && x.names == nil {
			if raw, err := json.Marshal(s); err != nil || strings.Contains(string(raw), "@ann:h") {
				t.Errorf("%s names people, but only in full", x.name)
			}
		}
	}
}

// TestOwnerIsNotLockedOut: a list of others does not keep the owner from calling, commanding
// and opening.
func TestOwnerIsNotLockedOut(t *testing.T) {
	board(t, with(t, "allow", string(bob), "commands", string(bob), "door_people", string(bob)), func(h *house, _ *media, a *Agent) {
		h.mu.Lock()
		h.allowed = map[matrix.UserID]bool{} // nor was the house started with the owner
		h.mu.Unlock()
		h.put(invite(alice, ""))
		synctest.Wait()
		if got := h.said(); got != "answer" {
			t.Errorf("the board said %q", got)
		}
		if !a.opens(context.Background(), alice) || !a.mayCommand(context.Background(), alice) || a.opens(context.Background(), carol) || a.mayCommand(context.Background(), carol) {
			t.Error("the owner may not, or others may")
		}
	})
}
