package pdu

import (
	"fmt"
	"testing"

	"porchlight/server/roomver"
)

// TestRedactTop: which fields of the event survive, by room version.
func TestRedactTop(t *testing.T) {
	const event = `{"event_id":"$e:d","type":"x","room_id":"!r:d","sender":"@u:d","state_key":"","content":{"a":1},"hashes":{},
		"signatures":{},"depth":1,"prev_events":[],"prev_state":[],"auth_events":[],"origin":"d","origin_server_ts":1,
		"membership":"join","redacts":"$x","unsigned":{"age":1},"prev_content":{},"replaces_state":"x"}`
	const old = `{"auth_events":[],"content":{},"depth":1,"event_id":"$e:d","hashes":{},"membership":"join","origin":"d","origin_server_ts":1,` +
		`"prev_events":[],"prev_state":[],"room_id":"!r:d","sender":"@u:d","signatures":{},"state_key":"","type":"x"}`
	const updated = `{"auth_events":[],"content":{},"depth":1,"event_id":"$e:d","hashes":{},"origin_server_ts":1,` +
		`"prev_events":[],"room_id":"!r:d","sender":"@u:d","signatures":{},"state_key":"","type":"x"}`
	for i, v := range roomver.All() {
		want := old
		if i+1 >= 11 {
			want = updated
		}
		if got, err := Redact(v, []byte(event)); err != nil || string(got) != want {
			t.Errorf("version %s: %s, %v", v.ID, got, err)
		}
	}
}

// TestRedactContent: what survives of the content, by type and from which version on.
func TestRedactContent(t *testing.T) {
	type since map[int]string // the first version in which it is so
	for _, tc := range []struct {
		eventType, content string
		want               since
	}{
		{"m.room.member", `{"membership":"join","displayname":"x","join_authorised_via_users_server":"@a:b","third_party_invite":{"display_name":"x","signed":{"token":"t"}}}`, since{
			1:  `{"membership":"join"}`,
			9:  `{"join_authorised_via_users_server":"@a:b","membership":"join"}`,
			11: `{"join_authorised_via_users_server":"@a:b","membership":"join","third_party_invite":{"signed":{"token":"t"}}}`,
		}},
		{"m.room.member", `{"membership":"join","third_party_invite":{"display_name":"x"}}`, since{
			1: `{"membership":"join"}`, 11: `{"membership":"join","third_party_invite":{}}`,
		}},
		{"m.room.member", `{"third_party_invite":"x"}`, since{1: `{}`}},
		{"m.room.create", `{"creator":"@a:b","m.federate":false,"room_version":"9"}`, since{
			1: `{"creator":"@a:b"}`, 11: `{"creator":"@a:b","m.federate":false,"room_version":"9"}`,
		}},
		{"m.room.join_rules", `{"join_rule":"restricted","allow":[],"x":1}`, since{
			1: `{"join_rule":"restricted"}`, 8: `{"allow":[],"join_rule":"restricted"}`,
		}},
		{"m.room.power_levels", `{"ban":1,"events":{"a":1},"events_default":1,"invite":1,"kick":1,"notifications":{},"redact":1,"state_default":1,"users":{"@a:b":1},"users_default":1}`, since{
			1:  `{"ban":1,"events":{"a":1},"events_default":1,"kick":1,"redact":1,"state_default":1,"users":{"@a:b":1},"users_default":1}`,
			11: `{"ban":1,"events":{"a":1},"events_default":1,"invite":1,"kick":1,"redact":1,"state_default":1,"users":{"@a:b":1},"users_default":1}`,
		}},
		{"m.room.aliases", `{"aliases":["#a:b"],"x":1}`, since{1: `{"aliases":["#a:b"]}`, 6: `{}`}},
		{"m.room.history_visibility", `{"history_visibility":"shared","x":1}`, since{1: `{"history_visibility":"shared"}`}},
		{"m.room.redaction", `{"redacts":"$x","reason":"x"}`, since{1: `{}`, 11: `{"redacts":"$x"}`}},
		{"m.room.message", `{"body":"x","membership":"join"}`, since{1: `{}`}},
		{"m.room.name", `{"name":"x"}`, since{1: `{}`}},
	} {
		want := ""
		for i, v := range roomver.All() {
			if changed, ok := tc.want[i+1]; ok {
				want = changed
			}
			got, err := RedactContent(v, tc.eventType, []byte(tc.content))
			if err != nil || string(got) != want {
				t.Errorf("version %s, %s: %s, %v; want %s", v.ID, tc.eventType, got, err, want)
			}
			whole, err := Redact(v, fmt.Appendf(nil, `{"type":%q,"content":%s}`, tc.eventType, tc.content))
			if err != nil || string(whole) != fmt.Sprintf(`{"content":%s,"type":%q}`, want, tc.eventType) {
				t.Errorf("version %s, %s: %s, %v", v.ID, tc.eventType, whole, err)
			}
		}
	}
}

func TestRedactRefuses(t *testing.T) {
	for _, in := range []string{"", "[]", "{", `{"a":1.5}`} {
		if got, err := Redact(version(t, "12"), []byte(in)); err == nil {
			t.Errorf("%q: %s", in, got)
		}
	}
	if got, err := RedactContent(version(t, "12"), "x", []byte("[]")); err == nil {
		t.Errorf("%s", got)
	}
}
