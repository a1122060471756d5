package slidingsync

import (
	"context"
	"fmt"
	"testing"
	"time"

	"porchlight/server/changes"
	"porchlight/server/matrix"
)

// use makes one request on a connection, and lets its answer have arrived if it should.
func use(t *testing.T, c *conns, device, name, pos string, at changes.Position) (string, error) {
	t.Helper()
	s, _, err := c.begin(context.Background(), connID{"@a:h", matrix.DeviceID(device), name}, pos)
	if err != nil {
		return "", err
	}
	defer s.end()
	res := &Response{}
	told := &memory{at: at, rooms: map[matrix.RoomID]toldRoom{matrix.RoomID(fmt.Sprint("!", at)): {upTo: at}}}
	if err := s.commit(res, told); err != nil {
		t.Fatal(err)
	}
	return res.Pos, nil
}

func newConns(most, ofDevice int) *conns {
	clock := time.Unix(0, 0)
	return &conns{all: map[connID]*conn{}, most: most, mostOfDevice: ofDevice, now: func() time.Time {
		clock = clock.Add(time.Second)
		return clock
	}}
}

// Only the answer whose pos comes back counts.
func TestAnswersThatArrive(t *testing.T) {
	c := newConns(10, 10)
	first, err := use(t, c, "A", "", "", 1)
	if err != nil {
		t.Fatal(err)
	}
	lost, err := use(t, c, "A", "", first, 2)
	if err != nil {
		t.Fatal(err)
	}
	second, err := use(t, c, "A", "", first, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := use(t, c, "A", "", lost, 4); err == nil {
		t.Error("an answer that was given anew is taken for one that arrived")
	}
	if _, err := use(t, c, "A", "", second, 5); err != nil {
		t.Fatal(err)
	}
	base := c.all[connID{"@a:h", "A", ""}].base
	if _, has := base.rooms["!2"]; has || base.at != 3 || len(base.rooms) != 2 {
		t.Errorf("what has arrived: %+v", base)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	c := newConns(4, 2)
	pos := map[string]string{}
	for _, name := range []string{"1", "2", "3"} { // the first one of the device goes
		pos[name], _ = use(t, c, "A", name, "", 1)
	}
	for _, device := range []string{"B", "C", "D"} { // the oldest of all goes
		pos[device], _ = use(t, c, device, "", "", 1)
	}
	for at, gone := range map[[2]string]bool{
		{"A", "1"}: true, {"A", "2"}: true, {"A", "3"}: false, {"B", ""}: false, {"D", ""}: false,
	} {
		name := at[1]
		if name == "" {
			name = at[0]
		}
		if _, err := use(t, c, at[0], at[1], pos[name], 2); (err != nil) != gone {
			t.Errorf("%v: %v, gone should be %v", at, err, gone)
		}
	}
	if len(c.all) != 4 {
		t.Errorf("%d connections", len(c.all))
	}
}

// A connection does not remember members without bound.
func TestMembersAreBounded(t *testing.T) {
	m := memory{}
	for i := range 3 {
		added := memory{members: map[memberID]changes.Position{}}
		for n := range maxMembers/2 - 1 {
			added.members[memberID{matrix.RoomID(fmt.Sprint(i)), matrix.UserID(fmt.Sprint(n))}] = 1
		}
		m = m.with(&added)
	}
	if len(m.members) > maxMembers || len(m.members) == 0 {
		t.Errorf("%d members", len(m.members))
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"conn_id":"a","lists":{"all":{"range":[0,9],"timeline_limit":1,"required_state":{"include":[{"type":"m.room.name"}],"lazy_members":true},"filters":{"is_dm":true,"tags":["x"]}}},"room_subscriptions":{"!a:b":{"timeline_limit":1}},"extensions":{"to_device":{"enabled":true,"since":"1"}}}`))
	f.Add([]byte(`{"lists":{"a":{"ranges":[[0,19],[3,4]],"timeline_limit":2,"required_state":[["m.room.member","$LAZY"],["*","*"],["m.room.member","$ME"]],"filters":{"is_invite":false,"room_types":[null]}}}}`))
	f.Add([]byte(`{"lists":{"a":{"range":[5,1],"timeline_limit":-1}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := ParseRequest(body, true)
		if err != nil {
			return
		}
		if len(q.Lists) > maxLists || len(q.Subscriptions) > maxSubscriptions || q.Timeout < 0 {
			t.Errorf("beyond the bounds: %+v", q)
		}
		for name, l := range q.Lists {
			if !opaque.MatchString(name) || l.Timeline < 0 {
				t.Errorf("list %q: %+v", name, l)
			}
			for _, r := range l.Ranges {
				if r[0] < 0 || r[1] < r[0] {
					t.Errorf("range %v", r)
				}
			}
			w := wish{}
			w.add(l.RoomConfig, "@a:h")
			w.lazy()
		}
	})
}
