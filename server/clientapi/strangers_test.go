package clientapi_test

import (
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server"
	"porchlight/server/servertest"
)

// TestStrangersLearnNoUsers: a closed server tells strangers neither profiles nor who exists.
func TestStrangersLearnNoUsers(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.Registration = server.RegistrationClosed })
	s.SetPassword("alice", password)
	const withEmail = `{"type":"m.login.password","identifier":{"type":"m.id.thirdparty","medium":"email","address":"nobody@x.test"},"password":"x"}`
	s.Run(t, []servertest.Case{
		{Name: "a user", Method: "GET", Path: "v3/profile/{@alice}", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "nobody", Method: "GET", Path: "v3/profile/@nobody:{server}", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "a field of a user", Method: "GET", Path: "v3/profile/{@alice}/displayname", Status: 403, Errcode: "M_FORBIDDEN"},
		{Name: "who is signed in", Who: "bob", Method: "GET", Path: "v3/profile/{@alice}", Status: 200},
		{Name: "who is signed in, of nobody", Who: "bob", Method: "GET", Path: "v3/profile/@nobody:{server}", Status: 404, Errcode: "M_NOT_FOUND"},
		{Name: "an address of nobody's", Method: "POST", Path: "v3/login", Body: withEmail, Status: 403, Errcode: "M_FORBIDDEN",
			Want: `{"error":"The user name or the password is wrong."}`},
	})
}

// TestDelayedEventsAreRefused: what is to be sent later is not sent at once.
func TestDelayedEventsAreRefused(t *testing.T) {
	s := servertest.New(t)
	s.Run(t, []servertest.Case{
		{Name: "a room", Who: "alice", Method: "POST", Path: "v3/createRoom", Body: `{}`, Status: 200, Changes: servertest.Any, Save: map[string]string{"room": "room_id"}},
	})
	refused := func(name, path string) servertest.Case {
		return servertest.Case{Name: name, Who: "alice", Method: "PUT", Path: path, Body: `{"body":"later","msgtype":"m.text"}`, Status: 400, Errcode: "M_UNKNOWN",
			Want: `{"org.matrix.msc4140.errcode":"M_MAX_DELAY_UNSUPPORTED"}`}
	}
	s.Run(t, []servertest.Case{
		refused("a message", "v3/rooms/{room}/send/m.room.message/1?org.matrix.msc4140.delay=1000"),
		refused("a message, by the later name", "v3/rooms/{room}/send/m.room.message/2?delay=1000"),
		refused("a state", "v3/rooms/{room}/state/m.x/k?org.matrix.msc4140.delay=1000"),
		{Name: "a message at once", Who: "alice", Method: "PUT", Path: "v3/rooms/{room}/send/m.room.message/3", Body: `{"body":"now","msgtype":"m.text"}`, Status: 200, Changes: 1},
	})
}

// TestPollsEndWithALock: who is locked hears nothing of what comes later, and at once.
func TestPollsEndWithALock(t *testing.T) {
	s := servertest.New(t)
	bob := s.User("bob")
	var first struct {
		Next string `json:"next_batch"`
	}
	bob.Must("GET", "v3/sync", "", &first)
	answer := make(chan *servertest.Response)
	waiting := make(chan struct{})
	go func() {
		close(waiting)
		answer <- bob.Do("GET", "v3/sync?timeout=600000&since="+first.Next, "")
	}()
	<-waiting
	kvtest.Update(t, s.DB, func(tx *kv.WriteTx) error { return s.Accounts.SetLocked(tx, bob.ID, true) })
	if r := <-answer; r.Status != 401 || r.Errcode() != "M_USER_LOCKED" {
		t.Errorf("%d %s", r.Status, r.Body)
	}
}
