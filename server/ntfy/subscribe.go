package ntfy

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

const (
	// keepAlive is how often a stream without messages says that it is there.
	keepAlive = 45 * time.Second
	// writeTime is how long a subscriber may take for a line.
	writeTime = 30 * time.Second
)

// listen hands lines to send until the client or the house goes: first "open", then what was
// kept, then what comes. Polling, it hands over what was kept and nothing else. Messages are
// never scheduled here, so that parameter says nothing.
func (s *Server) listen(ctx context.Context, r *http.Request, topics []string, send func(message) error) error {
	poll, since := isPoll(r), param(r, "since", "si")
	if since == "" && !poll {
		since = "none"
	}
	kept, sub := s.hub.subscribe(topics, since, !poll)
	if sub != nil {
		defer s.hub.leave(sub)
		if err := send(s.hub.line("open", strings.Join(topics, ","))); err != nil {
			return err
		}
	}
	for _, m := range kept {
		if err := send(m); err != nil {
			return err
		}
	}
	if sub == nil { // polling, or somebody else was faster and took the last place
		return nil
	}
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		var m message
		var ok bool
		select {
		case <-ctx.Done():
			return nil
		case <-s.Closing:
			return nil
		case m, ok = <-sub.news:
			if !ok {
				return nil // too slow
			}
		case <-tick.C:
			m = s.hub.line("keepalive", strings.Join(topics, ","))
		}
		if !s.isAdmitted(r, topics) {
			return nil // the secret has ended meanwhile
		}
		if err := send(m); err != nil {
			return err
		}
	}
}

// form is how messages are written to a stream.
type form struct {
	kind  string // media type
	write func(m message) ([]byte, error)
}

// forms are the kinds of streams (ntfy: subscribing by API).
var forms = map[string]form{
	"json": {"application/x-ndjson; charset=utf-8", func(m message) ([]byte, error) {
		line, err := json.Marshal(m)
		return append(line, '\n'), err
	}},
	"sse": {"text/event-stream; charset=utf-8", func(m message) ([]byte, error) {
		line, err := json.Marshal(m)
		event := ""
		if m.Event != "message" {
			event = "event: " + m.Event + "\n"
		}
		return []byte(event + "data: " + string(line) + "\n\n"), err
	}},
	"raw": {"text/plain; charset=utf-8", func(m message) ([]byte, error) {
		if m.Event != "message" {
			return []byte{'\n'}, nil
		}
		return []byte(strings.Join(strings.FieldsFunc(m.Message, func(c rune) bool { return c == '\n' || c == '\r' }), " ") + "\n"), nil
	}},
}

// stream answers with the lines of each message.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, topics []string, as form) {
	w.Header().Set("Content-Type", as.kind)
	rc := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	// An error means that the client has gone; nobody is left to tell.
	_ = s.listen(r.Context(), r, topics, func(m message) error {
		line, err := as.write(m)
		if err != nil {
			return err
		}
		// Where there is no deadline to set, as in tests, there is no network either.
		_ = rc.SetWriteDeadline(time.Now().Add(writeTime))
		if _, err := w.Write(line); err != nil {
			return err
		}
		return rc.Flush()
	})
}

// socket is stream over a WebSocket, a text frame for each line.
func (s *Server) socket(w http.ResponseWriter, r *http.Request, topics []string) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // any page may listen that knows the name; there are no cookies
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = c.CloseNow() }() // after Close it has nothing to do
	ctx := c.CloseRead(context.WithoutCancel(r.Context()))
	err = s.listen(ctx, r, topics, func(m message) error {
		line, err := json.Marshal(m)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, writeTime)
		defer cancel()
		return c.Write(ctx, websocket.MessageText, line)
	})
	if err == nil {
		_ = c.Close(websocket.StatusGoingAway, "") // to who is still there
	}
}
