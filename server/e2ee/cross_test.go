package e2ee

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/server/matrix"
)

func TestCrossSigningKeysAndWhenToAsk(t *testing.T) {
	f := setUp(t)
	needs := func(c CrossSigning) (yes bool) {
		checked, err := f.k.CheckCrossSigning(t.Context(), alice, c)
		if err != nil {
			t.Fatal(err)
		}
		f.view(func(r kv.Reader) { yes = f.k.NeedsUIA(r, checked) })
		return yes
	}
	put := func(c CrossSigning) {
		t.Helper()
		if err := f.crossSign(alice, c); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(code string, c CrossSigning) {
		t.Helper()
		if err := f.crossSign(alice, c); !matrix.IsCode(err, code) {
			t.Errorf("got %v, want %s", err, code)
		}
	}
	one, two := crossSigning(t, alice, "one"), crossSigning(t, alice, "two")

	refused("M_MISSING_PARAM", CrossSigning{SelfSigning: one.SelfSigning})
	refused("M_INVALID_SIGNATURE", CrossSigning{Master: one.Master, SelfSigning: two.SelfSigning})
	refused("M_INVALID_PARAM", crossSigning(t, bob, "b"))
	refused("M_INVALID_PARAM", CrossSigning{Master: one.SelfSigning})

	if needs(one) {
		t.Error("the first upload needs no authentication")
	}
	put(one)
	if needs(one) || needs(CrossSigning{SelfSigning: one.SelfSigning}) {
		t.Error("the same keys again need no authentication")
	}
	if !needs(two) || !needs(CrossSigning{Master: one.Master, SelfSigning: two.SelfSigning}) {
		t.Error("new keys need authentication")
	}
	put(CrossSigning{Master: two.Master})
	f.view(func(r kv.Reader) {
		q := f.k.Query(r, alice, map[matrix.UserID][]matrix.DeviceID{alice: nil})
		if len(q.MasterKeys) != 1 || len(q.SelfSigningKeys) != 0 || len(q.UserSigningKeys) != 0 {
			t.Errorf("the old identity's keys are still there: %s", q.SelfSigningKeys)
		}
	})
	put(two)
	f.view(func(r kv.Reader) {
		want := map[matrix.UserID][]matrix.DeviceID{alice: nil}
		if q := f.k.Query(r, alice, want); len(q.UserSigningKeys) != 1 || len(q.SelfSigningKeys) != 1 {
			t.Errorf("%+v", q)
		}
		if q := f.k.Query(r, bob, want); len(q.UserSigningKeys) != 0 || len(q.SelfSigningKeys) != 1 {
			t.Errorf("bob sees %+v", q)
		}
	})

	master, _ := signer("twoM")
	f.refusedUpload("M_FORBIDDEN", alice, matrix.DeviceID(master), Upload{DeviceKeys: deviceJSON(t, alice, matrix.DeviceID(master))})
	three, _ := signer("threeM")
	f.h.devices[alice][matrix.DeviceID(three)] = ""
	refused("M_FORBIDDEN", crossSigning(t, alice, "three"))
}

func TestSignaturesAreCheckedAndSeenByTheRightPeople(t *testing.T) {
	f := setUp(t)
	f.upload(alice, "A1", Upload{DeviceKeys: deviceJSON(t, alice, "A1")})
	f.upload(bob, "B1", Upload{DeviceKeys: deviceJSON(t, bob, "B1")})
	for _, u := range []matrix.UserID{alice, bob} {
		if err := f.crossSign(u, crossSigning(t, u, string(u))); err != nil {
			t.Fatal(err)
		}
	}
	bobMaster, _ := signer(string(bob) + "M")
	aliceMaster, _ := signer(string(alice) + "M")
	selfPublic, self := signer(string(alice) + "S")
	userPublic, user := signer(string(alice) + "U")
	_, device := signer(string(alice) + "A1")
	_, wrong := signer("wrong")

	sign := func(owner matrix.UserID, name string, object json.RawMessage) map[string]map[string]Failure {
		t.Helper()
		return f.sign(alice, fmt.Sprintf(`{%q:{%q:%s}}`, owner, name, object))
	}
	fails := func(owner matrix.UserID, name, code string, object json.RawMessage) {
		t.Helper()
		if got := sign(owner, name, object)[string(owner)][name].Code; got != code {
			t.Errorf("%s %s: got %q, want %q", owner, name, got, code)
		}
	}
	own := string(deviceJSON(t, alice, "A1"))
	fails(alice, "A1", "", signed(t, own, alice, selfPublic, self))
	fails(alice, "A1", "", signed(t, own, alice, selfPublic, self)) // repeated
	fails(alice, "A1", "M_INVALID_SIGNATURE", signed(t, own, alice, selfPublic, wrong))
	fails(alice, "A1", "M_INVALID_SIGNATURE", signed(t, own, alice, userPublic, user))
	fails(alice, "A1", "M_INVALID_PARAM", signed(t, strings.Replace(own, "m.olm", "m.mlo", 1), alice, selfPublic, self))
	fails(alice, "A9", "M_NOT_FOUND", signed(t, own, alice, selfPublic, self))
	fails(alice, "A1", "M_BAD_JSON", json.RawMessage(`7`))
	fails(alice, aliceMaster, "", signed(t, crossJSON(alice, usageMaster, aliceMaster), alice, "A1", device))
	before := f.c.Published()
	fails(bob, bobMaster, "", signed(t, crossJSON(bob, usageMaster, bobMaster), alice, userPublic, user))
	fails(bob, bobMaster, "M_INVALID_SIGNATURE", signed(t, crossJSON(bob, usageMaster, bobMaster), alice, selfPublic, self))
	fails(bob, "B1", "M_NOT_FOUND", signed(t, string(deviceJSON(t, bob, "B1")), alice, selfPublic, self))

	f.membership("!r:example.org", alice, "join")
	f.membership("!r:example.org", bob, "join")
	f.view(func(r kv.Reader) {
		signers := func(raw json.RawMessage) (n int) {
			o, _ := matrix.ParseObject(raw)
			for _, by := range o.Signatures() {
				n += len(by)
			}
			return n
		}
		want := map[matrix.UserID][]matrix.DeviceID{alice: {"A1"}, bob: nil}
		seen := f.k.Query(r, alice, want)
		if signers(seen.DeviceKeys[alice]["A1"]) != 2 || signers(seen.MasterKeys[bob]) != 1 || signers(seen.MasterKeys[alice]) != 1 {
			t.Errorf("alice sees %s %s %s", seen.DeviceKeys[alice]["A1"], seen.MasterKeys[bob], seen.MasterKeys[alice])
		}
		seen = f.k.Query(r, bob, want)
		if signers(seen.DeviceKeys[alice]["A1"]) != 2 || signers(seen.MasterKeys[bob]) != 0 || signers(seen.MasterKeys[alice]) != 1 {
			t.Errorf("bob sees %s %s %s", seen.DeviceKeys[alice]["A1"], seen.MasterKeys[bob], seen.MasterKeys[alice])
		}
		// The signature on Bob's key is news for Alice only; the joins are left out here.
		at := before + 1
		if changed, _ := f.k.DeviceListChanges(r, alice, before, at); len(changed) != 1 || changed[0] != bob {
			t.Errorf("alice: %v", changed)
		}
		if changed, _ := f.k.DeviceListChanges(r, bob, before, at); len(changed) != 0 {
			t.Errorf("bob: %v", changed)
		}
	})
}

func TestNewDeviceKeysVoidSignatures(t *testing.T) {
	f := setUp(t)
	own := string(deviceJSON(t, alice, "A1"))
	f.upload(alice, "A1", Upload{DeviceKeys: json.RawMessage(own)})
	selfPublic, self := signer(string(alice) + "S")
	if err := f.crossSign(alice, crossSigning(t, alice, string(alice))); err != nil {
		t.Fatal(err)
	}
	if failures := f.sign(alice, fmt.Sprintf(`{%q:{"A1":%s}}`, alice, signed(t, own, alice, selfPublic, self))); len(failures) > 0 {
		t.Errorf("%v", failures)
	}
	signatures := func() (n int) {
		f.view(func(r kv.Reader) {
			q := f.k.Query(r, alice, map[matrix.UserID][]matrix.DeviceID{alice: {"A1"}})
			o, _ := matrix.ParseObject(q.DeviceKeys[alice]["A1"])
			n = len(o.Signatures()[string(alice)])
		})
		return n
	}
	if n := signatures(); n != 2 {
		t.Errorf("%d signatures", n)
	}
	_, private := signer(string(alice) + "A1")
	f.upload(alice, "A1", Upload{DeviceKeys: signed(t, strings.Replace(own, "m.olm", "m.mlo", 1), alice, "A1", private)})
	if n := signatures(); n != 1 {
		t.Errorf("%d signatures on the new keys", n)
	}
}
