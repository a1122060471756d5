package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"porchlight/server/matrix"
	"porchlight/voip/call"
)

const (
	// maxStatusCalls is how many calls the status lists.
	maxStatusCalls = 2 * MaxViewers
	// maxStatusText is how long the status gets, in bytes; an event has room for 64 KiB.
	maxStatusText = 16 << 10
)

// CallStatus is a call as others may look at it.
type CallStatus struct {
	Room  matrix.RoomID `json:"room_id"`
	Call  string        `json:"call_id"`
	Peer  matrix.UserID `json:"peer"`
	Phase string        `json:"phase"`
	Media MediaStats    `json:"media"`
}

var phaseNames = map[call.Phase]string{
	call.New: "new", call.Invited: "invited", call.Ringing: "ringing", call.Preparing: "preparing",
	call.Inviting: "inviting", call.Answered: "answered", call.Active: "active", call.Over: "over",
}

// publish notes for Status how the calls stand. Run's goroutine calls it.
func (a *Agent) publish() {
	if !a.stale {
		return
	}
	a.stale = false
	all := make([]CallStatus, 0, len(a.calls))
	for key, c := range a.calls {
		all = append(all, CallStatus{Room: key.room, Call: key.id, Peer: c.state.Peer(), Phase: phaseNames[c.state.Phase()]})
	}
	slices.SortFunc(all, func(x, y CallStatus) int { return strings.Compare(x.Call, y.Call) })
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status = all
}

// Status is the calls that are going on, by call ID. It may be called from anywhere.
func (a *Agent) Status() []CallStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := slices.Clone(a.status)
	for i, c := range all {
		if s := a.live[callKey{c.Room, c.Call}]; s != nil {
			all[i].Media = s.Stats()
		}
	}
	return all
}

// statusText is the status in plain sentences. Run's goroutine calls it.
func (a *Agent) statusText() string {
	var lines []string
	if a.About != nil {
		lines = a.About()
	}
	if now, settings := a.Now(), a.Settings.Current(); settings.quiet(now) {
		lines = append(lines, "It is a quiet time.")
	}
	for _, name := range slices.Sorted(maps.Keys(a.faults)) {
		if a.faults[name].err != nil {
			lines = append(lines, fmt.Sprintf("The %s has failed.", name))
		}
	}
	if !a.offline.IsZero() {
		lines = append(lines, "The network has been gone since "+a.offline.Format("15:04:05")+".")
	}
	if a.ringing != nil {
		lines = append(lines, "Somebody rings.")
	}
	if text := a.lullabyText(); text != "" {
		lines = append(lines, text)
	}
	calls := a.Status()
	if len(calls) == 0 {
		lines = append(lines, "Nobody is calling.")
	}
	for i, c := range calls {
		if i == maxStatusCalls {
			lines = append(lines, fmt.Sprintf("There are %d more calls.", len(calls)-i))
			break
		}
		lines = append(lines, fmt.Sprintf("In a call with %s (%s).", c.Peer, c.Phase))
	}
	if a.News != nil {
		lines = append(lines, a.News()...)
	}
	return bounded(lines, maxStatusText)
}

// bounded joins lines, as many as fit into a number of bytes.
func bounded(lines []string, most int) string {
	var b strings.Builder
	for i, line := range lines {
		if b.Len()+len(line) >= most-len("\n…") {
			b.WriteString("\n…")
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(line)
	}
	return b.String()
}
