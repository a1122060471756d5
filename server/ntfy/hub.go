package ntfy

import (
	"crypto/rand"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// maxMessage is the length of a message in bytes, as UnifiedPush has it.
	maxMessage = 4096
	// maxKept and maxKeptBytes bound the messages of all topics that are kept, maxKeptTopic
	// those of one; keepFor is how long.
	maxKept      = 2000
	maxKeptTopic = 50
	maxKeptBytes = 2 << 20
	keepFor      = 12 * time.Hour
	// maxSubscribers is how many connections may listen at the same time.
	maxSubscribers = 200
	// maxBehind is how many messages a slow subscriber may be behind before it is cut off;
	// it comes back and asks for what it has missed.
	maxBehind = 64
)

// message is one line of a topic's stream.
type message struct {
	ID       string `json:"id"`
	Time     int64  `json:"time"` // s
	Expires  int64  `json:"expires,omitempty"`
	Event    string `json:"event"` // open, keepalive or message
	Topic    string `json:"topic"`
	Title    string `json:"title,omitempty"`
	Message  string `json:"message,omitempty"`
	Encoding string `json:"encoding,omitempty"` // base64 if the message was no text
}

// subscriber is a connection that listens. Its channel is closed when it is too slow.
type subscriber struct {
	topics []string
	news   chan message
}

// hub is all topics.
type hub struct {
	now func() time.Time

	mu          sync.Mutex // guards what follows
	kept        []message  // oldest first
	bytes       int        // of the messages kept
	subscribers map[*subscriber]bool
}

func (h *hub) line(event, topic string) message {
	return message{ID: rand.Text()[:12], Time: h.now().Unix(), Event: event, Topic: topic}
}

// publish keeps a message and hands it to all who listen.
func (h *hub) publish(m message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept = append(h.kept, m)
	h.bytes += len(m.Message)
	h.trim(m.Topic)
	for s := range h.subscribers {
		if !slices.Contains(s.topics, m.Topic) {
			continue
		}
		select {
		case s.news <- m:
		default:
			close(s.news)
			delete(h.subscribers, s)
		}
	}
}

// trim drops what is too old or too much. The caller holds mu.
func (h *hub) trim(topic string) {
	n := 0
	for i := len(h.kept) - 1; i >= 0; i-- {
		if h.kept[i].Topic == topic {
			if n++; n > maxKeptTopic {
				h.bytes -= len(h.kept[i].Message)
				h.kept = slices.Delete(h.kept, i, i+1)
				break // one came, one goes
			}
		}
	}
	oldest := h.now().Add(-keepFor).Unix()
	drop := 0
	for drop < len(h.kept) && (len(h.kept)-drop > maxKept || h.bytes > maxKeptBytes || h.kept[drop].Time < oldest) {
		h.bytes -= len(h.kept[drop].Message)
		drop++
	}
	h.kept = slices.Delete(h.kept, 0, drop)
}

// subscribe listens to topics; what was kept since comes first. The subscriber is nil if
// only that is wanted, or there are too many.
func (h *hub) subscribe(topics []string, since string, stay bool) (kept []message, s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept = h.since(topics, since)
	if !stay || len(h.subscribers) >= maxSubscribers {
		return kept, nil
	}
	s = &subscriber{topics, make(chan message, maxBehind)}
	if h.subscribers == nil {
		h.subscribers = map[*subscriber]bool{}
	}
	h.subscribers[s] = true
	return kept, s
}

func (h *hub) leave(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subscribers, s)
}

// since is what was kept of topics since a time, as seconds since 1970 or a duration back
// from now, or behind a message by its ID; "all" and "" are all. The caller holds mu.
func (h *hub) since(topics []string, since string) []message {
	var found []message
	from, oldest := 0, h.now().Add(-keepFor).Unix()
	switch d, err := time.ParseDuration(since); {
	case since == "" || since == "all":
	case since == "none":
		return nil
	case err == nil:
		oldest = max(oldest, h.now().Add(-d).Unix())
	default:
		if t, err := strconv.ParseInt(since, 10, 64); err == nil {
			oldest = max(oldest, t)
		} else {
			// An ID that is not there any more: everything is behind it.
			from = slices.IndexFunc(h.kept, func(m message) bool { return m.ID == since }) + 1
		}
	}
	for _, m := range h.kept[from:] {
		if m.Time >= oldest && slices.Contains(topics, m.Topic) {
			found = append(found, m)
		}
	}
	return found
}
