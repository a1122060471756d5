package pushrule

import (
	"encoding/json"
	"strings"

	"porchlight/server/matrix"
)

// Master is the rule that goes before all others, own ones as well.
const Master = ".m.rule.master"

// StableID is the ID that a rule has in the standard, of the one that clients knew it by
// before (MSC3952); any other ID is its own.
func StableID(id string) string {
	if name, old := strings.CutPrefix(id, ".org.matrix.msc3952."); old {
		return ".m.rule." + name
	}
	return id
}

// Predefined is the server-default rules for a user by kind, in the standard's order
// (spec: push notifications, predefined rules).
//
// The rules that looked for names and "@room" in the text (.m.rule.contains_display_name,
// .m.rule.contains_user_name, .m.rule.roomnotif) are not among them: version 1.17 of the
// standard removed them. Clients that know them from older servers may miss them aloud.
func Predefined(user matrix.UserID) map[string][]Rule {
	return map[string][]Rule{
		Override: {
			{ID: Master, Conditions: raw(`[]`), Actions: raw(`[]`)},
			on(".m.rule.suppress_notices", `[{"kind":"event_match","key":"content.msgtype","pattern":"m.notice"}]`, `[]`),
			on(".m.rule.invite_for_me", `[{"kind":"event_match","key":"type","pattern":"m.room.member"},{"kind":"event_match","key":"content.membership","pattern":"invite"},{"kind":"event_match","key":"state_key","pattern":`+text(user)+`}]`, `["notify",{"set_tweak":"sound","value":"default"}]`),
			on(".m.rule.member_event", `[{"kind":"event_match","key":"type","pattern":"m.room.member"}]`, `[]`),
			on(".m.rule.is_user_mention", `[{"kind":"event_property_contains","key":"content.m\\.mentions.user_ids","value":`+text(user)+`}]`, `["notify",{"set_tweak":"sound","value":"default"},{"set_tweak":"highlight"}]`),
			on(".m.rule.is_room_mention", `[{"kind":"event_property_is","key":"content.m\\.mentions.room","value":true},{"kind":"sender_notification_permission","key":"room"}]`, `["notify",{"set_tweak":"highlight"}]`),
			on(".m.rule.tombstone", `[{"kind":"event_match","key":"type","pattern":"m.room.tombstone"},{"kind":"event_match","key":"state_key","pattern":""}]`, `["notify",{"set_tweak":"highlight"}]`),
			on(".m.rule.reaction", `[{"kind":"event_match","key":"type","pattern":"m.reaction"}]`, `[]`),
			on(".m.rule.room.server_acl", `[{"kind":"event_match","key":"type","pattern":"m.room.server_acl"},{"kind":"event_match","key":"state_key","pattern":""}]`, `[]`),
			on(".m.rule.suppress_edits", `[{"kind":"event_property_is","key":"content.m\\.relates_to.rel_type","value":"m.replace"}]`, `[]`),
		},
		Underride: {
			on(".m.rule.call", `[{"kind":"event_match","key":"type","pattern":"m.call.invite"}]`, `["notify",{"set_tweak":"sound","value":"ring"}]`),
			on(".m.rule.encrypted_room_one_to_one", `[{"kind":"room_member_count","is":"2"},{"kind":"event_match","key":"type","pattern":"m.room.encrypted"}]`, `["notify",{"set_tweak":"sound","value":"default"}]`),
			on(".m.rule.room_one_to_one", `[{"kind":"room_member_count","is":"2"},{"kind":"event_match","key":"type","pattern":"m.room.message"}]`, `["notify",{"set_tweak":"sound","value":"default"}]`),
			on(".m.rule.message", `[{"kind":"event_match","key":"type","pattern":"m.room.message"}]`, `["notify"]`),
			on(".m.rule.encrypted", `[{"kind":"event_match","key":"type","pattern":"m.room.encrypted"}]`, `["notify"]`),
		},
	}
}

// on is a predefined rule that is enabled unless the user says otherwise.
func on(id, conditions, actions string) Rule {
	return Rule{ID: id, Enabled: true, Conditions: raw(conditions), Actions: raw(actions)}
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

// text is a user ID as a JSON string.
func text(user matrix.UserID) string {
	b, err := json.Marshal(user)
	if err != nil {
		panic(err) // a string: cannot happen
	}
	return string(b)
}
