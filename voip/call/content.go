package call

import (
	"encoding/json"
	"errors"
	"strings"

	"porchlight/server/matrix"
)

// The event types of the module.
const (
	TypeInvite         = "m.call.invite"
	TypeAnswer         = "m.call.answer"
	TypeCandidates     = "m.call.candidates"
	TypeSelectAnswer   = "m.call.select_answer"
	TypeReject         = "m.call.reject"
	TypeHangup         = "m.call.hangup"
	TypeNegotiate      = "m.call.negotiate"
	TypeStreamsChanged = "m.call.sdp_stream_metadata_changed"
	// TypeStreamsChangedUnstable is what matrix-js-sdk before version 42 sends
	// and reads.
	TypeStreamsChangedUnstable = "org.matrix.call.sdp_stream_metadata_changed"
	// TypeAssertedIdentity (MSC3086) and TypeReplaces (MSC2747) are read only to
	// be set aside.
	TypeAssertedIdentity         = "m.call.asserted_identity"
	TypeAssertedIdentityUnstable = "org.matrix.call.asserted_identity"
	TypeReplaces                 = "m.call.replaces"
)

// Version is the version of the protocol that an event was written for. On the
// wire version 1 is the string "1" and version 0 the number 0.
//
// spec: MSC2746 change the version field in all VoIP events to "1"
type Version uint8

// The versions there are; the zero value is the current one.
const (
	V1 Version = iota
	V0
)

// MarshalJSON writes "1" or 0.
func (v Version) MarshalJSON() ([]byte, error) {
	if v == V0 {
		return []byte("0"), nil
	}
	return []byte(`"1"`), nil
}

// UnmarshalJSON takes 0 for version 0 and whatever else for version 1, the number
// 1 and versions of the future included. The string "0", which nheko writes, is
// read as the number.
func (v *Version) UnmarshalJSON(b []byte) error {
	*v = V1
	var n float64
	if string(b) == `"0"` || (string(b) != "null" && json.Unmarshal(b, &n) == nil && n == 0) {
		*v = V0
	}
	return nil
}

// Common is what every call event carries.
type Common struct {
	CallID  string  `json:"call_id"`
	PartyID string  `json:"party_id,omitempty"` // empty from version 0 only
	Version Version `json:"version"`
}

// Description is an RTCSessionDescriptionInit.
type Description struct {
	Type string `json:"type"` // "offer" or "answer"
	SDP  string `json:"sdp"`
}

// The types of a Description.
const (
	Offer  = "offer"
	Answer = "answer"
)

// hasMedia says whether the description has any media section.
func (d Description) hasMedia() bool {
	return strings.HasPrefix(d.SDP, "m=") || strings.Contains(d.SDP, "\nm=")
}

// HasVideo says whether the description has a video section that is not refused. One with
// port 0 is, unless it is bundle-only. spec: RFC 9143 7.1.2
func (d Description) HasVideo() bool {
	refused := false // what is said of it so far
	for line := range strings.Lines(d.SDP) {
		line = strings.TrimRight(line, "\r\n")
		switch rest, video := strings.CutPrefix(line, "m=video "); {
		case video && !strings.HasPrefix(rest, "0 "):
			return true
		case video:
			refused = true
		case strings.HasPrefix(line, "m="):
			refused = false
		case line == "a=bundle-only" && refused:
			return true
		}
	}
	return false
}

// Purposes of a stream; streams of any other purpose are not shown.
const (
	PurposeUserMedia   = "m.usermedia"
	PurposeScreenShare = "m.screenshare"
)

// Stream is what the sender says about one of its media streams.
type Stream struct {
	Purpose    string `json:"purpose"`
	AudioMuted bool   `json:"audio_muted"`
	VideoMuted bool   `json:"video_muted"`
}

// Streams is the metadata under its stable key and under the one of MSC3077,
// which clients still read; both are written, either is read. The keys are the
// msid stream IDs of the SDP.
type Streams struct {
	Stable   map[string]Stream `json:"sdp_stream_metadata,omitzero"`
	Unstable map[string]Stream `json:"org.matrix.msc3077.sdp_stream_metadata,omitzero"`
}

// BothStreams puts the same metadata under both keys.
func BothStreams(m map[string]Stream) Streams { return Streams{Stable: m, Unstable: m} }

// Metadata is what was sent, the stable key first; nil if there was none.
func (s Streams) Metadata() map[string]Stream {
	if s.Stable != nil {
		return s.Stable
	}
	return s.Unstable
}

// Capabilities (MSC2747) let clients show a dial pad and hide the transfer button.
type Capabilities struct {
	Transferee bool `json:"m.call.transferee"`
	DTMF       bool `json:"m.call.dtmf"`
}

// Content is the content of a call event: *Invite, *AnswerEvent, *Candidates,
// *SelectAnswer, *Reject, *Hangup, *Negotiate, *StreamsChanged or *Other.
type Content interface {
	// EventType is the type the content is sent under.
	EventType() string
	common() Common
}

// Invite is m.call.invite.
type Invite struct {
	Common
	// Lifetime in milliseconds from when the event was sent.
	Lifetime int64 `json:"lifetime"`
	// Invitee is who is called; empty: anyone in the room but the sender.
	Invitee      matrix.UserID `json:"invitee,omitempty"`
	Offer        Description   `json:"offer"`
	Capabilities *Capabilities `json:"capabilities,omitempty"`
	Streams
}

// AnswerEvent is m.call.answer.
type AnswerEvent struct {
	Common
	Answer       Description   `json:"answer"`
	Capabilities *Capabilities `json:"capabilities,omitempty"`
	Streams
}

// Candidate is one ICE candidate; an empty Candidate says that no more follow.
//
// spec: MSC2746 mandate the end-of-candidates candidate
type Candidate struct {
	Candidate string  `json:"candidate"`
	Mid       *string `json:"sdpMid,omitempty"` // never written as null: nheko refuses it
	MLine     *uint16 `json:"sdpMLineIndex,omitempty"`
}

// End says whether this is the end-of-candidates candidate.
func (c Candidate) End() bool { return c.Candidate == "" }

// Candidates is m.call.candidates.
type Candidates struct {
	Common
	Candidates []Candidate `json:"candidates"`
}

// SelectAnswer is m.call.select_answer.
type SelectAnswer struct {
	Common
	Selected string `json:"selected_party_id"`
}

// Reject is m.call.reject.
type Reject struct {
	Common
	// Reason is why, if it is not a person's wish. The standard knows it in
	// m.call.hangup only; matrix-js-sdk reads it here, too.
	Reason HangupReason `json:"reason,omitempty"`
}

// HangupReason says why a call was ended.
type HangupReason string

// All reasons that the standard knows, and one that clients know.
//
// spec: MSC2746 introduce more reason codes to m.call.hangup
const (
	ICEFailed       HangupReason = "ice_failed"        // no connection could be made
	ICETimeout      HangupReason = "ice_timeout"       // the connection was lost after media had flowed
	InviteTimeout   HangupReason = "invite_timeout"    // nobody answered in time
	UserHangup      HangupReason = "user_hangup"       // a person ended the call
	UserMediaFailed HangupReason = "user_media_failed" // no camera and no microphone
	UserBusy        HangupReason = "user_busy"         // in another call
	UnknownError    HangupReason = "unknown_error"     // anything else
	// AnsweredElsewhere is none of the standard's: somebody else took the call. Clients that
	// do not know it take it for an unknown reason.
	AnsweredElsewhere HangupReason = "answered_elsewhere"
)

// ErrBusy is what opening the media of a call fails with if as many go on as there may be;
// the call is then ended with UserBusy.
var ErrBusy = errors.New("call: too many calls at once")

// Hangup is m.call.hangup.
type Hangup struct {
	Common
	Reason HangupReason `json:"reason"`
}

// Negotiate is m.call.negotiate.
type Negotiate struct {
	Common
	// Lifetime in milliseconds from when the event was sent.
	Lifetime    int64       `json:"lifetime"`
	Description Description `json:"description"`
	Streams
}

// StreamsChanged is m.call.sdp_stream_metadata_changed; Unstable chooses the
// type it is sent under.
type StreamsChanged struct {
	Common
	Streams
	UnstableType bool `json:"-"`
}

// Other is a call event that is recognised and set aside.
type Other struct {
	Common
	Type string `json:"-"`
}

// EventType is m.call.invite.
func (*Invite) EventType() string { return TypeInvite }

// EventType is m.call.answer.
func (*AnswerEvent) EventType() string { return TypeAnswer }

// EventType is m.call.candidates.
func (*Candidates) EventType() string { return TypeCandidates }

// EventType is m.call.select_answer.
func (*SelectAnswer) EventType() string { return TypeSelectAnswer }

// EventType is m.call.reject.
func (*Reject) EventType() string { return TypeReject }

// EventType is m.call.hangup.
func (*Hangup) EventType() string { return TypeHangup }

// EventType is m.call.negotiate.
func (*Negotiate) EventType() string { return TypeNegotiate }

// EventType is one of the two names of m.call.sdp_stream_metadata_changed.
func (c *StreamsChanged) EventType() string {
	if c.UnstableType {
		return TypeStreamsChangedUnstable
	}
	return TypeStreamsChanged
}

// EventType is the type the event came with.
func (c *Other) EventType() string { return c.Type }

func (c Common) common() Common { return c }

// IDOf is the call that a content speaks of.
func IDOf(c Content) string { return c.common().CallID }
