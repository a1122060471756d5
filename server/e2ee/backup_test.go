package e2ee

import (
	"encoding/json"
	"testing"

	"porchlight/kv"
	"porchlight/server/matrix"
)

const backupAlgorithm = "m.megolm_backup.v1.curve25519-aes-sha2"

func (f *fixture) backupVersion() (version string) {
	f.update(func(tx *kv.WriteTx) (err error) {
		version, err = f.k.CreateBackup(tx, alice, backupAlgorithm, []byte(`{"public_key":"x"}`))
		return err
	})
	return version
}

func TestBackupVersions(t *testing.T) {
	f := setUp(t)
	current := func() (v BackupVersion, err error) {
		f.view(func(r kv.Reader) { v, err = f.k.Backup(r, alice, "") })
		return v, err
	}
	if _, err := current(); !matrix.IsCode(err, "M_NOT_FOUND") {
		t.Errorf("without a backup: %v", err)
	}
	one := f.backupVersion()
	two := f.backupVersion()
	if v, err := current(); err != nil || v.Version != two || v.Algorithm != backupAlgorithm || string(v.AuthData) != `{"public_key":"x"}` {
		t.Errorf("%+v %v", v, err)
	}
	f.update(func(tx *kv.WriteTx) error {
		return f.k.UpdateBackup(tx, alice, one, backupAlgorithm, []byte(`{"public_key":"y"}`))
	})
	f.refused("M_INVALID_PARAM", func(tx *kv.WriteTx) error { return f.k.UpdateBackup(tx, alice, one, "other", []byte(`{}`)) })
	f.refused("M_NOT_FOUND", func(tx *kv.WriteTx) error { return f.k.UpdateBackup(tx, alice, "7", backupAlgorithm, []byte(`{}`)) })
	f.refused("M_NOT_FOUND", func(tx *kv.WriteTx) error { return f.k.DeleteBackup(tx, alice, "x") })
	f.refused("M_BAD_JSON", func(tx *kv.WriteTx) error {
		_, err := f.k.CreateBackup(tx, alice, backupAlgorithm, []byte(`[]`))
		return err
	})
	for range 2 { // twice is no error
		f.update(func(tx *kv.WriteTx) error { return f.k.DeleteBackup(tx, alice, two) })
	}
	if v, err := current(); err != nil || v.Version != one || string(v.AuthData) != `{"public_key":"y"}` {
		t.Errorf("%+v %v", v, err)
	}
	if three := f.backupVersion(); three != "3" {
		t.Errorf("a version was used again: %s", three)
	}
}

func session(first, forwarded uint64, verified bool, data string) map[matrix.RoomID]RoomBackup {
	return map[matrix.RoomID]RoomBackup{"!r:x": {map[string]BackedUpSession{
		"s1": {&first, &forwarded, &verified, json.RawMessage(data)},
	}}}
}

func TestBackupKeepsTheBetterKey(t *testing.T) {
	f := setUp(t)
	version := f.backupVersion()
	put := func(rooms map[matrix.RoomID]RoomBackup) (s BackupState) {
		f.update(func(tx *kv.WriteTx) (err error) {
			s, err = f.k.PutBackupKeys(tx, alice, version, rooms)
			return err
		})
		return s
	}
	for i, step := range []struct {
		rooms map[matrix.RoomID]RoomBackup
		want  string
	}{
		{session(5, 5, false, `{"v":1}`), `{"v":1}`},
		{session(6, 0, false, `{"v":2}`), `{"v":1}`},
		{session(5, 6, false, `{"v":3}`), `{"v":1}`},
		{session(5, 5, false, `{"v":4}`), `{"v":1}`},
		{session(5, 4, false, `{"v":5}`), `{"v":5}`},
		{session(4, 9, false, `{"v":6}`), `{"v":6}`},
		{session(9, 9, true, `{"v":7}`), `{"v":7}`},
		{session(0, 0, false, `{"v":8}`), `{"v":7}`},
	} {
		before := f.etag(version)
		s := put(step.rooms)
		f.view(func(r kv.Reader) {
			keys, err := f.k.BackupKeys(r, alice, version, "!r:x", "s1")
			if got := string(keys["!r:x"].Sessions["s1"].SessionData); err != nil || got != step.want || s.Count != 1 {
				t.Errorf("step %d: %s, %+v, %v", i, got, s, err)
			}
		})
		replaced := string(step.rooms["!r:x"].Sessions["s1"].SessionData) == step.want
		if (s.ETag != before) != replaced {
			t.Errorf("step %d: etag %s after %s", i, s.ETag, before)
		}
	}
	f.refused("M_BAD_JSON", func(tx *kv.WriteTx) error {
		_, err := f.k.PutBackupKeys(tx, alice, version, session(1, 1, true, `3`))
		return err
	})
	f.update(func(tx *kv.WriteTx) error {
		s, err := f.k.DeleteBackupKeys(tx, alice, version, "!r:x", "")
		if s.Count != 0 {
			t.Errorf("%+v", s)
		}
		return err
	})
	old := version
	version = f.backupVersion()
	f.refused("M_WRONG_ROOM_KEYS_VERSION", func(tx *kv.WriteTx) error {
		_, err := f.k.PutBackupKeys(tx, alice, old, session(1, 1, true, `{}`))
		return err
	})
}

func (f *fixture) etag(version string) (etag string) {
	f.view(func(r kv.Reader) {
		v, err := f.k.Backup(r, alice, version)
		if err != nil {
			f.Fatal(err)
		}
		etag = v.ETag
	})
	return etag
}
