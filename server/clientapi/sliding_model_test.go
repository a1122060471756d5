package clientapi_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"

	"porchlight/server/servertest"
)

// slidRoom is a room as a client has put it together from answers.
type slidRoom struct {
	membership, name string
	joined           int
	timeline         []string // IDs
	state            map[string]string
}

// slider is a client: what it has, and how it goes on.
type slider struct {
	pos   string
	rooms map[string]*slidRoom
}

// slidNews is what slider reads of an answer.
type slidNews struct {
	Pos   string
	Rooms map[string]struct {
		Initial    bool
		Expanded   bool `json:"expanded_timeline"`
		Limited    bool
		Membership string
		Name       json.RawMessage
		Joined     int `json:"joined_count"`
		Timeline   []struct {
			ID string `json:"event_id"`
		}
		State []struct {
			ID   string `json:"event_id"`
			Type string
			Key  string `json:"state_key"`
		} `json:"required_state"`
	}
}

// apply does what the proposal asks of a client.
func (c *slider) apply(news slidNews) {
	c.pos = news.Pos
	for id, r := range news.Rooms {
		room := c.rooms[id]
		if room == nil || r.Initial {
			before := room
			room = &slidRoom{state: map[string]string{}}
			if before != nil {
				room.membership = before.membership
			}
			c.rooms[id] = room
		}
		if r.Membership != "" {
			room.membership = r.Membership
		}
		if r.Name != nil {
			room.name = string(r.Name)
		}
		if r.Joined != 0 {
			room.joined = r.Joined
		}
		if r.Limited || r.Expanded {
			room.timeline = nil
		}
		for _, e := range r.Timeline {
			room.timeline = append(room.timeline, e.ID)
		}
		for _, e := range r.State {
			room.state[e.Type+" "+e.Key] = e.ID
		}
	}
}

func (c *slider) ask(u *servertest.User, last int) slidNews {
	body := fmt.Sprintf(`{"conn_id":"model","lists":{"a":{"range":[0,%d],"timeline_limit":3,"required_state":{"include":[{"type":"m.room.name"},{"type":"m.room.member","state_key":"{@alice}"}]}}}`, last)
	if c.pos != "" {
		body += fmt.Sprintf(`,"pos":%q`, c.pos)
	}
	var news slidNews
	u.Must("POST", "v4/sync", body+"}", &news)
	return news
}

// A client that applies all answers, some of which get lost, has what a new connection is
// told.
func TestSlidingSyncModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { slidingModel(t, rand.New(rand.NewPCG(seed, 7))) })
	}
}

func slidingModel(t *testing.T, random *rand.Rand) {
	h := servertest.New(t)
	people := []*servertest.User{h.User("alice"), h.User("bob")}
	alice, bob := people[0], people[1]
	var all []string
	for i := range 5 {
		all = append(all, newRoom(bob, fmt.Sprintf(`{"name":"Room %d","preset":"public_chat"}`, i)))
	}
	client := &slider{rooms: map[string]*slidRoom{}}
	for n := range 80 {
		room := "v3/rooms/" + all[random.IntN(len(all))]
		var r *servertest.Response
		switch random.IntN(9) {
		case 0, 1, 2:
			r = people[random.IntN(2)].Do("PUT", fmt.Sprintf("%s/send/m.room.message/%d", room, n), `{"msgtype":"m.text","body":"x"}`)
		case 3:
			r = bob.Do("PUT", room+"/state/m.room.name", fmt.Sprintf(`{"name":"%d"}`, n))
		case 4:
			r = alice.Do("POST", room+"/join", `{}`)
		case 5:
			r = alice.Do("POST", room+"/leave", `{}`)
		case 6:
			r = bob.Do("POST", room+"/kick", `{"user_id":"{@alice}"}`)
		case 7:
			r = bob.Do("POST", room+"/invite", `{"user_id":"{@alice}"}`)
		case 8:
			news := client.ask(alice, random.IntN(5))
			if random.IntN(3) > 0 { // or else it never arrives
				client.apply(news)
			}
			continue
		}
		if r.Status != http.StatusOK && r.Status != http.StatusForbidden {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
	}
	client.apply(client.ask(alice, 99))
	fresh := &slider{rooms: map[string]*slidRoom{}}
	fresh.apply(fresh.ask(alice, 99))
	for id, want := range fresh.rooms {
		got := client.rooms[id]
		switch {
		case got == nil:
			t.Errorf("%s is missing: %+v", id, want)
		case got.membership != want.membership, got.name != want.name && want.membership == "join", want.membership == "join" && got.joined != want.joined:
			t.Errorf("%s: %+v, want %+v", id, got, want)
		case want.membership == "join" && got.state["m.room.name "] != want.state["m.room.name "]:
			t.Errorf("%s: %+v, want %+v", id, got, want)
		case !slices.Equal(tail(got.timeline, 3), tail(want.timeline, 3)) && len(got.timeline) >= 3:
			t.Errorf("%s: %v, want %v", id, got.timeline, want.timeline)
		case !slices.Equal(got.timeline, tail(want.timeline, len(got.timeline))) && len(got.timeline) < 3:
			t.Errorf("%s: %v, want the end of %v", id, got.timeline, want.timeline)
		}
	}
}

func tail(all []string, n int) []string { return all[max(0, len(all)-n):] }
