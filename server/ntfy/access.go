package ntfy

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
)

// admit lets in who brings a secret that opens the topics, and answers everybody else.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, topics []string) bool {
	if s.Allowed == nil {
		return true
	}
	secret, there := secretOf(r)
	switch {
	case !there:
		refuse(w, forbidden)
		return false
	case !s.Allowed(r.Context(), secret, topics):
		refuse(w, unauthorized)
		return false
	}
	return true
}

// isAdmitted says whether somebody who was admitted still is.
func (s *Server) isAdmitted(r *http.Request, topics []string) bool {
	if s.Allowed == nil {
		return true
	}
	secret, _ := secretOf(r)
	// A WebSocket outlives the context of its request.
	return s.Allowed(context.WithoutCancel(r.Context()), secret, topics)
}

// secretOf is the secret that a request brings: as a Bearer token, as the password of a user
// whose name does not matter, or either of these in base64 as the parameter auth (ntfy:
// authentication).
func secretOf(r *http.Request) (secret string, there bool) {
	head := r.Header.Get("Authorization")
	auth := r.URL.Query().Get("auth")
	if head == "" && auth != "" {
		plain, err := base64.RawURLEncoding.DecodeString(strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(auth))
		if err != nil {
			return "", true // something was brought, and it is no good
		}
		head = string(plain)
	}
	if head == "" {
		return "", auth != ""
	}
	scheme, rest, _ := strings.Cut(head, " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(rest), true
	}
	_, password, ok := (&http.Request{Header: http.Header{"Authorization": {head}}}).BasicAuth()
	if !ok {
		return "", true
	}
	return password, true
}
