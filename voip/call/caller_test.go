package call

import (
	"encoding/json"
	"testing"
)

func TestCaller(t *testing.T) {
	end := func(s ...string) []string { return s }
	anyone := Start(Config{Role: Caller, Self: board, CallID: "c1", PartyID: "ours"})
	run(t, []scenario{
		{"answer: selected, connected", caller(), placed(t)},
		{"answer: of somebody who was not called", caller(), then(inviting(t),
			step{ev(t, bob, "his", TypeAnswer, answerJSON()), end("note")})},
		{"answer: anyone may, but ourselves", anyone, then(inviting(t),
			step{ev(t, board, "tablet", TypeAnswer, answerJSON()), end("note")},
			step{ev(t, bob, "his", TypeAnswer, answerJSON()),
				end("stop invite", "send select his", "streams 1", "apply answer", "set connect 30s")})},
		{"answer: the second is ignored", caller(), then(placed(t),
			step{ev(t, alice, "laptop", TypeAnswer, answerJSON()), end("note")})},
		{"answer: version 0 has no party to select", caller(), then(inviting(t),
			step{ev(t, alice, "", TypeAnswer, `,"answer":{"type":"answer","sdp":"v=0"}`),
				end("stop invite", "apply answer", "set connect 30s")},
			step{ev(t, alice, "", TypeHangup, ""), end("stop connect", "close", "ended hung up by the peer user_hangup")})},
		{"answer: before the invite is out", caller(), []step{
			{Place{}, end("create offer")},
			{ev(t, alice, "hers", TypeAnswer, answerJSON()), end("note")}}},
		{"answer: the bridge cannot take it", caller(), then(inviting(t),
			step{ev(t, alice, "hers", TypeAnswer, answerJSON()),
				end("stop invite", "send select hers", "streams 1", "apply answer", "set connect 30s")},
			step{OfferFailed{"bad"}, end("note", "send hangup unknown_error", "stop connect", "close", "ended failed unknown_error")})},
		{"reject: is selected", caller(), then(inviting(t),
			step{ev(t, alice, "hers", TypeReject, ""), end("send select hers", "stop invite", "close", "ended rejected by the peer")})},
		{"reject: after an answer", caller(), then(placed(t),
			step{ev(t, alice, "laptop", TypeReject, ""), nil})},
		{"reject: of a stranger", caller(), then(inviting(t), step{ev(t, bob, "his", TypeReject, ""), nil})},
		{"hangup: a busy line, nobody chosen", caller(), then(inviting(t),
			step{ev(t, alice, "hers", TypeHangup, `,"reason":"user_busy"`), end("stop invite", "close", "ended hung up by the peer user_busy")})},
		{"hangup: of a stranger", caller(), then(inviting(t), step{ev(t, bob, "his", TypeHangup, ""), nil})},
		{"hangup: here, before the answer", caller(), then(inviting(t),
			step{HangUp{}, end("send hangup user_hangup", "stop invite", "close", "ended hung up here user_hangup")})},
		{"hangup: here, before the invite", caller(), []step{
			{Place{}, end("create offer")},
			{HangUp{}, end("close", "ended hung up here")},
			{ours(Offer), nil}}},
		{"liveness: nobody answers", caller(), then(inviting(t),
			step{fire{TimerInvite}, end("send hangup invite_timeout", "close", "ended not answered in time invite_timeout")})},
		{"reasons: no camera", caller(), []step{
			{Place{}, end("create offer")},
			{MediaFailed{}, end("close", "ended no camera or microphone user_media_failed")}}},

		{"candidates: those of the party that answers", caller(), then(inviting(t),
			step{ev(t, alice, "hers", TypeCandidates, candidateJSON("a")), nil},
			step{ev(t, alice, "laptop", TypeCandidates, candidateJSON("b")), nil},
			step{ev(t, bob, "his", TypeCandidates, candidateJSON("x")), nil},
			step{ev(t, alice, "hers", TypeAnswer, answerJSON()),
				end("stop invite", "send select hers", "streams 1", "apply answer", "add a", "set connect 30s")},
			step{ev(t, alice, "laptop", TypeCandidates, candidateJSON("c")), nil},
			step{ev(t, alice, "hers", TypeCandidates, candidateJSON("d", "")), end("add d,end")})},
		{"candidates: the first batch waits longer", caller(), then(inviting(t),
			step{LocalCandidates{[]Candidate{{Candidate: "1"}}}, end("set candidates 2s")},
			step{fire{TimerCandidates}, end("send candidates 1")},
			step{LocalCandidates{[]Candidate{{Candidate: "2"}}}, end("set candidates 500ms")})},

		{"negotiate: ours", caller(), then(placed(t),
			step{Renegotiate{ICERestart: true}, end("create offer")},
			step{Renegotiate{}, end("note")},
			step{ours(Offer), end("send negotiate offer", "set negotiate 30s")},
			step{ev(t, alice, "hers", TypeNegotiate, negotiateJSON("answer", videoSDP)), end("stop negotiate", "apply answer")},
			step{ev(t, alice, "hers", TypeNegotiate, negotiateJSON("answer", videoSDP)), end("note")})},
		{"negotiate: unanswered, then late", caller(), then(placed(t),
			step{Renegotiate{}, end("create offer")},
			step{ours(Offer), end("send negotiate offer", "set negotiate 30s")},
			step{fire{TimerNegotiate}, end("note")},
			step{ev(t, alice, "hers", TypeNegotiate, negotiateJSON("answer", videoSDP)), end("apply answer")})},
		{"polite: the caller is not, crossing offers are ignored", caller(), then(placed(t),
			step{Renegotiate{}, end("create offer")},
			step{ev(t, alice, "hers", TypeNegotiate, negotiateJSON("offer", videoSDP)), end("note")})},
		{"negotiate: theirs", caller(), then(placed(t),
			step{ev(t, alice, "hers", TypeNegotiate, negotiateJSON("offer", videoSDP)), end("apply offer")},
			step{Renegotiate{}, end("note")},
			step{ours(Answer), end("send negotiate answer")})},
		{"negotiate: only with peers that sent metadata", caller(), then(inviting(t),
			step{ev(t, alice, "hers", TypeAnswer, `,"answer":{"type":"answer","sdp":"v=0"}`),
				end("stop invite", "send select hers", "apply answer", "set connect 30s")},
			step{Renegotiate{}, end("note")})},

		{"room leave: the invitee", caller(), then(inviting(t),
			step{Left{User: bob}, nil},
			step{Left{User: alice}, end("stop invite", "close", "ended peer left the room")})},
		{"room leave: nobody left to answer", anyone, then(inviting(t),
			step{Left{User: bob}, nil},
			step{Left{User: alice, Alone: true}, end("stop invite", "close", "ended peer left the room")})},
		{"glare: lost with the invite out", caller(), then(inviting(t),
			step{GlareLost{}, end("send hangup user_hangup", "stop invite", "close", "ended replaced by the call from the other side user_hangup")})},
		{"glare: lost while preparing", caller(), []step{
			{Place{}, end("create offer")},
			{GlareLost{}, end("close", "ended replaced by the call from the other side")}}},
		{"glare: too late", caller(), then(placed(t), step{GlareLost{}, nil})},
	})
}

// spec: MSC2746 glare
func TestGlare(t *testing.T) {
	state := func(id string, invitee string, steps int) State {
		s := Start(Config{Role: Caller, Self: board, CallID: id, PartyID: "ours", Invitee: alice})
		for _, in := range []Input{Place{}, ours(Offer)}[:steps] {
			s, _ = Step(s, in)
		}
		return s
	}
	answeredState := play(t, caller(), placed(t))
	for _, c := range []struct {
		name   string
		ours   State
		sender string
		id     string
		to     string
		want   Verdict
	}{
		{"preparing", state("a", "", 1), "@alice:house", "z", "", TakeTheirs},
		{"theirs is lower", state("b", "", 2), "@alice:house", "a", "", TakeTheirs},
		{"ours is lower", state("b", "", 2), "@alice:house", "c", "", KeepOurs},
		{"compared as bytes", state("a", "", 2), "@alice:house", "Z", "", TakeTheirs},
		{"another user", state("b", "", 2), "@bob:house", "a", "", NoGlare},
		{"for another user", state("b", "", 2), "@alice:house", "a", "@bob:house", NoGlare},
		{"our own echo", state("b", "", 2), "@porch:house", "a", "", NoGlare},
		{"answered already", answeredState, "@alice:house", "a", "", NoGlare},
	} {
		in := &Invite{Common: Common{CallID: c.id, PartyID: "p"}}
		in.Invitee = mustUser(c.to)
		if got := c.ours.Glare(mustUser(c.sender), in); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// The wire form of what is sent.
func TestSentContent(t *testing.T) {
	common := Common{CallID: "c1", PartyID: "ours"}
	mid, line := "0", uint16(0)
	for _, c := range []struct {
		content Content
		want    string
	}{
		{&Invite{Common: common, Lifetime: 90000, Invitee: alice, Offer: Description{"offer", "v=0"},
			Capabilities: capabilities(), Streams: BothStreams(map[string]Stream{"s": {Purpose: PurposeUserMedia}})},
			`{"call_id":"c1","party_id":"ours","version":"1","lifetime":90000,"invitee":"@alice:house",` +
				`"offer":{"type":"offer","sdp":"v=0"},"capabilities":{"m.call.transferee":false,"m.call.dtmf":true},` +
				`"sdp_stream_metadata":{"s":{"purpose":"m.usermedia","audio_muted":false,"video_muted":false}},` +
				`"org.matrix.msc3077.sdp_stream_metadata":{"s":{"purpose":"m.usermedia","audio_muted":false,"video_muted":false}}}`},
		{&AnswerEvent{Common: common, Answer: Description{"answer", "v=0"}, Streams: BothStreams(map[string]Stream{})},
			`{"call_id":"c1","party_id":"ours","version":"1","answer":{"type":"answer","sdp":"v=0"},` +
				`"sdp_stream_metadata":{},"org.matrix.msc3077.sdp_stream_metadata":{}}`},
		{&Candidates{common, []Candidate{{"candidate:1", &mid, &line}, {}}},
			`{"call_id":"c1","party_id":"ours","version":"1","candidates":` +
				`[{"candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0},{"candidate":""}]}`},
		{&SelectAnswer{common, "hers"}, `{"call_id":"c1","party_id":"ours","version":"1","selected_party_id":"hers"}`},
		{&Reject{Common: common}, `{"call_id":"c1","party_id":"ours","version":"1"}`},
		{&Reject{Common: common, Reason: UserBusy}, `{"call_id":"c1","party_id":"ours","version":"1","reason":"user_busy"}`},
		{&Hangup{common, UserHangup}, `{"call_id":"c1","party_id":"ours","version":"1","reason":"user_hangup"}`},
		{&Negotiate{Common: common, Lifetime: 1, Description: Description{"answer", "v=0"}},
			`{"call_id":"c1","party_id":"ours","version":"1","lifetime":1,"description":{"type":"answer","sdp":"v=0"}}`},
	} {
		got, err := json.Marshal(c.content)
		if err != nil || string(got) != c.want {
			t.Errorf("%s:\n got %s %v\nwant %s", c.content.EventType(), got, err, c.want)
		}
		if _, err := Parse(c.content.EventType(), got); err != nil {
			t.Errorf("%s does not read back: %v", c.content.EventType(), err)
		}
	}
}
