package clientapi_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/server"
	"porchlight/server/accounts"
	"porchlight/server/clientapi"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/servertest"
)

// fuzzPatience ends long polls, which would otherwise wait for what never comes.
const fuzzPatience = 100 * time.Millisecond

// fuzzSlow is more than any request may take, on a machine that does other things too.
const fuzzSlow = 5 * time.Second

// FuzzRequest sends what comes to the whole server. Whatever it is, the answer is what
// the standard knows, soon, and never a 500. The operation is chosen by number from the table;
// "{}" in path stands for a room that is there.
func FuzzRequest(f *testing.F) {
	s := servertest.New(f, func(c *server.Config) {
		c.Log = slog.New(slog.DiscardHandler)
		c.OnInternalError = nil // seen as a 500; f must not be told inside of f.Fuzz
	})
	alice := s.User("alice")
	routes := clientapi.New(clientapi.Config{}).Routes()
	spec, err := servertest.TheSpec()
	if err != nil {
		f.Fatal(err)
	}
	for i, r := range routes {
		path := strings.NewReplacer("{roomId}", "{}", "{userId}", string(alice.ID), "{eventType}", "m.room.member").Replace(r.Path)
		query := ""
		if op := spec.Operations[r.Op]; op != nil {
			for _, p := range op.Parameters {
				if p.In == "query" {
					query += p.Name + "=1&"
				}
			}
		}
		f.Add(uint8(i), path, query, []byte(`{"user_id":"@bob:house.test","membership":"join","type":"m.login.password"}`), true)
	}
	f.Add(uint8(0), "/_matrix/client/v3/sync", `filter={"room":{"timeline":{"limit":-1,"types":["*"]}}}`, []byte("{}"), true)
	f.Add(uint8(0), "/_matrix/client/%ff/%00", "%zz", []byte("\xff"), false)

	var token string
	var room matrix.RoomID
	f.Fuzz(func(t *testing.T, method uint8, path, query string, body []byte, signedIn bool) {
		if token == "" || !settled(t, s, alice.ID, token, room) { // an earlier request may have logged out, or left
			token, room = settle(t, s, alice.ID)
		}
		path = "/" + strings.TrimLeft(strings.ReplaceAll(path, "{}", string(room)), "/") // "//x" would name a host
		if u, err := url.ParseRequestURI(path + "?" + query); err != nil || u.Host != "" || strings.ContainsAny(path+query, " \t\r\n#") {
			t.Skip("net/http refuses it before we see it")
		}
		as := ""
		if signedIn {
			as = token
		}
		ctx, cancel := context.WithTimeout(t.Context(), fuzzPatience)
		defer cancel()
		began := time.Now()
		r := s.AskIn(ctx, t, as, routes[int(method)%len(routes)].Method, path+"?"+query, strings.NewReader(string(body)))
		if r.Status == http.StatusInternalServerError {
			t.Errorf("%s?%s: %s", path, query, r.Body)
		}
		if took := time.Since(began); took > fuzzSlow {
			t.Errorf("%s?%s took %v", path, query, took)
		}
	})
}

// settled says whether the token is good and the user is in the room.
func settled(t *testing.T, s *servertest.Server, user matrix.UserID, token string, room matrix.RoomID) (ok bool) {
	err := s.DB.View(t.Context(), func(tx *kv.ReadTx) error {
		_, err := s.Accounts.Authenticate(tx, token, time.Now())
		ok = err == nil && s.Rooms.Membership(tx, room, user) == "join"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// settle logs the user in and makes a room.
func settle(t *testing.T, s *servertest.Server, user matrix.UserID) (token string, room matrix.RoomID) {
	err := s.DB.Update(t.Context(), func(tx *kv.WriteTx) error {
		login, err := s.Accounts.Login(tx, accounts.NewLogin{User: user})
		if err != nil {
			return err
		}
		token = login.AccessToken
		room, err = s.Rooms.Create(tx, rooms.CreateArgs{Creator: user})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return token, room
}
