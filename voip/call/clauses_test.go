package call

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestClauses are those clauses of MSC2746 and of the module on voice over IP that the
// tables of the two roles do not come to by themselves.
func TestClauses(t *testing.T) {
	end := func(s ...string) []string { return s }
	run(t, []scenario{
		{"party_id: the user belongs to it", callee(), then(active(t),
			step{ev(t, board, "hers", TypeHangup, ""), nil},
			step{ev(t, bob, "hers", TypeNegotiate, negotiateJSON("offer", videoSDP)), nil})},
		{"party_id: the remote echo of everything we send", caller(), then(placed(t),
			step{ev(t, board, "ours", TypeNegotiate, negotiateJSON("offer", videoSDP)), nil},
			step{ev(t, board, "ours", TypeCandidates, candidateJSON("a")), nil},
			step{ev(t, board, "ours", TypeSelectAnswer, `,"selected_party_id":"hers"`), nil},
			step{ev(t, board, "ours", TypeHangup, ""), nil})},
		{"select_answer: a rejection is selected after our answer", callee(), then(answered(t, "hers"),
			step{ev(t, board, "tablet", TypeReject, ""), nil},
			step{ev(t, alice, "hers", TypeSelectAnswer, `,"selected_party_id":"tablet"`),
				end("stop connect", "close", "ended answered elsewhere")})},
		{"reject: after an answer of the same party", caller(), then(placed(t),
			step{ev(t, alice, "hers", TypeReject, ""), nil})},
		{"reject: an answer that comes after it", caller(), then(inviting(t),
			step{ev(t, alice, "hers", TypeReject, ""), end("send select hers", "stop invite", "close", "ended rejected by the peer")},
			step{ev(t, alice, "laptop", TypeAnswer, answerJSON()), nil})},
		{"reasons: ice_timeout, also when a restart fails after media", callee(), then(active(t),
			step{Disconnected{}, end("set reconnect 30s")},
			step{ev(t, alice, "hers", TypeNegotiate, negotiateJSON("offer", videoSDP)), end("apply offer")},
			step{ours(Answer), end("send negotiate answer")},
			step{ConnectionFailed{}, end("send hangup ice_timeout", "stop reconnect", "close", "ended no connection ice_timeout")})},
		{"negotiate: every offer is answered, in turn", callee(), then(active(t),
			step{ev(t, alice, "hers", TypeNegotiate, negotiateJSON("offer", videoSDP)), end("apply offer")},
			step{ev(t, alice, "hers", TypeNegotiate, negotiateJSON("offer", audioSDP)), end("apply offer")},
			step{ours(Answer), end("send negotiate answer")},
			step{ours(Answer), end("send negotiate answer")},
			step{ours(Answer), nil})},
		{"negotiate: candidates begin anew after a restart", callee(), then(active(t),
			step{LocalCandidates{[]Candidate{{}}}, end("send candidates end")},
			step{LocalCandidates{[]Candidate{{Candidate: "1"}}}, nil},
			step{ev(t, alice, "hers", TypeNegotiate, negotiateJSON("offer", videoSDP)), end("apply offer")},
			step{ev(t, alice, "hers", TypeCandidates, candidateJSON("b")), end("add b")},
			step{ours(Answer), end("send negotiate answer")},
			step{LocalCandidates{[]Candidate{{Candidate: "2"}, {}}}, end("send candidates 2,end")})},
		{"negotiate: metadata comes with it", callee(), then(active(t),
			step{ev(t, alice, "hers", TypeNegotiate, negotiateJSON("offer", videoSDP)+`,"sdp_stream_metadata":{"screen":{"purpose":"m.screenshare"}}`),
				end("streams 1", "apply offer")})},
		{"version 0: a negotiation is not answered even from the caller", callee(), then(answered(t, ""),
			step{Connected{}, end("stop connect", "established")},
			step{ev(t, alice, "", TypeNegotiate, negotiateJSON("offer", videoSDP)), end("note")},
			step{ev(t, alice, "", TypeHangup, ""), end("close", "ended hung up by the peer user_hangup")})},
	})
}

// TestLifetimes: spec: MSC2746 liveness, the minimal recommended lifetime is 90 seconds.
func TestLifetimes(t *testing.T) {
	s, _ := Step(caller(), Place{})
	_, out := Step(s, ours(Offer))
	for _, o := range out {
		if send, ok := o.(Send); ok {
			if invite, ok := send.Content.(*Invite); !ok || invite.Lifetime < 90_000 || invite.Invitee != alice {
				t.Errorf("%+v", send.Content)
			}
			return
		}
	}
	t.Error("no invite")
}

// TestWhatNhekoDemands holds everything that a call ever sends to what nheko, the strictest
// of the clients, reads: version is the string "1", party_id is there, descriptions have a
// type, sdpMid is never null, invites have a lifetime. To a peer that sent no stream
// metadata, as nheko does not, no negotiation is offered.
func TestWhatNhekoDemands(t *testing.T) {
	nhekoAnswer := `,"answer":{"type":"answer","sdp":` + quote(audioSDP) + `}`
	kinds := map[string]bool{}
	mid := "0"
	line := uint16(0)
	for _, way := range []struct {
		start  State
		inputs []Input
	}{
		{caller(), []Input{
			Place{}, ours(Offer), LocalCandidates{[]Candidate{{"1", &mid, &line}, {}}}, ev(t, alice, "hers", TypeAnswer, nhekoAnswer),
			Connected{}, Renegotiate{ICERestart: true}, ours(Offer), Disconnected{}, PathLost{}, ours(Offer), Mute{Audio: true}, HangUp{}}},
		{callee(), []Input{
			ev(t, alice, "hers", TypeInvite, inviteJSON(90000, "")), CaughtUp{}, Accept{}, ours(Answer),
			LocalCandidates{[]Candidate{{}}}, Connected{}, Renegotiate{}, ours(Offer), ConnectionFailed{}}},
		{callee(), []Input{ev(t, alice, "hers", TypeInvite, inviteJSON(90000, "")), CaughtUp{}, Refuse{}}},
	} {
		s := way.start
		for _, in := range way.inputs {
			var out []Output
			s, out = Step(s, in)
			for _, o := range out {
				send, ok := o.(Send)
				if !ok {
					continue
				}
				kinds[send.Content.EventType()] = true
				checkForNheko(t, send.Content)
			}
		}
	}
	for _, kind := range []string{TypeInvite, TypeAnswer, TypeCandidates, TypeSelectAnswer, TypeReject, TypeHangup} {
		if !kinds[kind] {
			t.Errorf("no %s was sent", kind)
		}
	}
	if kinds[TypeNegotiate] {
		t.Error("nheko hangs up when it is sent m.call.negotiate")
	}
}

func checkForNheko(t *testing.T, content Content) {
	t.Helper()
	raw, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	need := map[string]any{"version": "1", "party_id": "ours", "call_id": "c1"}
	switch content.EventType() {
	case TypeInvite:
		need["lifetime"] = float64(90000)
		need["offer"] = map[string]any{"type": "offer", "sdp": audioSDP}
	case TypeAnswer:
		need["answer"] = map[string]any{"type": "answer", "sdp": audioSDP}
	}
	for name, want := range need {
		if fmt.Sprint(got[name]) != fmt.Sprint(want) || fmt.Sprintf("%T", got[name]) != fmt.Sprintf("%T", want) {
			t.Errorf("%s: %s is %#v, not %#v", content.EventType(), name, got[name], want)
		}
	}
	if strings.Contains(string(raw), "null") {
		t.Errorf("%s holds null: %s", content.EventType(), raw)
	}
}
