package call

import "time"

// place begins an outgoing call with the bridge's offer.
func (m *machine) place() {
	if m.cfg.Role != Caller || m.phase != New {
		return
	}
	m.phase = Preparing
	m.media = true
	m.wantsOffer = true
	m.emit(CreateOffer{})
}

// invited sends the invite with the offer that the bridge made.
func (m *machine) invited(d LocalDescription) {
	m.wantsOffer = false
	m.phase = Inviting
	m.sent = true
	m.stream, m.lacks = d.StreamID, d.Lacks
	m.emit(Send{&Invite{
		Common: m.common(), Lifetime: int64(m.cfg.Lifetime / time.Millisecond),
		Invitee: m.cfg.Invitee, Offer: d.Description,
		Capabilities: capabilities(), Streams: m.localStreams(),
	}})
	m.set(TimerInvite, m.cfg.Lifetime)
	m.scheduleCandidates()
}

// answer takes the first answer to a call of ours; at a callee it may be that of
// another device.
func (m *machine) answer(e Event, c *AnswerEvent) {
	if m.cfg.Role == Callee {
		m.elsewhere(e, WhyAnsweredElsewhere)
		return
	}
	if m.phase != Inviting {
		// The other device ends its call when it sees whom we selected.
		m.note("a further answer is ignored")
		return
	}
	if !m.mayAnswer(e.Sender) {
		m.note("an answer of somebody who was not called is ignored")
		return
	}
	m.peer, m.peerParty, m.peerVersion, m.peerKnown = e.Sender, c.PartyID, c.Version, true
	m.video = c.Answer.HasVideo()
	m.stop(TimerInvite)
	m.phase = Answered
	m.sendSelect()
	m.setPeerStreams(c.Streams)
	m.emit(ApplyAnswer{c.Answer.SDP})
	m.remoteDescribed()
	m.set(TimerConnect, ConnectTime)
}

// sendSelect says whom we chose, to all who may have answered. A version 0 party
// has no ID to select.
//
// spec: MSC2746 introduce m.call.select_answer
func (m *machine) sendSelect() {
	if m.peerParty != "" {
		m.emit(Send{&SelectAnswer{Common: m.common(), Selected: m.peerParty}})
	}
}

// reject ends a call that nobody has answered yet.
//
// spec: MSC2746 introduce m.call.reject: it is selected just like an answer;
// after an answer it is disregarded.
func (m *machine) reject(e Event) {
	if m.cfg.Role == Callee {
		m.elsewhere(e, WhyRejectedElsewhere)
		return
	}
	if m.phase != Inviting || !m.mayAnswer(e.Sender) {
		return
	}
	m.peer, m.peerParty, m.peerKnown = e.Sender, e.Content.common().PartyID, true
	m.sendSelect()
	m.end(WhyPeerRefused, "")
}

// hungUp hears m.call.hangup.
//
// Before a caller has chosen, any party that was called may end the call: a
// version 0 client that rejects, a bridge whose line is busy. spec: MSC2746
// introduce m.call.reject, version 0.
func (m *machine) hungUp(e Event, c *Hangup) {
	switch {
	case m.fromPeer(e),
		m.cfg.Role == Caller && m.phase == Inviting && m.mayAnswer(e.Sender):
		m.end(WhyPeerHungUp, c.Reason)
	case m.cfg.Role == Callee && m.peerVersion == V0 && m.peerKnown:
		m.elsewhere(e, WhyRejectedElsewhere)
	}
}

// hangUp ends the call from here, in whatever phase it is.
//
// spec: MSC2746 introduce more reason codes: user_hangup is always written.
func (m *machine) hangUp(reason HangupReason) {
	if reason == "" {
		reason = UserHangup
	}
	reason = knownReason(reason)
	switch {
	case m.waiting() && reason == UserHangup:
		m.refuse()
	case m.cfg.Role == Caller && !m.sent, m.phase == New:
		// Nobody has heard of the call.
		m.end(WhyHungUp, "")
	default:
		m.sendHangup(WhyHungUp, reason)
	}
}

// glareLost aborts our call for the other one. The hangup stops the peer's other
// devices from ringing for it.
//
// spec: MSC2746 glare: the greater call is aborted.
func (m *machine) glareLost() {
	switch {
	case m.cfg.Role != Caller || m.peerKnown:
	case m.sent:
		m.sendHangup(WhyGlare, UserHangup)
	default:
		m.end(WhyGlare, "")
	}
}

// left hears that somebody left the room.
//
// spec: MSC2746 specify behaviour on room leave: as a hangup of the peer, and as
// a rejection if nobody is left who could answer.
func (m *machine) left(l Left) {
	switch {
	case l.User == m.cfg.Self:
		m.end(WhyLeft, "")
	case m.peerKnown && l.User == m.peer:
		m.end(WhyPeerLeft, "")
	case m.peerKnown || m.phase == New:
	case l.User == m.cfg.Invitee, l.Alone:
		m.end(WhyPeerLeft, "")
	}
}
