package bridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/bridge"
	"porchlight/voip/call"
	"porchlight/voip/device"
)

const patience = 20 * time.Second

// TestBothHalves has one board call another: signalling by voip/call, media by
// this package and devices by voip/device, joined by the agent of the example.
func TestBothHalves(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	running := make(chan error)
	started := 0
	run := func(fn func(context.Context) error) {
		started++
		go func() { running <- fn(ctx) }()
	}
	defer func() {
		cancel()
		for range started {
			if err := <-running; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	}()
	start := func(self matrix.UserID, cfg call.Config) *agent {
		devices, err := device.New(device.Config{Camera: device.None, Microphone: device.Test, Loudspeaker: device.MeterOnly})
		if err != nil {
			t.Fatal(err)
		}
		b, err := bridge.New(bridge.Config{Media: devices, Interfaces: []string{"lo"}, Loopback: true})
		if err != nil {
			t.Fatal(err)
		}
		run(devices.Run)
		run(b.Run)
		cfg.Self, cfg.CallID = self, "c1"
		return &agent{bridge: b, state: call.Start(cfg), inputs: make(chan call.Input, 64)}
	}
	front := start("@front:house", call.Config{Role: call.Caller, PartyID: "front", Invitee: "@back:house"})
	back := start("@back:house", call.Config{Role: call.Callee, PartyID: "back"})
	sent := make(chan string, 64)
	wire(t, front, back, "@front:house", sent)
	wire(t, back, front, "@back:house", sent)
	up := make(chan struct{}, 2)
	front.established = func() { up <- struct{}{} }
	back.established = front.established
	run(front.run)
	run(back.run)
	front.inputs <- call.Place{}
	for range 2 {
		select {
		case <-up:
		case <-time.After(patience):
			t.Fatal("the boards do not hear each other")
		}
	}
	front.inputs <- call.HangUp{}
	seen := map[string]bool{}
	for !seen[call.TypeHangup] {
		select {
		case kind := <-sent:
			seen[kind] = true
		case <-time.After(patience):
			t.Fatalf("no hangup, only %v", seen)
		}
	}
	for _, kind := range []string{call.TypeInvite, call.TypeAnswer, call.TypeSelectAnswer, call.TypeCandidates} {
		if !seen[kind] {
			t.Errorf("no %s among %v", kind, seen)
		}
	}
}

// wire lets one agent's events reach the other and itself, as a room does, and notes
// their types.
func wire(t *testing.T, from, to *agent, sender matrix.UserID, sent chan<- string) {
	from.send = func(c call.Content) {
		raw, err := json.Marshal(c)
		if err != nil {
			t.Error(err)
		}
		parsed, err := call.Parse(c.EventType(), raw)
		if err != nil {
			t.Error(err)
		}
		sent <- c.EventType()
		for _, a := range []*agent{from, to} { // the echo too
			a.inputs <- call.Event{Sender: sender, Content: parsed}
		}
		if c.EventType() == call.TypeInvite {
			to.inputs <- call.CaughtUp{}
			to.inputs <- call.Accept{}
		}
	}
}
