package call

import "time"

// invite starts an incoming call.
func (m *machine) invite(e Event, c *Invite) {
	if m.cfg.Role != Callee || m.phase != New {
		m.note("a second invite for the same call is ignored")
		return
	}
	m.peer, m.peerParty, m.peerVersion, m.peerKnown = e.Sender, c.PartyID, c.Version, true
	// spec: MSC2746 add invitee field: absent or our user; without one the sender
	// does not mean themselves.
	if c.Invitee != m.cfg.Self && (c.Invitee != "" || e.Sender == m.cfg.Self) {
		m.end(WhyNotForUs, "")
		return
	}
	// spec: MSC2746 liveness: still valid, and for long enough to be accepted.
	left := min(time.Duration(min(c.Lifetime, int64(MaxLifetime/time.Millisecond)))*time.Millisecond, MaxLifetime) - e.Age
	if left < m.cfg.AnswerTime {
		m.end(WhyStale, "")
		return
	}
	m.offer = c.Offer.SDP
	m.video = c.Offer.HasVideo()
	m.setPeerStreams(c.Streams)
	m.phase = Invited
	m.set(TimerInvite, left)
}

// caughtUp rings, now that no later event can say the call is over. A call that offers nothing
// at all is refused: nobody could answer it.
//
// spec: MSC2746 liveness: only once the entire sync response is processed.
func (m *machine) caughtUp() {
	if m.phase == Invited && !(Description{SDP: m.offer}).hasMedia() {
		m.note("an offer without any media is refused")
		m.fail(WhyError, UnknownError)
		return
	}
	if m.phase == Invited {
		m.phase = Ringing
		m.ringing = true
		m.emit(Ring{Peer: m.peer, Video: m.video})
	}
}

// waiting says whether an incoming call awaits a decision.
func (m *machine) waiting() bool { return m.phase == Invited || m.phase == Ringing }

// accept hands the offer to the bridge; the answer follows from its report.
//
// spec: MSC2746 what actions a client may take: attempt to accept.
func (m *machine) accept() {
	if !m.waiting() {
		return
	}
	m.stopRinging()
	m.phase = Preparing
	m.media = true
	m.emit(ApplyOffer{m.offer})
	m.offer = ""
	m.answersDue++
	m.remoteDescribed()
}

// refuse rejects the call on all devices of our user.
//
// spec: MSC2746 introduce m.call.reject: a version 0 caller gets m.call.hangup.
func (m *machine) refuse() {
	switch {
	case !m.waiting():
	case m.peerVersion == V0:
		m.sendHangup(WhyRefused, UserHangup)
	default:
		m.emit(Send{&Reject{Common: m.common()}})
		m.end(WhyRefused, "")
	}
}

// ignore stops alerting the person and sends nothing.
//
// spec: MSC2746 what actions a client may take: ignore.
func (m *machine) ignore() {
	if m.phase == New || m.waiting() {
		m.end(WhyIgnored, "")
	}
}

// answered sends the answer that the bridge made for the invite.
func (m *machine) answered(d LocalDescription) {
	m.answersDue--
	m.stop(TimerInvite)
	m.phase = Answered
	m.sent = true
	m.stream, m.lacks = d.StreamID, d.Lacks
	m.emit(Send{&AnswerEvent{
		Common: m.common(), Answer: d.Description,
		Capabilities: capabilities(), Streams: m.localStreams(),
	}})
	m.set(TimerConnect, ConnectTime)
	m.scheduleCandidates()
}

// selectAnswer hears whom the caller chose.
//
// spec: MSC2746 introduce m.call.select_answer: any other than ours ends the call
// as answered elsewhere; no event is sent.
func (m *machine) selectAnswer(e Event, c *SelectAnswer) {
	if m.cfg.Role != Callee || !m.fromPeer(e) {
		return
	}
	if c.Selected != m.cfg.PartyID || !m.sent {
		m.end(WhyAnsweredElsewhere, "")
	}
}

// elsewhere ends a call that another device of our user answered or rejected
// before we sent anything. Once our answer is out the caller decides.
func (m *machine) elsewhere(e Event, why Why) {
	if m.fromOurselves(e) && (m.waiting() || m.phase == Preparing) {
		m.end(why, "")
	}
}
