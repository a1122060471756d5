//go:build e2e

package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// The house without the internet: a network namespace with one address and no route.
const (
	offlineAddress = "10.77.0.1"
	offlineName    = "porch-e2e.local"
)

// resolverName makes the test binary, started in the namespace, ask for a name and print
// its address.
const resolverName = "PORCHLIGHT_E2E_RESOLVE"

var fingerprint = regexp.MustCompile(`fingerprint ([0-9A-F:]{95})`)

// TestOffline has a browser that trusts the house's authority call the board over HTTPS,
// by its name in the network, with a microphone and no way out; then by the relay alone.
func TestOffline(t *testing.T) {
	if _, err := exec.LookPath("certutil"); err != nil {
		t.Skip("certutil is not installed")
	}
	within := withoutWayOut(t)
	p := newPorchAt(t, within, "--listen", ":8008", "--listen-https", ":8443", "--turn", "on",
		"--local-name", strings.TrimSuffix(offlineName, ".local"))
	p.waitForLog(fingerprint)

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ask := exec.Command(within[0], append(within[1:], self)...)
	ask.Env = append(os.Environ(), resolverName+"="+offlineName)
	resolved, err := ask.CombinedOutput()
	if err != nil {
		t.Fatalf("asking for %s: %v\n%s", offlineName, err, resolved)
	}
	if got := strings.TrimSpace(string(resolved)); got != offlineAddress {
		t.Fatalf("%s is %q", offlineName, got)
	}
	given := p.given()
	given["name"], given["address"] = offlineName, offlineAddress
	given["fingerprint"] = fingerprint.FindStringSubmatch(p.log.String())[1]
	home := filepath.Join(t.TempDir(), "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	given["shots"] = shotsFolder(t)
	run(t, given, append(within, "node", "offline.mjs")...)
}

// withoutWayOut makes a network namespace with an address and no route until the end of the
// test, and gives what a command in it stands behind.
func withoutWayOut(t *testing.T) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces are root's")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip is not installed")
	}
	const space = "porchlight-e2e"
	for _, line := range []string{
		"ip netns add " + space,
		"ip -n " + space + " link set lo up",
		"ip -n " + space + " link add house type veth peer name phone",
		"ip -n " + space + " addr add " + offlineAddress + "/24 dev house",
		"ip -n " + space + " link set house up",
		"ip -n " + space + " link set phone up",
	} {
		command := strings.Fields(line)
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%s: %v: %s", line, err, out)
		}
		if command[2] == "add" {
			t.Cleanup(func() {
				if out, err := exec.Command("ip", "netns", "del", space).CombinedOutput(); err != nil {
					t.Errorf("deleting the namespace: %v: %s", err, out)
				}
			})
		}
	}
	return []string{"ip", "netns", "exec", space}
}

// resolve asks for a name by multicast DNS as a simple program does, and gives its address.
func resolve(name string) (string, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(offlineAddress)})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	question := dnsmessage.Message{Questions: []dnsmessage.Question{{
		Name: dnsmessage.MustNewName(name + "."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
	}}}
	raw, err := question.Pack()
	if err != nil {
		return "", err
	}
	if _, err := conn.WriteToUDP(raw, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}); err != nil {
		return "", err
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	buf := make([]byte, 9000)
	for {
		n, _, err := conn.ReadFromUDP(buf)
		if err != nil {
			return "", err
		}
		var answer dnsmessage.Message
		if answer.Unpack(buf[:n]) != nil {
			continue
		}
		for _, r := range answer.Answers {
			if a, ok := r.Body.(*dnsmessage.AResource); ok && r.Header.Name == question.Questions[0].Name {
				return net.IP(a.A[:]).String(), nil
			}
		}
	}
}
