package pdu

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"porchlight/server/matrix"
	"porchlight/server/roomver"
)

// specKey is the key of the specification's test vectors (spec: appendices,
// cryptographic test vectors).
func specKey(t testing.TB) ed25519.PrivateKey {
	seed, err := matrix.DecodeBase64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
	if err != nil {
		t.Fatal(err)
	}
	return ed25519.NewKeyFromSeed(seed)
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func version(t testing.TB, id string) roomver.Version {
	v, ok := roomver.Get(id)
	if !ok {
		t.Fatalf("no room version %s", id)
	}
	return v
}

func object(t testing.TB, raw string) matrix.Object {
	canonical, err := matrix.CanonicalLenient([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	o, err := matrix.ParseObject(canonical)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func ptr(s string) *string { return &s }

// The specification's events (spec: appendices, event signing).
func TestEventSigningVectors(t *testing.T) {
	for _, tc := range []struct{ name, in, hash, signature string }{
		{"minimal", `{"room_id":"!x:domain","sender":"@a:domain","origin":"domain","origin_server_ts":1000000,"signatures":{},"hashes":{},
			"type":"X","content":{},"prev_events":[],"auth_events":[],"depth":3,"unsigned":{"age_ts":1000000}}`,
			"5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos",
			"KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"},
		{"redactable content", `{"content":{"body":"Here is the message content"},"event_id":"$0:domain","origin":"domain","origin_server_ts":1000000,
			"type":"m.room.message","room_id":"!r:domain","sender":"@u:domain","signatures":{},"unsigned":{"age_ts":1000000}}`,
			"onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g",
			"Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fields := object(t, tc.in)
			if err := hashAndSign(version(t, "1"), fields, "domain", "ed25519:1", specKey(t)); err != nil {
				t.Fatal(err)
			}
			want := object(t, tc.in)
			want["hashes"] = json.RawMessage(`{"sha256":"` + tc.hash + `"}`)
			want["signatures"] = json.RawMessage(`{"domain":{"ed25519:1":"` + tc.signature + `"}}`)
			if got := fields.Encode(); string(got) != string(want.Encode()) {
				t.Errorf("got %s\nwant %s", got, want.Encode())
			}
		})
	}
}

// draft is a state event with a bit of everything, fit for the version.
func draft(v roomver.Version) Draft {
	room := matrix.RoomID("!r:domain")
	parent := matrix.EventID("$parent:domain")
	if v.EventID != roomver.EventIDGiven {
		parent = "$" + matrix.EventID(strings.Repeat("p", 43))
	}
	if v.RoomIDIsHash {
		room = "!" + matrix.RoomID(strings.Repeat("r", 43))
	}
	return Draft{
		Room: room, Sender: "@u:domain", Type: "m.room.topic", StateKey: ptr(""),
		Content:    json.RawMessage(`{ "topic": "\u003cTea\u003e", "a": 1 }`),
		AuthEvents: []matrix.EventID{parent}, PrevEvents: []matrix.EventID{parent},
		ReferenceHashes: map[matrix.EventID]string{parent: "aGFzaA"},
		Depth:           7, OriginServerTS: 1234567890123,
	}
}

func build(t testing.TB, v roomver.Version, d Draft) *PDU {
	p, err := Build(v, d, "domain", "ed25519:1", specKey(t), strings.NewReader(strings.Repeat("random bytes ", 9)))
	if err != nil {
		t.Fatalf("version %s: %v", v.ID, err)
	}
	return p
}

func TestBuild(t *testing.T) {
	key := specKey(t)
	for _, v := range roomver.All() {
		t.Run("v"+v.ID, func(t *testing.T) {
			d := draft(v)
			p := build(t, v, d)
			if p.Room != d.Room || p.Sender != d.Sender || p.Type != d.Type || *p.StateKey != "" || p.Depth != 7 ||
				p.OriginServerTS != d.OriginServerTS || string(p.Content) != `{"a":1,"topic":"<Tea>"}` ||
				len(p.AuthEvents) != 1 || p.AuthEvents[0] != d.AuthEvents[0] || len(p.PrevEvents) != 1 || !p.HasRoomID {
				t.Errorf("not as drafted: %+v", p)
			}
			if canonical, err := matrix.Canonical(p.Raw); err != nil || !bytes.Equal(canonical, p.Raw) {
				t.Errorf("Raw is not canonical: %s, %v", p.Raw, err)
			}
			again, err := Parse(v, p.Raw)
			if err != nil || again.ID != p.ID {
				t.Fatalf("parsed again: %v, %v", again, err)
			}
			if !p.CheckContentHash() {
				t.Error("content hash")
			}
			if err := p.VerifySignature("domain", "ed25519:1", public(key)); err != nil {
				t.Error(err)
			}
			redacted, err := p.Redacted()
			if err != nil || redacted.ID != p.ID || redacted.CheckContentHash() {
				t.Errorf("redacted: %v, %v", redacted, err)
			}
			if err := redacted.VerifySignature("domain", "ed25519:1", public(key)); err != nil {
				t.Errorf("the signature does not survive redaction: %v", err)
			}
			checkIDForm(t, p)
		})
	}
}

func checkIDForm(t *testing.T, p *PDU) {
	sum, err := matrix.DecodeBase64(p.ReferenceHash())
	if err != nil {
		t.Fatal(err)
	}
	switch p.Version.EventID {
	case roomver.EventIDGiven:
		if !strings.HasSuffix(string(p.ID), ":domain") || !bytes.Contains(p.Raw, []byte(`"event_id":"`+p.ID+`"`)) ||
			!bytes.Contains(p.Raw, []byte(`"prev_events":[["$parent:domain",{"sha256":"aGFzaA"}]]`)) {
			t.Errorf("%s in %s", p.ID, p.Raw)
		}
	default:
		id, err := matrix.DecodeBase64(string(p.ID[1:]))
		if err != nil || !bytes.Equal(id, sum) || bytes.Contains(p.Raw, []byte("event_id")) {
			t.Errorf("%s in %s", p.ID, p.Raw)
		}
	}
}

// Versions 3 and 4 differ in two characters of base64 only.
func TestEventIDAlphabet(t *testing.T) {
	for ts := int64(0); ; ts++ {
		d := draft(version(t, "3"))
		d.OriginServerTS = ts
		third, fourth := build(t, version(t, "3"), d).ID, build(t, version(t, "4"), d).ID
		if strings.ContainsAny(string(third), "+/") {
			if got := strings.NewReplacer("+", "-", "/", "_").Replace(string(third)); got != string(fourth) {
				t.Errorf("%s, %s", third, fourth)
			}
			return
		}
	}
}

func TestBuildCreate(t *testing.T) {
	for _, v := range roomver.All() {
		d := Draft{
			Room: "!r:domain", Sender: "@u:domain", Type: "m.room.create", StateKey: ptr(""),
			Content: json.RawMessage(`{"room_version":"` + v.ID + `","creator":"@u:domain"}`), Depth: 1,
		}
		if v.RoomIDIsHash {
			d.Room = ""
		}
		p := build(t, v, d)
		if p.HasRoomID == v.RoomIDIsHash || !p.IsCreate() {
			t.Errorf("version %s: %s", v.ID, p.Raw)
		}
		if v.RoomIDIsHash && (string(p.Room[1:]) != string(p.ID[1:]) || CreateEventOf(p.Room) != p.ID || p.Room[0] != '!') {
			t.Errorf("version %s: room %s of event %s", v.ID, p.Room, p.ID)
		}
		if !bytes.Contains(p.Raw, []byte(`"auth_events":[]`)) || !bytes.Contains(p.Raw, []byte(`"prev_events":[]`)) {
			t.Errorf("version %s: %s", v.ID, p.Raw)
		}
	}
}

func TestBuildRedaction(t *testing.T) {
	for _, v := range roomver.All() {
		d := draft(v)
		d.Type, d.StateKey, d.Redacts, d.Content = "m.room.redaction", nil, "$gone:domain", json.RawMessage(`{"reason":"spam"}`)
		p := build(t, v, d)
		_, atTop := object(t, string(p.Raw))["redacts"]
		inContent := object(t, string(p.Content)).Has("redacts")
		if p.Redacts != "$gone:domain" || atTop == v.RedactsInContent || inContent != v.RedactsInContent {
			t.Errorf("version %s: %s", v.ID, p.Raw)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	long := strings.Repeat("x", MaxKeyBytes+1)
	many := func(n int) (ids []matrix.EventID) {
		for i := range n {
			ids = append(ids, matrix.EventID(fmt.Sprintf("$%d", i)))
		}
		return ids
	}
	for _, tc := range []struct {
		name, code string
		change     func(*Draft)
	}{
		{"float", "M_BAD_JSON", func(d *Draft) { d.Content = json.RawMessage(`{"a":1.5}`) }},
		{"escape from content", "M_NOT_JSON", func(d *Draft) { d.Content = json.RawMessage(`{},"sender":"@other:domain"`) }},
		{"no content", "M_NOT_JSON", func(d *Draft) { d.Content = nil }},
		{"content is no object", "M_BAD_JSON", func(d *Draft) { d.Content = json.RawMessage(`[]`) }},
		{"content null", "M_BAD_JSON", func(d *Draft) { d.Content = json.RawMessage(`null`) }},
		{"too large", "M_TOO_LARGE", func(d *Draft) {
			d.Content = json.RawMessage(`{"a":"` + strings.Repeat("x", matrix.MaxEventBytes) + `"}`)
		}},
		{"long type", "M_TOO_LARGE", func(d *Draft) { d.Type = long }},
		{"long state key", "M_TOO_LARGE", func(d *Draft) { d.StateKey = &long }},
		{"no sender", "M_BAD_JSON", func(d *Draft) { d.Sender = "" }},
		{"no room", "M_BAD_JSON", func(d *Draft) { d.Room = "" }},
		{"depth", "M_BAD_JSON", func(d *Draft) { d.Depth = -1 }},
		{"great depth", "M_BAD_JSON", func(d *Draft) { d.Depth = 1 << 53 }},
		{"time", "M_BAD_JSON", func(d *Draft) { d.OriginServerTS = 1 << 53 }},
		{"auth events", "M_BAD_JSON", func(d *Draft) { d.AuthEvents = many(MaxAuthEvents + 1) }},
		{"prev events", "M_BAD_JSON", func(d *Draft) { d.PrevEvents = many(MaxPrevEvents + 1) }},
		{"half a character", "M_NOT_JSON", func(d *Draft) { d.Type = "\xff" }},
	} {
		d := draft(version(t, "12"))
		tc.change(&d)
		if p, err := Build(version(t, "12"), d, "domain", "ed25519:1", specKey(t), nil); !matrix.IsCode(err, tc.code) {
			t.Errorf("%s: %v, %v; want %s", tc.name, p, err, tc.code)
		}
	}
	d := draft(version(t, "1"))
	if _, err := Build(version(t, "1"), d, "domain", "ed25519:1", specKey(t), strings.NewReader("short")); err == nil {
		t.Error("built without randomness")
	}
	d.ReferenceHashes = nil
	if _, err := Build(version(t, "1"), d, "domain", "ed25519:1", specKey(t), strings.NewReader(long)); err == nil {
		t.Error("built without reference hashes")
	}
}

func TestSizeBound(t *testing.T) {
	v := version(t, "12")
	d := draft(v)
	size := len(build(t, v, d).Raw)
	d.Content = json.RawMessage(`{"a":1,"topic":"<Tea>` + strings.Repeat("x", matrix.MaxEventBytes-size) + `"}`)
	if got := len(build(t, v, d).Raw); got != matrix.MaxEventBytes {
		t.Errorf("%d bytes", got)
	}
}

func TestSignAgain(t *testing.T) {
	_, other, err := ed25519.GenerateKey(strings.NewReader(strings.Repeat("0123456789", 9)))
	if err != nil {
		t.Fatal(err)
	}
	v := version(t, "10")
	p := build(t, v, draft(v))
	q, err := p.Sign("elsewhere", "ed25519:z", other)
	if err != nil {
		t.Fatal(err)
	}
	if q.ID != p.ID || p.HasSignature("elsewhere") || !q.HasSignature("elsewhere") || !q.HasSignature("domain") {
		t.Error("one more signature changes nothing else, and not the first event")
	}
	if err := q.VerifySignature("elsewhere", "ed25519:z", public(other)); err != nil {
		t.Error(err)
	}
	if err := q.VerifySignature("domain", "ed25519:1", public(specKey(t))); err != nil {
		t.Error(err)
	}
	for _, wrong := range []struct {
		server matrix.ServerName
		id     matrix.KeyID
	}{{"domain", "ed25519:z"}, {"elsewhere", "ed25519:1"}, {"nowhere", "ed25519:1"}} {
		if err := q.VerifySignature(wrong.server, wrong.id, public(other)); !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Errorf("%v: %v", wrong, err)
		}
	}
	if got := q.Signatures("elsewhere"); len(got) != 1 || got[0] != "ed25519:z" {
		t.Errorf("%v", got)
	}
}

func TestTampering(t *testing.T) {
	v := version(t, "12")
	p := build(t, v, draft(v))
	inContent, err := Parse(v, bytes.Replace(p.Raw, []byte("Tea"), []byte("Sea"), 1))
	if err != nil || inContent.CheckContentHash() || inContent.ID != p.ID {
		t.Errorf("changed content: %v, %v", inContent, err)
	}
	if err := inContent.VerifySignature("domain", "ed25519:1", public(specKey(t))); err != nil {
		t.Errorf("the signature covers the redacted event only: %v", err)
	}
	inDepth, err := Parse(v, bytes.Replace(p.Raw, []byte(`"depth":7`), []byte(`"depth":8`), 1))
	if err != nil || inDepth.ID == p.ID {
		t.Errorf("changed depth: %v, %v", inDepth, err)
	}
	if err := inDepth.VerifySignature("domain", "ed25519:1", public(specKey(t))); !matrix.IsCode(err, "M_FORBIDDEN") {
		t.Errorf("changed depth: %v", err)
	}
	unsigned, err := Parse(v, append([]byte(`{"unsigned":{"age":1},`), p.Raw[1:]...))
	if err != nil || unsigned.ID != p.ID || string(unsigned.Unsigned) != `{"age":1}` || !bytes.Equal(unsigned.Raw, p.Raw) {
		t.Errorf("unsigned: %v, %v", unsigned, err)
	}
}

func TestParseRefuses(t *testing.T) {
	long := strings.Repeat("x", matrix.MaxIDBytes)
	for _, tc := range []struct{ version, key, value string }{
		{"12", "sender", `5`}, {"12", "sender", ``}, {"12", "sender", `"u:domain"`}, {"12", "sender", `"@u"`}, {"12", "sender", `"@u:do main"`},
		{"12", "sender", `"@u\u0000:domain"`}, {"12", "sender", `"@` + long + `:domain"`}, {"12", "sender", `null`},
		{"12", "type", `1`}, {"12", "type", ``}, {"12", "type", `null`}, {"12", "state_key", `null`}, {"12", "state_key", `1`},
		{"12", "depth", ``}, {"12", "depth", `"1"`}, {"12", "depth", `-1`}, {"12", "depth", `9007199254740992`}, {"12", "depth", `1.0`},
		{"5", "depth", `1.0`}, {"5", "depth", `9223372036854775808`},
		{"12", "origin_server_ts", ``}, {"12", "origin_server_ts", `"1"`}, {"5", "origin_server_ts", `1.5`},
		{"12", "content", ``}, {"12", "content", `null`}, {"12", "content", `[]`}, {"12", "content", `"x"`}, {"12", "content", `{"a":1.0}`},
		{"12", "auth_events", ``}, {"12", "auth_events", `null`}, {"12", "auth_events", `{}`}, {"12", "auth_events", `[1]`},
		{"12", "auth_events", `["x"]`}, {"12", "auth_events", `[null]`}, {"12", "prev_events", `[["$x",{}]]`}, {"12", "prev_events", `["$` + long + `"]`},
		{"1", "prev_events", `["$x"]`}, {"1", "prev_events", `[["$x"]]`}, {"1", "prev_events", `[["$x",1]]`}, {"1", "prev_events", `[["$x",{},{}]]`},
		{"1", "event_id", ``}, {"1", "event_id", `"$x"`}, {"2", "event_id", `1`}, {"2", "event_id", `"x:domain"`},
		{"12", "hashes", ``}, {"12", "hashes", `{}`}, {"12", "hashes", `{"sha256":1}`}, {"12", "hashes", `[]`},
		{"12", "signatures", ``}, {"12", "signatures", `[]`}, {"12", "signatures", `{"a":1}`}, {"12", "signatures", `{"a":{"ed25519:1":1}}`},
		{"12", "room_id", ``}, {"12", "room_id", `null`}, {"12", "room_id", `"r"`}, {"12", "room_id", `"!"`}, {"12", "room_id", `"!` + long + `"`},
	} {
		v := version(t, tc.version)
		fields := maps.Clone(build(t, v, draft(v)).fields)
		if tc.value == "" {
			delete(fields, tc.key)
		} else {
			fields[tc.key] = json.RawMessage(tc.value)
		}
		if p, err := Parse(v, fields.Encode()); !matrix.IsCode(err, "M_BAD_JSON") {
			t.Errorf("version %s, %s %s: %v, %v", tc.version, tc.key, tc.value, p, err)
		}
	}
	for in, code := range map[string]string{"": "M_NOT_JSON", "[]": "M_BAD_JSON", "null": "M_BAD_JSON", "{}": "M_BAD_JSON", `{"a":1,"a":1}`: "M_BAD_JSON"} {
		if _, err := Parse(version(t, "12"), []byte(in)); !matrix.IsCode(err, code) {
			t.Errorf("%q: %v", in, err)
		}
	}
	v := version(t, "10")
	fields := maps.Clone(build(t, v, draft(v)).fields)
	fields["type"], fields["redacts"] = json.RawMessage(`"m.room.redaction"`), json.RawMessage(`1`)
	if _, err := Parse(v, fields.Encode()); !matrix.IsCode(err, "M_BAD_JSON") {
		t.Errorf("redacts: %v", err)
	}
}

// What old room versions and old users may have sent has to be read.
func TestParseAcceptsHistory(t *testing.T) {
	for _, tc := range []struct{ version, key, value string }{
		{"5", "content", `{"a":1.5,"b":123456789012345678901234567890}`},
		{"5", "depth", `9223372036854775807`},
		{"12", "sender", `"@:domain"`}, {"12", "sender", `"@A b\n:domain"`}, {"12", "sender", `"@ü:[::1]:80"`},
		{"12", "anything", `[{}]`}, {"12", "event_id", `"$given:domain"`},
	} {
		v := version(t, tc.version)
		fields := maps.Clone(build(t, v, draft(v)).fields)
		fields[tc.key] = json.RawMessage(tc.value)
		if _, err := Parse(v, fields.Encode()); err != nil {
			t.Errorf("version %s, %s %s: %v", tc.version, tc.key, tc.value, err)
		}
	}
}

// Keys have case: what only looks like a field must not be read as one.
func TestParseCase(t *testing.T) {
	v := version(t, "12")
	p := build(t, v, draft(v))
	q, err := Parse(v, append([]byte(`{"Sender":"@eve:domain","STATE_KEY":"x",`), p.Raw[1:]...))
	if err != nil || q.Sender != p.Sender || *q.StateKey != "" {
		t.Errorf("%+v, %v", q, err)
	}
}

func TestRequiredSigners(t *testing.T) {
	for _, tc := range []struct{ version, content, want string }{
		{"1", `{"membership":"join"}`, "domain far"},
		{"2", `{"membership":"invite","third_party_invite":{}}`, "domain"},
		{"3", `{"membership":"join"}`, "far"},
		{"7", `{"membership":"join","join_authorised_via_users_server":"@x:near"}`, "far"},
		{"8", `{"membership":"join","join_authorised_via_users_server":"@x:near"}`, "far near"},
		{"12", `{"membership":"join","join_authorised_via_users_server":5}`, "far"},
		{"12", `{"membership":"invite","third_party_invite":{}}`, ""},
		{"12", `{"membership":"join","third_party_invite":{}}`, "far"},
	} {
		v := version(t, tc.version)
		d := draft(v)
		d.Sender, d.Type, d.StateKey, d.Content = "@u:far", "m.room.member", ptr("@u:far"), json.RawMessage(tc.content)
		var got []string
		for _, server := range build(t, v, d).RequiredSigners() {
			got = append(got, string(server))
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("version %s, %s: %v, want %s", tc.version, tc.content, got, tc.want)
		}
	}
}

func TestNextDepth(t *testing.T) {
	for _, tc := range []struct {
		version       string
		deepest, want int64
	}{{"12", 0, 1}, {"12", 1<<53 - 2, 1<<53 - 1}, {"12", 1<<53 - 1, 1<<53 - 1}, {"1", 1<<53 - 1, 1 << 53}, {"1", 1<<63 - 1, 1<<63 - 1}} {
		if got := NextDepth(version(t, tc.version), tc.deepest); got != tc.want {
			t.Errorf("version %s: after %d comes %d", tc.version, tc.deepest, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range roomver.All() {
		f.Add(v.ID, []byte(build(f, v, draft(v)).Raw))
		d := draft(v)
		d.Type, d.StateKey, d.Redacts = "m.room.redaction", nil, "$gone:domain"
		f.Add(v.ID, []byte(build(f, v, d).Raw))
	}
	f.Add("12", []byte(`{"auth_events":[],"content":{},"depth":1,"hashes":{"sha256":""},"origin_server_ts":1,"prev_events":[],"sender":"@a:b","signatures":{},"state_key":"","type":"m.room.create"}`))
	f.Fuzz(func(t *testing.T, id string, raw []byte) {
		v, ok := roomver.Get(id)
		if !ok {
			return
		}
		p, err := Parse(v, raw)
		if err != nil {
			return
		}
		again, err := Parse(v, p.Raw)
		if err != nil || again.ID != p.ID || !bytes.Equal(again.Raw, p.Raw) {
			t.Fatalf("parsed again: %v, %v", again, err)
		}
		redacted, err := p.Redacted()
		if err != nil {
			t.Fatalf("redacted: %v", err)
		}
		if redacted.ID != p.ID || redacted.ReferenceHash() != p.ReferenceHash() {
			t.Fatalf("the ID changed from %s to %s", p.ID, redacted.ID)
		}
		twice, err := redacted.Redacted()
		if err != nil || !bytes.Equal(twice.Raw, redacted.Raw) {
			t.Fatalf("redacted twice: %v, %v", twice, err)
		}
		p.CheckContentHash()
		for _, server := range p.RequiredSigners() {
			p.HasSignature(server)
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	v, key := version(b, "12"), specKey(b)
	d := draft(v)
	for b.Loop() {
		if _, err := Build(v, d, "domain", "ed25519:1", key, nil); err != nil {
			b.Fatal(err)
		}
	}
}
