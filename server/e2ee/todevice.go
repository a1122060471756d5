package e2ee

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

const (
	// MaxToDevice is how many messages one answer of /sync carries at most
	// (spec: send-to-device messaging, server behaviour).
	MaxToDevice = 100
	// maxToDeviceContent is the size of one message's content in bytes.
	maxToDeviceContent = 64 << 10
	// maxToDeviceType is the length of a message's type in bytes.
	maxToDeviceType = 255
)

// allDevices in place of a device ID means every device of the user.
const allDevices = "*"

// SendToDevice puts messages into the inboxes of devices. Devices that do not exist are
// passed over, and so are users of other servers, and devices for which too much waits, while
// others take the message: one that lies in a drawer must not keep the rest from hearing. The
// errors are M_BAD_JSON for content that is no object, M_TOO_LARGE, M_INVALID_PARAM, and
// M_RESOURCE_LIMIT_EXCEEDED if no device can take its message.
func (k *Keeper) SendToDevice(tx *kv.WriteTx, sender matrix.UserID, eventType string, messages map[matrix.UserID]map[matrix.DeviceID]json.RawMessage) error {
	if eventType == "" || len(eventType) > maxToDeviceType {
		return matrix.InvalidParam(fmt.Sprintf("an event type has 1 to %d bytes", maxToDeviceType))
	}
	taken, full := 0, 0
	for _, user := range slices.Sorted(maps.Keys(messages)) {
		for _, to := range slices.Sorted(maps.Keys(messages[user])) {
			content := messages[user][to]
			if len(content) > maxToDeviceContent {
				return matrix.TooLarge(fmt.Sprintf("a message to a device may have at most %d bytes", maxToDeviceContent))
			}
			if _, err := matrix.ParseObject(content); err != nil {
				return matrix.BadJSON("the content of a message has to be an object")
			}
			if !k.isLocal(user) {
				continue
			}
			for _, device := range k.recipients(tx, user, to) {
				m := messageRow{sender, eventType, content}
				if !k.hasRoom(tx, user, device, m) {
					full++
					continue
				}
				k.deliver(tx, user, device, m)
				taken++
			}
		}
	}
	if full > 0 && taken == 0 {
		return inboxFull()
	}
	return nil
}

func (k *Keeper) recipients(r kv.Reader, user matrix.UserID, to matrix.DeviceID) []matrix.DeviceID {
	if to == allDevices {
		var all []matrix.DeviceID
		for device := range k.Accounts.Devices(r, user) {
			all = append(all, device)
		}
		return all
	}
	if _, ok := k.Accounts.Device(r, user, to); !ok {
		return nil
	}
	return []matrix.DeviceID{to}
}

func (k *Keeper) deliver(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID, m messageRow) {
	pos := k.Changes.Append(tx, changes.Change{Kind: changes.ToDevice, User: user, Device: device})
	k.countMessage(tx, user, device, m, 1)
	k.inbox.Put(tx, inboxKey{user, device, uint64(pos)}, m)
}

// toDeviceEvent is a message as /sync shows it.
type toDeviceEvent struct {
	Sender  matrix.UserID   `json:"sender"`
	Type    string          `json:"type"`
	Content json.RawMessage `json:"content"`
}

// ToDevice returns the messages that wait for a device behind one position and up to
// another, oldest first and at most limit; next is the position of the last one returned,
// or upTo when none are left behind. A token for the answer has to carry next.
func (k *Keeper) ToDevice(r kv.Reader, user matrix.UserID, device matrix.DeviceID, after, upTo changes.Position, limit int) (events []json.RawMessage, next changes.Position, err error) {
	k.mu.Lock()
	after = max(after, k.acked[deviceKey{user, device}])
	k.mu.Unlock()
	next = upTo
	last := changes.Position(0)
	for id, m := range k.inbox.Scan(r, kv.Prefix(user, device).After(uint64(after)).Through(uint64(upTo))) {
		if len(events) == limit {
			next = last
			break
		}
		raw, err := json.Marshal(toDeviceEvent{m.Sender, m.Type, m.Content})
		if err != nil {
			return nil, 0, fmt.Errorf("message %d of %s %s: %w", id.Position, user, device, err)
		}
		events = append(events, raw)
		last = changes.Position(id.Position)
	}
	return events, next, nil
}

// Message is a message to a device.
type Message struct {
	Sender  matrix.UserID
	Type    string
	Content json.RawMessage
}

// MessageAt is the message that a change of kind ToDevice tells of, if it still waits.
func (k *Keeper) MessageAt(r kv.Reader, user matrix.UserID, device matrix.DeviceID, at changes.Position) (Message, bool) {
	k.mu.Lock()
	taken := at <= k.acked[deviceKey{user, device}]
	k.mu.Unlock()
	m, ok := k.inbox.Get(r, inboxKey{user, device, uint64(at)})
	return Message{m.Sender, m.Type, m.Content}, ok && !taken
}

// AckToDevice notes that a device has received its messages up to a position: it came
// back with a token of that answer. They are deleted with a later commit, and are not
// shown again from now on.
func (k *Keeper) AckToDevice(r kv.Reader, user matrix.UserID, device matrix.DeviceID, upTo changes.Position) {
	id := deviceKey{user, device}
	k.mu.Lock()
	known := k.acked[id] >= upTo
	k.mu.Unlock()
	if known || !k.anyMessage(r, id, upTo) {
		return
	}
	k.mu.Lock()
	k.acked[id] = max(k.acked[id], upTo)
	k.mu.Unlock()
	k.DB.Defer("e2ee to_device\x00"+string(user)+"\x00"+string(device), func(tx *kv.WriteTx) error {
		k.mu.Lock()
		through := k.acked[id]
		k.mu.Unlock()
		for key, m := range k.inbox.Scan(tx, kv.Prefix(user, device).Through(uint64(through))) {
			k.countMessage(tx, user, device, m, -1)
			k.inbox.Delete(tx, key)
		}
		return nil
	})
}

func (k *Keeper) anyMessage(r kv.Reader, id deviceKey, upTo changes.Position) bool {
	for range k.inbox.Keys(r, kv.Prefix(id.User, id.Device).Through(uint64(upTo))) {
		return true
	}
	return false
}
