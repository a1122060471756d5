package call

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// nhekoSent reads what nheko 0.11.3 (GStreamer 1.22) sent in one call with a board: addresses
// and fingerprints are replaced, all else is literal.
func nhekoSent(t *testing.T, name string) []Event {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "nheko", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Type    string          `json:"type"`
		Content json.RawMessage `json:"content"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	var events []Event
	for _, e := range list {
		c, err := Parse(e.Type, e.Content)
		if err != nil {
			t.Fatalf("%s %s: %v", name, e.Type, err)
		}
		events = append(events, Event{Sender: alice, Content: c})
	}
	return events
}

// TestNheko takes calls from nheko and to it, in the order in which they went. It sends its
// candidates all at once and without an end, in any order with what the board sends, and no
// stream metadata.
func TestNheko(t *testing.T) {
	pick := []string{"stop ringing", "apply offer", "stop invite", "send answer", "set connect 30s"}
	talk := []string{"add 9", "stop connect", "established"}
	hungUp := []string{"close", "ended hung up by the peer user_hangup"}
	answered := []string{"create offer", "send invite", "set invite 1m30s",
		"stop invite", "send select", "apply answer", "set connect 30s"}
	for _, c := range []struct {
		name string
		role Role
		want [][]string
	}{
		{"call_voice", Callee, [][]string{{"set invite 2m0s", "ring @alice:house video=false"}, pick, talk}},
		{"call_video", Callee, [][]string{{"set invite 2m0s", "ring @alice:house video=true"}, pick, talk, hungUp}},
		{"call_screen", Callee, [][]string{{"set invite 2m0s", "ring @alice:house video=true"}, pick, talk, hungUp}},
		{"answer_voice", Caller, [][]string{answered, talk}},
		{"answer_watching", Caller, [][]string{answered, talk, hungUp}},
		{"answer_video", Caller, [][]string{answered, talk, hungUp}},
		{"reject", Caller, [][]string{answered[:3], {"send select", "stop invite", "close", "ended rejected by the peer"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			events := nhekoSent(t, c.name)
			cfg := Config{Role: c.role, Self: board, CallID: events[0].Content.common().CallID, PartyID: "ours"}
			inputs := []Input{events[0], CaughtUp{}, Accept{}, ours(Answer)}
			if c.role == Caller {
				cfg.Invitee = alice
				inputs = []Input{Place{}, ours(Offer), events[0]}
			}
			for _, e := range events[1:] {
				inputs = append(inputs, e)
				switch content := e.Content.(type) {
				case *SelectAnswer:
					content.Selected = "ours"
				case *Candidates:
					inputs = append(inputs, Connected{})
				}
			}
			var got []string
			s := Start(cfg)
			for _, in := range inputs {
				var out []Output
				s, out = Step(s, in)
				for _, o := range out {
					got = append(got, briefer(o))
				}
			}
			if want := slices.Concat(c.want...); !slices.Equal(got, want) {
				t.Errorf("\n got %q\nwant %q", got, want)
			}
		})
	}
}

// briefer is brief without what is another in each of nheko's calls.
func briefer(o Output) string {
	switch o := o.(type) {
	case AddCandidates:
		return fmt.Sprintf("add %d", len(o.Candidates))
	case Send:
		if _, ok := o.Content.(*SelectAnswer); ok {
			return "send select"
		}
	}
	return brief(o)
}
