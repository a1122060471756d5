package e2ee

import (
	"errors"
	"testing"

	"porchlight/server/matrix"
)

// FuzzParsers: whatever a client uploads is taken or refused in words.
func FuzzParsers(f *testing.F) {
	f.Add([]byte(deviceJSON(f, alice, "A1")))
	f.Add([]byte(crossJSON(alice, usageMaster, "c2ln")))
	f.Add([]byte(oneTimeKeys("a", "b")))
	f.Add([]byte(`{"signed_curve25519:A":{"key":"k","signatures":{"x":{"y":1}}}}`))
	f.Add([]byte(`{"user_id":"@alice:example.org","usage":[null],"keys":[]}`))
	f.Add([]byte(`{"a:b":"\u0000"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if matrix.CheckJSON(raw) != nil {
			return // the door refuses it
		}
		_, _, err1 := parseDeviceKeys(raw, alice, "A1", seals{})
		_, err2 := parseCrossKey(raw, alice, usageMaster)
		keys, err3 := parsePublicKeys(raw, "one_time_keys")
		for _, err := range []error{err1, err2, err3} {
			var refused *matrix.Error
			if err != nil && !errors.As(err, &refused) {
				t.Errorf("%v", err)
			}
		}
		for _, key := range keys {
			if key.algorithm == "" || key.id == "" || matrix.CheckJSON(key.json) != nil {
				t.Errorf("%+v", key)
			}
		}
	})
}
