package accounts_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/accounts"
	"porchlight/server/changes"
	"porchlight/server/matrix"
)

func TestProfileFields(t *testing.T) {
	h := open(t)
	alice := h.user("alice")
	witness := &gone{}
	h.AddProfileWitness(witness)
	long := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	for _, test := range []struct{ field, value, code string }{
		{"displayname", `"Alice"`, ""},
		{"displayname", long(accounts.MaxDisplayNameBytes + 1), "M_INVALID_PARAM"},
		{"displayname", `null`, "M_BAD_JSON"},
		{"displayname", `7`, "M_BAD_JSON"},
		{"displayname", `{`, "M_NOT_JSON"},
		{"avatar_url", `"mxc://house.test/a"`, ""},
		{"avatar_url", `"https://house.test/a"`, "M_INVALID_PARAM"},
		{"avatar_url", long(accounts.MaxAvatarURLBytes + 1), "M_INVALID_PARAM"},
		{"m.tz", `"Europe/London"`, ""},
		{"m.tz", `[]`, "M_BAD_JSON"},
		{"org.example.job", `{"title":"cook","since":1.50}`, ""},
		{"org.example.nothing", `null`, ""},
		{"nodots", `1`, "M_INVALID_PARAM"},
		{"Org.Example", `1`, "M_INVALID_PARAM"},
		{"", `1`, "M_INVALID_PARAM"},
		{"org." + strings.Repeat("x", 252), `1`, "M_KEY_TOO_LARGE"},
		{"org.example.big", long(accounts.MaxProfileBytes), "M_PROFILE_TOO_LARGE"},
		{"org.example.big", long(accounts.MaxProfileBytes - 1000), ""},
		{"org.example.more", long(1000), "M_PROFILE_TOO_LARGE"},
	} {
		err := h.update(func(tx *kv.WriteTx) error {
			return h.SetProfileField(tx, alice, test.field, json.RawMessage(test.value))
		})
		if !matrix.IsCode(err, test.code) && (test.code != "" || err != nil) {
			t.Errorf("%.40s = %.40s: %v, want %q", test.field, test.value, err, test.code)
		}
	}
	if len(witness.users) != 2 {
		t.Errorf("the rooms were told %d times, want 2", len(witness.users))
	}
	h.view(func(tx *kv.ReadTx) {
		profile, err := h.Profile(tx, alice)
		refused(t, err, "")
		delete(profile, "org.example.big")
		const want = `{"avatar_url":"mxc://house.test/a","displayname":"Alice","m.tz":"Europe/London",` +
			`"org.example.job":{"since":1.50,"title":"cook"},"org.example.nothing":null}`
		if got := string(matrix.Object(profile).Encode()); got != want {
			t.Errorf("profile %s", got)
		}
		_, err = h.ProfileField(tx, alice, "org.example.none")
		refused(t, err, "M_NOT_FOUND")
		_, err = h.ProfileField(tx, "@nobody:house.test", "displayname")
		refused(t, err, "M_NOT_FOUND")
	})
	before := h.changes.Published()
	for _, field := range []string{"displayname", "displayname", "org.example.big", "org.example.none"} {
		refused(t, h.update(func(tx *kv.WriteTx) error { return h.DeleteProfileField(tx, alice, field) }), "")
	}
	refused(t, h.update(func(tx *kv.WriteTx) error { return h.SetProfileField(tx, alice, "avatar_url", []byte(`""`)) }), "")
	if kinds := h.kinds(before); len(kinds) != 3 || kinds[0] != changes.Profile {
		t.Errorf("changes %v", kinds)
	}
	if len(witness.users) != 4 {
		t.Errorf("the rooms were told %d times, want 4", len(witness.users))
	}
	refused(t, h.update(func(tx *kv.WriteTx) error { return h.DeleteProfileField(tx, alice, "bad") }), "M_INVALID_PARAM")
	refused(t, h.update(func(tx *kv.WriteTx) error {
		return h.SetProfileField(tx, "@no:house.test", "displayname", []byte(`"x"`))
	}), "M_NOT_FOUND")
}

func TestAccountData(t *testing.T) {
	h := open(t)
	alice, bob := h.user("alice"), h.user("bob")
	set := func(user matrix.UserID, room matrix.RoomID, typ, content string) error {
		return h.update(func(tx *kv.WriteTx) error {
			return h.SetAccountData(tx, user, room, typ, json.RawMessage(content))
		})
	}
	before := h.changes.Published()
	refused(t, set(alice, "", "x", `{"a": 1, "b": 0.5}`), "")
	refused(t, set(alice, "", "x", `{"b":0.5,"a":1}`), "")
	refused(t, set(alice, "!r", "x", `{}`), "")
	refused(t, set(bob, "", "y", `{}`), "")
	if kinds := h.kinds(before); fmt.Sprint(kinds) != fmt.Sprint([]changes.Kind{changes.AccountData, changes.AccountData, changes.AccountData}) {
		t.Errorf("changes %v", kinds)
	}
	for typ, code := range map[string]string{
		"m.fully_read": "M_BAD_JSON", "m.push_rules": "M_BAD_JSON", "": "M_INVALID_PARAM",
		strings.Repeat("x", 256): "M_INVALID_PARAM",
	} {
		refused(t, set(alice, "", typ, `{}`), code)
	}
	refused(t, set(alice, "", "x", `[]`), "M_BAD_JSON")
	refused(t, set(alice, "", "x", `{"a":"`+strings.Repeat("x", accounts.MaxAccountDataBytes)+`"}`), "M_TOO_LARGE")
	refused(t, set("@nobody:house.test", "", "x", `{}`), "M_NOT_FOUND")
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error { return h.StoreAccountData(tx, alice, "", "m.push_rules", []byte(`{}`)) })
	h.view(func(tx *kv.ReadTx) {
		got := ""
		for typ, content := range h.AllAccountData(tx, alice, "") {
			got += typ + string(content)
		}
		if got != `m.push_rules{}x{"a":1,"b":0.5}` {
			t.Errorf("account data %s", got)
		}
		if _, ok := h.AccountData(tx, alice, "!r", "x"); !ok {
			t.Error("the room's is missing")
		}
		if _, ok := h.AccountData(tx, bob, "", "x"); ok {
			t.Error("Bob sees Alice's")
		}
	})
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
		for i := range accounts.MaxAccountDataTypes {
			if err := h.SetAccountData(tx, bob, "!r", fmt.Sprint("t", i), []byte(`{}`)); err != nil {
				return err
			}
		}
		refused(t, h.SetAccountData(tx, bob, "!r", "one more", []byte(`{}`)), "M_FORBIDDEN")
		return h.SetAccountData(tx, bob, "!r", "t0", []byte(`{"other":1}`))
	})
}

func TestTags(t *testing.T) {
	h := open(t)
	alice := h.user("alice")
	for _, test := range []struct{ tag, info, code string }{
		{"m.favourite", `{"order":0.25}`, ""},
		{"u.work", `{}`, ""},
		{"u.old", `{"order":1}`, ""},
		{"u.x", `{"order":2}`, "M_INVALID_PARAM"},
		{"u.x", `{"order":"0.5"}`, "M_INVALID_PARAM"},
		{"u.x", `{"order":null}`, "M_INVALID_PARAM"},
		{"u.x", `[]`, "M_BAD_JSON"},
		{"", `{}`, "M_INVALID_PARAM"},
		{strings.Repeat("x", 256), `{}`, "M_INVALID_PARAM"},
	} {
		err := h.update(func(tx *kv.WriteTx) error { return h.SetTag(tx, alice, "!r", test.tag, json.RawMessage(test.info)) })
		refused(t, err, test.code)
	}
	for range 2 {
		refused(t, h.update(func(tx *kv.WriteTx) error { return h.DeleteTag(tx, alice, "!r", "u.old") }), "")
	}
	h.view(func(tx *kv.ReadTx) {
		content, _ := h.AccountData(tx, alice, "!r", accounts.TypeTag)
		if string(content) != `{"tags":{"m.favourite":{"order":0.25},"u.work":{}}}` {
			t.Errorf("m.tag %s", content)
		}
		if tags := h.Tags(tx, alice, "!other"); tags == nil || len(tags) != 0 {
			t.Errorf("tags of another room %v", tags)
		}
	})
}

// badFilters are refused, with the errcode.
var badFilters = map[string]string{
	`[]`:                         "M_BAD_JSON",
	`{`:                          "M_NOT_JSON",
	`{"presence":{"limit":1.5}}`: "M_BAD_JSON",
	`{"event_fields":["` + strings.Repeat(`x`, accounts.MaxFilterBytes) + `"]}`: "M_TOO_LARGE",
}

const goodFilter = `{"room":{"state":{"types":["m.room.*"],"lazy_load_members":true,"not_rooms":["!a:b"]},` +
	`"timeline":{"limit":10,"not_senders":["@spam:example.com"]},"include_leave":true},` +
	`"presence":{"types":[]},"event_format":"client","event_fields":["type","content.body"],"org.example.more":1}`

func TestFilters(t *testing.T) {
	h := open(t)
	alice, bob := h.user("alice"), h.user("bob")
	store := func(raw string) (id string, err error) {
		err = h.update(func(tx *kv.WriteTx) (err error) {
			id, err = h.StoreFilter(tx, alice, json.RawMessage(raw))
			return err
		})
		return id, err
	}
	for raw, code := range badFilters {
		_, err := store(raw)
		if !matrix.IsCode(err, code) {
			t.Errorf("%.60s: %v, want %s", raw, err, code)
		}
	}
	id, err := store(goodFilter)
	refused(t, err, "")
	again, err := store(" " + goodFilter)
	refused(t, err, "")
	if id != again || id == "" || id[0] == '{' {
		t.Errorf("filter IDs %q and %q", id, again)
	}
	h.view(func(tx *kv.ReadTx) {
		raw, err := h.Filter(tx, alice, id)
		refused(t, err, "")
		canonical, err := matrix.Canonical([]byte(goodFilter))
		refused(t, err, "")
		if string(raw) != string(canonical) {
			t.Errorf("filter %s", raw)
		}
		_, err = h.Filter(tx, bob, id)
		refused(t, err, "M_NOT_FOUND")
	})
	kvtest.Update(t, h.db, func(tx *kv.WriteTx) error {
		for i := range accounts.MaxFilters - 1 {
			if _, err := h.StoreFilter(tx, alice, fmt.Appendf(nil, `{"room":{"timeline":{"limit":%d}}}`, i)); err != nil {
				return err
			}
		}
		_, err := h.StoreFilter(tx, alice, []byte(`{"event_fields":["x"]}`))
		refused(t, err, "M_FORBIDDEN")
		_, err = h.StoreFilter(tx, alice, []byte(goodFilter))
		return err
	})
}
