package syncv2

import (
	"sync"

	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

const (
	// maxSentDevices is for how many devices it is remembered which members they know.
	maxSentDevices = 256
	// maxSentMembers is how many members are remembered of one device.
	maxSentMembers = 4096
)

// sentMembers remembers which member events a device has been sent, so that lazy loading
// need not send them with each message (spec: client-server API, lazy-loading room
// members). It is only in memory, and may forget at any time: then a client is told again
// what it knows.
type sentMembers struct {
	mu      sync.Mutex
	devices map[rooms.Viewer]map[memberID]sent
}

type memberID struct {
	room matrix.RoomID
	user matrix.UserID
}

// sent is a member event and the position of the answer that carried it.
type sent struct{ event, answer changes.Position }

// tell notes that an answer up to a position carries the member event.
func (m *sentMembers) tell(to rooms.Viewer, e *rooms.Event, answer changes.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.devices == nil {
		m.devices = map[rooms.Viewer]map[memberID]sent{}
	}
	known := m.devices[to]
	if known == nil || len(known) >= maxSentMembers {
		if len(m.devices) >= maxSentDevices {
			for any := range m.devices {
				delete(m.devices, any)
				break
			}
		}
		known = map[memberID]sent{}
		m.devices[to] = known
	}
	known[memberID{e.Room, matrix.UserID(*e.StateKey)}] = sent{e.Position, answer}
}

// knows says whether the device has this very member event, as can be told from its having
// come back with a token that is no older than the answer that carried it.
func (m *sentMembers) knows(to rooms.Viewer, e *rooms.Event, since changes.Position) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.devices[to][memberID{e.Room, matrix.UserID(*e.StateKey)}]
	return ok && s.event == e.Position && s.answer <= since
}

// forget drops what is known of a device: it starts anew.
func (m *sentMembers) forget(to rooms.Viewer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.devices, to)
}
