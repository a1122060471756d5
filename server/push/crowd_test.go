package push_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/push"
	"porchlight/server/pushrule"
	"porchlight/server/rooms"
	"porchlight/server/servertest"
)

// TestEverybodyIsAskedAlike: that most people are not asked one by one changes nothing for
// anybody, whatever they change of their rules, and whoever comes and goes.
func TestEverybodyIsAskedAlike(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := servertest.New(t)
			random := rand.New(rand.NewPCG(seed, 1))
			var users []matrix.UserID
			for i := range 12 {
				users = append(users, s.User(fmt.Sprintf("user%d", i)).ID)
			}
			var room matrix.RoomID
			kvtest.Update(t, s.DB, func(tx *kv.WriteTx) (err error) {
				room, err = s.Rooms.Create(tx, rooms.CreateArgs{Creator: users[0], Preset: "public_chat"})
				return err
			})
			kinds := map[string]int{}
			for step := range 250 {
				who := users[random.IntN(len(users))]
				other := users[random.IntN(len(users))]
				if random.IntN(4) == 0 {
					changeRules(t, s, random, who, room)
					continue
				}
				err := s.DB.Update(t.Context(), func(tx *kv.WriteTx) error {
					e, err := happen(tx, s, random, room, who, other)
					if err != nil {
						return err
					}
					asked, err := heldTo(tx, s, e, users)
					kinds[asked]++
					if err != nil {
						t.Errorf("step %d: %s by %s: %v", step, e.Content, e.Sender, err)
					}
					return nil
				})
				if refused := (*matrix.Error)(nil); err != nil && !errors.As(err, &refused) {
					t.Fatal(err)
				}
			}
			if kinds["some"] == 0 || kinds["none"] == 0 {
				t.Errorf("not everything was tried: %v", kinds)
			}
		})
	}
}

// heldTo compares an event's notice with what the rules of each user say by themselves; asked
// says whether it notifies all, some or none.
func heldTo(tx *kv.WriteTx, s *servertest.Server, e *rooms.Event, users []matrix.UserID) (asked string, err error) {
	yes, no := 0, 0
	for _, user := range users {
		joined := s.Rooms.Membership(tx, e.Room, user) == "join"
		invited := e.Membership() == "invite" && *e.StateKey == string(user)
		want := ""
		if user != e.Sender && (joined || invited) {
			if want, err = s.Push.Alone(tx, e, user); err != nil {
				return "", err
			}
			if want == "" {
				no++
			} else {
				yes++
			}
		}
		got := ""
		if e.Notice != nil {
			if g := e.Notice.For(user); g != nil && (joined || len(g.Users) > 0) {
				got = string(g.Actions)
			}
		}
		if got != want {
			return "", fmt.Errorf("%s is notified %q, want %q: %+v", user, got, want, e.Notice)
		}
	}
	switch {
	case yes == 0:
		return "none", nil
	case no == 0:
		return "all", nil
	}
	return "some", nil
}

// happen makes something happen in a room.
func happen(tx *kv.WriteTx, s *servertest.Server, random *rand.Rand, room matrix.RoomID, who, other matrix.UserID) (*rooms.Event, error) {
	member := func(by, target matrix.UserID, membership string) (*rooms.Event, error) {
		return s.Rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: by, Target: target, Membership: membership})
	}
	switch random.IntN(8) {
	case 0, 1:
		return member(who, who, "join")
	case 2:
		return member(who, who, "leave")
	case 3:
		return member(who, other, "invite")
	}
	content := map[string]any{"msgtype": "m.text", "body": "hello " + string(other)}
	switch random.IntN(4) {
	case 0:
		content["m.mentions"] = map[string]any{"user_ids": []any{other, who, other, "@nobody:elsewhere", 7, ""}}
	case 1:
		content["m.mentions"] = map[string]any{"room": true}
	case 2:
		content["msgtype"] = "m.notice"
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	return s.Rooms.Send(tx, rooms.SendArgs{Room: room, Sender: who, Type: "m.room.message", Content: raw})
}

// changeRules gives a user a rule, or takes it back, or makes a predefined one quiet or loud.
func changeRules(t *testing.T, s *servertest.Server, random *rand.Rand, who matrix.UserID, room matrix.RoomID) {
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error {
		switch random.IntN(5) {
		case 0:
			return s.Push.SetRule(tx, who, pushrule.Room, pushrule.Rule{ID: string(room), Actions: json.RawMessage(`[]`)}, push.Place{})
		case 1:
			err := s.Push.DeleteRule(tx, who, pushrule.Room, string(room))
			if matrix.IsCode(err, "M_NOT_FOUND") {
				return nil
			}
			return err
		case 2:
			pattern := "hello*"
			return s.Push.SetRule(tx, who, pushrule.Content, pushrule.Rule{ID: "x", Pattern: &pattern, Actions: json.RawMessage(`["notify",{"set_tweak":"highlight"}]`)}, push.Place{})
		default:
			return s.Push.SetEnabled(tx, who, pushrule.Override, pushrule.Master, random.IntN(3) == 0)
		}
	})
}

// fill makes a room with so many people, of whom each third has changed the push rules, and
// ghosts of a bridge.
func fill(tb testing.TB, s *servertest.Server, people, ghosts int) (sender matrix.UserID, room matrix.RoomID) {
	add := func(tx *kv.WriteTx, i int) error {
		user, err := s.Accounts.Create(tx, accounts.NewUser{Localpart: fmt.Sprintf("p%d-%d-%d", people, ghosts, i)})
		if err != nil {
			return err
		}
		if i < people && i%3 == 0 {
			if err := s.Push.SetRule(tx, user, pushrule.Room, pushrule.Rule{ID: "!x:y", Actions: json.RawMessage(`[]`)}, push.Place{}); err != nil {
				return err
			}
		}
		if i == 0 {
			sender = user
			room, err = s.Rooms.Create(tx, rooms.CreateArgs{Creator: user, Preset: "public_chat", CreationContent: fmt.Appendf(nil, `{"org.example.n":"%d %d"}`, people, ghosts)})
			return err
		}
		_, err = s.Rooms.SetMembership(tx, rooms.MemberArgs{Room: room, Sender: user, Target: user, Membership: "join"})
		return err
	}
	for i := 0; i < people+ghosts; {
		kvtest.Update(tb, s.DB, func(tx *kv.WriteTx) error {
			for end := min(i+5, people+ghosts); i < end; i++ {
				if err := add(tx, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return sender, room
}

// TestGhostsAreNotAsked: a message into a room with many people who have changed no rules makes
// ready only the rules of those who have.
func TestGhostsAreNotAsked(t *testing.T) {
	s := servertest.New(t)
	sender, room := fill(t, s, 20, 300)
	before := s.Push.Asked()
	for i := range 3 {
		kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error {
			_, err := s.Rooms.Send(tx, rooms.SendArgs{Room: room, Sender: sender, Type: "m.room.message", Content: fmt.Appendf(nil, `{"msgtype":"m.text","body":"%d"}`, i)})
			return err
		})
	}
	if n := s.Push.Asked(); before > 20 || n > 20 {
		t.Errorf("the rules of %d users were made ready, before of %d", n, before)
	}
}

// BenchmarkCrowds sends into rooms of different sizes, and says how much longer that takes than
// with 20 people.
func BenchmarkCrowds(b *testing.B) {
	s := servertest.New(b)
	base := 0.0
	for _, size := range []struct{ people, ghosts int }{{20, 0}, {20, 1100}, {20, 5000}, {200, 0}, {1200, 0}, {2650, 0}} {
		b.Run(fmt.Sprintf("people=%d/ghosts=%d", size.people, size.ghosts), func(b *testing.B) {
			sender, room := fill(b, s, size.people, size.ghosts)
			n := 0
			for b.Loop() {
				n++
				kvtest.Update(b, s.DB, func(tx *kv.WriteTx) error {
					_, err := s.Rooms.Send(tx, rooms.SendArgs{Room: room, Sender: sender, Type: "m.room.message", Content: fmt.Appendf(nil, `{"msgtype":"m.text","body":"good morning %d"}`, n)})
					return err
				})
			}
			each := float64(b.Elapsed()/time.Microsecond) / float64(n)
			if base == 0 {
				base = each
			}
			b.ReportMetric(each/base, "times")
		})
	}
}
