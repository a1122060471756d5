package history_test

import (
	"testing"

	"porchlight/server/history"
	"porchlight/server/matrix"
)

// A filter that is taken is taken again in the form in which it is stored, and can be
// asked about any event.
func FuzzParseFilter(f *testing.F) {
	for _, raw := range []string{
		`{}`, `[]`, `{`, `{"room":7}`, `{"room":{"rooms":["x"]}}`, `{"presence":{"senders":["x"]}}`,
		`{"event_format":"xml"}`, `{"room":{"timeline":{"limit":-1}}}`, `{"room":{"timeline":{"limit":1.5}}}`,
		`{"room":{"state":{"types":["m.room.*"],"lazy_load_members":true,"not_rooms":["!a:b"]},` +
			`"timeline":{"limit":10,"not_senders":["@spam:example.com"],"not_types":["*","m.*.x"]},"include_leave":true},` +
			`"presence":{"types":[]},"event_format":"client","event_fields":["type","content.body"]}`,
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		filter, err := history.ParseFilter(raw)
		if err != nil {
			return
		}
		filter.Room.Timeline.Match("m.room.message", "@alice:example.com")
		filter.Presence.Match("m.presence", "")
		canonical, err := matrix.Canonical(raw)
		if err != nil {
			return // a fraction: it is not stored
		}
		if _, err := history.ParseFilter(canonical); err != nil {
			t.Fatalf("%s became %s: %v", raw, canonical, err)
		}
	})
}
