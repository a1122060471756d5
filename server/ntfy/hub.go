package ntfy

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
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
	// maxSpill and maxSpillBytes bound the messages of all topics that outlive a restart.
	maxSpill      = 200
	maxSpillBytes = 256 << 10
	// maxSubscribers is how many connections may listen at the same time.
	maxSubscribers = 200
	// maxBehind is how many messages a slow subscriber may be behind before it is cut off;
	// it comes back and asks for what it has missed.
	maxBehind = 64
)

// message is one line of a topic's stream.
type message struct {
	ID       string   `json:"id"`
	Time     int64    `json:"time"` // s
	Expires  int64    `json:"expires,omitempty"`
	Event    string   `json:"event"` // open, keepalive or message
	Topic    string   `json:"topic"`
	Title    string   `json:"title,omitempty"`
	Message  string   `json:"message,omitempty"`
	Priority int      `json:"priority,omitempty"` // 1 to 5; absent: 3
	Tags     []string `json:"tags,omitempty"`
	Click    string   `json:"click,omitempty"`        // an address to open
	Type     string   `json:"content_type,omitempty"` // of the message, if it is Markdown
	Encoding string   `json:"encoding,omitempty"`     // base64 if the message was no text

	number uint64 // in the order they came; 0: it is not kept
}

// Kept is a message as it outlives a restart.
type Kept struct {
	Number uint64 // counts up
	Line   []byte // JSON
}

// size is how much a message counts for, in bytes.
func (m *message) size() int { return len(m.Message) + len(m.Title) + len(m.Click) + tagsSize(m.Tags) }

func tagsSize(tags []string) (n int) {
	for _, t := range tags {
		n += len(t)
	}
	return n
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
	last        uint64     // the number of the last message
	bytes       int        // of the messages kept
	subscribers map[*subscriber]bool
}

func (h *hub) line(event, topic string) message {
	return message{ID: rand.Text()[:12], Time: h.now().Unix(), Event: event, Topic: topic}
}

// restore takes what was kept before a restart.
func (h *hub) restore(earlier []Kept) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range earlier {
		var m message
		if err := json.Unmarshal(k.Line, &m); err != nil {
			return fmt.Errorf("the message %d of a topic: %w", k.Number, err)
		}
		m.number = k.Number
		h.last = max(h.last, k.Number)
		h.keep(m)
	}
	return nil
}

// spill is the newest messages, as many as outlive a restart, oldest first.
func (h *hub) spill() (all []Kept) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trim("")
	size := 0
	for _, m := range slices.Backward(h.kept) {
		line, err := json.Marshal(m)
		if size += len(line); err != nil || len(all) == maxSpill || size > maxSpillBytes {
			break
		}
		all = append(all, Kept{m.number, line})
	}
	slices.Reverse(all)
	return all
}

// keep adds a message to those kept. The caller holds mu.
func (h *hub) keep(m message) {
	h.kept = append(h.kept, m)
	h.bytes += m.size()
	h.trim(m.Topic)
}

// publish hands a message to all who listen, and keeps it if wanted.
func (h *hub) publish(m message, keep bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if keep {
		h.last++
		m.number = h.last
		h.keep(m)
	}
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
		if topic != "" && h.kept[i].Topic == topic {
			if n++; n > maxKeptTopic {
				h.bytes -= h.kept[i].size()
				h.kept = slices.Delete(h.kept, i, i+1)
				break // one came, one goes
			}
		}
	}
	oldest := h.now().Add(-keepFor).Unix()
	drop := 0
	for drop < len(h.kept) && (len(h.kept)-drop > maxKept || h.bytes > maxKeptBytes || h.kept[drop].Time < oldest) {
		h.bytes -= h.kept[drop].size()
		drop++
	}
	h.kept = slices.Delete(h.kept, 0, drop)
}

// isFull says whether nobody more can listen.
func (h *hub) isFull() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subscribers) >= maxSubscribers
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
// from now, or behind a message by its ID; "all" and "" are all, "latest" is the last of each
// topic. The caller holds mu.
func (h *hub) since(topics []string, since string) []message {
	var found []message
	from, oldest := 0, h.now().Add(-keepFor).Unix()
	switch d, err := time.ParseDuration(since); {
	case since == "" || since == "all":
	case since == "none":
		return nil
	case since == "latest":
		return h.latest(topics)
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

// latest is the last message of each topic, oldest first. The caller holds mu.
func (h *hub) latest(topics []string) (found []message) {
	oldest, seen := h.now().Add(-keepFor).Unix(), map[string]bool{}
	for _, m := range slices.Backward(h.kept) {
		if m.Time >= oldest && !seen[m.Topic] && slices.Contains(topics, m.Topic) {
			seen[m.Topic] = true
			found = append(found, m)
		}
	}
	slices.Reverse(found)
	return found
}
