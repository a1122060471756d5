// Package dialguard keeps what the house fetches on other people's word (previews, push
// gateways) out of the networks behind the house's own wall.
//
// The address is looked at when the connection is made, after the name was resolved and
// for each redirect anew: a name that is harmless when it is checked and points at the
// router when it is used gains nothing.
package dialguard

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// ErrForbidden is wrapped by the error of a connection to an address that is not public.
var ErrForbidden = errors.New("that address is not public")

// forbidden are the ranges that are not, or may not be, somebody's server on the internet
// (IANA's special-purpose registries). Those that wrap an IPv4 address lead to it past
// this check, so they are all forbidden.
var forbidden = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("10.0.0.0/8"),      // private
	netip.MustParsePrefix("100.64.0.0/10"),   // behind a provider's NAT
	netip.MustParsePrefix("127.0.0.0/8"),     // loopback
	netip.MustParsePrefix("169.254.0.0/16"),  // link-local
	netip.MustParsePrefix("172.16.0.0/12"),   // private
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
	netip.MustParsePrefix("192.168.0.0/16"),  // private
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("224.0.0.0/3"),     // multicast, reserved, broadcast

	netip.MustParsePrefix("2001::/23"),     // protocol assignments, Teredo among them
	netip.MustParsePrefix("2001:db8::/32"), // documentation
	netip.MustParsePrefix("2002::/16"),     // 6to4
	netip.MustParsePrefix("3fff::/20"),     // documentation
}

// global is where public IPv6 addresses lie. IPv4-mapped (::ffff:0:0/96), NAT64
// (64:ff9b::/96), unique-local, link-local and multicast ones do not.
var global = netip.MustParsePrefix("2000::/3")

// Public says whether an address is one of the internet.
func Public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" || a.Is6() && !global.Contains(a) {
		return false
	}
	for _, p := range forbidden {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// Control is for net.Dialer.Control: it refuses connections to addresses that are not
// Public, and anything but TCP.
func Control(network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("%w: %s", ErrForbidden, network)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	if !Public(to.Addr()) {
		return fmt.Errorf("%w: %s", ErrForbidden, to.Addr())
	}
	return nil
}

// Dialer makes connections to public addresses only, unless allowPrivate.
func Dialer(timeout time.Duration, allowPrivate bool) *net.Dialer {
	d := &net.Dialer{Timeout: timeout, Control: Control}
	if allowPrivate {
		d.Control = nil
	}
	return d
}
