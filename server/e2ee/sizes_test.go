package e2ee

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// write sends a message of about n bytes to devices of Bob.
func (f *fixture) write(sender matrix.UserID, n int, devices ...matrix.DeviceID) error {
	f.Helper()
	to := map[matrix.DeviceID]json.RawMessage{}
	for _, d := range devices {
		to[d] = json.RawMessage(`{"x":"` + strings.Repeat("y", n) + `"}`)
	}
	return f.db.Update(f.Context(), func(tx *kv.WriteTx) error {
		return f.k.SendToDevice(tx, sender, "m.x", map[matrix.UserID]map[matrix.DeviceID]json.RawMessage{bob: to})
	})
}

// waiting is how many messages wait for a device, and how many bytes are counted.
func (f *fixture) waiting(device matrix.DeviceID) (n int, size int64, known bool) {
	f.Helper()
	f.view(func(r kv.Reader) {
		events, _, err := f.k.ToDevice(r, bob, device, 0, f.c.Last(r), 100_000)
		if err != nil {
			f.Error(err)
		}
		n = len(events)
		size, known = f.k.inboxSizes.Get(r, inboxSizeKey{bob, device, ""})
	})
	return n, size, known
}

func TestInboxesAreBounded(t *testing.T) {
	f := setUp(t)
	f.h.devices[bob]["B2"] = ""
	one := messageRow{carol, "m.x", []byte(`{"x":"` + strings.Repeat("y", 100) + `"}`)}.size()
	f.k.MaxInbox = inboxShare * 4 * one // 4 of one sender, 16 of all
	for i := range 6 {
		err := f.write(carol, 100, "B1")
		if (err == nil) != (i < 4) || err != nil && !matrix.IsCode(err, "M_RESOURCE_LIMIT_EXCEEDED") {
			t.Errorf("message %d of one sender: %v", i, err)
		}
	}
	if err := f.write(alice, 100, "B1"); err != nil {
		t.Errorf("another sender pays for the first: %v", err)
	}
	if err := f.write(carol, 100, "B1", "B2"); err != nil {
		t.Errorf("a device that is full keeps another from hearing: %v", err)
	}
	if n, size, known := f.waiting("B1"); n != 5 || !known || size < 4*one {
		t.Errorf("%d messages with %d bytes (known %v) wait", n, size, known)
	}
	if n, _, _ := f.waiting("B2"); n != 1 {
		t.Errorf("%d messages wait for the other device", n)
	}
	for i := range 20 { // the user's own have no share, but the bound of all
		if err := f.write(bob, 100, "B1"); (err == nil) != (i < 11) {
			t.Errorf("own message %d: %v", i, err)
		}
	}
	if n, _, _ := f.waiting("B1"); n != 16 {
		t.Errorf("%d messages wait: something was dropped, or the bound is another", n)
	}
	f.view(func(r kv.Reader) { f.k.AckToDevice(r, bob, "B1", f.c.Last(r)) })
	if err := f.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, size, known := f.waiting("B1"); n != 0 || size != 0 || !known {
		t.Errorf("after all were taken, %d messages with %d bytes (known %v) wait", n, size, known)
	}
	if err := f.write(carol, 100, "B1"); err != nil {
		t.Errorf("once there is room: %v", err)
	}
	f.update(func(tx *kv.WriteTx) error { return f.k.DeviceDeleted(tx, bob, "B1") })
	f.view(func(r kv.Reader) {
		for key := range f.k.inboxSizes.All(r, kv.Prefix(bob, matrix.DeviceID("B1"))) {
			t.Errorf("a device that is gone still counts %v", key)
		}
	})
}

// TestInboxOlderThanTheBound has more than the bound at the upgrade: nothing is dropped, it is
// delivered and counted down.
func TestInboxOlderThanTheBound(t *testing.T) {
	f := setUp(t)
	f.k.MaxInbox = -1
	for range 30 {
		if err := f.write(alice, 100, "B1"); err != nil {
			t.Fatal(err)
		}
	}
	f.update(func(tx *kv.WriteTx) error { f.k.forgetInbox(tx, bob, "B1"); return nil })
	f.k.MaxInbox = 1000
	if err := f.k.inboxSizes.Count(f.Context(), inboxSizeKey{bob, "B1", ""}); err != nil {
		t.Fatal(err)
	}
	if err := f.write(carol, 100, "B1"); !matrix.IsCode(err, "M_RESOURCE_LIMIT_EXCEEDED") {
		t.Errorf("more than there is room for: %v", err)
	}
	var next changes.Position
	f.view(func(r kv.Reader) {
		events, at, err := f.k.ToDevice(r, bob, "B1", 0, f.c.Last(r), 28)
		if err != nil || len(events) != 28 {
			t.Fatalf("%d messages, %v", len(events), err)
		}
		next = at
	})
	f.view(func(r kv.Reader) { f.k.AckToDevice(r, bob, "B1", next) })
	if err := f.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, size, known := f.waiting("B1"); n != 2 || !known || size == 0 || size > 1000 {
		t.Errorf("%d messages with %d bytes (known %v) wait", n, size, known)
	}
	if err := f.write(carol, 10, "B1"); err != nil {
		t.Errorf("once there is room: %v", err)
	}
	f.view(func(r kv.Reader) { f.k.checkSizes(r, t.Errorf) })
}

func TestKeyBackupsAreBounded(t *testing.T) {
	f := setUp(t)
	version := f.backupVersion()
	put := func(name string, n int) error {
		zero, no := uint64(0), false
		return f.db.Update(f.Context(), func(tx *kv.WriteTx) error {
			_, err := f.k.PutBackupKeys(tx, alice, version, map[matrix.RoomID]RoomBackup{"!r:x": {map[string]BackedUpSession{
				name: {&zero, &zero, &no, json.RawMessage(`{"x":"` + strings.Repeat("y", n) + `"}`)},
			}}})
			return err
		})
	}
	for i := range 3 {
		if err := put(fmt.Sprint(i), 100); err != nil {
			t.Fatal(err)
		}
	}
	size := func() (n int64) {
		f.view(func(r kv.Reader) { n, _ = f.k.BackupSize(r, alice, version) })
		return n
	}
	f.k.MaxBackup = size()
	if err := put("4", 1); !matrix.IsCode(err, "M_RESOURCE_LIMIT_EXCEEDED") {
		t.Errorf("above: %v", err)
	}
	f.k.MaxBackup++
	if err := put("4", 1); !matrix.IsCode(err, "M_RESOURCE_LIMIT_EXCEEDED") {
		t.Errorf("still above: %v", err)
	}
	before := size()
	f.update(func(tx *kv.WriteTx) error {
		_, err := f.k.DeleteBackupKeys(tx, alice, version, "!r:x", "0")
		return err
	})
	if size() >= before {
		t.Errorf("%d bytes before and %d after a deletion", before, size())
	}
	if err := put("4", 100); err != nil { // as much as was deleted
		t.Errorf("once there is room: %v", err)
	}
	// Older than the counting: what there is can be read and deleted.
	f.update(func(tx *kv.WriteTx) error { f.k.backupSizes.Forget(tx, versionKey{alice, 1}); return nil })
	f.k.MaxBackup = 10
	if err := f.k.backupSizes.Count(f.Context(), versionKey{alice, 1}); err != nil {
		t.Fatal(err)
	}
	f.view(func(r kv.Reader) {
		if rooms, err := f.k.BackupKeys(r, alice, version, "", ""); err != nil || len(rooms["!r:x"].Sessions) != 3 {
			t.Errorf("%v, %v", rooms, err)
		}
	})
	if err := put("5", 1); !matrix.IsCode(err, "M_RESOURCE_LIMIT_EXCEEDED") {
		t.Errorf("more than there is room for: %v", err)
	}
	f.update(func(tx *kv.WriteTx) error { return f.k.DeleteBackup(tx, alice, version) })
	if n := size(); n != 0 {
		t.Errorf("a backup that is deleted has %d bytes", n)
	}
}

// checkSizes reports what is counted wrongly.
func (k *Keeper) checkSizes(r kv.Reader, report func(string, ...any)) {
	for key, size := range k.inboxSizes.All(r, kv.All()) {
		if n := k.countInbox(r, key); key.Sender == "" && n != size {
			report("the messages %v have %d bytes and are counted as %d", key, n, size)
		}
	}
	for id, size := range k.backupSizes.All(r, kv.All()) {
		if n := k.countBackup(r, id); n != size {
			report("the backup %v has %d bytes and is counted as %d", id, n, size)
		}
	}
}
