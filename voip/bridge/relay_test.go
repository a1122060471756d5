package bridge

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
	"porchlight/voip/relay"
)

// relayFor runs the house's relay for the calls of a session's bridge.
func relayFor(t *testing.T, s *Session) *relay.Relay {
	t.Helper()
	r, err := relay.New(relay.Config{Secret: []byte("sixteen bytes, or more"), Loopback: true, Peers: s.b.Addresses})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	<-r.Ready()
	return r
}

// relayed is a peer that sends nothing but through the relay.
func relayed(t *testing.T, r *relay.Relay, transport string) *peer {
	t.Helper()
	port, ok := r.Port()
	if !ok {
		t.Fatal("the relay is closed")
	}
	c := r.Credentials("@ada:house")
	return newPeerWith(t, false, webrtc.Configuration{
		ICETransportPolicy: webrtc.ICETransportPolicyRelay,
		ICEServers: []webrtc.ICEServer{{
			URLs: []string{fmt.Sprintf("turn:127.0.0.1:%d?transport=%s", port, transport)}, Username: c.Username, Credential: c.Password,
		}},
	})
}

// TestRelayed has the board called by somebody who can send to the relay only.
func TestRelayed(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			checkLeaks(t)
			s := open(t, newMedia(), nil)
			r := relayFor(t, s)
			p := relayed(t, r, transport)
			p.talk(webrtc.MimeTypeOpus, both)
			p.talk(webrtc.MimeTypeVP8, both)
			offer := p.offer()
			if !strings.Contains(offer, "typ relay") || strings.Contains(offer, "typ host") {
				t.Fatalf("the offer is not one of a relayed peer:\n%s", offer)
			}
			answer, err := s.Accept(context.Background(), offer)
			if err != nil {
				t.Fatal(err)
			}
			p.take(webrtc.SDPTypeAnswer, answer)
			wait[call.Connected](t, s)
			p.more("audio", 10)
			p.more("video", 10)
			until(t, "the peer's pictures", func() bool { return s.Stats().VideoReceived > 3 })
			if st := r.Stats(); st.Packets < 20 || st.Allocations == 0 {
				t.Errorf("the relay counted %+v", st)
			}
			p.close()
		})
	}
}

// TestRelayedPeople has two people call each other, both through the relay.
func TestRelayedPeople(t *testing.T) {
	checkLeaks(t)
	r := relayFor(t, open(t, newMedia(), nil))
	caller, callee := relayed(t, r, "udp"), relayed(t, r, "tcp")
	caller.talk(webrtc.MimeTypeOpus, both)
	callee.talk(webrtc.MimeTypeOpus, both)
	callee.take(webrtc.SDPTypeOffer, caller.offer())
	answer, err := callee.pc.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	caller.take(webrtc.SDPTypeAnswer, callee.local(answer))
	caller.more("audio", 10)
	callee.more("audio", 10)
	caller.close()
	callee.close()
}
