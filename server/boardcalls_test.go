package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/voip/agent"
)

// onceRead is a boardHouse that says when the agent has acted upon its first reading.
type onceRead struct {
	*boardHouse
	reads int
	acted chan struct{}
}

func (h *onceRead) Wait() <-chan struct{} {
	news := make(chan struct{})
	if h.reads == 0 {
		close(news)
	}
	return news
}

func (h *onceRead) Read(ctx context.Context) ([]agent.Event, error) {
	if h.reads++; h.reads == 2 {
		close(h.acted)
	}
	return h.boardHouse.Read(ctx)
}

// noMedia is a bridge that carries no calls.
type noMedia struct{}

func (noMedia) Open(context.Context) (agent.Session, error) { return nil, errors.New("no media") }

func write(t *testing.T, s *Server, fn func(tx *kv.WriteTx) error) {
	t.Helper()
	if err := s.DB.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// meet makes users and a room that all of them are in.
func meet(t *testing.T, s *Server, people []string) (room matrix.RoomID) {
	t.Helper()
	var first matrix.UserID
	write(t, s, func(tx *kv.WriteTx) (err error) {
		for _, name := range people {
			if _, err := s.Accounts.Create(tx, accounts.NewUser{Localpart: name}); err != nil {
				return err
			}
			user := matrix.NewUserID(name, "house.test")
			if room != "" {
				if _, err = s.Rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: first, Target: user, Membership: "invite"}); err == nil {
					_, err = s.Rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: user, Target: user, Membership: "join"})
				}
			} else {
				first = user
				room, err = s.Rooms.Create(tx, rooms.CreateArgs{Creator: user, Preset: "private_chat"})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return room
}

// TestCallsFromBeforeTheStart: after a restart a call rings that still does for the caller,
// and no other.
//
// spec: MSC2746 liveness
func TestCallsFromBeforeTheStart(t *testing.T) {
	const sdp = `{"type":"offer","sdp":"v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"}`
	type sent struct {
		ago  time.Duration
		by   string // localpart
		kind string
		more string // of its content
	}
	invite := func(ago, lifetime time.Duration) sent {
		return sent{ago, "ann", "m.call.invite", fmt.Sprintf(`,"lifetime":%d,"offer":%s`, lifetime.Milliseconds(), sdp)}
	}
	for _, tt := range []struct {
		name  string
		third bool // somebody else is in the room, too
		sent  []sent
		rings bool
	}{
		{"it still rings", false, []sent{invite(20*time.Second, time.Minute)}, true},
		{"for long", false, []sent{invite(4*time.Minute, 5*time.Minute)}, true},
		{"candidates came, too", false, []sent{invite(20*time.Second, time.Minute), {19 * time.Second, "ann", "m.call.candidates", `,"candidates":[{"candidate":""}]`}}, true},
		{"another call is over", false, []sent{{30 * time.Second, "ann", "m.call.hangup", ``}, invite(20*time.Second, time.Minute)}, true},
		{"its time is over", false, []sent{invite(70*time.Second, time.Minute)}, false},
		{"its time is all but over", false, []sent{invite(58*time.Second, time.Minute)}, false},
		{"no call rings for an hour", false, []sent{invite(6*time.Minute, time.Hour)}, false},
		{"the caller gave up", false, []sent{invite(20*time.Second, time.Minute), {10 * time.Second, "ann", "m.call.hangup", `,"reason":"user_hangup"`}}, false},
		{"the board answered it", false, []sent{invite(20*time.Second, time.Minute), {19 * time.Second, "porch", "m.call.answer", `,"answer":` + sdp}}, false},
		{"the board rejected it", false, []sent{invite(20*time.Second, time.Minute), {19 * time.Second, "porch", "m.call.reject", ``}}, false},
		{"the caller took somebody else's answer", true, []sent{
			{20 * time.Second, "ann", "m.call.invite", `,"lifetime":60000,"invitee":"@porch:house.test","offer":` + sdp},
			{18 * time.Second, "ann", "m.call.select_answer", `,"selected_party_id":"other"`}}, false},
		{"it is for the board by name", true, []sent{{20 * time.Second, "ann", "m.call.invite", `,"lifetime":60000,"invitee":"@porch:house.test","offer":` + sdp}}, true},
		{"it is for anyone among several", true, []sent{invite(20*time.Second, time.Minute)}, false},
		{"the clock was set back", false, []sent{invite(-time.Hour, time.Minute)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var now atomic.Int64
			start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
			now.Store(start.Add(-time.Hour).UnixMilli())
			s, err := New(t.Context(), Config{
				Data: t.TempDir(), ServerName: "house.test", Listen: []string{"127.0.0.1:0"}, Now: func() time.Time { return time.UnixMilli(now.Load()) },
				Hashing: accounts.HashCost{Memory: 8, Time: 1}, Board: BoardConfig{Off: true, User: "porch", Allow: []matrix.UserID{"@ann:house.test"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			people := []string{"porch", "ann"}
			if tt.third {
				people = append(people, "bob")
			}
			room := meet(t, s, people)
			for _, e := range tt.sent {
				now.Store(start.Add(-e.ago).UnixMilli())
				id := "c1"
				if e.ago == 30*time.Second {
					id = "c0"
				}
				content := fmt.Sprintf(`{"call_id":%q,"party_id":"%ss","version":"1"%s}`, id, e.by, e.more)
				write(t, s, func(tx *kv.WriteTx) error {
					_, err := s.Rooms.Send(tx, rooms.SendArgs{Room: room, Sender: matrix.NewUserID(e.by, "house.test"), Type: e.kind, Content: json.RawMessage(content)})
					return err
				})
			}
			now.Store(start.UnixMilli())

			h := &onceRead{boardHouse: &boardHouse{s: s, start: s.Changes.Published()}, acted: make(chan struct{})}
			a := agent.New(agent.Config{House: h, Bridge: noMedia{}, Self: s.BoardUser(), Log: slog.New(slog.DiscardHandler), Now: s.Config.Now,
				Settings: agent.NewStore(nil, agent.DefaultSettings(time.Minute), slog.New(slog.DiscardHandler))})
			ctx, cancel := context.WithCancel(t.Context())
			ran := make(chan error, 1)
			go func() { ran <- a.Run(ctx) }()
			<-h.acted
			calls := a.Status()
			if rings := len(calls) == 1 && calls[0].Phase == "ringing" && calls[0].Peer == "@ann:house.test"; rings != tt.rings || !rings && len(calls) > 0 {
				t.Errorf("calls: %+v", calls)
			}
			cancel()
			if err := <-ran; err != nil {
				t.Error(err)
			}
		})
	}
}
