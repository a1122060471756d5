package clientapi_test

import (
	"fmt"
	"testing"

	"porchlight/server/servertest"
)

// way is a way in which a device says how it is there.
type way struct {
	name string
	say  func(*servertest.User, string)
}

// TestPresenceIsCollated: others hear of the device in use, once, whichever way each device says
// how it is there (spec: presence).
func TestPresenceIsCollated(t *testing.T) {
	v2 := func(u *servertest.User, state string) { u.Must("GET", "v3/sync?set_presence="+state, ``, nil) }
	sliding := func(u *servertest.User, state string) {
		u.Must("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?set_presence="+state, `{}`, nil)
	}
	put := func(u *servertest.User, state string) {
		u.Must("PUT", "v3/presence/{@alice}/status", `{"presence":"`+state+`"}`, nil)
	}
	for _, away := range []way{{"v2", v2}, {"sliding", sliding}, {"put", put}} {
		for _, here := range []way{{"v2", v2}, {"sliding", sliding}} {
			for _, first := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s away, %s here, %v", away.name, here.name, first), func(t *testing.T) {
					presenceOfTwo(t, away, here, first)
				})
			}
		}
	}
}

// presenceOfTwo has two devices of alice's say again and again that she is away and here, and
// counts what bob is told. Whether the one that is away speaks first should not matter.
func presenceOfTwo(t *testing.T, away, here way, first bool) {
	s := servertest.New(t)
	alice, other, bob := s.User("alice"), s.User("alice#2"), s.User("bob")
	var made struct {
		Room string `json:"room_id"`
	}
	alice.Must("POST", "v3/createRoom", `{"preset":"public_chat"}`, &made)
	s.Set("room", made.Room)
	bob.Must("POST", "v3/rooms/{room}/join", `{}`, nil)
	bob.Must("GET", "v3/sync?set_presence=offline", ``, nil)
	since, told, last := "", 0, ""
	listen := func() {
		var answer struct {
			Next     string `json:"next_batch"`
			Presence struct {
				Events []struct {
					Sender  string
					Content struct{ Presence string }
				}
			}
		}
		bob.Must("GET", "v3/sync?set_presence=offline&since="+since, ``, &answer)
		since = answer.Next
		for _, e := range answer.Presence.Events {
			if e.Sender == string(alice.ID) {
				told, last = told+1, e.Content.Presence
			}
		}
	}
	bob.Must("GET", "v3/sync?set_presence=offline", ``, &struct {
		Next *string `json:"next_batch"`
	}{&since})
	if first {
		away.say(alice, "unavailable")
		here.say(other, "online")
	} else {
		here.say(other, "online")
		away.say(alice, "unavailable")
	}
	other.Must("PUT", "v3/rooms/{room}/send/m.room.message/0", `{"msgtype":"m.text","body":"x"}`, nil)
	listen()
	if last != "online" {
		t.Errorf("after a message: %q", last)
	}
	told = 0
	for i := range 6 {
		if away.name != "put" {
			away.say(alice, "unavailable")
		}
		listen()
		here.say(other, "online")
		other.Must("PUT", fmt.Sprintf("v3/rooms/{room}/send/m.room.message/%d", i+1), `{"msgtype":"m.text","body":"x"}`, nil)
		listen()
		var now struct{ Presence string }
		bob.Must("GET", "v3/presence/{@alice}/status", ``, &now)
		if now.Presence != "online" {
			t.Errorf("look %d: %s", i, now.Presence)
		}
	}
	if told != 0 {
		t.Errorf("%d m.presence events, and nothing changed", told)
	}
}
