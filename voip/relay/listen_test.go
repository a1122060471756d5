package relay

import (
	"fmt"
	"net/netip"
	"testing"
)

// TestConnectionsOfOneAddress sees that a network of 64 bits counts as one client.
func TestConnectionsOfOneAddress(t *testing.T) {
	for _, from := range []string{"192.0.2.1", "2001:db8::%x", "::ffff:192.0.2.1"} {
		var g gates
		taken := 0
		for i := range maxTCP {
			a := from
			if from == "2001:db8::%x" {
				a = fmt.Sprintf(from, i+1)
			}
			if g.enter(addressBlock(netip.MustParseAddr(a))) {
				taken++
			}
		}
		if taken != maxTCPPerAddress {
			t.Errorf("%s: %d connections, want %d", from, taken, maxTCPPerAddress)
		}
		if !g.enter(addressBlock(netip.MustParseAddr("2001:db8:0:1::1"))) {
			t.Errorf("%s keeps another network out", from)
		}
	}
}
