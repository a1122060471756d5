package bridge

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/vnet"
	"github.com/pion/webrtc/v4"

	"porchlight/voip/call"
)

// talk is a call as the agent carries it on: what voip/call says goes to the session, and
// what it sends to the peer, who answers at once.
type talk struct {
	t     *testing.T
	s     *Session
	p     *peer
	in    chan call.Input // timers, and events of the peer
	over  chan call.Ended
	state call.State
	mute  atomic.Bool // the peer answers no offers
	plain bool        // the peer knows no stream metadata

	mu   sync.Mutex
	sent []string // types of our events
}

func newTalk(t *testing.T, s *Session, p *peer, role call.Role) *talk {
	return &talk{t: t, s: s, p: p, in: make(chan call.Input, 100), over: make(chan call.Ended, 1), state: call.Start(call.Config{
		Role: role, Self: "@porch:house", CallID: "c1", PartyID: "ours",
	})}
}

// run carries the call on until the session has ended.
func (k *talk) run() {
	for {
		select {
		case e, ok := <-k.s.Events():
			if !ok {
				return
			}
			if e.Report != nil {
				k.step(e.Report)
			}
		case in := <-k.in:
			k.step(in)
		}
	}
}

func (k *talk) step(in call.Input) {
	var out []call.Output
	k.state, out = call.Step(k.state, in)
	for _, o := range out {
		switch o := o.(type) {
		case call.Send:
			k.mu.Lock()
			k.sent = append(k.sent, o.Content.EventType())
			k.mu.Unlock()
			k.heard(o.Content)
		case call.SetTimer:
			time.AfterFunc(o.After, func() { k.in <- call.TimerFired{Timer: o.Timer, Seq: o.Seq} })
		case call.Ended:
			k.over <- o
		default:
			k.s.Order(o)
		}
	}
}

func (k *talk) says(c call.Content) { k.in <- call.Event{Sender: "@ann:house", Content: c} }

func (k *talk) common() call.Common {
	return call.Common{CallID: "c1", PartyID: "hers", Version: call.V1}
}

func (k *talk) streams() call.Streams {
	if k.plain {
		return call.Streams{}
	}
	return call.BothStreams(map[string]call.Stream{"peer": {Purpose: call.PurposeUserMedia}})
}

// heard is what the peer does about an event of ours.
func (k *talk) heard(c call.Content) {
	switch c := c.(type) {
	case *call.Invite:
		k.says(&call.AnswerEvent{Common: k.common(), Answer: k.answer(c.Offer.SDP), Streams: k.streams()})
	case *call.AnswerEvent:
		k.p.take(webrtc.SDPTypeAnswer, c.Answer.SDP)
	case *call.Negotiate:
		switch {
		case c.Description.Type == call.Answer:
			k.p.take(webrtc.SDPTypeAnswer, c.Description.SDP)
		case !k.mute.Load():
			k.says(&call.Negotiate{Common: k.common(), Lifetime: 30000, Description: k.answer(c.Description.SDP), Streams: k.streams()})
		}
	}
}

func (k *talk) answer(offer string) call.Description {
	k.p.take(webrtc.SDPTypeOffer, offer)
	answer, err := k.p.pc.CreateAnswer(nil)
	check(k.t, err)
	return call.Description{Type: call.Answer, SDP: k.p.local(answer)}
}

// negotiated is how many negotiations we have sent.
func (k *talk) negotiated() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, kind := range k.sent {
		if kind == call.TypeNegotiate {
			n++
		}
	}
	return n
}

// flows says whether pictures and sound come to the peer.
func (k *talk) flows() bool {
	count := func() (audio, video int) {
		k.p.mu.Lock()
		defer k.p.mu.Unlock()
		return k.p.packets["audio"], k.p.packets["video"]
	}
	audio, video := count()
	time.Sleep(500 * time.Millisecond)
	audioNow, videoNow := count()
	return audioNow > audio && videoNow > video
}

// flowsWithin waits until they do, and says after what time.
func (k *talk) flowsWithin(most time.Duration) time.Duration {
	k.t.Helper()
	began := time.Now()
	for !k.flows() {
		if time.Since(began) > most {
			k.t.Fatalf("nothing comes within %s; %d negotiations", most, k.negotiated())
		}
	}
	return time.Since(began)
}

// machine is the board's, whose addresses come and go.
type machine struct {
	*vnet.Net
	mu  sync.Mutex
	has []string
}

func (m *machine) Interfaces() ([]*transport.Interface, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	eth := transport.NewInterface(net.Interface{Index: 2, MTU: 1500, Name: "eth0", Flags: net.FlagUp | net.FlagMulticast})
	for _, ip := range m.has {
		eth.AddAddress(&net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(24, 32)})
	}
	return []*transport.Interface{eth}, nil
}

func (m *machine) set(ips ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.has = ips
}

// on runs a bridge on a machine.
func (l *lines) on(m transport.Net) *Bridge {
	l.t.Helper()
	b, err := New(Config{Media: &lineMedia{fakeMedia: newMedia(), wants: map[*lineVideo]int{}}, NoTCP: true, net: m})
	check(l.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- b.Run(ctx) }()
	l.t.Cleanup(func() {
		cancel()
		check(l.t, <-ran)
	})
	return b
}

// begin has one of both call the other on a virtual network.
func (l *lines) begin(role call.Role, b *Bridge, host *vnet.Net, plain bool) *talk {
	l.t.Helper()
	s, err := b.Open(context.Background())
	check(l.t, err)
	var settings webrtc.SettingEngine
	settings.SetNet(host)
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	var m webrtc.MediaEngine
	check(l.t, m.RegisterDefaultCodecs())
	p := newPeerOn(l.t, settings, &m, webrtc.Configuration{})
	k := newTalk(l.t, s, p, role)
	k.plain = plain
	if role == call.Caller {
		k.in <- call.Place{}
	} else {
		p.talk(webrtc.MimeTypeOpus, both)
		p.talk(webrtc.MimeTypeVP8, both)
		offer := call.Description{Type: call.Offer, SDP: p.offer()}
		k.says(&call.Invite{Common: k.common(), Lifetime: 60000, Offer: offer, Streams: k.streams()})
		k.in <- call.CaughtUp{}
		k.in <- call.Accept{}
	}
	go k.run()
	k.flowsWithin(5 * time.Second)
	return k
}

// dead is an address to and from which nothing gets through.
type dead struct{ ip atomic.Value }

func (l *lines) dies() *dead {
	d := &dead{}
	d.ip.Store("none")
	l.router.AddChunkFilter(func(c vnet.Chunk) bool {
		ip := d.ip.Load().(string) + ":"
		return !strings.HasPrefix(c.SourceAddr().String(), ip) && !strings.HasPrefix(c.DestinationAddr().String(), ip)
	})
	return d
}

// host is a peer's machine with two addresses.
func (l *lines) host(ips ...string) *vnet.Net {
	l.t.Helper()
	host, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: ips})
	check(l.t, err)
	check(l.t, l.router.AddNet(host))
	return host
}

var roles = map[string]call.Role{"caller": call.Caller, "callee": call.Callee}

// An address of the peer's dies in a call, and it has another: the board looks for it, also
// if the peer does nothing by itself.
func TestRestartFindsAnotherPath(t *testing.T) {
	for name, role := range roles {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLines(t)
				d := l.dies()
				host := l.host("10.0.0.2", "10.0.0.3")
				l.start()
				k := l.begin(role, l.on(l.board), host, false)
				for range 2 { // there, and back
					d.ip.Store(k.peersAddress())
					time.Sleep(time.Second)
					before := k.negotiated()
					took := k.flowsWithin(20 * time.Second)
					t.Logf("back after %s, %d negotiations", time.Second+took, k.negotiated()-before)
					if k.negotiated() != before+1 {
						t.Errorf("%d negotiations", k.negotiated()-before)
					}
				}
				k.s.Close()
			})
		})
	}
}

// peersAddress is the one of the peer's by which the connection goes.
func (k *talk) peersAddress() string {
	k.t.Helper()
	pair, err := k.s.pc.GetTransceivers()[0].Receiver().Transport().ICETransport().GetSelectedCandidatePair()
	check(k.t, err)
	return pair.Remote.Address
}

// A peer that is gone, or that knows no negotiation, is hung up on in time.
func TestRestartInVain(t *testing.T) {
	for name, plain := range map[string]bool{"gone": false, "no metadata": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLines(t)
				d := l.dies()
				host := l.host("10.0.0.2")
				l.start()
				k := l.begin(call.Caller, l.on(l.board), host, plain)
				k.mute.Store(true)
				d.ip.Store("10.0.0.2")
				began := time.Now()
				end := <-k.over
				if took := time.Since(began); end.Reason != call.ICETimeout || took > 40*time.Second || took < 25*time.Second {
					t.Errorf("%+v after %s", end, took)
				}
				if want := map[bool]int{false: 1, true: 0}[plain]; k.negotiated() != want {
					t.Errorf("%d negotiations, not %d", k.negotiated(), want)
				}
				k.s.Close()
			})
		})
	}
}

// The board gets another address in a call: it goes on by that, soon. One that comes in
// addition disturbs nothing.
func TestBoardMoves(t *testing.T) {
	const second = "10.0.0.9"
	for name, role := range roles {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLines(t)
				d := l.dies()
				host := l.host("10.0.0.2")
				check(t, l.board.AddAddress("eth0", &net.IPNet{IP: net.ParseIP(second), Mask: net.CIDRMask(24, 32)}))
				l.start()
				m := &machine{Net: l.board, has: []string{boardIP}}
				k := l.begin(role, l.on(m), host, false)
				m.set(boardIP, second)
				time.Sleep(2 * addressLook)
				if k.negotiated() != 0 || !k.flows() {
					t.Error("one more address disturbs the call")
				}
				if list := k.s.b.Addresses(); !slices.ContainsFunc(list, func(a netip.AddrPort) bool { return a.Addr().String() == second }) {
					t.Errorf("it is not used: %v", list)
				}
				m.set(second)
				d.ip.Store(boardIP)
				time.Sleep(time.Second)
				t.Logf("from %s to %s: back after %s", boardIP, second, time.Second+k.flowsWithin(4*time.Second))
				// The lease ends, and a new one comes some time later.
				m.set()
				d.ip.Store(second)
				time.Sleep(3 * addressLook)
				d.ip.Store("none")
				m.set(boardIP)
				t.Logf("from %s to nothing to %s: back after %s", second, boardIP, k.flowsWithin(4*time.Second))
				if k.negotiated() != 2 {
					t.Errorf("%d negotiations, not 2", k.negotiated())
				}
				k.s.Close()
			})
		})
	}
}

// A callee's offer that crosses the caller's is taken back.
//
// spec: MSC2746 designate one party as polite
func TestTakesItsOfferBack(t *testing.T) {
	checkLeaks(t)
	s := open(t, newMedia(), nil)
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	connect(t, s, p)
	p.more("audio", 5)
	if _, err := s.Offer(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Offer(context.Background(), true); err == nil {
		t.Error("a second offer beside the first")
	}
	again, err := p.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	check(t, err)
	answer, err := s.Accept(context.Background(), p.local(again))
	check(t, err)
	p.take(webrtc.SDPTypeAnswer, answer)
	p.more("audio", 50)
	// And it can offer anew.
	offer, err := s.Offer(context.Background(), true)
	check(t, err)
	p.take(webrtc.SDPTypeOffer, offer)
	made, err := p.pc.CreateAnswer(nil)
	check(t, err)
	check(t, s.ApplyAnswer(p.local(made)))
	p.more("audio", 50)
}
