package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/kv/kvtest"
	"porchlight/server/matrix"
	"porchlight/voip/call"
)

const (
	porch = matrix.UserID("@porch:h")
	alice = matrix.UserID("@alice:h")
	bob   = matrix.UserID("@bob:h")
	room  = matrix.RoomID("!direct")
)

// house is a homeserver of a few lines.
type house struct {
	mu      sync.Mutex
	news    chan struct{}
	unread  []Event
	sent    []Event
	joined  map[matrix.RoomID][]matrix.UserID
	joins   []matrix.RoomID
	broken  error
	allowed map[matrix.UserID]bool
	uploads int
	noDoor  error // DirectRoom's
	full    error // Upload's
	events  map[matrix.EventID]Event
	deleted []string
	onSend  func(Event)                       // nil: nothing; called under mu
	open    map[matrix.RoomID]bool            // others can read it
	public  map[matrix.RoomID]bool            // others can come in
	invited map[matrix.RoomID][]matrix.UserID // besides those joined
	own     map[matrix.UserID]matrix.RoomID   // DirectRoom's, where it is not by the name

	encrypted map[matrix.RoomID]bool
}

func newHouse() *house {
	return &house{
		news:    make(chan struct{}),
		joined:  map[matrix.RoomID][]matrix.UserID{room: {porch, alice}},
		open:    map[matrix.RoomID]bool{},
		public:  map[matrix.RoomID]bool{},
		invited: map[matrix.RoomID][]matrix.UserID{},
		allowed: map[matrix.UserID]bool{alice: true},
	}
}

func (h *house) Wait() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.news
}

func (h *house) Read(context.Context) ([]Event, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken != nil {
		return nil, h.broken
	}
	events := h.unread
	h.unread = nil
	return events, nil
}

func (h *house) put(events ...Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unread = append(h.unread, events...)
	close(h.news)
	h.news = make(chan struct{})
}

func (h *house) Send(_ context.Context, room matrix.RoomID, eventType string, content json.RawMessage) error {
	e := Event{Room: room, Sender: porch, Type: eventType, Content: content}
	h.mu.Lock()
	h.sent = append(h.sent, e)
	if h.onSend != nil {
		h.onSend(e)
	}
	h.mu.Unlock()
	h.put(e) // the board hears itself, like everybody in the room
	return nil
}

func (h *house) Join(_ context.Context, room matrix.RoomID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.joins = append(h.joins, room)
	return nil
}

func (h *house) Joined(_ context.Context, room matrix.RoomID) ([]matrix.UserID, error) {
	return h.joined[room], nil
}

func (h *house) MayCall(_ context.Context, user matrix.UserID) (bool, error) {
	return h.allowed[user], nil
}

func (h *house) Owner(context.Context) (matrix.UserID, error) { return alice, nil }

func (h *house) ControlRoom(context.Context) (matrix.RoomID, error) { return room, nil }

func (h *house) DirectRoom(_ context.Context, user matrix.UserID) (matrix.RoomID, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if own := h.own[user]; own != "" {
		return own, h.noDoor
	}
	if user == alice {
		return room, h.noDoor
	}
	return matrix.RoomID("!" + user.Localpart()), h.noDoor
}

func (h *house) Audience(_ context.Context, in matrix.RoomID) (Audience, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	people := slices.Concat(h.joined[in], h.invited[in])
	people = slices.DeleteFunc(people, func(u matrix.UserID) bool { return u == porch })
	return Audience{People: people, Joined: len(h.joined[in]), Open: h.open[in] || h.public[in], Public: h.public[in], Encrypted: h.encrypted[in]}, nil
}

func (h *house) Upload(_ context.Context, contentType, _ string, data []byte) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if contentType == "" || len(data) == 0 {
		return "", errors.New("that is nothing")
	}
	if h.full != nil {
		return "", h.full
	}
	h.uploads++
	return fmt.Sprintf("mxc://h/%d", h.uploads), nil
}

func (h *house) Delete(_ context.Context, uri string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deleted = append(h.deleted, uri)
	if uri == "mxc://h/gone" {
		return matrix.NotFound("there is no such media here")
	}
	return nil
}

func (h *house) Content(_ context.Context, uri string) (io.Reader, error) {
	if !strings.HasPrefix(uri, "mxc://h/") {
		return nil, matrix.NotFound("there is no such media here")
	}
	return strings.NewReader(uri), nil
}

func (h *house) Event(_ context.Context, room matrix.RoomID, id matrix.EventID) (Event, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.events[id]
	return e, ok && e.Room == room, nil
}

// words is the bodies of the messages that the board has sent, with their rooms; events
// of calls are their types. It forgets them.
func (h *house) words() (all []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.sent {
		var m struct{ Body, URL string }
		text := e.Type
		if json.Unmarshal(e.Content, &m) == nil && m.Body != "" {
			text = m.Body
		}
		if m.URL != "" {
			text += " " + m.URL
		}
		all = append(all, string(e.Room)+" "+text)
	}
	h.sent = nil
	return all
}

// said is the types of the call events that the board has sent. It forgets all it sent.
func (h *house) said() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var types []string
	for _, e := range h.sent {
		if e.Type == "m.room.message" {
			continue // words has those
		}
		types = append(types, strings.TrimPrefix(e.Type, "m.call."))
	}
	h.sent = nil
	return strings.Join(types, " ")
}

// media is a bridge whose sessions answer every offer and connect at once.
type media struct {
	mu       sync.Mutex
	sessions []*session
	fail     error
}

func (m *media) Open(context.Context) (Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	s := &session{reports: make(chan Report), done: make(chan struct{})}
	m.sessions = append(m.sessions, s)
	return s, nil
}

func (m *media) open() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sessions {
		if !s.closed {
			n++
		}
	}
	return n
}

type session struct {
	withheld string
	listed   []string // the peer's streams as they were told before the first offer
	offered  bool
	deaf     bool
	reports  chan Report
	done     chan struct{}
	closed   bool
	work     sync.WaitGroup
}

func (s *session) Withhold(audio, video bool) {
	s.withheld = fmt.Sprintf("audio %t video %t", audio, video)
}

func (s *session) Deafen() { s.deaf = true }

func (s *session) Order(o call.Output) {
	description := func(kind string) call.Input {
		return call.LocalDescription{Description: call.Description{Type: kind, SDP: "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"}, StreamID: "s"}
	}
	var inputs []call.Input
	switch o := o.(type) {
	case call.PeerStreams:
		if !s.offered {
			s.listed = slices.Sorted(maps.Keys(o.Streams))
		}
	case call.ApplyOffer:
		s.offered = true
		inputs = []call.Input{description("answer"), call.Connected{}}
	case call.CreateOffer:
		inputs = []call.Input{description("offer")}
	case call.ApplyAnswer:
		inputs = []call.Input{call.Connected{}}
	}
	s.work.Go(func() {
		for _, in := range inputs {
			select {
			case s.reports <- Report{Input: in}:
			case <-s.done:
				return
			}
		}
	})
}

func (s *session) Reports() <-chan Report { return s.reports }

func (s *session) Stats() MediaStats { return MediaStats{HeardHz: 440} }

func (s *session) Close() error {
	if !s.closed {
		s.closed = true
		close(s.done)
		s.work.Wait()
		close(s.reports)
	}
	return nil
}

// board runs an agent inside a bubble of virtual time.
func board(t *testing.T, change func(*Config), test func(h *house, m *media, a *Agent)) {
	synctest.Test(t, func(t *testing.T) {
		h, m := newHouse(), &media{}
		c := Config{House: h, Bridge: m, Self: porch, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), About: func() []string { return []string{"All is well."} }, Now: func() time.Time { return time.Now().UTC() }}
		if change != nil {
			change(&c)
		}
		a := New(c)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		synctest.Wait()
		test(h, m, a)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := m.open(); n != 0 {
			t.Errorf("%d sessions are left open", n)
		}
	})
}

func event(sender matrix.UserID, eventType, content string) Event {
	return Event{Room: room, Sender: sender, Type: eventType, Content: json.RawMessage(content)}
}

func invite(sender matrix.UserID, more string) Event {
	return event(sender, "m.call.invite", `{"call_id":"c1","party_id":"p1","version":"1","lifetime":60000,
		"offer":{"type":"offer","sdp":"v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"}`+more+`}`)
}

func TestTheOwnersCallIsAnswered(t *testing.T) {
	board(t, nil, func(h *house, m *media, a *Agent) {
		h.put(invite(alice, ""))
		synctest.Wait()
		if got := h.said(); got != "answer" {
			t.Fatalf("the board said %q", got)
		}
		h.put(event(alice, "m.call.select_answer", `{"call_id":"c1","party_id":"p1","version":"1","selected_party_id":"x"}`))
		synctest.Wait()
		st := a.Status()
		if len(st) == 1 && st[0].Phase == "active" {
			t.Error("an answer of somebody else was selected and the board stayed")
		}
	})
	board(t, nil, func(h *house, m *media, a *Agent) {
		h.put(invite(alice, ""))
		synctest.Wait()
		st := a.Status()
		if len(st) != 1 || st[0].Phase != "active" || st[0].Peer != alice || st[0].Media.HeardHz != 440 {
			t.Fatalf("status %+v", st)
		}
		h.said()
		h.put(event(alice, "m.call.hangup", `{"call_id":"c1","party_id":"p1","version":"1","reason":"user_hangup"}`))
		synctest.Wait()
		if got := h.said(); got != "" || m.open() != 0 || len(a.Status()) != 0 {
			t.Errorf("after the hangup: said %q, %d sessions, status %v", got, m.open(), a.Status())
		}
	})
}

// The media knows which streams of the peer count before any of them comes.
func TestStreamsAreToldFirst(t *testing.T) {
	board(t, nil, func(h *house, m *media, _ *Agent) {
		h.put(invite(alice, `,"sdp_stream_metadata":{"hers":{"purpose":"m.usermedia"},"odd":{"purpose":"m.hologram"}}`))
		synctest.Wait()
		if got := m.sessions[0].listed; !slices.Equal(got, []string{"hers"}) {
			t.Errorf("streams %q", got)
		}
	})
}

func TestWhoIsAnswered(t *testing.T) {
	tests := []struct {
		name string
		make func(h *house) []Event
		want string
	}{
		{"a stranger is rejected", func(h *house) []Event {
			h.joined[room] = []matrix.UserID{porch, bob}
			return []Event{invite(bob, "")}
		}, "reject"},
		{"a call to somebody else", func(*house) []Event { return []Event{invite(alice, `,"invitee":"@bob:h"`)} }, ""},
		{"a call in a group", func(h *house) []Event {
			h.joined[room] = []matrix.UserID{porch, alice, bob}
			return []Event{invite(alice, "")}
		}, ""},
		{"a call in a group to the board", func(h *house) []Event {
			h.joined[room] = []matrix.UserID{porch, alice, bob}
			return []Event{invite(alice, `,"invitee":"@porch:h"`)}
		}, "answer"},
		{"an old invite", func(*house) []Event {
			e := invite(alice, "")
			e.Age = time.Hour
			return []Event{e}
		}, ""},
		{"an invite already taken back", func(*house) []Event {
			return []Event{invite(alice, ""), event(alice, "m.call.hangup", `{"call_id":"c1","party_id":"p1","version":"1","reason":"invite_timeout"}`)}
		}, ""},
		{"an invite that is no good", func(*house) []Event { return []Event{event(alice, "m.call.invite", `{"call_id":7}`)} }, ""},
		{"candidates of no call", func(*house) []Event {
			return []Event{event(alice, "m.call.candidates", `{"call_id":"c9","party_id":"p1","version":"1","candidates":[]}`)}
		}, ""},
		{"the board's own invite", func(*house) []Event { return []Event{invite(porch, "")} }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			board(t, nil, func(h *house, _ *media, _ *Agent) {
				h.put(tt.make(h)...)
				synctest.Wait()
				if got := h.said(); got != tt.want {
					t.Errorf("the board said %q, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestAnswerAfter(t *testing.T) {
	board(t, func(c *Config) { c.Settings = NewStore(nil, DefaultSettings(10*time.Second), nil) }, func(h *house, _ *media, _ *Agent) {
		h.put(invite(alice, ""))
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if got := h.said(); got != "" {
			t.Errorf("after 9 s the board said %q", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := h.said(); got != "answer" {
			t.Errorf("after 11 s the board said %q", got)
		}
	})
}

func TestStoppingHangsUp(t *testing.T) {
	var h *house
	board(t, nil, func(at *house, _ *media, _ *Agent) {
		h = at
		h.put(invite(alice, ""))
		synctest.Wait()
		h.said()
	})
	if got := h.said(); got != "hangup" {
		t.Errorf("when it stopped, the board said %q", got)
	}
}

func TestNoMediaIsSaid(t *testing.T) {
	board(t, nil, func(h *house, m *media, a *Agent) {
		m.fail = errors.New("no ports")
		h.put(invite(alice, ""))
		synctest.Wait()
		if got := h.said(); got != "hangup reject" && got != "reject" {
			t.Errorf("the board said %q", got)
		}
		if n := len(a.Status()); n != 0 {
			t.Errorf("%d calls are left", n)
		}
	})
}

// Who calls when as many calls go on as there may be, or with nothing to answer, is told so.
func TestReasonsOfRefusal(t *testing.T) {
	for _, tt := range []struct {
		name, reason string
		fail         error
		invite       func(*Event)
	}{
		{"busy", "user_busy", fmt.Errorf("media: %w", call.ErrBusy), func(*Event) {}},
		{"no ports", "user_media_failed", errors.New("no ports"), func(*Event) {}},
		{"an empty offer", "unknown_error", nil, func(e *Event) {
			e.Content = json.RawMessage(`{"call_id":"c1","party_id":"p1","version":"1","lifetime":60000,"offer":{"type":"offer","sdp":""}}`)
		}},
		{"no offer", "unknown_error", nil, func(e *Event) {
			e.Content = json.RawMessage(`{"call_id":"c1","party_id":"p1","version":"1","lifetime":60000}`)
		}},
	} {
		board(t, nil, func(h *house, m *media, _ *Agent) {
			m.fail = tt.fail
			e := invite(alice, "")
			tt.invite(&e)
			h.put(e)
			synctest.Wait()
			h.mu.Lock()
			defer h.mu.Unlock()
			reasons := map[string]string{}
			for _, e := range h.sent {
				var content struct{ Reason string }
				if err := json.Unmarshal(e.Content, &content); err != nil {
					t.Fatal(err)
				}
				reasons[e.Type] = content.Reason
			}
			if reasons[call.TypeReject] != tt.reason || reasons[call.TypeHangup] != tt.reason {
				t.Errorf("%s: the board said %v, want %s", tt.name, reasons, tt.reason)
			}
		})
	}
}

func TestThePeerLeaves(t *testing.T) {
	board(t, nil, func(h *house, m *media, _ *Agent) {
		h.put(invite(alice, ""))
		synctest.Wait()
		h.joined[room] = []matrix.UserID{porch}
		key := string(alice)
		e := event(alice, "m.room.member", `{"membership":"leave"}`)
		e.StateKey = &key
		h.put(e)
		synctest.Wait()
		if n := m.open(); n != 0 {
			t.Errorf("%d sessions are open with nobody there", n)
		}
	})
}

// TestInvitations: the board accepts those of people who may call or command it, and leaves
// others alone, however many there are.
func TestInvitations(t *testing.T) {
	board(t, with(t, "commands", string(carol)), func(h *house, _ *media, _ *Agent) {
		key := string(porch)
		var events []Event
		for i, by := range append(slices.Repeat([]matrix.UserID{bob}, 1000), alice, carol) {
			e := event(by, "m.room.member", `{"membership":"invite"}`)
			e.StateKey, e.Room = &key, matrix.RoomID(fmt.Sprintf("!new%d", i))
			events = append(events, e)
		}
		h.put(events...)
		synctest.Wait()
		if want := []matrix.RoomID{"!new1000", "!new1001"}; !slices.Equal(h.joins, want) {
			t.Errorf("joined %v", h.joins)
		}
		if got := h.words(); len(got) != 0 {
			t.Errorf("the board said %q", got)
		}
	})
}

func TestMessagesAreAnswered(t *testing.T) {
	tests := []struct {
		name    string
		sender  matrix.UserID
		content string
		want    string // part of the answer; empty: none
	}{
		{"status", alice, `{"msgtype":"m.text","body":" Status "}`, "All is well.\\nNobody is calling."},
		{"help", alice, `{"msgtype":"m.text","body":"help"}`, "Call me"},
		{"other words", alice, `{"msgtype":"m.text","body":"hello"}`, "did not understand"},
		{"a notice", alice, `{"msgtype":"m.notice","body":"help"}`, ""},
		{"an edit", alice, `{"msgtype":"m.text","body":"help","m.relates_to":{"rel_type":"m.replace"}}`, ""},
		{"a stranger", bob, `{"msgtype":"m.text","body":"help"}`, "I take no commands from you."},
		{"no message", alice, `[]`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			board(t, nil, func(h *house, _ *media, _ *Agent) {
				h.put(event(tt.sender, "m.room.message", tt.content))
				synctest.Wait()
				switch {
				case tt.want == "" && len(h.sent) > 0:
					t.Errorf("the board answered %s", h.sent[0].Content)
				case tt.want != "" && (len(h.sent) != 1 || !strings.Contains(string(h.sent[0].Content), tt.want)):
					t.Errorf("the board answered %+v", h.sent)
				case tt.want != "" && !strings.Contains(string(h.sent[0].Content), `"m.notice"`):
					t.Errorf("the answer is no notice: %s", h.sent[0].Content)
				}
			})
		})
	}
}

func TestATroubledHouseIsTriedAgain(t *testing.T) {
	board(t, nil, func(h *house, _ *media, _ *Agent) {
		h.mu.Lock()
		h.broken = errors.New("disk")
		h.mu.Unlock()
		h.put(invite(alice, ""))
		synctest.Wait()
		h.mu.Lock()
		h.broken = nil
		h.mu.Unlock()
		time.Sleep(2 * retryAfter)
		synctest.Wait()
		if got := h.said(); got != "answer" {
			t.Errorf("the board said %q", got)
		}
	})
}

// A house that was killed hangs up the calls that it left, with the name it had in them, when
// it starts again; one that ended as it should leaves none.
func TestJournal(t *testing.T) {
	for name, killed := range map[string]bool{"killed": true, "stopped": false} {
		t.Run(name, func(t *testing.T) {
			db := kvtest.Open(t)
			j := NewJournal(db)
			key := callKey{room, "c1"}
			if err := j.begun(t.Context(), key, "party"); err != nil {
				t.Fatal(err)
			}
			if !killed {
				j.over(key)
			}
			for start, want := range []string{map[bool]string{true: "hangup"}[killed], ""} {
				h := newHouse()
				a := New(Config{House: h, Bridge: &media{}, Self: porch, Journal: j, Log: slog.New(slog.DiscardHandler)})
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				check := func(err error) {
					t.Helper()
					if err != nil {
						t.Fatal(err)
					}
				}
				check(db.Flush())
				a.hangUpLeft(t.Context())
				check(a.Run(ctx))
				check(db.Flush())
				h.mu.Lock()
				for _, e := range h.sent {
					if !strings.Contains(string(e.Content), `"party_id":"party"`) || !strings.Contains(string(e.Content), `"call_id":"c1"`) {
						t.Errorf("%s", e.Content)
					}
				}
				h.mu.Unlock()
				if got := h.said(); got != want {
					t.Errorf("start %d: the board says %q, want %q", start, got, want)
				}
			}
		})
	}
}
