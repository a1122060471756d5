package clientapi_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"strings"
)

// sharedSecretMAC is the HMAC as a provisioning tool computes it.
func sharedSecretMAC(secret string, parts ...string) string {
	h := hmac.New(sha1.New, []byte(secret))
	h.Write([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(h.Sum(nil))
}
