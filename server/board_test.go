package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server"
	"porchlight/server/matrix"
	houserooms "porchlight/server/rooms"
	"porchlight/server/servertest"
)

// boardHouse is a house with a board of test devices.
func boardHouse(t *testing.T) *servertest.Server {
	return servertest.New(t, func(c *server.Config) {
		c.Board = server.BoardConfig{Camera: "test", Microphone: "test", Loudspeaker: "meter", Loopback: true}
	})
}

// TestRingReachesPeople: the button's order makes the board call the owner and a person
// whom it has never met, sends them a picture, and tells them of a missed ring.
func TestRingReachesPeople(t *testing.T) {
	s := boardHouse(t)
	owner, bob := s.User("owner"), s.User("bob")
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error { return s.MakeOwner(tx, owner.ID) })
	if _, err := s.Do(t.Context(), server.Order{Do: "ring", People: []string{"owner", "bob"}, Life: 5 * time.Second}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Do(t.Context(), server.Order{Do: "ring"}); !matrix.IsCode(err, "M_LIMIT_EXCEEDED") {
		t.Errorf("a second ring: %v", err)
	}
	seen := timeline(t, s, owner.Token, "nobody answered")
	all := strings.Join(seen, "\n")
	for _, want := range []string{"m.call.invite  " + string(owner.ID), "Somebody rings. mxc://", "m.call.hangup", "nobody answered. mxc://"} {
		if !strings.Contains(all, want) {
			t.Errorf("the owner did not see %q:\n%s", want, all)
		}
	}
	r := s.Ask(t.Context(), bob.Token, "GET", "/_matrix/client/v3/sync", http.NoBody)
	if !strings.Contains(string(r.Body), `"invite":{"!`) {
		t.Errorf("bob was not invited: %s", r.Body)
	}
}

// TestStatusTellsOfTheRelay: what the relay counts can be asked for in writing.
func TestStatusTellsOfTheRelay(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) {
		c.Board = server.BoardConfig{Camera: "test", Microphone: "test", Loudspeaker: "meter", Loopback: true}
		c.Network.Turn = true
	})
	owner := s.User("owner")
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error { return s.MakeOwner(tx, owner.ID) })
	var in struct {
		Rooms []string `json:"joined_rooms"`
	}
	owner.Must("GET", "v3/joined_rooms", "", &in)
	owner.Must("PUT", "v3/rooms/"+in.Rooms[0]+"/send/m.room.message/1", `{"msgtype":"m.text","body":"status"}`, nil)
	timeline(t, s, owner.Token, "The relay for calls: 0 open, 0 since the start, 0 kB carried")
}

// timeline syncs until an event has certain words in its body, and returns all events as
// type, body, URL and invitee.
func timeline(t *testing.T, s *servertest.Server, token, until string) (seen []string) {
	t.Helper()
	since := ""
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(strings.Join(seen, "\n"), until); {
		if time.Now().After(deadline) {
			t.Fatalf("there was nothing like %q, only %q", until, seen)
		}
		var sync struct {
			Next  string `json:"next_batch"`
			Rooms struct {
				Join map[string]struct {
					Timeline struct {
						Events []struct {
							Type    string
							Content struct {
								Body, URL string
								Invitee   matrix.UserID
							}
						}
					}
				}
			}
		}
		r := s.Ask(t.Context(), token, "GET", "/_matrix/client/v3/sync?timeout=1000"+since, http.NoBody)
		if err := json.Unmarshal(r.Body, &sync); err != nil {
			t.Fatal(err)
		}
		since = "&since=" + sync.Next
		for _, room := range sync.Rooms.Join {
			for _, e := range room.Timeline.Events {
				seen = append(seen, e.Type+" "+e.Content.Body+" "+e.Content.URL+string(e.Content.Invitee))
			}
		}
	}
	return seen
}

// TestBoardSettings: by the command line and by the control room.
func TestBoardSettings(t *testing.T) {
	s := boardHouse(t)
	owner := s.User("owner")
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error { return s.MakeOwner(tx, owner.ID) })
	do := func(o server.Order, want string) {
		t.Helper()
		lines, err := s.Do(t.Context(), o)
		got := strings.Join(lines, "\n")
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%+v gives %q, want %q", o, got, want)
		}
	}
	do(server.Order{Do: "board set", Setting: "ring_mode", Value: "turn"}, `ring_mode is "turn" now`)
	do(server.Order{Do: "board get", Setting: "ring_mode"}, "turn")
	do(server.Order{Do: "board set", Setting: "ring_mode", Value: "loud"}, "all or turn")
	do(server.Order{Do: "board set", Setting: "privacy_tone", Value: "off"}, "confirms in these words")
	do(server.Order{Do: "board unset", Setting: "ring_mode"}, `ring_mode is "all" now`)
	do(server.Order{Do: "board get"}, "* was set")
	do(server.Order{Do: "board get", Setting: "volume"}, "there is no setting")
	do(server.Order{Do: "ring", People: []string{"nobody"}}, "there is no account")

	var in struct {
		Rooms []string `json:"joined_rooms"`
	}
	owner.Must("GET", "v3/joined_rooms", "", &in)
	set := func(content string) {
		t.Helper()
		owner.Must("PUT", "v3/rooms/"+in.Rooms[0]+"/state/local.porchlight.board/ring_timeout", content, nil)
	}
	set(`{"value":"2h"}`)
	timeline(t, s, owner.Token, "The setting was not taken: ring_timeout: 2h0m0s is out of range")
	set(`{"value":"33s"}`)
	timeline(t, s, owner.Token, `ring_timeout is "33s" now.`)
	do(server.Order{Do: "board get", Setting: "ring_timeout"}, "33s")

	dir := quiet(t.TempDir())
	if _, err := server.Prepare(t.Context(), dir, server.Order{Do: "identity"}); err != nil {
		t.Fatal(err)
	}
	for _, o := range []server.Order{
		{Do: "board set", Setting: "ring_timeout", Value: "20s"}, {Do: "board get", Setting: "ring_timeout"},
	} {
		lines, err := server.Ask(t.Context(), dir, o)
		if err != nil || !strings.Contains(lines[0], "20s") {
			t.Errorf("while the house does not run, %+v gives %q, %v", o, lines, err)
		}
	}
	if _, err := server.Ask(t.Context(), dir, server.Order{Do: "ring"}); err == nil || !strings.Contains(err.Error(), "does not run") {
		t.Errorf("while the house does not run, ring gives %v", err)
	}
}

// rings has the owner rung, waits until the call and what else is said are there, and returns where its sync stands.
func rings(t *testing.T, s *servertest.Server, said ...string) (owner *servertest.User, since string) {
	t.Helper()
	owner = s.User("owner")
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error { return s.MakeOwner(tx, owner.ID) })
	if _, err := s.Do(t.Context(), server.Order{Do: "ring", Life: time.Minute}); err != nil {
		t.Fatal(err)
	}
	for _, event := range append(said, "m.call.invite", "m.call.candidates") {
		timeline(t, s, owner.Token, event)
	}
	var sync struct {
		Next string `json:"next_batch"`
	}
	owner.Must("GET", "v3/sync", "", &sync)
	return owner, sync.Next
}

// TestStoppingHangsUp: who is called hears that the house stops, by the request that waits
// just then, and that the next one would be too late.
func TestStoppingHangsUp(t *testing.T) {
	heard := make(chan string, 1)
	t.Run("house", func(t *testing.T) {
		s := boardHouse(t)
		owner, since := rings(t, s, "Somebody rings.")
		asked := make(chan struct{})
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
			WroteRequest: func(httptrace.WroteRequestInfo) { close(asked) },
		})
		r, err := http.NewRequestWithContext(ctx, "GET", s.URL()+"/_matrix/client/v3/sync?timeout=25000&since="+since, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+owner.Token)
		go func() {
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				heard <- err.Error()
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			heard <- fmt.Sprint(string(body), err, " close:", resp.Close)
		}()
		<-asked
	}) // here the house stops
	if got := <-heard; !strings.Contains(got, "m.call.hangup") || !strings.HasSuffix(got, "close:true") {
		t.Errorf("the last that was heard is %s", got)
	}
}

// TestCrashHangsUp: a house that was killed in the middle of a call hangs up when it starts
// again, and only then.
func TestCrashHangsUp(t *testing.T) {
	folder := t.TempDir()
	board := func(c *server.Config) {
		c.Board = server.BoardConfig{Camera: "none", Microphone: "test", Loudspeaker: "meter", Loopback: true}
	}
	t.Run("killed", func(t *testing.T) {
		s := servertest.New(t, board)
		rings(t, s)
		// What is on the disk now is what a kill would leave.
		file, err := os.Create(filepath.Join(folder, filepath.Base(s.DB.Path())))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.DB.Backup(t.Context(), file); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	})
	count := func(seen []string) (n int) {
		for _, e := range seen {
			if strings.HasPrefix(e, "m.call.hangup") {
				n++
			}
		}
		return n
	}
	for _, start := range []string{"started again", "and once more"} {
		t.Run(start, func(t *testing.T) {
			s := servertest.At(t, folder, board)
			seen := timeline(t, s, s.User("owner").Token, "m.call.hangup")
			if n := count(seen); n != 1 || len(s.BoardStatus()) != 0 {
				t.Errorf("hung up %d times; calls that go on: %+v", n, s.BoardStatus())
			}
		})
	}
}

// TestStrangersRoomsAreNotUsed: a user who may not call the board prepares rooms with it and
// with those whom it rings, in the two ways that once worked, and learns nothing from them.
func TestStrangersRoomsAreNotUsed(t *testing.T) {
	s := boardHouse(t)
	owner, bob, mallory := s.User("owner"), s.User("bob"), s.User("mallory")
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error { return s.MakeOwner(tx, owner.ID) })
	var control struct {
		Rooms []string `json:"joined_rooms"`
	}
	owner.Must("GET", "v3/joined_rooms", "", &control)
	var rooms []string
	for i := range 8 {
		var made struct {
			Room string `json:"room_id"`
		}
		victim := []*servertest.User{owner, bob}[i%2]
		mallory.Must("POST", "v3/createRoom", `{"preset":"public_chat","name":"Porch","invite":["`+string(s.BoardUser())+`"],
			"initial_state":[{"type":"m.room.history_visibility","state_key":"","content":{"history_visibility":"world_readable"}}]}`, &made)
		kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error { // as a former release has left it: the board is in
			_, err := s.Rooms.SetMembership(tx, houserooms.MemberArgs{Room: matrix.RoomID(made.Room), Sender: s.BoardUser(), Target: s.BoardUser(), Membership: "join"})
			return err
		})
		mallory.Must("POST", "v3/rooms/"+made.Room+"/invite", `{"user_id":"`+string(victim.ID)+`"}`, nil)
		mallory.Must("POST", "v3/rooms/"+made.Room+"/leave", `{}`, nil)
		if i >= 4 {
			victim.Must("POST", "v3/join/"+made.Room, `{}`, nil)
		}
		rooms = append(rooms, made.Room)
	}
	if _, err := s.Do(t.Context(), server.Order{Do: "ring", People: []string{"owner", "bob"}, Life: 5 * time.Second}); err != nil {
		t.Fatal(err)
	}
	owner.Must("PUT", "v3/rooms/"+rooms[6]+"/send/m.room.message/1", `{"msgtype":"m.text","body":"snapshot"}`, nil)
	seen := strings.Join(timeline(t, s, owner.Token, "nobody answered"), "\n")
	if !strings.Contains(seen, "This is what I see") {
		seen += strings.Join(timeline(t, s, owner.Token, "This is what I see"), "\n")
	}
	for _, room := range rooms {
		r := s.Ask(t.Context(), mallory.Token, "GET", "/_matrix/client/v3/rooms/"+room+"/messages?dir=b&limit=100", http.NoBody)
		if r.Status != http.StatusOK || strings.Contains(string(r.Body), "mxc://") || strings.Contains(string(r.Body), "m.call.") {
			t.Errorf("in a prepared room: %d %s", r.Status, r.Body)
		}
	}
	r := s.Ask(t.Context(), owner.Token, "GET", "/_matrix/client/v3/rooms/"+control.Rooms[0]+"/messages?dir=b&limit=100", http.NoBody)
	if !strings.Contains(string(r.Body), "mxc://") || !strings.Contains(string(r.Body), "m.call.invite") {
		t.Errorf("in the control room: %s", r.Body)
	}
}
