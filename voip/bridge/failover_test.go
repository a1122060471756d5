package bridge

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"

	"porchlight/voip/call"
)

// spec: RFC 8445, 7.3.1.5
func TestSwitches(t *testing.T) {
	answered, silent := &ice.CandidatePair{}, &ice.CandidatePair{}
	answered.UpdateRoundTripTime(time.Millisecond)
	checked := &ice.CandidatePair{}
	checked.UpdateRequestReceived()
	checked.UpdateRequestReceived()
	for _, c := range []struct {
		name string
		pair *ice.CandidatePair
		with []stun.Setter
		want bool
	}{
		{"dead, and chosen", answered, []stun.Setter{stun.NewUsername("ours:hers"), ice.UseCandidate()}, true},
		{"another call", answered, []stun.Setter{stun.NewUsername("other:hers"), ice.UseCandidate()}, false},
		{"not chosen", answered, []stun.Setter{stun.NewUsername("ours:hers")}, false},
		{"she does not answer there", silent, []stun.Setter{stun.NewUsername("ours:hers"), ice.UseCandidate()}, false},
		{"we choose, and she checks it", checked, []stun.Setter{stun.NewUsername("ours:hers"), ice.AttrControlled(1)}, true},
		{"we choose, and she checked it once", silent, []stun.Setter{stun.NewUsername("ours:hers"), ice.AttrControlled(1)}, false},
		{"she checks it, and has not chosen", checked, []stun.Setter{stun.NewUsername("ours:hers"), ice.AttrControlling(1)}, false},
		{"no name", answered, []stun.Setter{ice.UseCandidate()}, false},
	} {
		f := failover{dead: map[string]bool{}}
		m, err := stun.Build(append([]stun.Setter{stun.BindingRequest, stun.TransactionID}, c.with...)...)
		check(t, err)
		if f.switches(m, nil, nil, c.pair) {
			t.Errorf("%s: switches though the path in use is good", c.name)
		}
		f.set("ours", true)
		if got := f.switches(m, nil, nil, c.pair); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
		f.set("ours", false)
		if f.switches(m, nil, nil, c.pair) {
			t.Errorf("%s: switches though the path in use is good again", c.name)
		}
	}
}

// The path of a call is dead while nothing comes by it, and forgotten with the call.
func TestDeadPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLines(t)
		d := l.dies()
		host := l.host("10.0.0.2")
		l.start()
		k := l.begin(call.Callee, l.on(l.board), host, true)
		paths := &k.s.b.ports.paths
		dead := func(what string, want int) {
			t.Helper()
			paths.mu.Lock()
			defer paths.mu.Unlock()
			if len(paths.dead) != want || want == 1 && !paths.dead[iceUfrag(k.s.pc.LocalDescription().SDP)] {
				t.Errorf("%s: dead are %v", what, paths.dead)
			}
		}
		dead("connected", 0)
		d.ip.Store("10.0.0.2")
		time.Sleep(silenceTime + 2*keepAlive)
		dead("silent", 1)
		d.ip.Store("none")
		time.Sleep(2 * keepAlive)
		dead("back", 0)
		d.ip.Store("10.0.0.2")
		time.Sleep(silenceTime + 2*keepAlive)
		dead("silent again", 1)
		k.s.Close()
		dead("closed", 0)
	})
}
