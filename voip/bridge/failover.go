package bridge

import (
	"strings"
	"sync"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

// failover has calls go on by another path that the peer uses when their own is dead. Pion
// takes one that the peer chooses later only if it has a higher priority, so that it would
// never go from UDP to TCP or to a relay when UDP gets through no more; and where it chooses
// itself it does so once. Browsers do all that, and say nothing.
type failover struct {
	mu   sync.Mutex
	dead map[string]bool // by the name for ICE at our side: nothing comes by the path in use
}

// set notes whether the path in use of the call with that name is dead.
func (f *failover) set(ufrag string, dead bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if dead {
		f.dead[ufrag] = true
	} else {
		delete(f.dead, ufrag)
	}
}

// switches says whether a pair of addresses is used from now on, on which the peer checks
// whether we can be reached. Where the peer chooses the path it has to have chosen this one,
// and to answer there, too; where we do it has to go on checking.
//
// spec: RFC 8445, 7.3.1.5
func (f *failover) switches(m *stun.Message, _, _ ice.Candidate, pair *ice.CandidatePair) bool {
	chosen := m.Contains(stun.AttrUseCandidate) && pair.ResponsesReceived() > 0
	open := m.Contains(stun.AttrICEControlled) && pair.RequestsReceived() > 1
	if !chosen && !open {
		return false
	}
	names, err := m.Get(stun.AttrUsername)
	if err != nil {
		return false
	}
	ufrag, _, _ := strings.Cut(string(names), ":")
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dead[ufrag]
}
