package call

import (
	"maps"
	"slices"
	"time"
)

// capabilities: the board hears DTMF and is not transferred.
func capabilities() *Capabilities { return &Capabilities{DTMF: true} }

// localStreams describes the one stream that we send.
//
// spec: MSC2746 define the configurations of WebRTC streams and tracks: one
// stream with audio and, if there is any, video.
func (m *machine) localStreams() Streams {
	if m.stream == "" {
		// Present though empty: it says that we know of stream metadata.
		return BothStreams(map[string]Stream{})
	}
	return BothStreams(map[string]Stream{m.stream: {
		Purpose: PurposeUserMedia, AudioMuted: m.muted.Audio || m.lacks.Audio, VideoMuted: m.muted.Video || m.lacks.Video,
	}})
}

// setPeerStreams keeps what the peer says of its streams, without those whose
// purpose nobody knows. spec: voip streams
func (m *machine) setPeerStreams(s Streams) {
	all := s.Metadata()
	if all == nil {
		return
	}
	kept := make(map[string]Stream, len(all))
	for id, stream := range all {
		if stream.Purpose == PurposeUserMedia || stream.Purpose == PurposeScreenShare {
			kept[id] = stream
		}
	}
	if m.peerStreams == nil || !maps.Equal(kept, m.peerStreams) {
		m.peerStreams = kept
		m.emit(PeerStreams{kept})
	}
}

func (m *machine) streamsChanged(e Event, c *StreamsChanged) {
	if m.fromPeer(e) {
		m.setPeerStreams(c.Streams)
	}
}

// mute tells the peer what it will not hear or see.
func (m *machine) mute(in Mute) { m.restream(func() { m.muted = in }) }

// restream changes what our stream is said to be, and tells the peer if it hears of it by no
// description. Both names of the event are sent, since no client reads both.
func (m *machine) restream(change func()) {
	before := m.localStreams().Stable[m.stream]
	change()
	after := m.localStreams().Stable[m.stream]
	if before == after || !m.sent || m.stream == "" {
		return // said with the description
	}
	m.emit(
		Send{&StreamsChanged{Common: m.common(), Streams: m.localStreams()}},
		Send{&StreamsChanged{Common: m.common(), Streams: m.localStreams(), UnstableType: true}},
	)
}

// candidates takes those of the peer, and keeps those of whoever may yet turn
// out to be the peer: one that is added before the description is lost.
func (m *machine) candidates(e Event, c *Candidates) {
	switch {
	case m.peerKnown && !m.fromPeer(e):
	case m.described:
		m.emit(AddCandidates{c.Candidates})
	case m.cfg.Role == Caller && !m.mayAnswer(e.Sender):
	default:
		m.keepEarly(e, c.Candidates)
	}
}

func (m *machine) keepEarly(e Event, list []Candidate) {
	id := e.Content.common().PartyID
	m.early = slices.Clone(m.early)
	at := slices.IndexFunc(m.early, func(p party) bool { return p.user == e.Sender && p.id == id })
	if at < 0 {
		if len(m.early) >= MaxParties {
			m.note("candidates of more parties than can be kept are dropped")
			return
		}
		at = len(m.early)
		m.early = append(m.early, party{user: e.Sender, id: id})
	}
	p := &m.early[at]
	if len(p.candidates)+len(list) > MaxBuffered {
		m.note("more candidates than can be kept are dropped")
		return
	}
	p.candidates = append(slices.Clip(p.candidates), list...)
}

// remoteDescribed follows the first order that carries the peer's description.
func (m *machine) remoteDescribed() {
	m.described = true
	for _, p := range m.early {
		if p.user == m.peer && p.id == m.peerParty {
			m.emit(AddCandidates{p.candidates})
		}
	}
	m.early = nil
}

// localCandidates collects ours into batches; the last one does not wait.
//
// spec: MSC2746 batching of ICE candidates
func (m *machine) localCandidates(list []Candidate) {
	if !m.media || m.localEnd {
		return
	}
	if len(m.local)+len(list) > MaxBuffered {
		m.note("more local candidates than can be sent are dropped")
		return
	}
	m.local = append(slices.Clip(m.local), list...)
	m.scheduleCandidates()
}

// scheduleCandidates sends what is there if it is complete, and otherwise waits.
//
// spec: MSC2746 mandate the end-of-candidates candidate: remaining candidates go
// out once gathering finishes, ignoring timeouts.
func (m *machine) scheduleCandidates() {
	if !m.sent || len(m.local) == 0 {
		return
	}
	if slices.ContainsFunc(m.local, Candidate.End) {
		m.stop(TimerCandidates)
		m.flushCandidates()
		return
	}
	if m.timerArmed[TimerCandidates] {
		return
	}
	wait := AnswerBatch
	if m.cfg.Role == Caller && !m.sentFirstSet {
		wait = InviteBatch
	}
	m.set(TimerCandidates, wait)
}

func (m *machine) flushCandidates() {
	for chunk := range slices.Chunk(m.local, MaxCandidates) {
		m.emit(Send{&Candidates{Common: m.common(), Candidates: slices.Clone(chunk)}})
	}
	m.localEnd = slices.ContainsFunc(m.local, Candidate.End)
	m.local = nil
	m.sentFirstSet = true
}

// localDescription goes out as an answer, an invite or a negotiation, whichever
// the call is waiting for.
func (m *machine) localDescription(d LocalDescription) {
	switch {
	case m.phase == Preparing && m.cfg.Role == Callee && d.Description.Type == Answer:
		m.answered(d)
	case m.phase == Preparing && m.cfg.Role == Caller && d.Description.Type == Offer:
		m.invited(d)
	case m.established() && d.Description.Type == Answer && m.answersDue > 0:
		m.answersDue--
		m.sendNegotiate(d)
		m.restartGoesOn()
	case m.established() && d.Description.Type == Offer && m.wantsOffer:
		m.wantsOffer = false
		m.offering = true
		m.sendNegotiate(d)
		m.set(TimerNegotiate, NegotiateLifetime)
	}
}

func (m *machine) established() bool { return m.phase == Answered || m.phase == Active }

// sendNegotiate describes our side anew. ICE may have been restarted, and then
// its candidates are announced afresh.
func (m *machine) sendNegotiate(d LocalDescription) {
	m.stream, m.lacks = d.StreamID, d.Lacks
	m.localEnd = false
	m.emit(Send{&Negotiate{
		Common: m.common(), Lifetime: int64(NegotiateLifetime / time.Millisecond),
		Description: d.Description, Streams: m.localStreams(),
	}})
}

// negotiate takes an offer of the peer, or its answer to ours.
//
// spec: MSC2746 introduce m.call.negotiate: only between parties of version 1,
// only from the very party we talk to, only within its lifetime.
func (m *machine) negotiate(e Event, c *Negotiate) {
	switch {
	case !m.established() || !m.fromPeer(e):
		return
	case m.peerVersion != V1:
		m.note("a negotiation in a call of version 0 is ignored")
		return
	case e.Age/time.Millisecond >= time.Duration(c.Lifetime):
		m.note("a negotiation beyond its lifetime is ignored")
		return
	}
	switch c.Description.Type {
	case Offer:
		m.peerOffers(c)
	case Answer:
		if !m.offering {
			m.note("an answer that nobody asked for is ignored")
			return
		}
		m.offering = false
		m.stop(TimerNegotiate)
		m.video = c.Description.HasVideo()
		m.setPeerStreams(c.Streams)
		m.emit(ApplyAnswer{c.Description.SDP})
		m.restartGoesOn()
	default:
		m.note("a negotiation that is neither offer nor answer is ignored")
	}
}

func (m *machine) peerOffers(c *Negotiate) {
	// spec: MSC2746 designate one party as polite: the callee, who takes its own offer
	// back. The caller ignores offers that cross its own.
	if m.offering || m.wantsOffer {
		if m.cfg.Role == Caller {
			m.note("an offer that crosses our own is ignored")
			return
		}
		m.offering, m.wantsOffer = false, false
		m.stop(TimerNegotiate)
	}
	if m.answersDue >= MaxAnswersDue {
		m.note("more offers than can be answered are ignored")
		return
	}
	m.answersDue++
	m.video = c.Description.HasVideo()
	m.setPeerStreams(c.Streams)
	m.emit(ApplyOffer{c.Description.SDP})
}

// negotiable says whether the peer takes offers within the call: one that sent no stream
// metadata may hang up (nheko does).
func (m *machine) negotiable() bool { return m.peerVersion == V1 && m.peerStreams != nil }

// renegotiate asks the bridge for an offer. The bridge takes one back only at the price of
// the connection, so that the polite party, the callee, makes none that can wait.
func (m *machine) renegotiate(in Renegotiate) {
	switch {
	case m.cfg.Role != Caller || !m.established():
	case !m.negotiable():
		m.note("the peer does not know renegotiation")
	case m.offering || m.wantsOffer || m.answersDue > 0:
		m.note("a negotiation is under way already")
	default:
		m.wantsOffer = true
		m.emit(CreateOffer(in))
	}
}

// report takes what the bridge says about the connection.
func (m *machine) report(in Input) {
	if !m.media {
		return
	}
	switch in := in.(type) {
	case Connected:
		m.stop(TimerConnect)
		m.stop(TimerReconnect)
		m.stop(TimerRestart)
		m.restarts = 0
		if m.phase == Answered {
			m.phase = Active
			m.connected = true
			m.emit(Established{})
		}
	case Disconnected:
		m.lost()
	case PathLost:
		m.pathLost()
	case ConnectionFailed:
		m.connectionLost()
	case MediaFailed:
		m.fail(WhyMedia, UserMediaFailed)
	case OfferFailed:
		m.note("the bridge could not take a description: " + shorten(in.Reason))
		switch {
		case !m.established() || !m.connected && m.answersDue == 0:
			m.fail(WhyError, UnknownError)
		case m.answersDue > 0:
			// The call goes on as it was.
			m.answersDue--
		default:
			m.wantsOffer, m.offering = false, false
			m.stop(TimerNegotiate)
		}
	}
}

// connectionLost tells a connection that never was from one that broke.
//
// spec: MSC2746 introduce more reason codes: ice_timeout rather than ice_failed
// if media had been received before.
func (m *machine) connectionLost() {
	if m.connected {
		m.fail(WhyICE, ICETimeout)
		return
	}
	m.fail(WhyICE, ICEFailed)
}

// fail ends the call over a trouble at this end, and says so to whoever has
// heard of the call.
func (m *machine) fail(why Why, reason HangupReason) {
	if m.cfg.Role == Caller && !m.sent {
		m.end(why, reason)
		return
	}
	m.sendHangup(why, reason)
}

func (m *machine) fired(f TimerFired) {
	if f.Timer >= timerCount || !m.timerArmed[f.Timer] || f.Seq != m.timerSeq[f.Timer] {
		return
	}
	m.timerArmed[f.Timer] = false
	switch f.Timer {
	case TimerInvite:
		m.inviteExpired()
	case TimerConnect, TimerReconnect:
		m.connectionLost()
	case TimerCandidates:
		m.flushCandidates()
	case TimerNegotiate:
		// The answer may still come; until then the call goes on as it was.
		m.note("our offer was not answered in time")
	case TimerRestart:
		m.restart()
	}
}

// inviteExpired ends a call that was not answered in time. Only the caller says so.
//
// spec: MSC2746 liveness
func (m *machine) inviteExpired() {
	if m.cfg.Role == Caller {
		m.sendHangup(WhyTimeout, InviteTimeout)
		return
	}
	m.end(WhyTimeout, "")
}

func shorten(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
