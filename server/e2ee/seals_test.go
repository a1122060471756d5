package e2ee

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// anew are other identity keys for a device, and a one-time key that they signed.
func anew(t testing.TB, user matrix.UserID, device matrix.DeviceID) (keys, oneTime json.RawMessage) {
	public, private := signer("anew")
	keys = signed(t, fmt.Sprintf(`{"user_id":%q,"device_id":%q,"algorithms":[],"keys":{"ed25519:%[2]s":%[3]q}}`, user, string(device), public),
		user, string(device), private)
	one := signed(t, `{"key":"key-anew"}`, user, string(device), private)
	return keys, json.RawMessage(fmt.Sprintf(`{"signed_curve25519:anew":%s}`, one))
}

func TestSignaturesAreCheckedBeforeTheTransaction(t *testing.T) {
	f := setUp(t)
	known := func(what string, s seals, want int, store func(tx *kv.WriteTx) error) {
		t.Helper()
		if len(s) != want {
			t.Errorf("%s: %d signatures were looked at before, want %d", what, len(s), want)
		}
		f.update(store)
		if len(s) != want {
			t.Errorf("%s: %d signatures were looked at in the transaction", what, len(s)-want)
		}
	}
	store := func(c *CheckedUpload) func(tx *kv.WriteTx) error {
		return func(tx *kv.WriteTx) error { _, err := f.k.UploadKeys(tx, c); return err }
	}
	check := func(u Upload) *CheckedUpload {
		t.Helper()
		c, err := f.k.CheckUpload(t.Context(), alice, "A1", u)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	all := check(Upload{deviceJSON(t, alice, "A1"), signedKeys(t, alice, "A1", "a", "b"), signedKeys(t, alice, "A1", "f")})
	known("an upload", all.seals, 4, store(all))
	more := check(Upload{OneTimeKeys: signedKeys(t, alice, "A1", "c", "d", "e")})
	known("one-time keys alone", more.seals, 3, store(more))

	cross, err := f.k.CheckCrossSigning(t.Context(), alice, crossSigning(t, alice, string(alice)))
	if err != nil {
		t.Fatal(err)
	}
	known("cross-signing", cross.seals, 2, func(tx *kv.WriteTx) error { return f.k.UploadCrossSigning(tx, cross) })
	cross, err = f.k.CheckCrossSigning(t.Context(), alice, CrossSigning{SelfSigning: crossSigning(t, alice, string(alice)).SelfSigning})
	if err != nil {
		t.Fatal(err)
	}
	known("a self-signing key alone", cross.seals, 1, func(tx *kv.WriteTx) error { return f.k.UploadCrossSigning(tx, cross) })

	self, key := signer(string(alice) + "S")
	own := signed(t, string(deviceJSON(t, alice, "A1")), alice, self, key)
	made, err := f.k.CheckSignatures(t.Context(), alice, []byte(fmt.Sprintf(`{%q:{"A1":%s}}`, alice, own)))
	if err != nil {
		t.Fatal(err)
	}
	known("a signature", made.seals, 1, func(tx *kv.WriteTx) error {
		if failures := f.k.UploadSignatures(tx, made); len(failures) != 0 {
			t.Errorf("%v", failures)
		}
		return nil
	})

	dehydrated, err := f.k.CheckDehydrated(t.Context(), alice, Dehydrated{Device: "D1", Name: "Dehydrated device", Data: json.RawMessage(`{"algorithm":"x"}`),
		Keys: Upload{deviceJSON(t, alice, "D1"), signedKeys(t, alice, "D1", "a"), nil}})
	if err != nil {
		t.Fatal(err)
	}
	known("a dehydrated device", dehydrated.keys.seals, 2, func(tx *kv.WriteTx) error { return f.k.PutDehydrated(tx, dehydrated) })
}

// What an upload was checked by may be another key by the time that it is stored.
func TestKeysThatChangeMeanwhile(t *testing.T) {
	f := setUp(t)
	f.upload(bob, "B1", Upload{DeviceKeys: deviceJSON(t, bob, "B1")})
	identity, oneTime := anew(t, bob, "B1")
	check := func(u Upload) *CheckedUpload {
		c, err := f.k.CheckUpload(t.Context(), bob, "B1", u)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	store := func(c *CheckedUpload) func(tx *kv.WriteTx) error {
		return func(tx *kv.WriteTx) error { _, err := f.k.UploadKeys(tx, c); return err }
	}
	old, early := check(Upload{OneTimeKeys: signedKeys(t, bob, "B1", "a")}), check(Upload{OneTimeKeys: oneTime})
	f.refused("M_INVALID_SIGNATURE", store(early))
	f.upload(bob, "B1", Upload{DeviceKeys: identity})
	f.refused("M_INVALID_SIGNATURE", store(old))
	f.update(store(early))

	one, two := crossSigning(t, bob, "one"), crossSigning(t, bob, "two")
	if err := f.crossSign(bob, one); err != nil {
		t.Fatal(err)
	}
	cross, err := f.k.CheckCrossSigning(t.Context(), bob, CrossSigning{SelfSigning: one.SelfSigning})
	if err != nil {
		t.Fatal(err)
	}
	self, key := signer("oneS")
	made, err := f.k.CheckSignatures(t.Context(), bob, []byte(fmt.Sprintf(`{%q:{"B1":%s}}`, bob, signed(t, string(identity), bob, self, key))))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.crossSign(bob, two); err != nil {
		t.Fatal(err)
	}
	f.refused("M_INVALID_SIGNATURE", func(tx *kv.WriteTx) error { return f.k.UploadCrossSigning(tx, cross) })
	f.update(func(tx *kv.WriteTx) error {
		if got := f.k.UploadSignatures(tx, made)[string(bob)]["B1"].Code; got != "M_INVALID_SIGNATURE" {
			t.Errorf("signed by a key that is not theirs any more: %q", got)
		}
		return nil
	})
}

func TestNoSignatureIsNoneThatIsKnown(t *testing.T) {
	f := setUp(t)
	own := string(deviceJSON(t, alice, "A1"))
	f.upload(alice, "A1", Upload{DeviceKeys: json.RawMessage(own)})
	empty := strings.Replace(own, `"signatures":{"@alice:example.org":{`, `"signatures":{"@alice:example.org":{"ed25519:x":"",`, 1)
	if got := f.sign(alice, fmt.Sprintf(`{%q:{"A1":%s}}`, alice, empty))[string(alice)]["A1"].Code; got != "M_INVALID_SIGNATURE" {
		t.Errorf("got %q", got)
	}
}

func TestTooManyOneTimeKeysAtOnce(t *testing.T) {
	f := setUp(t)
	var all strings.Builder
	for i := range maxUploaded + 1 {
		fmt.Fprintf(&all, `,"x:%d":"k"`, i)
	}
	f.refusedUpload("M_TOO_LARGE", bob, "B1", Upload{OneTimeKeys: json.RawMessage("{" + all.String()[1:] + "}")})
}

func TestTooManyAlgorithms(t *testing.T) {
	f := setUp(t)
	keys := func(from, to int) json.RawMessage {
		all := map[string]string{}
		for i := from; i < to; i++ {
			all[fmt.Sprintf("a%d:k", i)] = "x"
		}
		raw, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	f.upload(bob, "B1", Upload{OneTimeKeys: keys(0, maxAlgorithms-10), FallbackKeys: keys(maxAlgorithms-20, maxAlgorithms)})
	f.upload(bob, "B1", Upload{OneTimeKeys: keys(maxAlgorithms-1, maxAlgorithms)})
	f.refusedUpload("M_TOO_LARGE", bob, "B1", Upload{OneTimeKeys: keys(maxAlgorithms, maxAlgorithms+1)})
	f.refusedUpload("M_TOO_LARGE", bob, "B1", Upload{FallbackKeys: keys(maxAlgorithms, maxAlgorithms+1)})
}

// BenchmarkUploadKeys uploads a hundred one-time keys, as clients do at first, with their
// signatures checked before the transaction, and inside it. tx-ns/op is how long nobody else
// can write.
func BenchmarkUploadKeys(b *testing.B) {
	db := kvtest.Open(b)
	log, err := changes.New(b.Context(), db)
	if err != nil {
		b.Fatal(err)
	}
	k := New(Config{DB: db, Changes: log, Server: "example.org"})
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprint(i))
	}
	raw := signedKeys(b, bob, "B1", names...)
	before := func() (*CheckedUpload, error) {
		return k.CheckUpload(b.Context(), bob, "B1", Upload{OneTimeKeys: raw})
	}
	inside := func() (*CheckedUpload, error) {
		keys, err := parsePublicKeys(raw, "one_time_keys")
		return &CheckedUpload{user: bob, device: "B1", oneTime: keys, seals: seals{}}, err
	}
	identity, err := k.CheckUpload(b.Context(), bob, "B1", Upload{DeviceKeys: deviceJSON(b, bob, "B1")})
	if err != nil {
		b.Fatal(err)
	}
	kvtest.Update(b, db, func(tx *kv.WriteTx) error { _, err := k.UploadKeys(tx, identity); return err })
	for _, way := range []struct {
		name string
		read func() (*CheckedUpload, error)
	}{{"before", before}, {"inside", inside}} {
		b.Run(way.name, func(b *testing.B) {
			var held time.Duration
			for b.Loop() {
				c, err := way.read()
				if err != nil {
					b.Fatal(err)
				}
				kvtest.Update(b, db, func(tx *kv.WriteTx) error {
					start := time.Now()
					_, err := k.UploadKeys(tx, c)
					held += time.Since(start)
					k.dropOneTimeKeys(tx, bob, "B1") // for the next turn
					return err
				})
			}
			b.ReportMetric(float64(held.Nanoseconds())/float64(b.N), "tx-ns/op")
		})
	}
}
