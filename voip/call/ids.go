package call

import (
	"fmt"
	"io"
)

// MaxIDLen is the longest call or party ID, in characters.
const MaxIDLen = 255

// idLetters are what NewID draws from; idLen of them carry 95 bits, so that two
// parties that answer at once never share an ID.
const (
	idLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	idLen     = 16
)

// ValidID says whether s may be a call ID or a party ID: 1 to 255 characters out
// of [0-9a-zA-Z._~-].
//
// spec: MSC2746 specify exact grammar for VoIP IDs
func ValidID(s string) bool {
	if s == "" || len(s) > MaxIDLen {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case c == '.', c == '_', c == '~', c == '-':
		default:
			return false
		}
	}
	return true
}

// NewID makes a call ID or a party ID out of 16 bytes of random. The only error
// is that of reading them.
//
// spec: MSC2746 add party_id to all VoIP events
func NewID(random io.Reader) (string, error) {
	id := make([]byte, 0, idLen)
	var b [idLen]byte
	for len(id) < idLen {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return "", fmt.Errorf("drawing a call identifier: %w", err)
		}
		for _, c := range b {
			// Bytes beyond the last whole multiple are drawn again, so that no
			// letter is more likely than another.
			if int(c) < 256-256%len(idLetters) && len(id) < idLen {
				id = append(id, idLetters[int(c)%len(idLetters)])
			}
		}
	}
	return string(id), nil
}
