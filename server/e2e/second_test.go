//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"

	"porchlight/server/matrix"
	"porchlight/voip/agent"
	media "porchlight/voip/bridge"
	"porchlight/voip/call"
	"porchlight/voip/device"
)

// The users in the second board's scenario: its own, the house's board and its owner.
const (
	secondUser = matrix.UserID("@" + guest + ":" + serverName)
	firstUser  = matrix.UserID("@porch:" + serverName)
)

// boardPatience is how long the second board waits for something to become true.
const boardPatience = 20 * time.Second

// secondBoard is the whole scenario, in the process of the second board.
func secondBoard(url string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	first, err := dialHouse(url, owner)
	if err != nil {
		return err
	}
	back, err := dialHouse(url, guest)
	if err != nil {
		return err
	}
	devices, err := device.New(device.Config{Camera: device.Test, Microphone: device.Test, Loudspeaker: device.MeterOnly})
	if err != nil {
		return err
	}
	calls, err := media.New(media.Config{Media: devices})
	if err != nil {
		return err
	}
	house := &distantHouse{client: back, news: make(chan struct{})}
	a := agent.New(agent.Config{House: house, Bridge: distantBridge{calls}, Self: secondUser})
	ended := make(chan error, 4)
	parts := []func(context.Context) error{devices.Run, calls.Run, house.follow, a.Run}
	for _, run := range parts {
		go func() { ended <- run(ctx) }()
	}
	s := &boardScene{house: house, first: first, agent: a}
	err = s.play(ctx)
	cancel()
	for range parts {
		if e := <-ended; e != nil && !errors.Is(e, context.Canceled) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// boardScene is what happens between the two boards.
type boardScene struct {
	house *distantHouse
	first *client // the owner of the house, who sees its board's calls
	agent *agent.Agent
}

func (s *boardScene) play(ctx context.Context) error {
	for _, part := range []struct {
		name string
		ring func() error
	}{
		{"the second board calls", func() error { return s.agent.Ring(ctx, agent.RingRequest{People: []matrix.UserID{firstUser}}) }},
		{"the first board calls", s.firstRings},
		{"both call", func() error {
			both := make(chan error, 1)
			go func() { both <- s.firstRings() }()
			return errors.Join(s.agent.Ring(ctx, agent.RingRequest{People: []matrix.UserID{firstUser}}), <-both)
		}},
	} {
		began := time.Now()
		if err := part.ring(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		if err := s.stands(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		ours, theirs, _ := s.status()
		here, there := ours[0].Media, theirs[0].Media
		fmt.Printf("%s: pictures and sound at both ends %d ms after ringing; heard here %.0f Hz at %.0f dBFS, there %.0f Hz at %.0f dBFS\n",
			part.name, time.Since(began).Milliseconds(), here.HeardHz, here.HeardLevel, there.HeardHz, there.HeardLevel)
		if part.name == "both call" {
			if err := s.torn(); err != nil {
				return fmt.Errorf("torn: %w", err)
			}
		}
		if err := s.house.Send(ctx, ours[0].Room, "m.room.message", json.RawMessage(`{"msgtype":"m.text","body":"hang up"}`)); err != nil {
			return err
		}
		if err := s.eventually(func() error {
			ours, theirs, err := s.status()
			if len(ours)+len(theirs) > 0 {
				return fmt.Errorf("calls go on: %+v, %+v", ours, theirs)
			}
			return err
		}); err != nil {
			return err
		}
		time.Sleep(time.Until(began.Add(6 * time.Second))) // a board does not ring twice for the same visitor
	}
	return nil
}

// torn takes the second board's network away for three seconds.
func (s *boardScene) torn() error {
	set := func(state string) error {
		return exec.Command("ip", "link", "set", string(firstSpace), state).Run()
	}
	before, _, err := s.status()
	if err != nil {
		return err
	}
	if err := set("down"); err != nil {
		return err
	}
	time.Sleep(3 * time.Second)
	if err := set("up"); err != nil {
		return err
	}
	mended := time.Now()
	if err := s.stands(); err != nil {
		return err
	}
	after, _, err := s.status()
	if err != nil {
		return err
	}
	if after[0].Call != before[0].Call {
		return fmt.Errorf("another call: %s, not %s", after[0].Call, before[0].Call)
	}
	fmt.Printf("torn for 3 s: pictures and sound at both ends again %d ms after mending\n", time.Since(mended).Milliseconds())
	return nil
}

// firstRings has the house's board ring the second one.
func (s *boardScene) firstRings() error {
	var answer json.RawMessage
	return s.first.do("POST", "/_porchlight/ring", map[string]any{"people": []matrix.UserID{secondUser}}, &answer)
}

// status is the calls of the second board and of the first.
func (s *boardScene) status() (ours, theirs []agent.CallStatus, err error) {
	var answer struct {
		Calls []agent.CallStatus `json:"calls"`
	}
	err = s.first.do("GET", "/_porchlight/status", nil, &answer)
	return s.agent.Status(), answer.Calls, err
}

// stands waits for the one call to carry pictures and sound both ways.
func (s *boardScene) stands() error {
	var before [2]agent.MediaStats
	return s.eventually(func() error {
		ours, theirs, err := s.status()
		if err != nil {
			return err
		}
		if len(ours) != 1 || len(theirs) != 1 || ours[0].Call != theirs[0].Call {
			return fmt.Errorf("not one call: %+v, %+v", ours, theirs)
		}
		now := [2]agent.MediaStats{ours[0].Media, theirs[0].Media}
		was := before
		before = now
		for i := range now {
			pictures := now[i].VideoReceived > was[i].VideoReceived && was[i].VideoReceived > 0
			if !pictures || now[i].AudioReceived <= was[i].AudioReceived || math.Abs(now[i].HeardHz-440) > 20 {
				return fmt.Errorf("end %d: %+v, before that %+v", i, now[i], was[i])
			}
		}
		return nil
	})
}

// eventually tries again until check says that all is well.
func (s *boardScene) eventually(check func() error) error {
	for end := time.Now().Add(boardPatience); ; time.Sleep(100 * time.Millisecond) {
		err := check()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// dialHouse logs a user in.
func dialHouse(url, user string) (*client, error) {
	c := &client{porch: &porch{url: url}}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	err := c.do("POST", "/_matrix/client/v3/login", map[string]any{
		"type": "m.login.password", "identifier": map[string]any{"type": "m.id.user", "user": user}, "password": password,
	}, &answer)
	c.token = answer.AccessToken
	return c, err
}

// distantHouse is a house that the board reaches by HTTP alone. It implements agent.House.
type distantHouse struct {
	own    matrix.RoomID // that this board made; only the agent asks for it
	client *client

	mu     sync.Mutex
	news   chan struct{} // closed when there is something new
	events []agent.Event
	sent   int
}

// follow syncs until ctx ends.
func (h *distantHouse) follow(ctx context.Context) error {
	type event struct {
		Sender   matrix.UserID   `json:"sender"`
		Type     string          `json:"type"`
		StateKey *string         `json:"state_key"`
		Content  json.RawMessage `json:"content"`
		Unsigned struct {
			Age int64 `json:"age"`
		} `json:"unsigned"`
	}
	since := ""
	for ctx.Err() == nil {
		var answer struct {
			Next  string `json:"next_batch"`
			Rooms struct {
				Join map[matrix.RoomID]struct {
					Timeline struct {
						Events []event `json:"events"`
					} `json:"timeline"`
				} `json:"join"`
				Invite map[matrix.RoomID]struct {
					State struct {
						Events []event `json:"events"`
					} `json:"invite_state"`
				} `json:"invite"`
			} `json:"rooms"`
		}
		if err := h.client.do("GET", "/_matrix/client/v3/sync?timeout=1000&since="+url.QueryEscape(since), nil, &answer); err != nil {
			time.Sleep(200 * time.Millisecond) // the network is torn
			continue
		}
		first := since == ""
		since = answer.Next
		var list []agent.Event
		take := func(room matrix.RoomID, events []event) {
			for _, e := range events {
				list = append(list, agent.Event{Room: room, Sender: e.Sender, Type: e.Type, StateKey: e.StateKey, Content: e.Content,
					Age: time.Duration(e.Unsigned.Age) * time.Millisecond})
			}
		}
		for id, room := range answer.Rooms.Invite {
			take(id, room.State.Events)
		}
		for id, room := range answer.Rooms.Join {
			if !first {
				take(id, room.Timeline.Events)
			}
		}
		h.mu.Lock()
		h.events = append(h.events, list...)
		if len(list) > 0 {
			close(h.news)
			h.news = make(chan struct{})
		}
		h.mu.Unlock()
	}
	return nil
}

func (h *distantHouse) Wait() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.news
}

func (h *distantHouse) Read(context.Context) ([]agent.Event, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.events
	h.events = nil
	return list, nil
}

func (h *distantHouse) Send(_ context.Context, room matrix.RoomID, eventType string, content json.RawMessage) error {
	h.mu.Lock()
	h.sent++
	txn := strconv.Itoa(h.sent)
	h.mu.Unlock()
	var answer json.RawMessage
	return h.client.do("PUT", "/_matrix/client/v3/rooms/"+url.PathEscape(string(room))+"/send/"+eventType+"/"+txn, content, &answer)
}

func (h *distantHouse) Join(_ context.Context, room matrix.RoomID) error {
	var answer json.RawMessage
	return h.client.do("POST", "/_matrix/client/v3/join/"+url.PathEscape(string(room)), map[string]any{}, &answer)
}

func (h *distantHouse) Joined(_ context.Context, room matrix.RoomID) (users []matrix.UserID, err error) {
	var answer struct {
		Joined map[matrix.UserID]json.RawMessage `json:"joined"`
	}
	err = h.client.do("GET", "/_matrix/client/v3/rooms/"+url.PathEscape(string(room))+"/joined_members", nil, &answer)
	for user := range answer.Joined {
		users = append(users, user)
	}
	return users, err
}

func (h *distantHouse) MayCall(_ context.Context, user matrix.UserID) (bool, error) {
	return user == firstUser, nil
}

func (h *distantHouse) Owner(context.Context) (matrix.UserID, error) { return "", nil }

func (h *distantHouse) ControlRoom(context.Context) (matrix.RoomID, error) { return "", nil }

// DirectRoom is a room of two with the user, which has to have joined; it is made if there is
// none. The first board calls in a room of its own making only, so that one comes first: calls
// cross in one room.
func (h *distantHouse) DirectRoom(ctx context.Context, user matrix.UserID) (matrix.RoomID, error) {
	var mine struct {
		Rooms []matrix.RoomID `json:"joined_rooms"`
	}
	if err := h.client.do("GET", "/_matrix/client/v3/joined_rooms", nil, &mine); err != nil {
		return "", err
	}
	var shared matrix.RoomID
	for _, room := range mine.Rooms {
		users, err := h.Joined(ctx, room)
		if err != nil || len(users) != 2 || !slices.Contains(users, user) {
			continue
		}
		if shared = room; room != h.own {
			break
		}
	}
	if shared != "" {
		return shared, nil
	}
	var made struct {
		Room matrix.RoomID `json:"room_id"`
	}
	err := h.client.do("POST", "/_matrix/client/v3/createRoom", map[string]any{
		"preset": "trusted_private_chat", "is_direct": true, "invite": []matrix.UserID{user},
	}, &made)
	h.own = made.Room
	return made.Room, err
}

func (h *distantHouse) Audience(ctx context.Context, room matrix.RoomID) (agent.Audience, error) {
	users, err := h.Joined(ctx, room)
	return agent.Audience{
		Joined: len(users), People: slices.DeleteFunc(users, func(u matrix.UserID) bool { return u != firstUser }),
	}, err
}

func (h *distantHouse) Upload(context.Context, string, string, []byte) (string, error) {
	return "", errors.New("this board sends no pictures")
}

func (h *distantHouse) Delete(context.Context, string) error {
	return errors.New("this board keeps nothing")
}

func (h *distantHouse) Content(context.Context, string) (io.Reader, error) {
	return nil, errors.New("this board plays no songs")
}

func (h *distantHouse) Event(context.Context, matrix.RoomID, matrix.EventID) (agent.Event, bool, error) {
	return agent.Event{}, false, errors.New("this board looks nothing up")
}

// distantBridge shows voip/bridge to the agent, as the server does.
type distantBridge struct{ bridge *media.Bridge }

func (b distantBridge) Open(ctx context.Context) (agent.Session, error) {
	s, err := b.bridge.Open(ctx)
	if err != nil {
		return nil, err
	}
	reports := make(chan agent.Report)
	go func() {
		defer close(reports)
		for e := range s.Events() {
			reports <- agent.Report{Input: e.Report, Digit: e.Digit}
		}
	}()
	return distantSession{s, reports}, nil
}

type distantSession struct {
	*media.Session
	reports chan agent.Report
}

func (s distantSession) Order(o call.Output) { s.Session.Order(o) }

func (s distantSession) Reports() <-chan agent.Report { return s.reports }

func (s distantSession) Stats() agent.MediaStats {
	st := s.Session.Stats()
	return agent.MediaStats{
		AudioCodec: st.AudioCodec, VideoCodec: st.VideoCodec, AudioSent: st.AudioSent, VideoSent: st.VideoSent,
		AudioReceived: st.AudioReceived, VideoReceived: st.VideoReceived, Connected: st.Connected,
		HeardLevel: st.Speaker.Level, HeardHz: st.Speaker.ToneHz,
	}
}
