package clientapi_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"porchlight/server/matrix"
	"porchlight/server/servertest"
)

// signer is a key pair made from a name.
func signer(name string) (public string, private ed25519.PrivateKey) {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	private = ed25519.NewKeyFromSeed(seed)
	return matrix.EncodeBase64(private.Public().(ed25519.PublicKey)), private
}

// signed is a JSON object with the signature of a user's device.
func signed(t *testing.T, user matrix.UserID, device, raw string) string {
	t.Helper()
	_, private := signer(device)
	out, err := matrix.SignJSON([]byte(raw), string(user), matrix.KeyID("ed25519:"+device), private)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func publicOf(device string) string {
	public, _ := signer(device)
	return public
}

// deviceKeys are a device's identity keys; more is put in front of the other fields.
func deviceKeys(t *testing.T, user matrix.UserID, device, more string) string {
	t.Helper()
	public, _ := signer(device)
	return signed(t, user, device, fmt.Sprintf(`{%s"user_id":%q,"device_id":%q,"algorithms":["m.olm.v1.curve25519-aes-sha2"],
		"keys":{"curve25519:%[3]s":"Y3VydmU","ed25519:%[3]s":%[4]q}}`, more, user, device, public))
}

func TestKeys(t *testing.T) {
	s := servertest.New(t)
	upload := func(name, body string, status int, errcode, want string, changes int) servertest.Case {
		return servertest.Case{Name: name, Who: "alice", Method: "POST", Path: "v3/keys/upload", Body: body, Status: status, Errcode: errcode, Want: want, Changes: changes}
	}
	query := func(name, who, body string, status int, errcode, want string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "POST", Path: "v3/keys/query", Body: body, Status: status, Errcode: errcode, Want: want}
	}
	claim := func(name, body string, status int, errcode, want string, changes int) servertest.Case {
		return servertest.Case{Name: name, Who: "bob", Method: "POST", Path: "v3/keys/claim", Body: body, Status: status, Errcode: errcode, Want: want, Changes: changes}
	}
	const claimOne = `{"one_time_keys":{"{@alice}":{"{@alice.device}":"signed_curve25519"}}}`
	alice := s.User("alice")
	s.User("bob")
	aKey := func(key string) string { return signed(t, alice.ID, "ALICE", `{"key":"`+key+`"}`) }
	aliceKeys := deviceKeys(t, alice.ID, "ALICE", "")
	s.Run(t, []servertest.Case{
		upload("nothing", `{}`, 200, "", `{"one_time_key_counts":{"signed_curve25519":0}}`, 0),
		upload("device keys", `{"device_keys":`+aliceKeys+`}`, 200, "", `{"one_time_key_counts":{"signed_curve25519":0}}`, 1),
		upload("the same again", `{"device_keys":`+aliceKeys+`}`, 200, "", "", 0),
		upload("of another user", `{"device_keys":{"user_id":"{@bob}","device_id":"ALICE","algorithms":[],"keys":{},"signatures":{}}}`, 400, "M_INVALID_PARAM", "", 0),
		upload("of another device", `{"device_keys":{"user_id":"{@alice}","device_id":"TABLET","algorithms":[],"keys":{},"signatures":{}}}`, 400, "M_INVALID_PARAM", "", 0),
		upload("signed by another device", `{"device_keys":`+signed(t, alice.ID, "OTHER", `{"user_id":"{@alice}","device_id":"ALICE","algorithms":[],"keys":{"ed25519:ALICE":"`+publicOf("ALICE")+`"}}`)+`}`, 400, "M_INVALID_SIGNATURE", "", 0),
		upload("without an ed25519 key", `{"device_keys":{"user_id":"{@alice}","device_id":"ALICE","algorithms":[],"keys":{},"signatures":{}}}`, 400, "M_INVALID_PARAM", "", 0),
		upload("changed after signing", `{"device_keys":`+strings.Replace(aliceKeys, "m.olm.v1", "m.olm.v2", 1)+`}`, 400, "M_INVALID_SIGNATURE", "", 0),
		upload("device keys of the wrong type", `{"device_keys":7}`, 400, "M_BAD_JSON", "", 0),
		upload("null", `{"device_keys":null,"one_time_keys":null,"fallback_keys":null}`, 200, "", "", 0),
		upload("one-time keys", `{"one_time_keys":{"signed_curve25519:A":`+aKey("k1")+`,"signed_curve25519:B":`+aKey("k2")+`}}`, 200, "", `{"one_time_key_counts":{"signed_curve25519":2}}`, 0),
		upload("a known one and a new one", `{"one_time_keys":{"signed_curve25519:A":`+aKey("k1")+`,"signed_curve25519:C":`+aKey("k3")+`}}`, 200, "", `{"one_time_key_counts":{"signed_curve25519":3}}`, 0),
		upload("another key of a known name", `{"one_time_keys":{"signed_curve25519:A":`+aKey("other")+`}}`, 400, "M_UNKNOWN", "", 0),
		upload("a key that bob signed", `{"one_time_keys":{"signed_curve25519:Z":`+signed(t, s.User("bob").ID, "BOB", `{"key":"z"}`)+`}}`, 400, "M_INVALID_SIGNATURE", "", 0),
		upload("a fallback key that nobody signed", `{"fallback_keys":{"signed_curve25519:Z":{"key":"z","signatures":{}}}}`, 400, "M_INVALID_SIGNATURE", "", 0),
		upload("a key without algorithm", `{"one_time_keys":{"A":`+aKey("k")+`}}`, 400, "M_INVALID_PARAM", "", 0),
		upload("a fallback key", `{"fallback_keys":{"signed_curve25519:F":`+aKey("fall")+`}}`, 200, "", "", 0),

		query("all", "bob", `{"device_keys":{"{@alice}":[],"{@bob}":[]}}`, 200, "", `{"device_keys":{"{@alice}":{"ALICE":`+aliceKeys+`},"{@bob}":{"*":"!absent"}},"master_keys":{},"failures":{}}`),
		query("one that there is not", "bob", `{"device_keys":{"{@alice}":["TABLET"]}}`, 200, "", `{"device_keys":{"{@alice}":{"ALICE":"!absent"}}}`),
		query("nobody", "bob", `{"device_keys":{"@nobody:{server}":[]}}`, 200, "", `{"device_keys":{"@nobody:{server}":"!absent"}}`),
		query("elsewhere", "bob", `{"device_keys":{"@x:elsewhere.test":[]}}`, 200, "", `{"failures":{"elsewhere.test":{"errcode":"M_UNKNOWN"}}}`),
		query("no map", "bob", `{"device_keys":[]}`, 400, "M_BAD_JSON", ""),
		query("no list", "bob", `{"device_keys":{"{@alice}":{"a":"b"}}}`, 400, "M_BAD_JSON", ""),
		query("missing", "bob", `{}`, 400, "M_MISSING_PARAM", ""),
		query("no token", "", `{"device_keys":{}}`, 401, "M_MISSING_TOKEN", ""),

		claim("the first", claimOne, 200, "", `{"one_time_keys":{"{@alice}":{"ALICE":{"signed_curve25519:A":`+aKey("k1")+`}}},"failures":{}}`, 1),
		claim("the second", claimOne, 200, "", `{"one_time_keys":{"{@alice}":{"ALICE":{"signed_curve25519:B":`+aKey("k2")+`}}}}`, 1),
		claim("the third", claimOne, 200, "", `{"one_time_keys":{"{@alice}":{"ALICE":{"signed_curve25519:C":`+aKey("k3")+`}}}}`, 1),
		claim("the fallback", claimOne, 200, "", `{"one_time_keys":{"{@alice}":{"ALICE":{"signed_curve25519:F":`+aKey("fall")+`}}}}`, 1),
		claim("the fallback again", claimOne, 200, "", `{"one_time_keys":{"{@alice}":{"ALICE":{"signed_curve25519:F":"*"}}}}`, servertest.Any),
		claim("an algorithm without keys", `{"one_time_keys":{"{@alice}":{"ALICE":"m.magic"}}}`, 200, "", `{"one_time_keys":{"{@alice}":"!absent"}}`, 0),
		claim("of the wrong type", `{"one_time_keys":{"{@alice}":"ALICE"}}`, 400, "M_BAD_JSON", "", 0),

		{Name: "changes without from", Who: "bob", Method: "GET", Path: "v3/keys/changes?to=s1", Status: 400, Errcode: "M_MISSING_PARAM"},
		{Name: "changes from nonsense", Who: "bob", Method: "GET", Path: "v3/keys/changes?from=x&to=s1", Status: 400, Errcode: "M_INVALID_PARAM"},
		{Name: "changes", Who: "alice", Method: "GET", Path: "v3/keys/changes?from=s0&to=s1000", Status: 200, Want: `{"changed":["{@alice}"],"left":[]}`},
	})
}

func TestSendToDevice(t *testing.T) {
	s := servertest.New(t)
	s.User("alice")
	s.User("alice#2")
	s.User("bob")
	send := func(name, txn, body string, status int, errcode string, changes int) servertest.Case {
		return servertest.Case{Name: name, Who: "bob", Method: "PUT", Path: "v3/sendToDevice/m.test/" + txn, Body: body, Status: status, Errcode: errcode, Changes: changes}
	}
	const toAll = `{"messages":{"{@alice}":{"*":{"n":1}}}}`
	s.Run(t, []servertest.Case{
		send("to all", "1", toAll, 200, "", 2),
		send("the same transaction", "1", toAll, 200, "", 0),
		send("to one", "2", `{"messages":{"{@alice}":{"{@alice.device}":{"n":2}}}}`, 200, "", 1),
		send("to nobody", "3", `{"messages":{"@nobody:{server}":{"*":{}},"{@alice}":{"GONE":{}}}}`, 200, "", 0),
		send("no object", "4", `{"messages":{"{@alice}":{"*":1}}}`, 400, "M_BAD_JSON", 0),
		send("no messages", "5", `{}`, 400, "M_MISSING_PARAM", 0),
		{Name: "no token", Method: "PUT", Path: "v3/sendToDevice/m.test/1", Body: toAll, Status: 401, Errcode: "M_MISSING_TOKEN"},
		{Name: "they arrive", Who: "alice", Method: "GET", Path: "v3/sync", Status: 200, Save: map[string]string{"next": "next_batch"},
			Want: `{"to_device":{"events":[{"type":"m.test","sender":"{@bob}","content":{"n":1}},{"type":"m.test","sender":"{@bob}","content":{"n":2}}]}}`, Changes: servertest.Any},
		{Name: "again, since nobody said that they did", Who: "alice", Method: "GET", Path: "v3/sync", Status: 200,
			Want: `{"to_device":{"events":[{"content":{"n":1}},{"content":{"n":2}}]}}`, Changes: servertest.Any},
		{Name: "acknowledged", Who: "alice", Method: "GET", Path: "v3/sync?since={next}", Status: 200, Want: `{"to_device":"!absent"}`, Changes: servertest.Any},
		{Name: "gone", Who: "alice", Method: "GET", Path: "v3/sync", Status: 200, Want: `{"to_device":"!absent"}`, Changes: servertest.Any},
	})
}

// crossKeys is the body of /keys/device_signing/upload with keys made from a name.
func crossKeys(t *testing.T, user matrix.UserID, name string) string {
	t.Helper()
	key := func(purpose string) (string, ed25519.PrivateKey) { return signer(name + purpose) }
	object := func(usage, public string) []byte {
		return fmt.Appendf(nil, `{"user_id":%q,"usage":[%q],"keys":{"ed25519:%s":%[3]q}}`, user, usage, public)
	}
	master, masterKey := key("master")
	body := map[string]json.RawMessage{"master_key": object("master", master)}
	for _, usage := range []string{"self_signing", "user_signing"} {
		public, _ := key(usage)
		signed, err := matrix.SignJSON(object(usage, public), string(user), matrix.KeyID("ed25519:"+master), masterKey)
		if err != nil {
			t.Fatal(err)
		}
		body[usage+"_key"] = signed
	}
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestCrossSigning(t *testing.T) {
	s := servertest.New(t)
	s.SetPassword("alice", password)
	one, two := crossKeys(t, s.User("alice").ID, "one"), crossKeys(t, s.User("alice").ID, "two")
	upload := func(name, body string, status int, errcode string, changes int) servertest.Case {
		return servertest.Case{Name: name, Who: "alice", Method: "POST", Path: "v3/keys/device_signing/upload", Body: body, Status: status, Errcode: errcode, Changes: changes}
	}
	challenged := upload("new keys have to be confirmed", two, 401, "", 0)
	challenged.Save = map[string]string{"session": "session"}
	s.Run(t, []servertest.Case{
		upload("without a master key", `{}`, 400, "M_MISSING_PARAM", 0),
		upload("of the wrong type", `{"master_key":[]}`, 400, "M_BAD_JSON", 0),
		upload("the first need no password", one, 200, "", 1),
		upload("nor do the same again", one, 200, "", 1),
		challenged,
	})
	confirmed := strings.TrimSuffix(two, "}") + `,"auth":` + passwordAuth("alice", password, s.Var("session")) + `}`
	s.Run(t, []servertest.Case{
		upload("confirmed", confirmed, 200, "", 1),
		{Name: "bob sees two keys", Who: "bob", Method: "POST", Path: "v3/keys/query", Body: `{"device_keys":{"{@alice}":[]}}`, Status: 200,
			Want: `{"master_keys":{"{@alice}":{"usage":["master"]}},"self_signing_keys":{"{@alice}":{"usage":["self_signing"]}},"user_signing_keys":{"{@alice}":"!absent"}}`},
		{Name: "signatures on nothing", Who: "alice", Method: "POST", Path: "v3/keys/signatures/upload", Body: `{"{@alice}":{"X":{}}}`, Status: 200,
			Want: `{"failures":{"{@alice}":{"X":{"errcode":"M_NOT_FOUND"}}}}`},
		{Name: "signatures of the wrong type", Who: "alice", Method: "POST", Path: "v3/keys/signatures/upload", Body: `{"{@alice}":7}`, Status: 400, Errcode: "M_BAD_JSON"},
	})
}

func TestKeyBackup(t *testing.T) {
	s := servertest.New(t)
	s.User("alice")
	ask := func(name, method, path, body string, status int, errcode, want string) servertest.Case {
		return servertest.Case{Name: name, Who: "alice", Method: method, Path: "v3/room_keys/" + path, Body: body, Status: status, Errcode: errcode, Want: want}
	}
	const algorithm = `"algorithm":"m.megolm_backup.v1.curve25519-aes-sha2"`
	const session = `{"first_message_index":1,"forwarded_count":0,"is_verified":false,"session_data":{"ciphertext":"x"}}`
	s.Run(t, []servertest.Case{
		ask("none yet", "GET", "version", "", 404, "M_NOT_FOUND", ""),
		ask("no auth_data", "POST", "version", `{`+algorithm+`}`, 400, "M_MISSING_PARAM", ""),
		ask("create", "POST", "version", `{`+algorithm+`,"auth_data":{"public_key":"k"}}`, 200, "", `{"version":"1"}`),
		ask("current", "GET", "version", "", 200, "", `{"version":"1",`+algorithm+`,"auth_data":{"public_key":"k"},"count":0,"etag":"*"}`),
		ask("by name", "GET", "version/1", "", 200, "", `{"version":"1"}`),
		ask("unknown", "GET", "version/7", "", 404, "M_NOT_FOUND", ""),
		ask("update", "PUT", "version/1", `{`+algorithm+`,"auth_data":{"public_key":"l"},"version":"1"}`, 200, "", `{}`),
		ask("update another", "PUT", "version/1", `{`+algorithm+`,"auth_data":{},"version":"2"}`, 400, "M_INVALID_PARAM", ""),
		ask("one session", "PUT", "keys/!r:x/s1?version=1", session, 200, "", `{"count":1,"etag":"1"}`),
		ask("a room", "PUT", "keys/!r:x?version=1", `{"sessions":{"s2":`+session+`}}`, 200, "", `{"count":2}`),
		ask("all", "PUT", "keys?version=1", `{"rooms":{"!q:x":{"sessions":{"s3":`+session+`}}}}`, 200, "", `{"count":3}`),
		ask("without version", "PUT", "keys", `{"rooms":{}}`, 400, "M_MISSING_PARAM", ""),
		ask("wrong version", "PUT", "keys?version=2", `{"rooms":{}}`, 403, "M_WRONG_ROOM_KEYS_VERSION", `{"current_version":"1"}`),
		ask("half a session", "PUT", "keys/!r:x/s1?version=1", `{"session_data":{}}`, 400, "M_BAD_JSON", ""),
		ask("read all", "GET", "keys?version=1", "", 200, "", `{"rooms":{"!r:x":{"sessions":{"s1":`+session+`,"s2":`+session+`}},"!q:x":{"sessions":{"s3":"*"}}}}`),
		ask("read a room", "GET", "keys/!r:x?version=1", "", 200, "", `{"sessions":{"s1":`+session+`}}`),
		ask("read an empty room", "GET", "keys/!none:x?version=1", "", 200, "", `{"sessions":{}}`),
		ask("read one", "GET", "keys/!r:x/s1?version=1", "", 200, "", session),
		ask("read none", "GET", "keys/!r:x/s9?version=1", "", 404, "M_NOT_FOUND", ""),
		ask("delete one", "DELETE", "keys/!r:x/s1?version=1", "", 200, "", `{"count":2}`),
		ask("delete a room", "DELETE", "keys/!r:x?version=1", "", 200, "", `{"count":1}`),
		ask("delete all", "DELETE", "keys?version=1", "", 200, "", `{"count":0}`),
		ask("delete", "DELETE", "version/1", "", 200, "", `{}`),
		ask("delete twice", "DELETE", "version/1", "", 200, "", `{}`),
		ask("gone", "GET", "version", "", 404, "M_NOT_FOUND", ""),
		{Name: "no token", Method: "GET", Path: "v3/room_keys/version", Status: 401, Errcode: "M_MISSING_TOKEN"},
	})
}

func TestDeviceListsInSync(t *testing.T) {
	s := servertest.New(t)
	sync := func(name, who, since, want string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: "GET", Path: "v3/sync" + since, Status: 200, Want: want, Changes: servertest.Any, Save: map[string]string{who: "next_batch"}}
	}
	do := func(name, who, method, path, body string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: method, Path: path, Body: body, Status: 200, Changes: servertest.Any}
	}
	bobKey := func(key string) string { return signed(t, s.User("bob").ID, "BOB", `{"key":"`+key+`"}`) }
	room := do("a room", "bob", "POST", "v3/createRoom", `{"preset":"public_chat"}`)
	encrypt := do("the room becomes encrypted", "bob", "PUT", "v3/rooms/{room}/state/m.room.encryption/", `{"algorithm":"m.megolm.v1.aes-sha2"}`)
	room.Save = map[string]string{"room": "room_id"}
	s.Run(t, []servertest.Case{
		room,
		sync("alice begins", "alice", "", `{"device_lists":"!absent","device_one_time_keys_count":{"signed_curve25519":0},"device_unused_fallback_key_types":[]}`),
		sync("bob begins", "bob", "", ""),
		do("keys of a stranger", "bob", "POST", "v3/keys/upload", `{"device_keys":`+deviceKeys(t, s.User("bob").ID, "BOB", "")+`,
			"one_time_keys":{"signed_curve25519:A":`+bobKey("k")+`},"fallback_keys":{"signed_curve25519:F":`+bobKey("f")+`}}`),
		sync("are no news", "alice", "?since={alice}", `{"device_lists":"!absent"}`),
		sync("but one's own are", "bob", "?since={bob}", `{"device_lists":{"changed":["{@bob}"]},"device_one_time_keys_count":{"signed_curve25519":1},"device_unused_fallback_key_types":["signed_curve25519"]}`),
		do("alice joins", "alice", "POST", "v3/rooms/{room}/join", ""),
		sync("which is no news as long as the room is not encrypted", "alice", "?since={alice}", `{"device_lists":"!absent"}`),
		sync("nor for bob", "bob", "?since={bob}", `{"device_lists":"!absent"}`),
		{Name: "bob's new key", Who: "bob", Method: "POST", Path: "v3/keys/upload", Body: `{"device_keys":` + deviceKeys(t, s.User("bob").ID, "BOB", `"org.example.new":1,`) + `}`, Status: 200, Changes: servertest.Any},
		{Name: "is a change, encrypted or not", Who: "alice", Method: "GET", Path: "v3/keys/changes?from=s0&to=s1000", Status: 200, Changes: servertest.Any, Want: `{"changed":["{@alice}","{@bob}"],"left":[]}`},
		sync("is told", "alice", "?since={alice}", `{"device_lists":{"changed":["{@bob}"],"left":[]}}`),
		sync("bob's own", "bob", "?since={bob}", `{"device_lists":{"changed":["{@bob}"]}}`),
		encrypt,
		sync("bob is known to her", "alice", "?since={alice}", `{"device_lists":{"changed":["{@bob}"],"left":[]}}`),
		sync("and she to him", "bob", "?since={bob}", `{"device_lists":{"changed":["{@alice}"],"left":[]}}`),
		do("encryption set a second time", "bob", "PUT", "v3/rooms/{room}/state/m.room.encryption/", `{"algorithm":"m.megolm.v1.aes-sha2","rotation_period_ms":1000000}`),
		sync("says nothing new about keys", "alice", "?since={alice}", `{"device_lists":"!absent"}`),
		do("a key is claimed", "alice", "POST", "v3/keys/claim", `{"one_time_keys":{"{@bob}":{"{@bob.device}":"signed_curve25519"}}}`),
		sync("bob sees the count", "bob", "?since={bob}&timeout=30000", `{"device_one_time_keys_count":{"signed_curve25519":0},"device_unused_fallback_key_types":["signed_curve25519"]}`),
		do("the fallback key is claimed", "alice", "POST", "v3/keys/claim", `{"one_time_keys":{"{@bob}":{"{@bob.device}":"signed_curve25519"}}}`),
		sync("bob sees that, too", "bob", "?since={bob}&timeout=30000", `{"device_unused_fallback_key_types":[]}`),
		do("bob logs out", "bob#2", "POST", "v3/logout", `{}`),
		sync("alice hears of it", "alice", "?since={alice}&timeout=30000", `{"device_lists":{"changed":["{@bob}"]}}`),
		do("alice leaves", "alice", "POST", "v3/rooms/{room}/leave", `{}`),
		sync("and bob is gone for her", "alice", "?since={alice}", `{"device_lists":{"changed":[],"left":["{@bob}"]}}`),
		sync("as she for him", "bob", "?since={bob}", `{"device_lists":{"left":["{@alice}"]}}`),
	})
}
