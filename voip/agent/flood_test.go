package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/call"
)

// countingLog counts lines.
type countingLog struct {
	slog.Handler
	lines *atomic.Int64
}

func (c countingLog) Enabled(context.Context, slog.Level) bool { return true }

func (c countingLog) Handle(context.Context, slog.Record) error {
	c.lines.Add(1)
	return nil
}

// tallied counts what the board has sent: into one room, and calls and answers elsewhere.
func tallied(sent []Event, in matrix.RoomID) (there, placed, answered int) {
	for _, e := range sent {
		switch {
		case e.Room == in:
			there++
		case e.Type == call.TypeInvite:
			placed++
		case strings.Contains(string(e.Content), "All is well."):
			answered++
		}
	}
	return there, placed, answered
}

// TestFlood: somebody calls, writes and invites without end, with well-formed and malformed
// events. Each ring is placed all the same, the owner's call and commands are answered, and the
// answers and the lines in the log stay few.
func TestFlood(t *testing.T) {
	const perSecond, seconds = 200, 120
	kinds := map[string]func(n int) (string, string){
		"calls": func(n int) (string, string) {
			return "m.call.invite", fmt.Sprintf(`{"call_id":"f%d","party_id":"p","version":"1","lifetime":60000,"offer":{"type":"offer","sdp":"v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"}}`, n)
		},
		"malformed calls": func(n int) (string, string) { return "m.call.invite", fmt.Sprintf(`{"call_id":%d}`, n) },
		"candidates": func(n int) (string, string) {
			return "m.call.candidates", fmt.Sprintf(`{"call_id":"f%d","party_id":"p","version":"1","candidates":[]}`, n)
		},
		"messages": func(n int) (string, string) { return "m.room.message", `{"msgtype":"m.text","body":"help"}` },
		"settings": func(n int) (string, string) { return SettingType, `{"value":"turn"}` },
	}
	for name, kind := range kinds {
		for _, sender := range []matrix.UserID{bob, carol} { // carol may call, with little sense
			t.Run(name+" by "+string(sender), func(t *testing.T) {
				if sender == carol && name == "messages" {
					return // whoever may command is answered
				}
				var lines atomic.Int64
				board(t, func(c *Config) {
					with(t, "allow", string(alice)+" "+string(carol), "ring_pause", "0s", "ring_timeout", "5s", "auto_answer", string(alice)+"=now both")(c)
					c.Log = slog.New(countingLog{slog.DiscardHandler, &lines})
				}, func(h *house, _ *media, a *Agent) {
					flood := matrix.RoomID("!flood")
					h.mu.Lock()
					h.joined[flood] = []matrix.UserID{porch, sender}
					h.mu.Unlock()
					n := 0
					for second := range seconds {
						var events []Event
						for range perSecond {
							eventType, content := kind(n)
							e := Event{Room: flood, Sender: sender, Type: eventType, Content: json.RawMessage(content)}
							if eventType == SettingType {
								e.StateKey = new("ring_mode")
							}
							events = append(events, e)
							n++
						}
						h.put(events...)
						if second%10 == 0 {
							if err := a.Ring(context.Background(), RingRequest{}); err != nil {
								t.Errorf("second %d: %v", second, err)
							}
							h.put(event(alice, "m.room.message", `{"msgtype":"m.text","body":"status"}`))
						}
						synctest.Wait()
						time.Sleep(time.Second)
					}
					synctest.Wait()
					h.mu.Lock()
					sent := h.sent
					h.mu.Unlock()
					toFlood, placed, answered := tallied(sent, flood)
					if placed != seconds/10 || answered != seconds/10 {
						t.Errorf("%d rings were placed and %d commands answered, of %d", placed, answered, seconds/10)
					}
					// Each refusal is a hangup or reject, each of at most 3 calls that ring is ended in time.
					if most := (seconds/60 + 1) * 2 * (refusals + maxIncoming); toFlood > most {
						t.Errorf("%d events answer a flood of %d; at most %d should", toFlood, n, most)
					}
					if most := int64(seconds/10*8 + (seconds/60+1)*4*(refusals+maxIncoming)); lines.Load() > most {
						t.Errorf("%d lines in the log for a flood of %d, want at most %d", lines.Load(), n, most)
					}
					if got := len(a.Status()); got > maxIncoming+1 {
						t.Errorf("%d calls are kept track of", got)
					}
					t.Logf("%d events: %d answers, %d lines in the log", n, toFlood, lines.Load())
					h.put(invite(alice, ""))
					synctest.Wait()
					if got := h.said(); !strings.Contains(got, "answer") {
						t.Errorf("the owner's call: the board said %q", got)
					}
				})
			})
		}
	}
}

// TestJobsComeFirst: what people say who may say something comes before what others say, and a
// job that comes meanwhile, such as a press of the bell, before the rest.
func TestJobsComeFirst(t *testing.T) {
	board(t, nil, func(h *house, _ *media, a *Agent) {
		var order []string
		e := invite(bob, "")
		e.Room = "!flood"
		h.mu.Lock()
		h.onSend = func(e Event) {
			order = append(order, string(e.Room)+" "+e.Type)
			if len(order) == 1 {
				a.jobs <- func(context.Context) { order = append(order, "job") }
			}
		}
		h.joined["!flood"] = []matrix.UserID{porch, bob}
		h.mu.Unlock()
		h.put(e, event(alice, "m.room.message", `{"msgtype":"m.text","body":"status"}`), event(alice, "m.room.message", `{"msgtype":"m.text","body":"help"}`))
		synctest.Wait()
		want := []string{"!direct m.room.message", "job", "!direct m.room.message", "!flood m.call.reject"}
		if !slices.Equal(order, want) {
			t.Errorf("in this order: %q, want %q", order, want)
		}
	})
}

// TestStatusIsBounded: however much there is to say, it fits into an event.
func TestStatusIsBounded(t *testing.T) {
	board(t, func(c *Config) {
		c.News = func() []string { return []string{strings.Repeat("x", 1000), strings.Repeat("y", 60_000), "z"} }
	}, func(h *house, _ *media, a *Agent) {
		h.put(event(alice, "m.room.message", `{"msgtype":"m.text","body":"status"}`))
		synctest.Wait()
		got := h.words()
		if len(got) != 1 || len(got[0]) > maxStatusText+100 || !strings.HasSuffix(got[0], "x\n…") {
			t.Errorf("the status is %.100q", got)
		}
	})
}

// TestPublicRooms: a call in a room that anybody can come into is not answered, by name or not.
//
// spec: client-server API, voice over IP
func TestPublicRooms(t *testing.T) {
	for _, more := range []string{"", `,"invitee":"@porch:h"`} {
		board(t, nil, func(h *house, _ *media, a *Agent) {
			h.mu.Lock()
			h.public[room] = true
			h.mu.Unlock()
			h.put(invite(alice, more))
			synctest.Wait()
			if got := h.said(); got != "" || len(a.Status()) != 0 {
				t.Errorf("%q: the board said %q", more, got)
			}
		})
	}
}
