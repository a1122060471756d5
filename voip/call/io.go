package call

import (
	"time"

	"porchlight/server/matrix"
)

// Input is one thing that happened to a call.
type Input interface{ input() }

// Inputs from the room.
type (
	// Event is a call event of the room in which the call is.
	Event struct {
		Sender matrix.UserID
		// Age is unsigned.age plus the time since the event came, never anything
		// made of the sender's clock. spec: MSC2746 liveness
		Age     time.Duration
		Content Content // from Parse
	}
	// CaughtUp says that all events that are there have been handed in. An
	// incoming call rings no earlier. spec: MSC2746 liveness
	CaughtUp struct{}
	// Left says that a user left the room, or was made to.
	Left struct {
		User matrix.UserID
		// Alone: nobody but ourselves is left in the room.
		Alone bool
	}
)

// Decisions taken at this end.
type (
	// Place makes the call of a State whose role is Caller.
	Place struct{}
	// Accept answers the incoming call.
	Accept struct{}
	// Refuse rejects the incoming call on all devices of the user.
	Refuse struct{}
	// Ignore stops ringing here and says nothing to anyone.
	Ignore struct{}
	// HangUp ends the call; an empty Reason is UserHangup.
	HangUp struct{ Reason HangupReason }
	// GlareLost ends this call in favour of the one that came the other way (see
	// State.Glare).
	GlareLost struct{}
	// Mute says what is muted at this end from now on.
	Mute struct{ Audio, Video bool }
	// Renegotiate asks for a new offer of ours. Only a caller may make one, only
	// to a peer of version 1 that sent stream metadata; otherwise nothing happens.
	Renegotiate struct{ ICERestart bool }
)

// Reports of the media bridge.
type (
	// LocalDescription is ready in answer to ApplyOffer (an answer) or CreateOffer
	// (an offer). StreamID is the msid stream ID of what we send; empty if we send
	// nothing.
	LocalDescription struct {
		Description Description
		StreamID    string
		Lacks       Lacks
	}
	// Lacks says what our stream is without, whatever is or is not muted: there is no such
	// device, it has failed, or the peer takes nothing that it makes.
	Lacks struct{ Audio, Video bool }
	// LocalCandidates were found after the description was ready.
	LocalCandidates struct{ Candidates []Candidate }
	// Connected: media can flow.
	Connected struct{}
	// Disconnected: media has stopped coming, it may come back.
	Disconnected struct{}
	// PathLost: the addresses of this machine have changed so that media cannot go on as
	// it did. A restart of ICE may find another path.
	PathLost struct{}
	// ConnectionFailed: ICE or DTLS gave up.
	ConnectionFailed struct{}
	// MediaFailed: neither camera nor microphone can be used.
	MediaFailed struct{}
	// OfferFailed: an ApplyOffer, CreateOffer or ApplyAnswer could not be carried out.
	OfferFailed struct{ Reason string }
)

// TimerFired is the answer to the SetTimer with the same Timer and Seq.
type TimerFired struct {
	Timer Timer
	Seq   uint32
}

func (Event) input()            {}
func (CaughtUp) input()         {}
func (Left) input()             {}
func (Place) input()            {}
func (Accept) input()           {}
func (Refuse) input()           {}
func (Ignore) input()           {}
func (HangUp) input()           {}
func (GlareLost) input()        {}
func (Mute) input()             {}
func (Renegotiate) input()      {}
func (LocalDescription) input() {}
func (Lacks) input()            {}
func (LocalCandidates) input()  {}
func (Connected) input()        {}
func (Disconnected) input()     {}
func (PathLost) input()         {}
func (ConnectionFailed) input() {}
func (MediaFailed) input()      {}
func (OfferFailed) input()      {}
func (TimerFired) input()       {}

// Output is one thing to be done, in the order of the slice.
type Output interface{ output() }

// Outputs to the room and to the person.
type (
	// Send puts an event of type Content.EventType() into the room.
	Send struct{ Content Content }
	// Ring tells the person that a call comes in.
	Ring struct {
		Peer  matrix.UserID
		Video bool // the caller offers pictures
	}
	// StopRinging follows each Ring exactly once.
	StopRinging struct{}
	// PeerStreams is the metadata of the peer's streams, as sent last.
	PeerStreams struct{ Streams map[string]Stream }
	// Established: media flows for the first time.
	Established struct{}
	// Ended is the last output of a call.
	Ended struct {
		Why Why
		// Reason is that of the m.call.hangup sent or received, if there was one.
		Reason HangupReason
	}
	// Note is for the log; each is made at most once in a call.
	Note struct{ Text string }
)

// Orders to the media bridge.
type (
	// ApplyOffer: take the peer's offer and report an answer. The first one opens
	// the session.
	ApplyOffer struct{ SDP string }
	// CreateOffer: report an offer. The first one opens the session.
	CreateOffer struct{ ICERestart bool }
	// ApplyAnswer: take the peer's answer.
	ApplyAnswer struct{ SDP string }
	// AddCandidates: of the peer; always behind the ApplyOffer or ApplyAnswer that
	// they belong to.
	AddCandidates struct{ Candidates []Candidate }
	// CloseMedia: the session is over.
	CloseMedia struct{}
)

// Timer names a timer of a call.
type Timer uint8

// The timers of a call.
const (
	TimerInvite     Timer = iota // the invite's lifetime
	TimerConnect                 // from answer to media
	TimerReconnect               // from losing the connection to giving up
	TimerCandidates              // until the next batch of candidates is sent
	TimerNegotiate               // until our offer counts as unanswered
	TimerRestart                 // until ICE is restarted, or restarted once more
	timerCount
)

type (
	// SetTimer starts a timer, or starts it anew: after After hand in TimerFired
	// with the same Timer and Seq. A TimerFired of an older Seq is ignored.
	SetTimer struct {
		Timer Timer
		Seq   uint32
		After time.Duration
	}
	// StopTimer is a courtesy: a stopped timer that fires does nothing.
	StopTimer struct{ Timer Timer }
)

func (Send) output()          {}
func (Ring) output()          {}
func (StopRinging) output()   {}
func (PeerStreams) output()   {}
func (Established) output()   {}
func (Ended) output()         {}
func (Note) output()          {}
func (ApplyOffer) output()    {}
func (CreateOffer) output()   {}
func (ApplyAnswer) output()   {}
func (AddCandidates) output() {}
func (CloseMedia) output()    {}
func (SetTimer) output()      {}
func (StopTimer) output()     {}
