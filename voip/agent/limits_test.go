package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/call"
)

// TestCallLimit: calls that came in and calls that the board placed have limits of their own.
func TestCallLimit(t *testing.T) {
	board(t, with(t, "call_limit", "5m"), func(h *house, m *media, _ *Agent) {
		h.put(invite(alice, ""))
		synctest.Wait()
		h.words()
		time.Sleep(4*time.Minute + 29*time.Second)
		synctest.Wait()
		if got := h.words(); len(got) != 0 {
			t.Errorf("too early: %q", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := h.words(); len(got) != 1 || !strings.Contains(got[0], "I hang up in 30s: calls last 5m0s at most.") {
			t.Errorf("before the end: %q", got)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if got := h.words(); !slices.Equal(got, []string{"!direct I hang up: calls last 5m0s at most.", "!direct m.call.hangup"}) || m.open() != 0 {
			t.Errorf("at the end: %q, %d sessions", got, m.open())
		}
	})
	board(t, nil, func(h *house, m *media, a *Agent) {
		h.put(invite(alice, ""))
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if m.open() != 1 {
			t.Error("a call that came in has a limit though none is set")
		}
		h.put(event(alice, "m.call.hangup", `{"call_id":"c1","party_id":"p1","version":"1","reason":"user_hangup"}`))
		if err := a.Ring(context.Background(), RingRequest{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		id := h.invites()[room].CallID
		h.put(reply(alice, room, call.TypeAnswer, id, answerJSON))
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if got := strings.Join(h.words(), "\n"); !strings.Contains(got, "calls last 10m0s at most") || m.open() != 0 {
			t.Errorf("after a forgotten ring: %d sessions, %q", m.open(), got)
		}
	})
	board(t, with(t, "call_limit", "5m"), func(h *house, _ *media, _ *Agent) {
		h.put(invite(alice, ""))
		time.Sleep(4*time.Minute + 40*time.Second)
		h.put(event(alice, "m.call.hangup", `{"call_id":"c1","party_id":"p1","version":"1","reason":"user_hangup"}`))
		synctest.Wait()
		h.words()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := h.words(); len(got) != 0 {
			t.Errorf("after the call: %q", got)
		}
	})
}

// TestListenOnly: by a setting for all, by the command for the next call.
func TestListenOnly(t *testing.T) {
	board(t, with(t, "listen_only", "on"), func(h *house, m *media, _ *Agent) {
		h.put(invite(alice, ""))
		synctest.Wait()
		if !m.sessions[0].deaf || !slices.Contains(h.words(), "!direct What you say is not played here.") {
			t.Error("the caller is heard, or is not told")
		}
	})
	for _, tt := range []struct {
		name, said string
		settings   []string
		wait       time.Duration
		withheld   string // empty: the call is not answered
		deaf       bool
	}{
		{"asked for", "within 10 minutes", []string{"auto_answer", "*=after 1m both"}, time.Minute, "audio false video true", true},
		{"too late", "within 10 minutes", nil, 11 * time.Minute, "audio false video false", false},
		{"never", "do not answer your calls", []string{"auto_answer", "*=never"}, 0, "", false},
		{"in a quiet time", "a quiet time", []string{"quiet_until", "2001-01-01T00:00:00Z"}, 0, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			board(t, with(t, tt.settings...), func(h *house, m *media, _ *Agent) {
				if got := h.write("listen"); len(got) != 1 || !strings.Contains(got[0], tt.said) {
					t.Errorf("it says %q", got)
				}
				time.Sleep(tt.wait)
				h.put(invite(alice, ""))
				synctest.Wait()
				if len(m.sessions) == 0 || tt.withheld == "" {
					if len(m.sessions) != 0 || tt.withheld != "" {
						t.Errorf("%d sessions", len(m.sessions))
					}
					return
				}
				if s := m.sessions[0]; s.withheld != tt.withheld || s.deaf != tt.deaf {
					t.Errorf("%s, deaf: %t", s.withheld, s.deaf)
				}
			})
		})
	}
}

// TestViewers: as many calls at once as the setting says.
func TestViewers(t *testing.T) {
	for _, tt := range []struct {
		pairs []string
		want  int
	}{{nil, 6}, {[]string{"viewers", "2"}, 2}} {
		board(t, with(t, append([]string{"allow", "@p0:h @p1:h @p2:h @p3:h @p4:h @p5:h @p6:h @p7:h"}, tt.pairs...)...), func(h *house, m *media, _ *Agent) {
			for i := range 8 {
				user := matrix.UserID(fmt.Sprintf("@p%d:h", i))
				e := invite(user, "")
				e.Room = matrix.RoomID(fmt.Sprintf("!r%d", i))
				h.joined[e.Room] = []matrix.UserID{porch, user}
				h.put(e)
				synctest.Wait()
			}
			if m.open() != tt.want {
				t.Errorf("%d viewers, want %d", m.open(), tt.want)
			}
		})
	}
}
