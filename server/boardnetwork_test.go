package server

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestAnyLink(t *testing.T) {
	for _, tt := range []struct {
		name  string
		links []link
		want  bool
	}{
		{"none", nil, false},
		{"a cable", []link{{true, true}}, true},
		{"a cable that is pulled", []link{{true, false}}, false},
		{"a cable that is pulled beside a bridge", []link{{true, false}, {false, true}}, false},
		{"a radio beside a cable that is pulled", []link{{true, false}, {true, true}}, true},
		{"a container", []link{{false, true}, {false, false}}, true},
	} {
		if got := anyLink(tt.links); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

// TestNetworkUp looks from a network namespace of its own, where the machine lets it make one.
func TestNetworkUp(t *testing.T) {
	if os.Getenv("PORCHLIGHT_ALONE") != "" {
		up := net.Interface{Flags: net.FlagUp | net.FlagRunning}
		if networkUp() || linked(up) {
			t.Error("there is a network where there is none")
		}
		return
	}
	cmd := exec.Command("unshare", "--net", "--map-root-user", os.Args[0], "-test.run", "^TestNetworkUp$", "-test.v")
	cmd.Env = append(os.Environ(), "PORCHLIGHT_ALONE=1")
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(out), "FAIL") {
		t.Skipf("no network namespace can be made here: %v, %s", err, out)
	}
	if err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("%v: %s", err, out)
	}
}
