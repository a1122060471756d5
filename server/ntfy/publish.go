package ntfy

import (
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxHead is the length of each text that stands in the head of a message, in bytes.
	maxHead = 1024
	// maxTags is how many tags a message may have.
	maxTags = 20
)

// priorities are the names of priorities, the least first.
var priorities = []string{"min", "low", "default", "high", "max"}

// publish takes a message (ntfy: publishing). What is not told to phones here, such as
// attachments and e-mails, is passed over; a delay is refused.
func (s *Server) publish(w http.ResponseWriter, r *http.Request, topic string) {
	secret := ""
	if !strings.HasPrefix(topic, pushTopic) {
		if !s.admit(w, r, []string{topic}) {
			return
		}
		if s.Allowed != nil {
			secret, _ = secretOf(r)
		}
	}
	if !s.mayPublish(r, topic, secret) {
		refuse(w, tooFast)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		refuse(w, tooLong)
		return
	} else if err != nil {
		refuse(w, badMessage)
		return
	}
	m := s.hub.line("message", topic)
	if why := m.head(r); why != nil {
		refuse(w, *why)
		return
	}
	if text := param(r, "message", "m"); len(body) == 0 && text != "" {
		body = []byte(decoded(text))
	}
	if len(body) == 0 && !isYes(param(r, "unifiedpush", "up")) {
		body = []byte("triggered") // what phones show of an empty message
	}
	writeJSON(w, http.StatusOK, s.put(m, body, param(r, "cache") != "no"))
}

// head reads what stands in the head of a message; why says that it is no good.
func (m *message) head(r *http.Request) (why *refusal) {
	m.Title = decoded(param(r, "title", "ti", "t"))
	m.Click = param(r, "click")
	for tag := range strings.SplitSeq(decoded(param(r, "tags", "tag", "ta")), ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			m.Tags = append(m.Tags, tag)
		}
	}
	for _, text := range []string{m.Title, m.Click, strings.Join(m.Tags, ",")} {
		if len(text) > maxHead || !utf8.ValidString(text) {
			return &badTitle
		}
	}
	if len(m.Tags) > maxTags {
		return &badTitle
	}
	if isYes(param(r, "markdown", "md")) || r.Header.Get("Content-Type") == "text/markdown" {
		m.Type = "text/markdown"
	}
	// Browsers tell of a request's own urgency in a header of that name, as "u=1" (RFC 9218).
	if p := strings.ToLower(param(r, "priority", "prio", "p")); p != "" && !strings.Contains(p, "=") && p != "i" {
		n, err := strconv.Atoi(p)
		if i := slices.Index(priorities, strings.Replace(p, "urgent", "max", 1)); i >= 0 {
			n, err = i+1, nil
		}
		if err != nil || n < 1 || n > len(priorities) {
			return &badPriority
		}
		m.Priority = n
	}
	if param(r, "delay", "at", "in") != "" {
		return &noDelay
	}
	return nil
}

// decoded is a text of a head, which may be encoded as in mails (RFC 2047).
func decoded(text string) string {
	if plain, err := new(mime.WordDecoder).DecodeHeader(text); err == nil {
		return plain
	}
	return text
}

// put publishes a message.
func (s *Server) put(m message, body []byte, keep bool) message {
	if utf8.Valid(body) {
		m.Message = string(body)
	} else {
		m.Message, m.Encoding = base64.StdEncoding.EncodeToString(body), "base64"
	}
	if keep {
		m.Expires = m.Time + int64(keepFor/time.Second)
	}
	s.hub.publish(m, keep)
	if keep && s.Keep != nil {
		s.Keep(s.hub.spill)
	}
	return m
}
