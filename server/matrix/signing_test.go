package matrix

import (
	"crypto/ed25519"
	"testing"
)

// specKey is the key of the specification's test vectors (spec: appendices,
// cryptographic test vectors).
func specKey(t *testing.T) ed25519.PrivateKey {
	seed, err := DecodeBase64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
	if err != nil {
		t.Fatal(err)
	}
	return ed25519.NewKeyFromSeed(seed)
}

func TestSignJSON(t *testing.T) {
	key := specKey(t)
	public := key.Public().(ed25519.PublicKey)
	for _, tc := range []struct{ in, want string }{
		{`{}`, `{"signatures":{"domain":{"ed25519:1":"K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"}}}`},
		{`{"one": 1, "two": "Two"}`, `{"one":1,"signatures":{"domain":{"ed25519:1":"KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"}},"two":"Two"}`},
		{`{"unsigned":{"age":1},"signatures":{"other":{"ed25519:x":"AA"},"domain":{"ed25519:0":"AA"}}}`,
			`{"signatures":{"domain":{"ed25519:0":"AA","ed25519:1":"K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"},"other":{"ed25519:x":"AA"}},"unsigned":{"age":1}}`},
	} {
		got, err := SignJSON([]byte(tc.in), "domain", "ed25519:1", key)
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: got %s, %v; want %s", tc.in, got, err, tc.want)
		}
		if err := VerifyJSON(got, "domain", "ed25519:1", public); err != nil {
			t.Errorf("%s: %v", tc.in, err)
		}
		for _, wrong := range []struct {
			entity string
			id     KeyID
			key    ed25519.PublicKey
		}{
			{"elsewhere", "ed25519:1", public}, {"domain", "ed25519:2", public}, {"domain", "ed25519:1", public[:31]},
			{"domain", "ed25519:1", make(ed25519.PublicKey, ed25519.PublicKeySize)},
		} {
			if err := VerifyJSON(got, wrong.entity, wrong.id, wrong.key); !IsCode(err, "M_FORBIDDEN") {
				t.Errorf("%s: %v accepted: %v", tc.in, wrong, err)
			}
		}
	}
}

func TestSignJSONRefuses(t *testing.T) {
	for _, in := range []string{`[]`, `null`, `1.5`, `{"a":1.5}`, `{"signatures":1}`, `{"signatures":{"domain":[]}}`} {
		if got, err := SignJSON([]byte(in), "domain", "ed25519:1", specKey(t)); !IsCode(err, "M_BAD_JSON") {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
}

func TestSignaturesLeavesOutTheMalformed(t *testing.T) {
	o, err := ParseObject([]byte(`{"signatures":{"a":{"ed25519:1":"x","rsa:1":"y","ed25519:2":3},"b":[],"c":null,"d":{}}}`))
	if err != nil {
		t.Fatal(err)
	}
	got := o.Signatures()
	if len(got) != 1 || len(got["a"]) != 1 || got["a"]["ed25519:1"] != "x" {
		t.Errorf("got %v", got)
	}
}

func TestObjectKeysHaveCase(t *testing.T) {
	o, err := ParseObject([]byte(`{"Membership":"join","a":null,"b":{"c":"d"},"e":"<\u2028"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := o.Text("membership"); ok {
		t.Error("membership was found under another key")
	}
	if _, ok := o.Text("a"); ok || !o.Has("a") || o.Has("z") {
		t.Error("null is there, but no text")
	}
	if inner, ok := o.Object("b"); !ok || string(inner.Encode()) != `{"c":"d"}` {
		t.Error("inner object")
	}
	if _, ok := o.Object("a"); ok {
		t.Error("null is no object")
	}
	o.SetText("e", "<\u2028")
	if string(o["e"]) != "\"<\u2028\"" {
		t.Errorf("text is not canonical: %s", o["e"])
	}
}

func TestDecodeBase64(t *testing.T) {
	for _, s := range []string{"", "Zg", "Zg==", "Zm8", "Zm8=", "Zm9v", "+/+/", "-_-_"} {
		if _, err := DecodeBase64(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	if _, err := DecodeBase64("Z"); !IsCode(err, "M_INVALID_PARAM") {
		t.Errorf("accepted: %v", err)
	}
}
