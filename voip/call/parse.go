package call

import (
	"encoding/json"
	"fmt"
	"slices"

	"porchlight/server/matrix"
)

// Bounds on what is read from outside.
const (
	// MaxContentBytes is the longest content, somewhat more than an event may hold.
	MaxContentBytes = 96 << 10
	// MaxSDPBytes is the longest session description.
	MaxSDPBytes = 64 << 10
	// MaxCandidates is the most candidates that one event may carry.
	MaxCandidates = 100
	// MaxCandidateBytes is the longest candidate line.
	MaxCandidateBytes = 1024
	// MaxMidBytes is the longest sdpMid.
	MaxMidBytes = 64
	// MaxMLine is the highest sdpMLineIndex.
	MaxMLine = 255
	// MaxStreams is the most streams that metadata may describe.
	MaxStreams = 16
	// MaxStreamIDBytes is the longest stream ID and purpose.
	MaxStreamIDBytes = 255
)

// Known says whether events of this type are for Parse.
func Known(eventType string) bool { return blank(eventType) != nil }

func blank(eventType string) Content {
	switch eventType {
	case TypeInvite:
		return &Invite{}
	case TypeAnswer:
		return &AnswerEvent{}
	case TypeCandidates:
		return &Candidates{}
	case TypeSelectAnswer:
		return &SelectAnswer{}
	case TypeReject:
		return &Reject{}
	case TypeHangup:
		return &Hangup{}
	case TypeNegotiate:
		return &Negotiate{}
	case TypeStreamsChanged:
		return &StreamsChanged{}
	case TypeStreamsChangedUnstable:
		return &StreamsChanged{UnstableType: true}
	case TypeAssertedIdentity, TypeAssertedIdentityUnstable, TypeReplaces:
		return &Other{Type: eventType}
	}
	return nil
}

// Parse reads the content of a call event and checks its shape and its bounds.
// Errors are *matrix.Error: M_UNRECOGNIZED for a type that Known does not know,
// M_TOO_LARGE beyond a bound, otherwise M_BAD_JSON.
func Parse(eventType string, content []byte) (Content, error) {
	c := blank(eventType)
	if c == nil {
		return nil, matrix.Unrecognized(404, "that is no call event")
	}
	if len(content) > MaxContentBytes {
		return nil, tooLarge("the content of a call event", MaxContentBytes)
	}
	if err := json.Unmarshal(content, c); err != nil {
		return nil, matrix.BadJSON(fmt.Sprintf("a call event of the wrong shape: %.200s", err))
	}
	if err := checkCommon(c.common()); err != nil {
		return nil, err
	}
	if err := check(c); err != nil {
		return nil, err
	}
	return c, nil
}

func checkCommon(c Common) error {
	if !ValidID(c.CallID) {
		return matrix.BadJSON("a call event needs a call_id of 1 to 255 characters [0-9a-zA-Z._~-]")
	}
	// Version 0 knew no parties.
	if c.PartyID == "" && c.Version == V0 {
		return nil
	}
	if !ValidID(c.PartyID) {
		return matrix.BadJSON("a call event needs a party_id of 1 to 255 characters [0-9a-zA-Z._~-]")
	}
	return nil
}

func check(c Content) error {
	switch c := c.(type) {
	case *Invite:
		if err := checkLifetime(c.Lifetime); err != nil {
			return err
		}
		if c.Invitee != "" {
			if _, err := matrix.ParseUserID(string(c.Invitee)); err != nil {
				return matrix.BadJSON("the invitee of a call is no user ID")
			}
		}
		if c.Offer.SDP == "" {
			return checkStreams(c.Streams) // the caller has to be told
		}
		return checkMedia(c.Offer, c.Streams)
	case *AnswerEvent:
		return checkMedia(c.Answer, c.Streams)
	case *Negotiate:
		if err := checkLifetime(c.Lifetime); err != nil {
			return err
		}
		return checkMedia(c.Description, c.Streams)
	case *Candidates:
		if c.Candidates == nil {
			return matrix.BadJSON("m.call.candidates needs a list of candidates")
		}
		// One that names no media section can be added nowhere; the others can.
		c.Candidates = slices.DeleteFunc(c.Candidates, func(c Candidate) bool {
			return !c.End() && c.Mid == nil && c.MLine == nil
		})
		return checkCandidates(c.Candidates)
	case *SelectAnswer:
		if !ValidID(c.Selected) {
			return matrix.BadJSON("selected_party_id has to be 1 to 255 characters [0-9a-zA-Z._~-]")
		}
	case *Hangup:
		c.Reason = knownReason(c.Reason)
	case *StreamsChanged:
		return checkStreams(c.Streams)
	}
	return nil
}

// knownReason reads an absent reason as a person's wish, as version 0 had none,
// and one that nobody knows as an unknown error.
//
// spec: MSC2746 introduce more reason codes to m.call.hangup
func knownReason(r HangupReason) HangupReason {
	switch r {
	case "":
		return UserHangup
	case ICEFailed, ICETimeout, InviteTimeout, UserHangup, UserMediaFailed, UserBusy, AnsweredElsewhere:
		return r
	}
	return UnknownError
}

func checkLifetime(ms int64) error {
	if ms <= 0 {
		return matrix.BadJSON("a call event needs a lifetime above 0 milliseconds")
	}
	return nil
}

// checkMedia leaves the type of the description alone, which receivers should
// not validate. spec: MSC2746 introduce m.call.negotiate
func checkMedia(d Description, s Streams) error {
	if d.SDP == "" {
		return matrix.BadJSON("a call event without a session description")
	}
	if len(d.SDP) > MaxSDPBytes {
		return tooLarge("a session description", MaxSDPBytes)
	}
	return checkStreams(s)
}

func checkStreams(s Streams) error {
	for _, m := range []map[string]Stream{s.Stable, s.Unstable} {
		if len(m) > MaxStreams {
			return tooLarge("sdp_stream_metadata", MaxStreams)
		}
		for id, stream := range m {
			if len(id) > MaxStreamIDBytes || len(stream.Purpose) > MaxStreamIDBytes {
				return tooLarge("a stream ID or purpose", MaxStreamIDBytes)
			}
		}
	}
	return nil
}

func checkCandidates(list []Candidate) error {
	if len(list) > MaxCandidates {
		return tooLarge("the list of candidates", MaxCandidates)
	}
	for _, c := range list {
		if len(c.Candidate) > MaxCandidateBytes {
			return tooLarge("a candidate", MaxCandidateBytes)
		}
		if c.Mid != nil && len(*c.Mid) > MaxMidBytes {
			return tooLarge("an sdpMid", MaxMidBytes)
		}
		if c.MLine != nil && *c.MLine > MaxMLine {
			return tooLarge("an sdpMLineIndex", MaxMLine)
		}
	}
	return nil
}

func tooLarge(what string, bound int) error {
	return matrix.TooLarge(fmt.Sprintf("%s goes beyond the bound of %d", what, bound))
}
