package call

import (
	"slices"
	"time"

	"porchlight/server/matrix"
)

// Times of a call that no peer can change.
const (
	// DefaultLifetime is how long an invite of ours rings: the least the proposal
	// recommends. spec: MSC2746 liveness
	DefaultLifetime = 90 * time.Second
	// MaxLifetime is the longest an invite of anyone is let ring here.
	MaxLifetime = 5 * time.Minute
	// DefaultAnswerTime is what an invite has to have left for us to ring at all.
	DefaultAnswerTime = 3 * time.Second
	// ConnectTime is how long making the connection may take after the answer.
	ConnectTime = 30 * time.Second
	// ReconnectTime is how long a lost connection may take to come back.
	ReconnectTime = 30 * time.Second
	// CallerPatience and CalleePatience are how long a lost connection is left alone until
	// this end looks for a new one. The callee leaves that to the caller first, whose client
	// may well do it by itself (matrix-js-sdk after 2 s).
	CallerPatience = 2 * time.Second
	CalleePatience = 8 * time.Second
	// RestartTime is how long a restart of ICE may take until the next one.
	RestartTime = 8 * time.Second
	// MaxRestarts is how often ICE is restarted for one loss of the connection.
	MaxRestarts = 3
	// InviteBatch and AnswerBatch are how long candidates are collected after the
	// invite and after the answer. spec: MSC2746 batching of ICE candidates
	InviteBatch = 2 * time.Second
	AnswerBatch = 500 * time.Millisecond
	// NegotiateLifetime is what our negotiations are valid for.
	NegotiateLifetime = 30 * time.Second
)

// Bounds on what a State keeps of others' events.
const (
	// MaxParties is from how many parties candidates are kept before it is known
	// which of them is the peer.
	MaxParties = 8
	// MaxBuffered is the most candidates kept of one party, and the most local ones.
	MaxBuffered = 200
	// MaxAnswersDue is how many offers of the peer may await our answer.
	MaxAnswersDue = 4
)

// Role is which end of the call we are.
type Role uint8

// The roles.
const (
	Callee Role = iota
	Caller
)

// Phase is how far a call has come.
type Phase uint8

// The phases. A callee goes New, Invited, Ringing, Preparing, Answered, Active;
// a caller goes New, Preparing, Inviting, Answered, Active; all end in Over.
const (
	New       Phase = iota // nothing yet
	Invited                // callee: an invite came, older events are still being read
	Ringing                // callee: the person has been told
	Preparing              // waiting for the bridge's description
	Inviting               // caller: the invite is out
	Answered               // both sides know each other, no media yet
	Active                 // media flows, or did
	Over                   // ended for good
)

// Why says how a call ended.
type Why string

// The ways in which a call ends.
const (
	WhyHungUp            Why = "hung up here"
	WhyPeerHungUp        Why = "hung up by the peer"
	WhyRefused           Why = "rejected here"
	WhyPeerRefused       Why = "rejected by the peer"
	WhyIgnored           Why = "ignored here"
	WhyAnsweredElsewhere Why = "answered elsewhere"
	WhyRejectedElsewhere Why = "rejected elsewhere"
	WhyTimeout           Why = "not answered in time"
	WhyStale             Why = "invite too old to ring"
	WhyNotForUs          Why = "invite for somebody else"
	WhyPeerLeft          Why = "peer left the room"
	WhyLeft              Why = "we left the room"
	WhyGlare             Why = "replaced by the call from the other side"
	WhyICE               Why = "no connection"
	WhyMedia             Why = "no camera or microphone"
	WhyError             Why = "failed"
)

// Config is what a call starts from.
type Config struct {
	Role    Role
	Self    matrix.UserID
	CallID  string // of the invite; for a caller from NewID
	PartyID string // ours in this call, from NewID
	// Invitee is whom a caller calls; empty: anyone in the room. nheko rings only
	// if it is named.
	Invitee matrix.UserID
	// Lifetime of our invite; 0 is DefaultLifetime.
	Lifetime time.Duration
	// AnswerTime is what an incoming invite has to have left; 0 is DefaultAnswerTime.
	AnswerTime time.Duration
}

// State is one call. Make it with Start, move it with Step.
type State struct {
	cfg   Config
	phase Phase
	video bool // the peer offered pictures

	peer        matrix.UserID
	peerParty   string
	peerVersion Version
	peerKnown   bool // callee: from the invite on; caller: from the answer on
	peerStreams map[string]Stream
	offer       string // callee: the invite's, until it is applied

	ringing   bool
	media     bool // the bridge has a session
	connected bool // media flowed at least once
	described bool // the peer's description has been given to the bridge
	sent      bool // our own description has been sent

	answersDue int // offers of the peer that the bridge works on
	offering   bool
	wantsOffer bool // our offer is being made
	restarts   int  // of ICE, since the connection was lost

	stream       string // our msid stream ID
	muted        Mute
	lacks        Lacks       // of our stream
	early        []party     // candidates of others before they could be used
	local        []Candidate // ours, waiting for their batch
	localEnd     bool        // the end-of-candidates went out
	timerSeq     [timerCount]uint32
	timerArmed   [timerCount]bool
	noted        []string
	sentFirstSet bool // the first batch of candidates went out
}

// party holds the candidates of one party.
type party struct {
	user       matrix.UserID
	id         string
	candidates []Candidate
}

// Start is a call to which nothing has happened yet: a Callee waits for the
// invite, a Caller for Place.
func Start(cfg Config) State {
	if cfg.Lifetime <= 0 {
		cfg.Lifetime = DefaultLifetime
	}
	cfg.Lifetime = min(cfg.Lifetime, MaxLifetime)
	if cfg.AnswerTime <= 0 {
		cfg.AnswerTime = DefaultAnswerTime
	}
	return State{cfg: cfg}
}

// Phase is how far the call has come.
func (s State) Phase() Phase { return s.phase }

// Role is which end of the call we are.
func (s State) Role() Role { return s.cfg.Role }

// CallID is the identifier of the call.
func (s State) CallID() string { return s.cfg.CallID }

// PartyID is our own in this call.
func (s State) PartyID() string { return s.cfg.PartyID }

// Peer is who is at the other end; empty while nobody is known.
func (s State) Peer() matrix.UserID {
	if s.peerKnown {
		return s.peer
	}
	return s.cfg.Invitee
}

// Video says whether the peer offered pictures last.
func (s State) Video() bool { return s.video }

// Verdict is what is to be done about two calls that cross each other.
type Verdict uint8

// The verdicts.
const (
	NoGlare    Verdict = iota // the calls have nothing to do with each other
	KeepOurs                  // hand Ignore to the incoming call
	TakeTheirs                // hand GlareLost to ours and Accept to the incoming call
)

// Glare compares an outgoing call with an invite that came for the same room:
// before our invite is out theirs is taken, afterwards the lower call ID wins.
//
// spec: MSC2746 glare
func (s State) Glare(sender matrix.UserID, invite *Invite) Verdict {
	switch {
	case s.cfg.Role != Caller || invite.CallID == s.cfg.CallID,
		sender == s.cfg.Self,
		invite.Invitee != "" && invite.Invitee != s.cfg.Self:
		return NoGlare
	case s.cfg.Invitee != "" && s.cfg.Invitee != sender:
		return NoGlare
	}
	switch s.phase {
	case New, Preparing:
		return TakeTheirs
	case Inviting:
		if invite.CallID < s.cfg.CallID {
			return TakeTheirs
		}
		return KeepOurs
	}
	return NoGlare
}

// Step is the whole protocol: what becomes of the call, and what is to be done.
// It changes nothing but what it returns.
func Step(s State, in Input) (State, []Output) {
	if s.phase == Over {
		return s, nil
	}
	m := machine{State: s}
	m.take(in)
	return m.State, m.out
}

// machine is a State in the middle of a step. Slices of the State are never
// changed in place, since older States share them.
type machine struct {
	State
	out []Output
}

func (m *machine) take(in Input) {
	switch in := in.(type) {
	case Event:
		m.event(in)
	case CaughtUp:
		m.caughtUp()
	case Left:
		m.left(in)
	case Place:
		m.place()
	case Accept:
		m.accept()
	case Refuse:
		m.refuse()
	case Ignore:
		m.ignore()
	case HangUp:
		m.hangUp(in.Reason)
	case GlareLost:
		m.glareLost()
	case Mute:
		m.mute(in)
	case Renegotiate:
		m.renegotiate(in)
	case LocalDescription:
		m.localDescription(in)
	case Lacks:
		m.restream(func() { m.lacks = in })
	case LocalCandidates:
		m.localCandidates(in.Candidates)
	case Connected, Disconnected, PathLost, ConnectionFailed, MediaFailed, OfferFailed:
		m.report(in)
	case TimerFired:
		m.fired(in)
	}
}

// event sorts an event of the room by its type.
func (m *machine) event(e Event) {
	c := e.Content.common()
	if c.CallID != m.cfg.CallID {
		return
	}
	// spec: MSC2746 add party_id: our own events come back as remote echo; a user
	// may call themselves, so the sender alone does not tell.
	if e.Sender == m.cfg.Self && c.PartyID == m.cfg.PartyID {
		return
	}
	e.Age = max(e.Age, 0)
	switch content := e.Content.(type) {
	case *Invite:
		m.invite(e, content)
	case *AnswerEvent:
		m.answer(e, content)
	case *Candidates:
		m.candidates(e, content)
	case *SelectAnswer:
		m.selectAnswer(e, content)
	case *Reject:
		m.reject(e)
	case *Hangup:
		m.hungUp(e, content)
	case *Negotiate:
		m.negotiate(e, content)
	case *StreamsChanged:
		m.streamsChanged(e, content)
	case *Other:
		// The board neither shows whom a bridge vouches for nor follows transfers.
		m.note(content.Type + " is not acted upon")
	}
}

func (m *machine) emit(o ...Output) { m.out = append(m.out, o...) }

func (m *machine) note(text string) {
	if slices.Contains(m.noted, text) {
		return
	}
	m.noted = append(slices.Clip(m.noted), text)
	m.emit(Note{text})
}

func (m *machine) common() Common {
	return Common{CallID: m.cfg.CallID, PartyID: m.cfg.PartyID}
}

func (m *machine) set(t Timer, after time.Duration) {
	m.timerSeq[t]++
	m.timerArmed[t] = true
	m.emit(SetTimer{Timer: t, Seq: m.timerSeq[t], After: after})
}

func (m *machine) stop(t Timer) {
	if m.timerArmed[t] {
		m.timerArmed[t] = false
		m.emit(StopTimer{t})
	}
}

// fromPeer says whether an event is from the very party we talk to.
func (m *machine) fromPeer(e Event) bool {
	return m.peerKnown && e.Sender == m.peer && e.Content.common().PartyID == m.peerParty
}

// fromOurselves says whether another device of our own user sent this.
func (m *machine) fromOurselves(e Event) bool { return e.Sender == m.cfg.Self }

// mayAnswer says whether the sender is one whom a call of ours was meant for.
//
// spec: MSC2746 add invitee field: without one, any member but the sender.
func (m *machine) mayAnswer(sender matrix.UserID) bool {
	if m.cfg.Invitee != "" {
		return sender == m.cfg.Invitee
	}
	return sender != m.cfg.Self
}

// stopRinging takes back Ring.
func (m *machine) stopRinging() {
	if m.ringing {
		m.ringing = false
		m.emit(StopRinging{})
	}
}

// end is the only way into Over.
func (m *machine) end(why Why, reason HangupReason) {
	m.stopRinging()
	for t := range timerCount {
		m.stop(t)
	}
	if m.media {
		m.media = false
		m.emit(CloseMedia{})
	}
	m.phase = Over
	m.early, m.local, m.offer = nil, nil, ""
	m.emit(Ended{Why: why, Reason: reason})
}

// sendHangup tells the other side and ends the call. Before our answer it is a rejection,
// too: matrix-js-sdk hears no hangup of a party that it has not chosen, and would go on
// ringing. It takes the reason from the rejection, where the standard knows none.
func (m *machine) sendHangup(why Why, reason HangupReason) {
	m.emit(Send{&Hangup{Common: m.common(), Reason: reason}})
	if m.cfg.Role == Callee && !m.sent && m.peerVersion == V1 {
		m.emit(Send{&Reject{Common: m.common(), Reason: reason}})
	}
	m.end(why, reason)
}
