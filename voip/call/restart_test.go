package call

import "testing"

// TestRestart: spec: MSC2746 introduce m.call.negotiate: a connection that is lost is
// looked for anew, by either party, and the callee gives way.
func TestRestart(t *testing.T) {
	end := func(s ...string) []string { return s }
	theirs := func(kind string) Input { return ev(t, alice, "hers", TypeNegotiate, negotiateJSON(kind, videoSDP)) }
	metadata := `,"sdp_stream_metadata":{"s":{"purpose":"m.usermedia"}}`
	called := []step{
		{ev(t, alice, "hers", TypeInvite, inviteJSON(90000, metadata)), end("streams 1", "set invite 1m30s")},
		{CaughtUp{}, end("ring @alice:house video=true")},
		{Accept{}, end("stop ringing", "apply offer")},
		{ours(Answer), end("stop invite", "send answer", "set connect 30s")},
		{Connected{}, end("stop connect", "established")},
	}
	lost := step{Disconnected{}, end("set reconnect 30s", "set restart 2s")}
	lostAsCallee := step{Disconnected{}, end("set reconnect 30s", "set restart 8s")}
	create := step{fire{TimerRestart}, end("set restart 8s", "create offer")}
	offer := step{ours(Offer), end("send negotiate offer", "set negotiate 30s")}
	taken := step{theirs("answer"), end("stop negotiate", "apply answer", "set restart 8s")}
	back := step{Connected{}, end("stop reconnect", "stop restart")}
	over := step{fire{TimerReconnect}, end("send hangup ice_timeout", "stop restart", "close", "ended no connection ice_timeout")}
	silent := step{fire{TimerReconnect}, end("send hangup ice_timeout", "close", "ended no connection ice_timeout")} // nothing is restarted
	run(t, []scenario{
		{"caller: comes back by itself", caller(), then(placed(t), lost, back, step{fire{TimerRestart}, nil})},
		{"caller: restarts, and is back", caller(), then(placed(t), lost, create, offer, taken,
			step{ev(t, alice, "hers", TypeCandidates, candidateJSON("new")), end("add new")},
			step{LocalCandidates{[]Candidate{{}}}, end("send candidates end")}, back)},
		{"caller: three times, and no more", caller(), then(placed(t), lost, create, offer, taken, create, offer, taken, create, offer, taken,
			step{fire{TimerRestart}, end("note")}, silent)},
		{"caller: as often for the next loss", caller(), then(placed(t), lost, create, offer, taken, create, offer, taken, back,
			lost, create, offer, taken, create, offer, taken, create, offer, taken)},
		{"caller: an offer that is not answered stands alone", caller(), then(placed(t), lost, create, offer,
			step{fire{TimerRestart}, end("set restart 8s")}, step{fire{TimerRestart}, end("set restart 8s")},
			step{fire{TimerReconnect}, end("send hangup ice_timeout", "stop negotiate", "stop restart", "close", "ended no connection ice_timeout")})},
		{"caller: the peer restarts first", caller(), then(placed(t), lost,
			step{theirs("offer"), end("apply offer")},
			step{fire{TimerRestart}, end("set restart 8s")},
			step{ours(Answer), end("send negotiate answer", "set restart 8s")}, back)},
		{"caller: the peer's restart crosses", caller(), then(placed(t), lost, create,
			step{theirs("offer"), end("note")}, offer, step{theirs("offer"), nil}, taken, back)},
		{"caller: the bridge cannot", caller(), then(placed(t), lost, create, step{OfferFailed{"why"}, end("note")}, create, offer, taken, back)},
		{"caller: gives up on its own", caller(), then(placed(t), lost, create, offer,
			step{ConnectionFailed{}, end("send hangup ice_timeout", "stop reconnect", "stop negotiate", "stop restart", "close", "ended no connection ice_timeout")})},
		{"caller: a peer without metadata", caller(), then(inviting(t),
			step{ev(t, alice, "hers", TypeAnswer, `,"answer":{"type":"answer","sdp":"v=0"}`),
				end("stop invite", "send select hers", "apply answer", "set connect 30s")},
			step{Connected{}, end("stop connect", "established")},
			step{Disconnected{}, end("set reconnect 30s")}, step{PathLost{}, nil}, silent)},
		{"caller: never connected", caller(), then(inviting(t),
			step{ev(t, alice, "hers", TypeAnswer, answerJSON()), end("stop invite", "send select hers", "streams 1", "apply answer", "set connect 30s")},
			step{Disconnected{}, nil}, step{PathLost{}, nil},
			step{fire{TimerConnect}, end("send hangup ice_failed", "close", "ended no connection ice_failed")})},

		{"callee: leaves it to the caller first", callee(), then(called, lostAsCallee,
			step{theirs("offer"), end("apply offer")}, step{ours(Answer), end("send negotiate answer", "set restart 8s")}, back)},
		{"callee: restarts if the caller does not", callee(), then(called, lostAsCallee, create, offer, taken, back)},
		{"callee: gives way, its offer is out", callee(), then(called, lostAsCallee, create, offer,
			step{theirs("offer"), end("stop negotiate", "apply offer")}, step{ours(Answer), end("send negotiate answer", "set restart 8s")},
			step{theirs("answer"), end("note")}, back)},
		{"callee: gives way, its offer is being made", callee(), then(called, lostAsCallee, create,
			step{theirs("offer"), end("apply offer")}, step{ours(Offer), nil},
			step{ours(Answer), end("send negotiate answer", "set restart 8s")}, back)},
		{"callee: a caller without metadata", callee(), then(active(t), step{Disconnected{}, end("set reconnect 30s")}, step{PathLost{}, nil}, silent)},

		{"path lost: at once", caller(), then(placed(t),
			step{PathLost{}, end("set reconnect 30s", "set restart 8s", "create offer")}, offer, taken, back)},
		{"path lost: at once, as callee", callee(), then(called,
			step{PathLost{}, end("set reconnect 30s", "set restart 8s", "create offer")}, offer, taken, back)},
		{"path lost: while the connection is lost", caller(), then(placed(t), lost,
			step{PathLost{}, end("set restart 8s", "create offer")}, step{PathLost{}, end("set restart 8s")}, offer,
			step{Disconnected{}, nil}, taken, back)},
		{"path lost: it never comes back", caller(), then(placed(t),
			step{PathLost{}, end("set reconnect 30s", "set restart 8s", "create offer")}, offer, taken, over)},
	})
}
