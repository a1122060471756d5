package matrix

import (
	"fmt"
	"net"
	"strings"
	"unicode/utf8"
)

// MaxIDBytes is the length that no identifier may exceed, in bytes, sigil and
// server name included (spec: appendices, common identifier format).
const MaxIDBytes = 255

// The identifiers of the Matrix standard. Each is its full text form, sigil
// included; a value of one of these types that came from outside has been
// through its Parse function once, at the door.
type (
	// UserID is "@localpart:server".
	UserID string
	// RoomID is "!opaque:server", or "!hash" from room version 12 on.
	RoomID string
	// EventID is "$opaque:server" in room versions 1 and 2, "$hash" later.
	EventID string
	// RoomAlias is "#localpart:server".
	RoomAlias string
	// DeviceID is opaque, at most 255 bytes.
	DeviceID string
	// ServerName is a host name or address with an optional port.
	ServerName string
	// KeyID is "algorithm:identifier", such as "ed25519:a_1".
	KeyID string
)

// Localpart is what stands between the sigil and the first colon.
func (u UserID) Localpart() string { return localpart(string(u)) }

// Server is what stands behind the first colon.
func (u UserID) Server() ServerName { return server(string(u)) }

// Server is what stands behind the first colon; empty for a room of version 12
// and later, whose identifier names no server.
func (r RoomID) Server() ServerName { return server(string(r)) }

// Localpart is what stands between the sigil and the first colon.
func (a RoomAlias) Localpart() string { return localpart(string(a)) }

// Server is what stands behind the first colon.
func (a RoomAlias) Server() ServerName { return server(string(a)) }

// NewUserID joins a localpart and a server name; it checks neither.
func NewUserID(local string, host ServerName) UserID {
	return UserID("@" + local + ":" + string(host))
}

func localpart(id string) string {
	if id == "" {
		return ""
	}
	local, _, _ := strings.Cut(id[1:], ":")
	return local
}

func server(id string) ServerName {
	_, host, _ := strings.Cut(id, ":")
	return ServerName(host)
}

// ParseUserID accepts every user ID that the standard lets exist, historical
// ones included (spec: appendices, user identifiers). The error is an
// M_INVALID_PARAM that a person understands.
func ParseUserID(s string) (UserID, error) {
	if err := checkID("user ID", s, '@', true); err != nil {
		return "", err
	}
	if localpart(s) == "" {
		return "", InvalidParam("a user ID needs a name between \"@\" and \":\"")
	}
	return UserID(s), nil
}

// ValidLocalpart says whether a new user may be called this: the standard's
// strict grammar (spec: appendices, user identifiers).
func ValidLocalpart(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case strings.IndexByte("._=-/+", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// HistoricalLocalpart says whether a user whom others have named may be called this: any
// characters but colons and those that cannot be shown, and "@" nowhere at the front, where
// somebody wrote a whole user ID (spec: appendices, historical user IDs).
func HistoricalLocalpart(s string) bool {
	return s != "" && s[0] != '@' && len(s) <= MaxIDBytes && !strings.Contains(s, ":") && cleanText(s)
}

// ParseRoomID accepts both forms: with a server name, and the bare hash of
// room version 12.
func ParseRoomID(s string) (RoomID, error) {
	if err := checkID("room ID", s, '!', false); err != nil {
		return "", err
	}
	return RoomID(s), nil
}

// ParseEventID accepts the forms of all room versions.
func ParseEventID(s string) (EventID, error) {
	if err := checkID("event ID", s, '$', false); err != nil {
		return "", err
	}
	return EventID(s), nil
}

// ParseRoomAlias parses "#localpart:server".
func ParseRoomAlias(s string) (RoomAlias, error) {
	if err := checkID("room alias", s, '#', true); err != nil {
		return "", err
	}
	return RoomAlias(s), nil
}

// ParseDeviceID accepts any text of 1 to 255 bytes without control characters.
func ParseDeviceID(s string) (DeviceID, error) {
	if s == "" || len(s) > MaxIDBytes || !cleanText(s) {
		return "", InvalidParam("that is no device ID: 1 to 255 bytes of text are allowed")
	}
	return DeviceID(s), nil
}

// ParseServerName checks the standard's grammar: an IPv4 address, an IPv6
// address in brackets or a DNS name, and an optional port of 1 to 5 digits
// (spec: appendices, server name).
func ParseServerName(s string) (ServerName, error) {
	bad := InvalidParam(fmt.Sprintf("%q is not a server name: it is a DNS name of letters, digits, dots and hyphens, "+
		"or an IP address (IPv6 in brackets), and may end with a colon and a port", shorten(s)))
	if s == "" || len(s) > 230 {
		return "", bad
	}
	host, rest := s, ""
	if s[0] == '[' {
		end := strings.IndexByte(s, ']')
		if end < 0 || !strings.Contains(s[1:end], ":") || net.ParseIP(s[1:end]) == nil {
			return "", bad
		}
		host, rest = "", s[end+1:]
	} else if i := strings.IndexByte(s, ':'); i >= 0 {
		host, rest = s[:i], s[i:]
		if host == "" {
			return "", bad
		}
	}
	for i := range len(host) {
		c := host[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.') {
			return "", bad
		}
	}
	if rest != "" {
		if rest[0] != ':' || len(rest) < 2 || len(rest) > 6 {
			return "", bad
		}
		for _, c := range rest[1:] {
			if c < '0' || c > '9' {
				return "", bad
			}
		}
	}
	return ServerName(s), nil
}

func checkID(what, s string, sigil byte, needServer bool) error {
	switch {
	case s == "" || s[0] != sigil:
		return InvalidParam(fmt.Sprintf("%q is no %s: it has to start with %q", shorten(s), what, sigil))
	case len(s) > MaxIDBytes:
		return InvalidParam(fmt.Sprintf("that %s is longer than %d bytes", what, MaxIDBytes))
	case len(s) == 1:
		return InvalidParam(fmt.Sprintf("that %s is empty", what))
	case !cleanText(s):
		return InvalidParam(fmt.Sprintf("that %s holds bytes that are no text", what))
	}
	_, host, found := strings.Cut(s, ":")
	if !found {
		if needServer {
			return InvalidParam(fmt.Sprintf("%q is no %s: the server name is missing", shorten(s), what))
		}
		return nil
	}
	_, err := ParseServerName(host)
	return err
}

// cleanText is valid UTF-8 without NUL and other control characters.
func cleanText(s string) bool {
	for _, r := range s {
		if r < 0x20 || r == 0x7f || r == utf8.RuneError {
			return false
		}
	}
	return utf8.ValidString(s)
}

// shorten makes hostile input fit for an error message.
func shorten(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
