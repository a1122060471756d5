//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// space is a network namespace: a machine of its own as far as the network can tell.
type space string

// newSpaces makes namespaces that are gone after the test, none of them connected to
// anything; the test is skipped where that cannot be done.
func newSpaces(t *testing.T, names ...space) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces are root's")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip is not installed")
	}
	for _, name := range names {
		out, err := exec.Command("ip", "netns", "add", string(name)).CombinedOutput()
		switch {
		case err != nil && strings.Contains(string(out), "not permitted"):
			t.Skipf("ip netns add: %v: %s", err, out)
		case err != nil:
			t.Fatalf("ip netns add: %v: %s", err, out)
		}
		t.Cleanup(func() {
			if out, err := exec.Command("ip", "netns", "del", string(name)).CombinedOutput(); err != nil {
				t.Errorf("deleting the namespace: %v: %s", err, out)
			}
		})
		name.ip(t, "link set lo up")
	}
}

// ip runs ip(8) in the namespace.
func (s space) ip(t *testing.T, line string) {
	t.Helper()
	command := exec.Command("ip", append([]string{"-n", string(s)}, strings.Fields(line)...)...)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// within is what a command stands behind that is to run in the namespace.
func (s space) within() []string { return []string{"ip", "netns", "exec", string(s)} }

// cable connects two namespaces; each end is named after the other namespace and has the
// address given.
func cable(t *testing.T, a space, aAddress string, b space, bAddress string) {
	t.Helper()
	a.ip(t, "link add "+string(b)+" type veth peer name "+string(a)+" netns "+string(b))
	for _, end := range []struct {
		at, to  space
		address string
	}{{a, b, aAddress}, {b, a, bAddress}} {
		flags := ""
		if strings.Contains(end.address, ":") {
			flags = " nodad" // or the address could not be used for a second
		}
		end.at.ip(t, "addr add "+end.address+" dev "+string(end.to)+flags)
		end.at.ip(t, "link set "+string(end.to)+" up")
	}
}

// newPorchIn is a house in a namespace, with its relay.
func newPorchIn(t *testing.T, s space, flags ...string) *porch {
	t.Helper()
	return newPorchAt(t, s.within(), append([]string{"--listen", ":8008", "--listen-https", "", "--local-name", "", "--turn", "on"}, flags...)...)
}

// The namespaces of these tests. Their names are those of network devices, too, which have
// fifteen letters at most.
const (
	houseSpace  space = "porch-house"
	phoneSpace  space = "porch-phone"
	otherSpace  space = "porch-other"
	routerSpace space = "porch-router"
)

// runIn runs a script beside the house; the browsers that it starts are told their
// namespaces in the script.
func (p *porch) runIn(t *testing.T, page, scene string, more map[string]any) {
	t.Helper()
	given := p.given()
	given["folder"], given["scene"] = page, scene
	given["spaces"] = map[string]space{"house": houseSpace, "phone": phoneSpace, "other": otherSpace}
	for name, value := range more {
		given[name] = value
	}
	run(t, given, append(p.within, "node", "network.mjs")...)
}

// TestTornNetwork has the cable between a phone and the house torn in the middle of a call
// and mended, and the phone move to another address.
func TestTornNetwork(t *testing.T) {
	newSpaces(t, houseSpace, phoneSpace)
	cable(t, houseSpace, "10.83.0.1/24", phoneSpace, "10.83.0.2/24")
	p := newPorchIn(t, houseSpace)
	for _, sdk := range sdkVersions {
		t.Run(sdk, func(t *testing.T) { p.runIn(t, bundled(t, sdk), "torn", nil) })
		t.Run(sdk+", rung", func(t *testing.T) { p.runIn(t, bundled(t, sdk), "torn, rung", nil) })
	}
	t.Run("page", func(t *testing.T) { p.runIn(t, "", "torn page", nil) })
}

// TestBoardMoves has the board get another address in calls. The server has one of its own
// that stays, by which nothing else can be reached.
func TestBoardMoves(t *testing.T) {
	newSpaces(t, houseSpace, phoneSpace)
	cable(t, houseSpace, "10.83.0.1/24", phoneSpace, "10.83.0.2/24")
	houseSpace.ip(t, "addr add 10.84.0.1/32 dev lo")
	phoneSpace.ip(t, "route add default dev "+string(houseSpace))
	phoneSpace.ip(t, "rule add pref 10 to 10.84.0.1 ipproto tcp dport 8008 lookup main")
	phoneSpace.ip(t, "rule add pref 20 to 10.84.0.1 unreachable")
	p := newPorchIn(t, houseSpace)
	p.runIn(t, bundled(t, sdkVersions[0]), "board moves", map[string]any{"server": "http://10.84.0.1:8008"})
}

// TestOnlyTCP has UDP die in the middle of calls.
func TestOnlyTCP(t *testing.T) {
	newSpaces(t, houseSpace, phoneSpace)
	cable(t, houseSpace, "10.83.0.1/24", phoneSpace, "10.83.0.2/24")
	p := newPorchIn(t, houseSpace)
	for _, sdk := range sdkVersions {
		t.Run(sdk, func(t *testing.T) { p.runIn(t, bundled(t, sdk), "UDP dies", nil) })
	}
}

// TestRelayOnly has calls go through the house's relay alone, by UDP and by TCP.
func TestRelayOnly(t *testing.T) {
	newSpaces(t, houseSpace, phoneSpace)
	cable(t, houseSpace, "10.83.0.1/24", phoneSpace, "10.83.0.2/24")
	newPorchIn(t, houseSpace).runIn(t, bundled(t, sdkVersions[0]), "relay", nil)
}

// TestSubnets has two people and the house in three subnets, with a router that lets
// nothing through but what is for the server and its relay.
func TestSubnets(t *testing.T) {
	newSpaces(t, houseSpace, phoneSpace, otherSpace, routerSpace)
	cable(t, houseSpace, "10.84.1.1/24", routerSpace, "10.84.1.254/24")
	cable(t, phoneSpace, "10.84.2.2/24", routerSpace, "10.84.2.254/24")
	cable(t, otherSpace, "10.84.3.2/24", routerSpace, "10.84.3.254/24")
	houseSpace.ip(t, "route add 10.84.0.0/16 via 10.84.1.254")
	phoneSpace.ip(t, "route add 10.84.1.0/24 via 10.84.2.254")
	otherSpace.ip(t, "route add 10.84.1.0/24 via 10.84.3.254")
	forward := append(routerSpace.within(), "sysctl", "-qw", "net.ipv4.ip_forward=1")
	if out, err := exec.Command(forward[0], forward[1:]...).CombinedOutput(); err != nil {
		t.Skipf("%v: %s", err, out)
	}
	for _, rule := range []string{"ipproto tcp %s 8008", "ipproto tcp %s 3478", "ipproto udp %s 3478"} {
		for _, from := range []space{phoneSpace, otherSpace} {
			routerSpace.ip(t, "rule add pref 10 iif "+string(from)+" "+strings.ReplaceAll(rule, "%s", "dport")+" lookup main")
		}
		routerSpace.ip(t, "rule add pref 10 iif "+string(houseSpace)+" "+strings.ReplaceAll(rule, "%s", "sport")+" lookup main")
	}
	for _, from := range []space{houseSpace, phoneSpace, otherSpace} {
		routerSpace.ip(t, "rule add pref 20 iif "+string(from)+" blackhole")
	}
	newPorchIn(t, houseSpace).runIn(t, bundled(t, sdkVersions[0]), "subnets", nil)
}

// TestIPv6Only has a call where there is no other protocol.
func TestIPv6Only(t *testing.T) {
	newSpaces(t, houseSpace, phoneSpace)
	cable(t, houseSpace, "fd83::1/64", phoneSpace, "fd83::2/64")
	newPorchIn(t, houseSpace).runIn(t, bundled(t, sdkVersions[0]), "IPv6", nil)
}
