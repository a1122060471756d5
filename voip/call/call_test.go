package call

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"porchlight/server/matrix"
)

const (
	board = matrix.UserID("@porch:house")
	alice = matrix.UserID("@alice:house")
	bob   = matrix.UserID("@bob:house")

	audioSDP = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
	videoSDP = audioSDP + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
)

// ev is an event of call "c1".
func ev(t *testing.T, sender matrix.UserID, party, eventType, rest string) Event {
	t.Helper()
	return aged(t, 0, sender, party, eventType, rest)
}

func aged(t *testing.T, age time.Duration, sender matrix.UserID, party, eventType, rest string) Event {
	t.Helper()
	version := `"1"`
	if party == "" {
		version = "0"
	}
	content := fmt.Sprintf(`{"call_id":"c1","party_id":%q,"version":%s%s}`, party, version, rest)
	c, err := Parse(eventType, []byte(content))
	if err != nil {
		t.Fatalf("%s %s: %v", eventType, content, err)
	}
	return Event{Sender: sender, Age: age, Content: c}
}

func inviteJSON(lifetime int64, more string) string {
	return fmt.Sprintf(`,"lifetime":%d,"offer":{"type":"offer","sdp":%s}%s`, lifetime, quote(videoSDP), more)
}

func answerJSON() string {
	return `,"answer":{"type":"answer","sdp":` + quote(audioSDP) + `},"sdp_stream_metadata":{"s":{"purpose":"m.usermedia"}}`
}

func negotiateJSON(kind, sdp string) string {
	return fmt.Sprintf(`,"lifetime":10000,"description":{"type":%q,"sdp":%s}`, kind, quote(sdp))
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func candidateJSON(lines ...string) string {
	var list []string
	for _, l := range lines {
		if l == "" {
			list = append(list, `{"candidate":""}`)
			continue
		}
		list = append(list, `{"sdpMid":"0","sdpMLineIndex":0,"candidate":`+quote(l)+`}`)
	}
	return `,"candidates":[` + strings.Join(list, ",") + `]`
}

// brief says in a few words what an output is, for the tables.
func brief(o Output) string {
	switch o := o.(type) {
	case Send:
		switch c := o.Content.(type) {
		case *Hangup:
			return "send hangup " + string(c.Reason)
		case *SelectAnswer:
			return "send select " + c.Selected
		case *Negotiate:
			return "send negotiate " + c.Description.Type
		case *Candidates:
			return "send candidates " + lines(c.Candidates)
		}
		return "send " + strings.TrimPrefix(o.Content.EventType(), "m.call.")
	case Ring:
		return fmt.Sprintf("ring %s video=%t", o.Peer, o.Video)
	case StopRinging:
		return "stop ringing"
	case PeerStreams:
		return fmt.Sprintf("streams %d", len(o.Streams))
	case Established:
		return "established"
	case Ended:
		return strings.TrimSpace("ended " + string(o.Why) + " " + string(o.Reason))
	case Note:
		return "note"
	case ApplyOffer:
		return "apply offer"
	case CreateOffer:
		return "create offer"
	case ApplyAnswer:
		return "apply answer"
	case AddCandidates:
		return "add " + lines(o.Candidates)
	case CloseMedia:
		return "close"
	case SetTimer:
		return fmt.Sprintf("set %s %s", timerNames[o.Timer], o.After)
	case StopTimer:
		return "stop " + timerNames[o.Timer]
	}
	return fmt.Sprintf("%T", o)
}

var timerNames = [timerCount]string{"invite", "connect", "reconnect", "candidates", "negotiate", "restart"}

func lines(list []Candidate) string {
	var s []string
	for _, c := range list {
		if c.End() {
			s = append(s, "end")
			continue
		}
		s = append(s, c.Candidate)
	}
	return strings.Join(s, ",")
}

// step is one input and what has to come of it.
type step struct {
	in   Input
	want []string
}

// fire is the input of whichever SetTimer came last for t.
type fire struct{ Timer }

func (fire) input() {}

func play(t *testing.T, s State, steps []step) State {
	t.Helper()
	for i, st := range steps {
		in := st.in
		if f, ok := in.(fire); ok {
			in = TimerFired{f.Timer, s.timerSeq[f.Timer]}
		}
		next, out := Step(s, in)
		var got []string
		for _, o := range out {
			got = append(got, brief(o))
		}
		if !slices.Equal(got, st.want) {
			t.Fatalf("step %d, %T:\n got %q\nwant %q", i, in, got, st.want)
		}
		s = next
	}
	return s
}

func callee() State {
	return Start(Config{Role: Callee, Self: board, CallID: "c1", PartyID: "ours"})
}

func caller() State {
	return Start(Config{Role: Caller, Self: board, CallID: "c1", PartyID: "ours", Invitee: alice})
}

func ours(kind string) LocalDescription {
	return LocalDescription{Description: Description{Type: kind, SDP: audioSDP}, StreamID: "porch"}
}

// ringing, answered and so on are the ways into the phases.
func ringing(t *testing.T, party string) []step {
	return []step{
		{ev(t, alice, party, TypeInvite, inviteJSON(90000, "")), []string{"set invite 1m30s"}},
		{CaughtUp{}, []string{"ring @alice:house video=true"}},
	}
}

func answered(t *testing.T, party string) []step {
	return append(ringing(t, party),
		step{Accept{}, []string{"stop ringing", "apply offer"}},
		step{ours(Answer), []string{"stop invite", "send answer", "set connect 30s"}},
	)
}

func active(t *testing.T) []step {
	return append(answered(t, "hers"), step{Connected{}, []string{"stop connect", "established"}})
}

func inviting(t *testing.T) []step {
	return []step{
		{Place{}, []string{"create offer"}},
		{ours(Offer), []string{"send invite", "set invite 1m30s"}},
	}
}

func placed(t *testing.T) []step {
	return append(inviting(t),
		step{ev(t, alice, "hers", TypeAnswer, answerJSON()),
			[]string{"stop invite", "send select hers", "streams 1", "apply answer", "set connect 30s"}},
		step{Connected{}, []string{"stop connect", "established"}},
	)
}

type scenario struct {
	name  string // the clause, then the case
	start State
	steps []step
}

func run(t *testing.T, table []scenario) {
	t.Helper()
	for _, sc := range table {
		t.Run(sc.name, func(t *testing.T) { play(t, sc.start, sc.steps) })
	}
}

func then(steps []step, more ...step) []step { return append(slices.Clip(steps), more...) }
