package agent

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"porchlight/voip/call"
)

// TestNobodyIsWatchedUnawares: the tone is heard once and the owner told once of every call that
// goes live though nobody at the board has agreed to it, and of no other.
func TestNobodyIsWatchedUnawares(t *testing.T) {
	ring := func(button bool) func(*testing.T, *Agent) {
		return func(t *testing.T, a *Agent) {
			if button {
				a.Press()
			} else if err := a.Ring(context.Background(), RingRequest{}); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
	}
	answers := func(_ *testing.T, h *house, a *Agent) {
		h.put(reply(alice, room, call.TypeAnswer, h.invites()[room].CallID, answerJSON))
	}
	crosses := func(_ *testing.T, h *house, a *Agent) {
		e := invite(alice, "")
		e.Content = json.RawMessage(strings.Replace(string(e.Content), `"c1"`, `"-"`, 1))
		h.put(e)
	}
	calls := func(_ *testing.T, h *house, a *Agent) { h.put(invite(alice, "")) }
	nothing := func(*testing.T, *Agent) {}
	for _, tt := range []struct {
		name     string
		begins   func(*testing.T, *Agent)
		goesLive func(*testing.T, *house, *Agent)
		rules    string
		unawares bool
	}{
		{"a ring from afar is answered", ring(false), answers, "*=never", true},
		{"a ring from afar is crossed", ring(false), crosses, "*=never", true},
		{"the same where the board answers by itself", ring(false), crosses, "*=now both", true},
		{"a ring by the button is answered", ring(true), answers, "*=never", false},
		{"a ring by the button is crossed", ring(true), crosses, "*=never", false},
		{"the board answers by itself", nothing, calls, "*=now both", true},
		{"somebody at the board answers", nothing, func(t *testing.T, h *house, a *Agent) {
			calls(t, h, a)
			synctest.Wait()
			a.Press()
		}, "*=never", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			equipped(t, func(h *house, s *senses, a *Agent) {
				tt.begins(t, a)
				tt.goesLive(t, h, a)
				synctest.Wait()
				if st := a.Status(); len(st) != 1 || st[0].Phase != "active" {
					t.Fatalf("calls: %+v", st)
				}
				notes := strings.Count(strings.Join(h.words(), "\n"), "@alice:h is watching and listening.")
				s.mu.Lock()
				defer s.mu.Unlock()
				want := map[bool]int{true: 1}[tt.unawares]
				if s.chimes != want || notes != want {
					t.Errorf("%d tones and %d notes, want %d", s.chimes, notes, want)
				}
			}, "auto_answer", tt.rules)
		})
	}
}
