package ntfy

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// maxTopics is how many topics one connection may listen to.
const maxTopics = 20

// topicName is what a topic may be called: nothing that can be guessed.
var topicName = regexp.MustCompile(`^[-_A-Za-z0-9]{12,64}$`)

// Config is what a Server is made with.
type Config struct {
	// Ours says whether a URL leads to this house, besides the address that is asked; may be nil.
	Ours func(*url.URL) bool
	// Next answers what is no topic.
	Next http.Handler
	// Closing is closed when the house is about to stop: who listens is let go.
	Closing <-chan struct{}
	Now     func() time.Time // nil: time.Now
}

// Server hosts topics, and is the push gateway that publishes to them.
type Server struct {
	Config
	hub hub
}

// New makes a Server without messages.
func New(c Config) *Server {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Server{Config: c, hub: hub{now: c.Now}}
}

// ServeHTTP answers for topics, and leaves all else to Config.Next.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	names, verb, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	topics := strings.Split(names, ",")
	if len(topics) > maxTopics || slices.ContainsFunc(topics, func(t string) bool { return !topicName.MatchString(t) }) {
		s.Next.ServeHTTP(w, r)
		return
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*") // the name is the secret; there are no cookies
	h.Set("Access-Control-Allow-Headers", "*")
	h.Set("Access-Control-Allow-Methods", "GET, PUT, POST, OPTIONS")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	reading := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	case verb == "" && len(topics) == 1 && (r.Method == http.MethodPut || r.Method == http.MethodPost):
		s.publish(w, r, topics[0])
	case verb == "" && reading && r.URL.Query().Get("up") == "1":
		writeJSON(w, http.StatusOK, json.RawMessage(`{"unifiedpush":{"version":1}}`))
	case verb == "auth" && reading:
		writeJSON(w, http.StatusOK, json.RawMessage(`{"success":true}`))
	case verb == "json" && reading:
		s.stream(w, r, topics)
	case verb == "ws" && reading:
		s.socket(w, r, topics)
	default:
		s.Next.ServeHTTP(w, r)
	}
}

// publish takes a message.
func (s *Server) publish(w http.ResponseWriter, r *http.Request, topic string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		refuse(w, http.StatusRequestEntityTooLarge, "the message is too long")
		return
	} else if err != nil {
		refuse(w, http.StatusBadRequest, "the message broke off")
		return
	}
	title := r.Header.Get("Title")
	if len(title) > maxMessage || !utf8.ValidString(title) {
		refuse(w, http.StatusBadRequest, "the title is no good")
		return
	}
	writeJSON(w, http.StatusOK, s.put(topic, title, body))
}

// put publishes a message.
func (s *Server) put(topic, title string, body []byte) message {
	m := s.hub.line("message", topic)
	m.Expires = m.Time + int64(keepFor/time.Second)
	m.Title = title
	if utf8.Valid(body) {
		m.Message = string(body)
	} else {
		m.Message, m.Encoding = base64.StdEncoding.EncodeToString(body), "base64"
	}
	s.hub.publish(m)
	return m
}

// refuse answers an error in the form of ntfy.
func refuse(w http.ResponseWriter, status int, why string) {
	writeJSON(w, status, map[string]any{"http": status, "error": why})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers: cannot happen
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// An error means that the client has gone; nobody is left to tell.
	_, _ = w.Write(append(body, '\n'))
}
