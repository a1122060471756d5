package call

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"porchlight/server/matrix"
)

func mustUser(s string) matrix.UserID { return matrix.UserID(s) }

func TestParse(t *testing.T) {
	head := `{"call_id":"c1","party_id":"p","version":"1"`
	long := strings.Repeat("x", MaxSDPBytes+1)
	many := strings.TrimSuffix(strings.Repeat(`{"candidate":""},`, MaxCandidates+1), ",")
	for _, c := range []struct {
		name, kind, content, code string
	}{
		{"invite", TypeInvite, head + inviteJSON(1, "") + `}`, ""},
		{"lifetime missing", TypeInvite, head + `,"offer":{"type":"offer","sdp":"v=0"}}`, "M_BAD_JSON"},
		{"lifetime negative", TypeInvite, head + inviteJSON(-1, "") + `}`, "M_BAD_JSON"},
		{"lifetime not whole", TypeInvite, head + `,"lifetime":1.5,"offer":{"type":"offer","sdp":"v=0"}}`, "M_BAD_JSON"},
		{"invitee no user", TypeInvite, head + inviteJSON(1, `,"invitee":"bob"`) + `}`, "M_BAD_JSON"},
		{"offer missing, which the caller has to be told", TypeInvite, head + `,"lifetime":1}`, ""},
		{"type is not validated", TypeInvite, head + `,"lifetime":1,"offer":{"type":"pranswer","sdp":"v=0"}}`, ""},
		{"SDP too long", TypeAnswer, head + `,"answer":{"type":"answer","sdp":"` + long + `"}}`, "M_TOO_LARGE"},
		{"content too long", TypeHangup, head + `,"x":"` + long + long + `"}`, "M_TOO_LARGE"},
		{"answer is text", TypeAnswer, head + `,"answer":"v=0"}`, "M_BAD_JSON"},
		{"candidates missing", TypeCandidates, head + `}`, "M_BAD_JSON"},
		{"too many candidates", TypeCandidates, head + `,"candidates":[` + many + `]}`, "M_TOO_LARGE"},
		{"a line too long", TypeCandidates, head + `,"candidates":[{"sdpMid":"0","candidate":"` + long[:2000] + `"}]}`, "M_TOO_LARGE"},
		{"null mid", TypeCandidates, head + `,"candidates":[{"sdpMid":null,"sdpMLineIndex":0,"candidate":"a"}]}`, ""},
		{"no selected party", TypeSelectAnswer, head + `}`, "M_BAD_JSON"},
		{"asserted identity", TypeAssertedIdentityUnstable, head + `,"asserted_identity":{}}`, ""},
		{"not a call event", "m.room.message", head + `}`, "M_UNRECOGNIZED"},
		{"no object", TypeReject, `[]`, "M_BAD_JSON"},
		{"no JSON", TypeReject, `{`, "M_BAD_JSON"},
		{"null", TypeReject, `null`, "M_BAD_JSON"},
		{"call_id missing", TypeReject, `{"party_id":"p","version":"1"}`, "M_BAD_JSON"},
		{"call_id of strange letters", TypeReject, `{"call_id":"a b","party_id":"p","version":"1"}`, "M_BAD_JSON"},
		{"call_id too long", TypeReject, `{"call_id":"` + long[:256] + `","party_id":"p","version":"1"}`, "M_BAD_JSON"},
		{"party_id missing in version 1", TypeReject, `{"call_id":"c1","version":"1"}`, "M_BAD_JSON"},
		{"party_id missing in version 0", TypeHangup, `{"call_id":"c1","version":0}`, ""},
		{"streams of the wrong shape", TypeStreamsChanged, head + `,"sdp_stream_metadata":[]}`, "M_BAD_JSON"},
	} {
		_, err := Parse(c.kind, []byte(c.content))
		if c.code == "" && err != nil || c.code != "" && !matrix.IsCode(err, c.code) {
			t.Errorf("%s: %v, want %q", c.name, err, c.code)
		}
	}
}

// spec: MSC2746 change the version field
func TestVersion(t *testing.T) {
	for in, want := range map[string]Version{
		`0`: V0, `0.0`: V0, `"0"`: V0, `"1"`: V1, `1`: V1, `2`: V1, `"2"`: V1, `"org.example"`: V1, `null`: V1, `[]`: V1,
	} {
		var v Version
		if err := json.Unmarshal([]byte(in), &v); err != nil || v != want {
			t.Errorf("%s: %d %v, want %d", in, v, err, want)
		}
	}
}

// spec: MSC2746 introduce more reason codes
func TestHangupReasons(t *testing.T) {
	for in, want := range map[string]HangupReason{
		"": UserHangup, "ice_failed": ICEFailed, "ice_timeout": ICETimeout, "invite_timeout": InviteTimeout,
		"user_hangup": UserHangup, "user_media_failed": UserMediaFailed, "user_busy": UserBusy,
		"unknown_error": UnknownError, "replaced": UnknownError,
	} {
		c, err := Parse(TypeHangup, []byte(`{"call_id":"c","party_id":"p","version":"1","reason":"`+in+`"}`))
		if err != nil || c.(*Hangup).Reason != want {
			t.Errorf("%q: %v %v, want %q", in, c, err, want)
		}
	}
}

// Metadata is read under either key, the stable one first.
func TestStreamsKeys(t *testing.T) {
	for in, want := range map[string]int{
		`{}`:                         -1,
		`{"sdp_stream_metadata":{}}`: 0,
		`{"org.matrix.msc3077.sdp_stream_metadata":{"a":{"purpose":"m.usermedia"}}}`:                                       1,
		`{"sdp_stream_metadata":{},"org.matrix.msc3077.sdp_stream_metadata":{"a":{"purpose":"m.usermedia"}}}`:              0,
		`{"sdp_stream_metadata":{"a":{},"b":{}},"org.matrix.msc3077.sdp_stream_metadata":{"a":{"purpose":"m.usermedia"}}}`: 2,
	} {
		var s Streams
		if err := json.Unmarshal([]byte(in), &s); err != nil {
			t.Fatal(err)
		}
		got := s.Metadata()
		if (got == nil) != (want < 0) || got != nil && len(got) != want {
			t.Errorf("%s: %v, want %d", in, got, want)
		}
	}
}

func TestNewID(t *testing.T) {
	id, err := NewID(bytes.NewReader([]byte("0123456789abcdef")))
	if err != nil || !ValidID(id) || len(id) != idLen {
		t.Errorf("%q %v", id, err)
	}
	// A byte beyond the last multiple of 62 is passed over, and more are read.
	id, err = NewID(bytes.NewReader(append(bytes.Repeat([]byte{255}, 16), make([]byte, 16)...)))
	if err != nil || id != strings.Repeat("A", idLen) {
		t.Errorf("%q %v", id, err)
	}
	if _, err := NewID(bytes.NewReader(nil)); err == nil {
		t.Error("an identifier out of no randomness")
	}
}

func FuzzParse(f *testing.F) {
	for _, kind := range []string{TypeInvite, TypeAnswer, TypeCandidates, TypeHangup, TypeNegotiate, TypeStreamsChangedUnstable, TypeReplaces} {
		f.Add(kind, `{"call_id":"c1","party_id":"p","version":"1","lifetime":1,"offer":{"type":"offer","sdp":"v=0"},`+
			`"answer":{"type":"answer","sdp":"v=0"},"candidates":[{"candidate":"","sdpMid":null}],"description":{"sdp":"m=video 9"},`+
			`"sdp_stream_metadata":{"s":{"purpose":"m.usermedia"}}}`)
	}
	f.Fuzz(func(t *testing.T, kind, content string) {
		c, err := Parse(kind, []byte(content))
		if err != nil {
			return
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(kind, again); err != nil && len(again) <= MaxContentBytes {
			t.Fatalf("%s was read as %s, which is refused: %v", content, again, err)
		}
	})
}

// spec: RFC 9143 7.1.2: port 0 of a bundle-only section refuses nothing.
func TestHasVideo(t *testing.T) {
	for sdp, want := range map[string]bool{
		"": false, audioSDP: false, videoSDP: true,
		audioSDP + "m=video 0 UDP/TLS/RTP/SAVPF 96\r\n":                                                        false,
		audioSDP + "m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=bundle-only\r\n":                            true,
		audioSDP + "m=video 0 UDP/TLS/RTP/SAVPF 96\na=bundle-only\n":                                           true,
		"m=video 0 UDP/TLS/RTP/SAVPF 96\r\nm=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=bundle-only\r\n":               false,
		"m=video 0 UDP/TLS/RTP/SAVPF 96\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n":                                 true,
		"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=bundle-only\r\nm=video 0 UDP/TLS/RTP/SAVPF 96\r\na=bundle-onl\r": false,
	} {
		if got := (Description{SDP: sdp}).HasVideo(); got != want {
			t.Errorf("%q: %t", sdp, got)
		}
	}
}
