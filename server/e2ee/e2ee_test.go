package e2ee

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/accounts"
	"porchlight/server/changes"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
)

const (
	alice matrix.UserID = "@alice:example.org"
	bob   matrix.UserID = "@bob:example.org"
	carol matrix.UserID = "@carol:example.org"
)

// house is a stand-in for accounts and rooms.
type house struct {
	devices map[matrix.UserID]map[matrix.DeviceID]string // names
	// stays are memberships by room and user: what began at a position.
	stays map[matrix.RoomID][]stay
	// encrypted is since when rooms are.
	encrypted map[matrix.RoomID]changes.Position
	k         *Keeper
}

type stay struct {
	at         changes.Position
	user       matrix.UserID
	membership string
}

func (h *house) Exists(_ kv.Reader, user matrix.UserID) bool { return h.devices[user] != nil }

func (h *house) Devices(_ kv.Reader, user matrix.UserID) iter.Seq2[matrix.DeviceID, accounts.DeviceRow] {
	return func(yield func(matrix.DeviceID, accounts.DeviceRow) bool) {
		for id, name := range h.devices[user] {
			if !yield(id, accounts.DeviceRow{Name: name}) {
				return
			}
		}
	}
}

func (h *house) Device(_ kv.Reader, user matrix.UserID, device matrix.DeviceID) (accounts.DeviceRow, bool) {
	name, ok := h.devices[user][device]
	return accounts.DeviceRow{Name: name, Dehydrated: name == "Dehydrated device"}, ok
}

func (h *house) CreateDehydratedDevice(_ *kv.WriteTx, user matrix.UserID, device matrix.DeviceID, name string) error {
	if _, taken := h.devices[user][device]; taken {
		return matrix.Forbidden("taken")
	}
	h.devices[user][device] = name
	return nil
}

func (h *house) SetDeviceName(_ *kv.WriteTx, user matrix.UserID, device matrix.DeviceID, name string) error {
	h.devices[user][device] = name
	return nil
}

func (h *house) DeleteDevice(tx *kv.WriteTx, user matrix.UserID, device matrix.DeviceID) error {
	delete(h.devices[user], device)
	return h.k.DeviceDeleted(tx, user, device)
}

func (h *house) Membership(r kv.Reader, room matrix.RoomID, user matrix.UserID) string {
	return h.MembershipAt(r, room, user, 1<<62)
}

func (h *house) MembershipAt(_ kv.Reader, room matrix.RoomID, user matrix.UserID, at changes.Position) string {
	now := "leave"
	for _, s := range h.stays[room] {
		if s.user == user && s.at <= at {
			now = s.membership
		}
	}
	return now
}

func (h *house) Members(r kv.Reader, room matrix.RoomID) iter.Seq2[matrix.UserID, string] {
	return func(yield func(matrix.UserID, string) bool) {
		for _, u := range []matrix.UserID{alice, bob, carol} {
			if m, ok := h.MembershipRow(r, room, u); ok && !yield(u, m.State) {
				return
			}
		}
	}
}

func (h *house) MembershipRow(_ kv.Reader, room matrix.RoomID, user matrix.UserID) (m rooms.Membership, ok bool) {
	for _, s := range h.stays[room] {
		if s.user == user {
			m, ok = rooms.Membership{State: s.membership, Position: s.at}, true
		}
	}
	return m, ok
}

func (h *house) Memberships(r kv.Reader, user matrix.UserID) iter.Seq2[matrix.RoomID, rooms.Membership] {
	return func(yield func(matrix.RoomID, rooms.Membership) bool) {
		for room := range h.stays {
			if m, ok := h.MembershipRow(r, room, user); ok && !yield(room, m) {
				return
			}
		}
	}
}

func (h *house) EncryptedAt(_ kv.Reader, room matrix.RoomID, at changes.Position) bool {
	since, ever := h.encrypted[room]
	return ever && since <= at
}

func (h *house) SharesEncryptedRoom(r kv.Reader, a, b matrix.UserID) bool {
	for room := range h.encrypted {
		if h.Membership(r, room, a) == "join" && h.Membership(r, room, b) == "join" {
			return true
		}
	}
	return false
}

func (h *house) EventAt(_ kv.Reader, room matrix.RoomID, at changes.Position) (*rooms.Event, bool) {
	if since, ok := h.encrypted[room]; ok && since == at {
		return &rooms.Event{Type: "m.room.encryption", StateKey: new(string)}, true
	}
	for _, s := range h.stays[room] {
		if s.at == at {
			key := string(s.user)
			return &rooms.Event{Type: "m.room.member", StateKey: &key}, true
		}
	}
	return nil, false
}

type fixture struct {
	*testing.T
	db *kv.DB
	k  *Keeper
	c  *changes.Keeper
	h  *house
}

func setUp(t *testing.T) *fixture {
	db := kvtest.Open(t)
	c, err := changes.New(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{
		devices: map[matrix.UserID]map[matrix.DeviceID]string{
			alice: {"A1": "Alice's phone", "A2": ""}, bob: {"B1": "Bob's box"}, carol: {},
		},
		stays: map[matrix.RoomID][]stay{}, encrypted: map[matrix.RoomID]changes.Position{},
	}
	h.k = New(Config{DB: db, Changes: c, Accounts: h, Rooms: h, Server: "example.org"})
	return &fixture{t, db, h.k, c, h}
}

func (f *fixture) update(fn func(tx *kv.WriteTx) error) {
	f.Helper()
	kvtest.Update(f, f.db, fn)
}

func (f *fixture) view(fn func(r kv.Reader)) {
	f.Helper()
	kvtest.View(f, f.db, func(tx *kv.ReadTx) { fn(tx) })
}

// refused runs fn in a transaction that has to fail with this errcode.
func (f *fixture) refused(code string, fn func(tx *kv.WriteTx) error) {
	f.Helper()
	if err := f.db.Update(f.Context(), fn); !matrix.IsCode(err, code) {
		f.Errorf("got %v, want %s", err, code)
	}
}

func (f *fixture) upload(user matrix.UserID, device matrix.DeviceID, u Upload) {
	f.Helper()
	if err := f.tryUpload(user, device, u); err != nil {
		f.Fatal(err)
	}
}

// tryUpload checks an upload and stores it.
func (f *fixture) tryUpload(user matrix.UserID, device matrix.DeviceID, u Upload) error {
	f.Helper()
	c, err := f.k.CheckUpload(f.Context(), user, device, u)
	if err != nil {
		return err
	}
	return f.db.Update(f.Context(), func(tx *kv.WriteTx) error {
		_, err := f.k.UploadKeys(tx, c)
		return err
	})
}

// refusedUpload is an upload that has to fail with this errcode.
func (f *fixture) refusedUpload(code string, user matrix.UserID, device matrix.DeviceID, u Upload) {
	f.Helper()
	if err := f.tryUpload(user, device, u); !matrix.IsCode(err, code) {
		f.Errorf("got %v, want %s", err, code)
	}
}

// crossSign checks cross-signing keys and stores them.
func (f *fixture) crossSign(user matrix.UserID, keys CrossSigning) error {
	f.Helper()
	c, err := f.k.CheckCrossSigning(f.Context(), user, keys)
	if err != nil {
		return err
	}
	return f.db.Update(f.Context(), func(tx *kv.WriteTx) error { return f.k.UploadCrossSigning(tx, c) })
}

// sign checks signatures and stores them; it returns what was refused.
func (f *fixture) sign(signer matrix.UserID, raw string) (failures map[string]map[string]Failure) {
	f.Helper()
	s, err := f.k.CheckSignatures(f.Context(), signer, []byte(raw))
	if err != nil {
		f.Fatal(err)
	}
	f.update(func(tx *kv.WriteTx) error {
		failures = f.k.UploadSignatures(tx, s)
		return nil
	})
	return failures
}

// membership puts somebody in or out of a room, as an event of the log.
func (f *fixture) membership(room matrix.RoomID, user matrix.UserID, membership string) {
	f.update(func(tx *kv.WriteTx) error {
		pos := f.c.Append(tx, changes.Change{Kind: changes.Event, Room: room})
		f.h.stays[room] = append(f.h.stays[room], stay{pos, user, membership})
		return nil
	})
}

// encrypt makes a room encrypted, as an event of the log.
func (f *fixture) encrypt(room matrix.RoomID) {
	f.update(func(tx *kv.WriteTx) error {
		f.h.encrypted[room] = f.c.Append(tx, changes.Change{Kind: changes.Event, Room: room})
		return nil
	})
}

// signer is a key pair made from a name.
func signer(name string) (public string, private ed25519.PrivateKey) {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	private = ed25519.NewKeyFromSeed(seed)
	return matrix.EncodeBase64(private.Public().(ed25519.PublicKey)), private
}

func signed(t testing.TB, raw string, user matrix.UserID, id string, key ed25519.PrivateKey) json.RawMessage {
	t.Helper()
	out, err := matrix.SignJSON([]byte(raw), string(user), matrix.KeyID("ed25519:"+id), key)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func deviceJSON(t testing.TB, user matrix.UserID, device matrix.DeviceID) json.RawMessage {
	public, private := signer(string(user) + string(device))
	return signed(t, fmt.Sprintf(`{"user_id":%q,"device_id":%q,"algorithms":["m.olm.v1.curve25519-aes-sha2"],
		"keys":{"curve25519:%[2]s":"3C5BFWi2Y8MaVvjM8M22DBmh24PmgR0nPvJOIArzgyI","ed25519:%[2]s":%[3]q}}`,
		user, string(device), public), user, string(device), private)
}

func crossJSON(user matrix.UserID, usage, public string) string {
	return fmt.Sprintf(`{"user_id":%q,"usage":[%q],"keys":{"ed25519:%s":%[3]q}}`, user, usage, public)
}

// crossSigning is a whole set of cross-signing keys made from a name.
func crossSigning(t testing.TB, user matrix.UserID, name string) CrossSigning {
	master, key := signer(name + "M")
	self, _ := signer(name + "S")
	own, _ := signer(name + "U")
	return CrossSigning{
		Master:      json.RawMessage(crossJSON(user, usageMaster, master)),
		SelfSigning: signed(t, crossJSON(user, usageSelf, self), user, master, key),
		UserSigning: signed(t, crossJSON(user, usageUser, own), user, master, key),
	}
}

// signedKeys are one-time keys of a device, signed by it.
func signedKeys(t testing.TB, user matrix.UserID, device matrix.DeviceID, names ...string) json.RawMessage {
	_, private := signer(string(user) + string(device))
	all := map[string]json.RawMessage{}
	for _, n := range names {
		all["signed_curve25519:"+n] = signed(t, `{"key":"key-`+n+`"}`, user, string(device), private)
	}
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// oneTimeKeys are keys of a device that has no identity keys, which nobody can check.
func oneTimeKeys(names ...string) json.RawMessage {
	all := map[string]any{}
	for _, n := range names {
		all["signed_curve25519:"+n] = map[string]any{"key": "key-" + n, "signatures": map[string]any{}}
	}
	raw, _ := json.Marshal(all)
	return raw
}

func TestDeviceKeysAreCheckedAndShown(t *testing.T) {
	f := setUp(t)
	f.encrypt("!r:example.org")
	f.membership("!r:example.org", alice, "join")
	f.membership("!r:example.org", bob, "join")
	start := f.c.Published()
	f.upload(bob, "B1", Upload{DeviceKeys: deviceJSON(t, bob, "B1")})
	once := f.c.Published()
	f.upload(bob, "B1", Upload{DeviceKeys: deviceJSON(t, bob, "B1")})
	if f.c.Published() != once {
		t.Error("the same keys again were announced")
	}
	f.view(func(r kv.Reader) {
		changed, left := f.k.DeviceListChanges(r, alice, start, once)
		if !slices.Equal(changed, []matrix.UserID{bob}) || len(left) != 0 {
			t.Errorf("changed %v, left %v", changed, left)
		}
		q := f.k.Query(r, alice, map[matrix.UserID][]matrix.DeviceID{
			bob: {}, carol: nil, "@nobody:example.org": {}, "@x:else.where": {},
		})
		var dev struct {
			Unsigned struct {
				Name string `json:"device_display_name"`
			} `json:"unsigned"`
			Signatures map[matrix.UserID]map[string]string `json:"signatures"`
		}
		if err := json.Unmarshal(q.DeviceKeys[bob]["B1"], &dev); err != nil || dev.Unsigned.Name != "Bob's box" || len(dev.Signatures[bob]) != 1 {
			t.Errorf("%s: %v", q.DeviceKeys[bob]["B1"], err)
		}
		if _, ok := q.DeviceKeys["@nobody:example.org"]; ok || q.DeviceKeys[carol] == nil || len(q.Failures) != 1 {
			t.Errorf("%+v", q)
		}
	})
	for name, bad := range map[string]struct{ raw, code string }{
		"other user":          {string(deviceJSON(t, alice, "B1")), "M_INVALID_PARAM"},
		"other device":        {string(deviceJSON(t, bob, "B2")), "M_INVALID_PARAM"},
		"no object":           {`[]`, "M_BAD_JSON"},
		"no algorithms":       {`{"user_id":"@bob:example.org","device_id":"B1"}`, "M_BAD_JSON"},
		"key name":            {`{"user_id":"@bob:example.org","device_id":"B1","algorithms":[],"keys":{"ed25519:XX":"k"},"signatures":{}}`, "M_INVALID_PARAM"},
		"signatures":          {`{"user_id":"@bob:example.org","device_id":"B1","algorithms":[],"keys":{},"signatures":{"x":1}}`, "M_BAD_JSON"},
		"no JSON":             {`{`, "M_NOT_JSON"},
		"no ed25519 key":      {`{"user_id":"@bob:example.org","device_id":"B1","algorithms":[],"keys":{"curve25519:B1":"k"},"signatures":{}}`, "M_INVALID_PARAM"},
		"no signature":        {strings.Replace(string(deviceJSON(t, bob, "B1")), `"ed25519:B1":"`, `"other:B1":"`, 2), "M_INVALID_PARAM"},
		"changed since":       {strings.Replace(string(deviceJSON(t, bob, "B1")), "m.olm.v1", "m.olm.v2", 1), "M_INVALID_SIGNATURE"},
		"another's signature": {strings.Replace(string(deviceJSON(t, bob, "B1")), `"signatures":{"@bob:`, `"signatures":{"@bib:`, 1), "M_INVALID_SIGNATURE"},
	} {
		t.Run(name, func(t *testing.T) {
			f.refusedUpload(bad.code, bob, "B1", Upload{DeviceKeys: json.RawMessage(bad.raw)})
		})
	}
}

func TestOneTimeKeysComeInOrderAndThenTheFallback(t *testing.T) {
	f := setUp(t)
	f.upload(bob, "B1", Upload{OneTimeKeys: oneTimeKeys("z"), FallbackKeys: oneTimeKeys("fall")})
	f.upload(bob, "B1", Upload{OneTimeKeys: oneTimeKeys("a", "z")}) // z a second time
	f.view(func(r kv.Reader) {
		if n := f.k.KeyCounts(r, bob, "B1")["signed_curve25519"]; n != 2 {
			t.Errorf("%d keys, want 2", n)
		}
		if n, ok := f.k.KeyCounts(r, alice, "A1")["signed_curve25519"]; n != 0 || !ok {
			t.Error("without keys the count has to be 0 and not missing")
		}
		if u := f.k.UnusedFallback(r, bob, "B1"); !slices.Equal(u, []string{"signed_curve25519"}) {
			t.Errorf("unused %v", u)
		}
	})
	f.refusedUpload("M_UNKNOWN", bob, "B1", Upload{OneTimeKeys: json.RawMessage(`{"signed_curve25519:z":{"key":"other","signatures":{}}}`)})
	for _, want := range []string{"z", "a", "fall", "fall"} {
		if got := f.claim(); got != "signed_curve25519:"+want {
			t.Errorf("claimed %q, want %q", got, want)
		}
	}
	f.upload(bob, "B1", Upload{OneTimeKeys: oneTimeKeys("a", "z"), FallbackKeys: oneTimeKeys("fall")})
	if got := f.claim(); got != "signed_curve25519:fall" {
		t.Errorf("%q was given out twice", got)
	}
	f.view(func(r kv.Reader) {
		if u := f.k.UnusedFallback(r, bob, "B1"); u == nil || len(u) != 0 {
			t.Errorf("unused %v", u)
		}
	})
	resigned := json.RawMessage(`{"signed_curve25519:fall":` + again(t, oneTimeKeys("fall"), "fall") + `}`)
	f.upload(bob, "B1", Upload{FallbackKeys: resigned})
	f.view(func(r kv.Reader) {
		if u := f.k.UnusedFallback(r, bob, "B1"); len(u) != 0 {
			t.Errorf("a used fallback key counts as unused once it has one more signature: %v", u)
		}
	})
	f.upload(bob, "B1", Upload{FallbackKeys: oneTimeKeys("fresh")})
	f.view(func(r kv.Reader) {
		if u := f.k.UnusedFallback(r, bob, "B1"); len(u) != 1 {
			t.Errorf("unused %v", u)
		}
	})
}

// again is one of some keys as a client uploads it that has signed it once more: the same key.
func again(t *testing.T, keys json.RawMessage, id string) string {
	t.Helper()
	all, err := matrix.ParseObject(keys)
	if err != nil {
		t.Fatal(err)
	}
	key := string(all["signed_curve25519:"+id])
	if !strings.HasSuffix(key, "}") {
		t.Fatalf("no key %q in %s", id, keys)
	}
	return strings.TrimSuffix(key, "}") + `,"unsigned":{"seen":1}}`
}

// TestOneTimeKeyUploadedAgain: the key decides whether two uploads are the same, not the bytes around it.
func TestOneTimeKeyUploadedAgain(t *testing.T) {
	f := setUp(t)
	f.upload(bob, "B1", Upload{OneTimeKeys: oneTimeKeys("z")})
	f.upload(bob, "B1", Upload{OneTimeKeys: json.RawMessage(`{"signed_curve25519:z":` + again(t, oneTimeKeys("z"), "z") + `}`)})
	f.view(func(r kv.Reader) {
		if n := f.k.KeyCounts(r, bob, "B1")["signed_curve25519"]; n != 1 {
			t.Errorf("%d keys, want 1", n)
		}
	})
	if got := f.claim(); got != "signed_curve25519:z" {
		t.Errorf("claimed %q", got)
	}
	if got := f.claim(); got != "" {
		t.Errorf("%q is given out a second time", got)
	}
}

func (f *fixture) claim() (name string) {
	f.Helper()
	f.update(func(tx *kv.WriteTx) error {
		c := f.k.Claim(tx, map[matrix.UserID]map[matrix.DeviceID]string{bob: {"B1": "signed_curve25519"}})
		for n := range c.OneTimeKeys[bob]["B1"] {
			name = n
		}
		return nil
	})
	return name
}

func TestEachOneTimeKeyIsClaimedOnce(t *testing.T) {
	f := setUp(t)
	const keys, claimers = 60, 8
	var names []string
	for i := range keys {
		names = append(names, fmt.Sprint(i))
	}
	f.upload(bob, "B1", Upload{OneTimeKeys: oneTimeKeys(names...)})
	var mu sync.Mutex
	seen := map[string]int{}
	var wg sync.WaitGroup
	for range claimers {
		wg.Go(func() {
			for {
				name := f.claim()
				if name == "" {
					return
				}
				mu.Lock()
				seen[name]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != keys {
		t.Errorf("%d of %d keys came out", len(seen), keys)
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s came out %d times", name, n)
		}
	}
}

func TestPublicKeysOfTheWrongForm(t *testing.T) {
	f := setUp(t)
	for raw, code := range map[string]string{
		`[]`:                          "M_BAD_JSON",
		`{"nocolon":"x"}`:             "M_INVALID_PARAM",
		`{"signed_curve25519:a":"x"}`: "M_BAD_JSON",
		`{"signed_curve25519:a":{"key":1,"signatures":{}}}`: "M_BAD_JSON",
		`{"signed_curve25519:a":{"key":"x"}}`:               "M_BAD_JSON",
		`{"curve25519:a":1.5}`:                              "M_BAD_JSON",
	} {
		for _, u := range []Upload{{OneTimeKeys: json.RawMessage(raw)}, {FallbackKeys: json.RawMessage(raw)}} {
			f.refusedUpload(code, bob, "B1", u)
		}
	}
	f.refusedUpload("M_INVALID_PARAM", bob, "B1", Upload{FallbackKeys: oneTimeKeys("a", "b")})
}

func TestToDeviceStaysUntilAcknowledged(t *testing.T) {
	f := setUp(t)
	send := func(to matrix.DeviceID, n int) {
		f.update(func(tx *kv.WriteTx) error {
			return f.k.SendToDevice(tx, bob, "m.test", map[matrix.UserID]map[matrix.DeviceID]json.RawMessage{
				alice: {to: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))},
			})
		})
	}
	send("*", 0)
	send("A1", 1)
	send("GONE", 2)
	send("A1", 3)
	read := func(device matrix.DeviceID, after changes.Position, limit int) (n int, next changes.Position) {
		f.view(func(r kv.Reader) {
			events, to, err := f.k.ToDevice(r, alice, device, after, f.c.Published(), limit)
			if err != nil {
				t.Fatal(err)
			}
			n, next = len(events), to
		})
		return n, next
	}
	if n, _ := read("A2", 0, 10); n != 1 {
		t.Errorf("A2 has %d messages", n)
	}
	n, next := read("A1", 0, 2)
	if n != 2 || next >= f.c.Published() {
		t.Errorf("%d messages up to %d", n, next)
	}
	if n, to := read("A1", next, 2); n != 1 || to != f.c.Published() {
		t.Errorf("then %d messages up to %d", n, to)
	}
	if n, _ := read("A1", 0, 10); n != 3 {
		t.Errorf("unacknowledged messages are gone: %d left", n)
	}
	f.view(func(r kv.Reader) { f.k.AckToDevice(r, alice, "A1", next) })
	if n, _ := read("A1", 0, 10); n != 1 {
		t.Errorf("%d messages after the acknowledgement", n)
	}
	if err := f.db.Flush(); err != nil {
		t.Fatal(err)
	}
	f.view(func(r kv.Reader) {
		rows := 0
		for range f.k.inbox.Keys(r, kv.Prefix(alice, matrix.DeviceID("A1"))) {
			rows++
		}
		if rows != 1 {
			t.Errorf("%d rows after the acknowledgement", rows)
		}
	})
	for name, bad := range map[string]struct{ typ, content, code string }{
		"no object": {"m.test", `1`, "M_BAD_JSON"},
		"no type":   {"", `{}`, "M_INVALID_PARAM"},
		"too large": {"m.test", `{"x":"` + string(make([]byte, maxToDeviceContent)) + `"}`, "M_TOO_LARGE"},
	} {
		t.Run(name, func(t *testing.T) {
			f.refused(bad.code, func(tx *kv.WriteTx) error {
				return f.k.SendToDevice(tx, bob, bad.typ, map[matrix.UserID]map[matrix.DeviceID]json.RawMessage{alice: {"A1": json.RawMessage(bad.content)}})
			})
		})
	}
}

func TestDeletedDeviceLeavesNothing(t *testing.T) {
	f := setUp(t)
	f.upload(bob, "B1", Upload{DeviceKeys: deviceJSON(t, bob, "B1"), OneTimeKeys: signedKeys(t, bob, "B1", "a"), FallbackKeys: signedKeys(t, bob, "B1", "f")})
	f.update(func(tx *kv.WriteTx) error {
		return f.k.SendToDevice(tx, alice, "m.test", map[matrix.UserID]map[matrix.DeviceID]json.RawMessage{bob: {"*": json.RawMessage(`{}`)}})
	})
	f.update(func(tx *kv.WriteTx) error { return f.k.DeviceDeleted(tx, bob, "B1") })
	f.view(func(r kv.Reader) {
		if q := f.k.Query(r, bob, map[matrix.UserID][]matrix.DeviceID{bob: nil}); len(q.DeviceKeys[bob]) != 0 {
			t.Error("the device's keys are still shown")
		}
		if events, _, _ := f.k.ToDevice(r, bob, "B1", 0, f.c.Published(), 9); len(events) != 0 {
			t.Error("its inbox is still there")
		}
	})
	if name := f.claim(); name != "" {
		t.Errorf("claimed %s of a deleted device", name)
	}
}

func TestOneTimeKeysAreTheDevicesOwn(t *testing.T) {
	f := setUp(t)
	f.upload(bob, "B1", Upload{DeviceKeys: deviceJSON(t, bob, "B1"), OneTimeKeys: signedKeys(t, bob, "B1", "a")})
	for name, bad := range map[string]json.RawMessage{
		"unsigned":            oneTimeKeys("b"),
		"of another device":   signedKeys(t, bob, "B2", "b"),
		"of another user":     signedKeys(t, alice, "B1", "b"),
		"changed since":       json.RawMessage(strings.Replace(string(signedKeys(t, bob, "B1", "b")), "key-b", "key-x", 1)),
		"one of them is none": json.RawMessage(strings.Replace(string(signedKeys(t, bob, "B1", "b", "c")), "key-c", "key-x", 1)),
	} {
		t.Run(name, func(t *testing.T) {
			for _, u := range []Upload{{OneTimeKeys: bad}, {FallbackKeys: bad}} {
				if name == "one of them is none" && u.FallbackKeys != nil {
					continue // there can be only one
				}
				f.refusedUpload("M_INVALID_SIGNATURE", bob, "B1", u)
			}
		})
	}
	f.upload(bob, "B1", Upload{OneTimeKeys: json.RawMessage(`{"curve25519:x":"plain"}`)})

	// New identity keys: what the old ones signed goes.
	public, private := signer("anew")
	anew := signed(t, fmt.Sprintf(`{"user_id":%q,"device_id":"B1","algorithms":[],"keys":{"ed25519:B1":%q}}`, bob, public), bob, "B1", private)
	f.upload(bob, "B1", Upload{DeviceKeys: anew})
	f.view(func(r kv.Reader) {
		if n := f.k.KeyCounts(r, bob, "B1")["signed_curve25519"]; n != 0 {
			t.Errorf("%d keys of the old identity are left", n)
		}
	})
	f.refusedUpload("M_INVALID_SIGNATURE", bob, "B1", Upload{OneTimeKeys: signedKeys(t, bob, "B1", "b")})
}
