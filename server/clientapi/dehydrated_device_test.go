package clientapi_test

import (
	"fmt"
	"strings"
	"testing"

	"porchlight/kv/kvtest"
	"porchlight/server/servertest"
)

const dehydrated = "unstable/org.matrix.msc3814.v1/dehydrated_device"

// dehydratedBody is a dehydrated device of alice's with one one-time and one fallback key.
// Clients name it by its public key, which may have slashes.
func dehydratedBody(t *testing.T, s *servertest.Server, device, data string) string {
	t.Helper()
	alice := s.User("alice").ID
	key := func(name string) string { return signed(t, alice, device, `{"key":"`+name+`"}`) }
	return fmt.Sprintf(`{"device_id":%q,"initial_device_display_name":"Dehydrated device","device_data":%s,"device_keys":%s,
		"one_time_keys":{"signed_curve25519:A":%s},"fallback_keys":{"signed_curve25519:F":%s}}`,
		device, data, deviceKeys(t, alice, device, `"dehydrated":true,`), key("one"), key("fall"))
}

func TestDehydratedDevice(t *testing.T) {
	s := servertest.New(t)
	s.SetPassword("alice", password)
	s.User("bob")
	const data = `{"algorithm":"org.matrix.msc3814.v2","device_pickle":"secret","nonce":"n"}`
	one, two := dehydratedBody(t, s, "dev/1+x", data), dehydratedBody(t, s, "two", data)
	ask := func(name, who, method, path, body string, status int, errcode, want string) servertest.Case {
		return servertest.Case{Name: name, Who: who, Method: method, Path: path, Body: body, Status: status, Errcode: errcode, Want: want, Changes: servertest.Any}
	}
	write := func(name, body string, status int, errcode string) servertest.Case {
		return ask(name, "alice", "PUT", dehydrated, body, status, errcode, "")
	}
	say := func(name, txn, device string) servertest.Case {
		return ask(name, "bob", "PUT", "v3/sendToDevice/m.test/"+txn, `{"messages":{"{@alice}":{"`+device+`":{"n":"`+txn+`"}}}}`, 200, "", "")
	}
	events := func(name, body, want string) servertest.Case {
		c := ask(name, "alice", "POST", dehydrated+"/dev%2F1%2Bx/events", body, 200, "", want)
		c.Save, c.Changes = map[string]string{"next": "next_batch"}, 0
		return c
	}
	claim := func(name, want string) servertest.Case {
		return ask(name, "bob", "POST", "v3/keys/claim", `{"one_time_keys":{"{@alice}":{"dev/1+x":"signed_curve25519"}}}`, 200, "", want)
	}
	without := func(field string) string { return strings.Replace(one, `"`+field+`"`, `"x"`, 1) }
	s.Run(t, []servertest.Case{
		ask("announced", "", "GET", "versions", "", 200, "", `{"unstable_features":{"org.matrix.msc3814":true}}`),
		ask("none yet", "alice", "GET", dehydrated, "", 404, "M_NOT_FOUND", ""),
		ask("none to delete", "alice", "DELETE", dehydrated, "{}", 404, "M_NOT_FOUND", ""),
		ask("none to read for", "alice", "POST", dehydrated+"/x/events", "{}", 404, "M_NOT_FOUND", ""),
		ask("no token", "", "GET", dehydrated, "", 401, "M_MISSING_TOKEN", ""),
		write("no device_id", without("device_id"), 400, "M_MISSING_PARAM"),
		write("no device_data", without("device_data"), 400, "M_MISSING_PARAM"),
		write("no device_keys", without("device_keys"), 400, "M_MISSING_PARAM"),
		write("data without an algorithm", strings.Replace(one, "algorithm\"", "rhythm\"", 1), 400, "M_BAD_JSON"),
		write("data of the wrong type", dehydratedBody(t, s, "dev/1+x", `[]`), 400, "M_BAD_JSON"),
		write("too much data", dehydratedBody(t, s, "dev/1+x", `{"algorithm":"`+strings.Repeat("x", 300<<10)+`"}`), 413, "M_TOO_LARGE"),
		write("keys of another device", strings.Replace(one, `"dev/1+x"`, `"dev/2"`, 1), 400, "M_INVALID_PARAM"),
		write("keys not signed", strings.Replace(one, "Y3VydmU", "Y3VydmV", 1), 400, "M_INVALID_SIGNATURE"),
		write("a device that is logged in", dehydratedBody(t, s, "ALICE", data), 403, "M_FORBIDDEN"),
		write("stored", one, 200, ""),
		ask("shown to its owner", "alice", "GET", dehydrated, "", 200, "", `{"device_id":"dev/1+x","device_data":`+data+`}`),
		ask("not to others", "bob", "GET", dehydrated, "", 404, "M_NOT_FOUND", ""),
		ask("nor its messages", "bob", "POST", dehydrated+"/dev%2F1%2Bx/events", "{}", 404, "M_NOT_FOUND", ""),
		ask("others see it with its keys", "bob", "POST", "v3/keys/query", `{"device_keys":{"{@alice}":[]}}`, 200, "",
			`{"device_keys":{"{@alice}":{"dev/1+x":{"dehydrated":true,"unsigned":{"device_display_name":"Dehydrated device"}}}}}`),
		ask("listed among the devices", "alice", "GET", "v3/devices/dev%2F1%2Bx", "", 200, "", `{"device_id":"dev/1+x","display_name":"Dehydrated device"}`),
		claim("its one-time key", `{"one_time_keys":{"{@alice}":{"dev/1+x":{"signed_curve25519:A":"*"}}}}`),
		say("a message", "1", "dev/1+x"),
		say("to all devices", "2", "*"),
		write("the same again", one, 200, ""),
		claim("which brings no key back", `{"one_time_keys":{"{@alice}":{"dev/1+x":{"signed_curve25519:F":"*"}}}}`),
		events("the messages", `{}`, `{"events":[{"type":"m.test","sender":"{@bob}","content":{"n":"1"}},{"content":{"n":"2"}}],"next_batch":"*"}`),
		events("are kept", `{}`, `{"events":[{"content":{"n":"1"}},{"content":{"n":"2"}}]}`),
		events("none behind them", `{"next_batch":"{next}"}`, `{"events":[],"next_batch":"*"}`),
		ask("asked as later revisions do", "alice", "GET", dehydrated+"/dev%2F1%2Bx/events?next_batch={next}", "", 200, "", `{"events":[],"next_batch":"!absent"}`),
		ask("the first page so", "alice", "GET", dehydrated+"/dev%2F1%2Bx/events", "", 200, "", `{"events":[{"content":{"n":"1"}},{"content":{"n":"2"}}],"next_batch":"{next}"}`),
		ask("the last page so", "alice", "GET", dehydrated+"/dev%2F1%2Bx/events?from={next}", "", 200, "", `{"events":[],"next_batch":"!absent"}`),
		say("one more", "3", "*"),
		events("is", `{"next_batch":"{next}"}`, `{"events":[{"content":{"n":"3"}}]}`),
		ask("a bad token", "alice", "POST", dehydrated+"/dev%2F1%2Bx/events", `{"next_batch":"x"}`, 400, "M_INVALID_PARAM", ""),
		ask("a token from the future", "alice", "POST", dehydrated+"/dev%2F1%2Bx/events", `{"next_batch":"99999999"}`, 200, "", `{"events":[]}`),
		ask("another device", "alice", "POST", dehydrated+"/ALICE/events", `{}`, 404, "M_NOT_FOUND", ""),
		ask("nobody logs in on it", "", "POST", "v3/login", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"`+password+`","device_id":"dev/1+x"}`, 403, "M_FORBIDDEN", ""),
		write("another one in its place", two, 200, ""),
		ask("the first is gone", "bob", "POST", "v3/keys/query", `{"device_keys":{"{@alice}":[]}}`, 200, "", `{"device_keys":{"{@alice}":{"dev/1+x":"!absent","two":"*"}}}`),
		ask("with its messages", "alice", "POST", dehydrated+"/two/events", `{}`, 200, "", `{"events":[]}`),
		ask("alice logs out everywhere", "alice", "POST", "v3/logout/all", `{}`, 200, "", ""),
		say("and is written to", "4", "*"),
		ask("logs in again", "", "POST", "v3/login", `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"`+password+`"}`, 200, "", ""),
		ask("finds the message", "alice#2", "POST", dehydrated+"/two/events", `{}`, 200, "", `{"events":[{"content":{"n":"4"}}]}`),
		ask("deletes the device", "alice#2", "DELETE", dehydrated, "", 200, "", `{"device_id":"two"}`),
		ask("nothing is left", "alice#2", "GET", dehydrated, "", 404, "M_NOT_FOUND", ""),
		ask("nor keys", "bob", "POST", "v3/keys/query", `{"device_keys":{"{@alice}":[]}}`, 200, "", `{"device_keys":{"{@alice}":{"two":"!absent"}}}`),
		ask("stored once more", "alice#2", "PUT", dehydrated, two, 200, "", ""),
		ask("deleted with the other devices", "alice#2", "POST", "v3/delete_devices", `{"devices":["two"],"auth":`+passwordAuth("alice", password, "")+`}`, 200, "", ""),
		ask("is gone", "alice#2", "GET", dehydrated, "", 404, "M_NOT_FOUND", ""),
		ask("and again", "alice#2", "PUT", dehydrated, two, 200, "", ""),
		ask("the account is closed", "alice#2", "POST", "v3/account/deactivate", `{"auth":`+passwordAuth("alice", password, "")+`}`, 200, "", ""),
	})
	kvtest.Check(t, s.DB) // which would find a dehydrated device of nobody
}

// TestDehydratedDevicePages reads more messages than one answer holds.
func TestDehydratedDevicePages(t *testing.T) {
	s := servertest.New(t)
	const data = `{"algorithm":"org.matrix.msc3814.v2"}`
	alice, bob := s.User("alice"), s.User("bob")
	alice.Must("PUT", dehydrated, dehydratedBody(t, s, "dev", data), nil)
	const messages = 230
	for i := range messages {
		bob.Must("PUT", fmt.Sprintf("v3/sendToDevice/m.test/%d", i), fmt.Sprintf(`{"messages":{"{@alice}":{"dev":{"n":%d}}}}`, i), nil)
	}
	next, seen := "", 0
	for page := 0; ; page++ {
		var out struct {
			Events []struct{ Content struct{ N int } }
			Next   string `json:"next_batch"`
		}
		alice.Must("POST", dehydrated+"/dev/events", `{"next_batch":"`+next+`"}`, &out)
		if len(out.Events) == 0 {
			break
		}
		for _, e := range out.Events {
			if e.Content.N != seen {
				t.Fatalf("page %d: message %d in place of %d", page, e.Content.N, seen)
			}
			seen++
		}
		next = out.Next
	}
	if seen != messages {
		t.Errorf("%d of %d messages came", seen, messages)
	}
}
