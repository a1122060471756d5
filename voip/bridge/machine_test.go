package bridge

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pion/transport/v5"
	"github.com/pion/webrtc/v4"
)

// A restart tells the peer of the addresses that the board has by now, for UDP and TCP, and
// of no other.
func TestRestartTellsNewAddresses(t *testing.T) {
	checkLeaks(t)
	machine, err := newMachineNet()
	check(t, err)
	var address atomic.Value
	address.Store("127.0.0.1")
	machine.list = func() ([]*transport.Interface, error) {
		lo := transport.NewInterface(net.Interface{Index: 1, MTU: 1500, Name: "lo", Flags: net.FlagUp | net.FlagLoopback})
		lo.AddAddress(&net.IPNet{IP: net.ParseIP(address.Load().(string)), Mask: net.CIDRMask(8, 32)})
		return []*transport.Interface{lo}, nil
	}
	s := open(t, newMedia(), func(c *Config) { c.net = machine })
	p := newPeer(t, false)
	p.talk(webrtc.MimeTypeOpus, both)
	answer := accept(t, s, p)
	told := func(what, sdp, address string) {
		t.Helper()
		seen := map[string]bool{}
		for line := range strings.Lines(sdp) {
			if fields := strings.Fields(line); strings.HasPrefix(line, "a=candidate:") {
				seen[fields[2]] = true
				if fields[4] != address {
					t.Errorf("%s: %s", what, line)
				}
			}
		}
		if !seen["udp"] || !seen["tcp"] {
			t.Errorf("%s has candidates for %v only", what, seen)
		}
	}
	told("the answer", answer, "127.0.0.1")
	p.more("audio", 5)
	address.Store("127.0.0.2") // every address of that network is the machine's
	offer, err := s.Offer(context.Background(), true)
	check(t, err)
	told("the offer", offer, "127.0.0.2")
	p.take(webrtc.SDPTypeOffer, offer)
	made, err := p.pc.CreateAnswer(nil)
	check(t, err)
	check(t, s.ApplyAnswer(p.local(made)))
	p.more("audio", 50)
}

// The machine's own interfaces are listed with their addresses.
func TestInterfacesNow(t *testing.T) {
	machine, err := newMachineNet()
	check(t, err)
	list, err := machine.Interfaces()
	check(t, err)
	for _, i := range list {
		addrs, err := i.Addrs()
		check(t, err)
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsLoopback() && i.Flags&net.FlagLoopback != 0 {
				return
			}
		}
	}
	t.Errorf("no loopback interface among %v", list)
}
