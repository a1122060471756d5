package agent

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/call"
)

const carol = matrix.UserID("@carol:h")

// with gives a board settings, of name and value in turn.
func with(t *testing.T, pairs ...string) func(*Config) {
	t.Helper()
	return func(c *Config) {
		c.Settings = NewStore(nil, DefaultSettings(0), nil)
		for i := 0; i < len(pairs); i += 2 {
			if err := c.Settings.Set(context.Background(), pairs[i], pairs[i+1], ToneWords); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// invites is the board's own invites that are out, by the room they are in; hangups is
// where it hung up.
func (h *house) invites() map[matrix.RoomID]call.Invite {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[matrix.RoomID]call.Invite{}
	for _, e := range h.sent {
		var c call.Invite
		if e.Type == call.TypeInvite && json.Unmarshal(e.Content, &c) == nil {
			all[e.Room] = c
		}
	}
	return all
}

// reply is an event of a call of the board.
func reply(user matrix.UserID, in matrix.RoomID, eventType, callID, more string) Event {
	return Event{Room: in, Sender: user, Type: eventType, Content: json.RawMessage(`{"call_id":"` + callID + `","party_id":"phone","version":"1"` + more + `}`)}
}

const answerJSON = `,"answer":{"type":"answer","sdp":"v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"}`

func TestRingAll(t *testing.T) {
	board(t, with(t, "ring_people", "@alice:h @bob:h @carol:h", "ring_timeout", "20s"), func(h *house, m *media, a *Agent) {
		if err := a.Ring(context.Background(), RingRequest{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		invites := h.invites()
		if len(invites) != 3 || invites["!bob"].Invitee != bob || invites[room].Lifetime != 20_000 {
			t.Fatalf("the board called %+v", invites)
		}
		if err := a.Ring(context.Background(), RingRequest{}); !errors.Is(err, ErrRinging) {
			t.Errorf("a second ring: %v", err)
		}
		h.words()
		h.put(reply(bob, "!bob", call.TypeAnswer, invites["!bob"].CallID, answerJSON))
		synctest.Wait()
		for _, e := range h.sent {
			if e.Type == call.TypeHangup && !strings.Contains(string(e.Content), `"reason":"answered_elsewhere"`) {
				t.Errorf("the others are told %s", e.Content)
			}
		}
		got := h.words()
		slices.Sort(got)
		want := []string{
			"!bob m.call.select_answer", "!carol " + string(bob) + " answered.", "!carol m.call.hangup",
			"!direct " + string(bob) + " answered.", "!direct " + string(bob) + " is watching and listening.", "!direct m.call.hangup",
		}
		if !slices.Equal(got, want) {
			t.Errorf("after the answer the board said\n%q, want\n%q", got, want)
		}
		if st := a.Status(); len(st) != 1 || st[0].Peer != bob || st[0].Phase != "active" {
			t.Errorf("status %+v", st)
		}
		if m.open() != 1 {
			t.Errorf("%d sessions are open", m.open())
		}
		// Who answers too late is told by select_answer or hangup; the ring is over.
		h.put(reply(carol, "!carol", call.TypeAnswer, invites["!carol"].CallID, answerJSON))
		synctest.Wait()
		if got := h.words(); len(got) != 0 {
			t.Errorf("after a late answer the board said %q", got)
		}
	})
}

func TestRingInTurn(t *testing.T) {
	board(t, with(t, "ring_people", "@alice:h @bob:h @carol:h", "ring_mode", "turn", "ring_timeout", "20s"), func(h *house, _ *media, a *Agent) {
		if err := a.Ring(context.Background(), RingRequest{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		first := h.invites()
		if len(first) != 1 || first[room].Invitee != alice {
			t.Fatalf("first the board called %+v", first)
		}
		h.put(reply(alice, room, call.TypeReject, first[room].CallID, ""))
		synctest.Wait()
		if got := h.invites(); len(got) != 2 || got["!bob"].Invitee != bob {
			t.Fatalf("after a rejection the board called %+v", got)
		}
		time.Sleep(21 * time.Second)
		synctest.Wait()
		if got := h.invites(); len(got) != 3 || got["!carol"].Invitee != carol {
			t.Fatalf("after the time was over the board called %+v", got)
		}
		h.words()
		time.Sleep(21 * time.Second)
		synctest.Wait()
		missed := "Somebody rang at 00:00 and nobody answered."
		want := []string{"!carol m.call.hangup", "!direct " + missed, "!bob " + missed, "!carol " + missed}
		if got := h.words(); !slices.Equal(got, want) {
			t.Errorf("in the end the board said %q, want %q", got, want)
		}
		if err := a.Ring(context.Background(), RingRequest{People: []matrix.UserID{bob}, Mode: RingAll, Timeout: time.Minute}); err != nil {
			t.Errorf("it does not ring again: %v", err)
		}
	})
}

func TestRingRefused(t *testing.T) {
	board(t, with(t, "ring_pause", "10s"), func(h *house, _ *media, a *Agent) {
		if err := a.Ring(context.Background(), RingRequest{}); err != nil {
			t.Fatal(err) // the owner
		}
		synctest.Wait()
		invites := h.invites()
		if len(invites) != 1 || invites[room].Invitee != alice {
			t.Fatalf("the board called %+v", invites)
		}
		h.put(reply(alice, room, call.TypeReject, invites[room].CallID, ""))
		synctest.Wait()
		a.Press()
		synctest.Wait()
		if err := a.Ring(context.Background(), RingRequest{}); !errors.Is(err, ErrRinging) {
			t.Errorf("pressed twice: %v", err)
		}
		time.Sleep(11 * time.Second)
		h.words()
		a.Press()
		synctest.Wait()
		if len(h.invites()) != 1 {
			t.Error("after the pause the button does nothing")
		}
	})
	board(t, nil, func(h *house, _ *media, a *Agent) {
		h.noDoor = errors.New("no room")
		if err := a.Ring(context.Background(), RingRequest{}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got := h.words(); len(got) != 0 {
			t.Errorf("with nobody to reach the board said %q", got)
		}
	})
}

func TestRingWithoutMedia(t *testing.T) {
	board(t, nil, func(h *house, m *media, a *Agent) {
		m.fail = errors.New("no ports")
		if err := a.Ring(context.Background(), RingRequest{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := h.words(); len(got) != 1 || !strings.Contains(got[0], "nobody answered") {
			t.Errorf("the board said %q", got)
		}
	})
}

func TestRingInQuietTimes(t *testing.T) {
	board(t, with(t, "quiet_hours", "23:00-06:00"), func(h *house, _ *media, a *Agent) {
		if err := a.Ring(context.Background(), RingRequest{}); err != nil {
			t.Fatal(err)
		}
		h.put(invite(alice, ""))
		synctest.Wait()
		if got := h.words(); len(got) != 1 || !strings.Contains(got[0], "quiet time") {
			t.Errorf("the board said %q", got)
		}
		a.Press() // somebody at the board takes the call
		synctest.Wait()
		if got := h.said(); got != "answer" {
			t.Errorf("when the button was pressed the board said %q", got)
		}
	})
}

func TestStoppingWhileItRings(t *testing.T) {
	var h *house
	board(t, with(t, "ring_people", "@alice:h @bob:h", "ring_mode", "turn"), func(at *house, _ *media, a *Agent) {
		h = at
		if err := a.Ring(context.Background(), RingRequest{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		h.said()
	})
	if got := h.said(); got != "hangup" {
		t.Errorf("when it stopped, the board said %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(Config{House: h, Self: porch}).Ring(ctx, RingRequest{}); !errors.Is(err, ErrStopped) {
		t.Errorf("a board that does not run rings: %v", err)
	}
}

func TestGlare(t *testing.T) {
	for _, tt := range []struct {
		name, theirs string
		taken        bool
	}{
		{"theirs is lower", "-", true}, // lower than every letter and digit
		{"ours is lower", "~", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			board(t, with(t, "ring_people", "@alice:h @bob:h", "auto_answer", "*=never"), func(h *house, m *media, a *Agent) {
				if err := a.Ring(context.Background(), RingRequest{}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				h.said()
				e := invite(alice, "")
				e.Content = json.RawMessage(strings.Replace(string(e.Content), `"c1"`, `"`+tt.theirs+`"`, 1))
				h.put(e)
				synctest.Wait()
				got := h.words()
				if !tt.taken {
					if len(got) != 0 || m.open() != 2 {
						t.Errorf("the board said %q, %d sessions", got, m.open())
					}
					return
				}
				slices.Sort(got)
				want := []string{"!bob @alice:h answered.", "!bob m.call.hangup", "!direct @alice:h is watching and listening.", "!direct m.call.answer", "!direct m.call.hangup"}
				if !slices.Equal(got, want) || m.open() != 1 {
					t.Errorf("the board said %q, %d sessions", got, m.open())
				}
			})
		})
	}
}
