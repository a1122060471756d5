package clientapi_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"porchlight/server"
	"porchlight/server/clientapi"
	"porchlight/server/servertest"
)

// fuzzPatience ends long polls, which would otherwise wait for what never comes.
const fuzzPatience = 100 * time.Millisecond

// FuzzRequest sends what comes to the whole server. Whatever it is, the answer is what
// the standard knows and never a 500. The operation is chosen by number from the table;
// "{}" in path stands for a room that is there.
func FuzzRequest(f *testing.F) {
	s := servertest.New(f, func(c *server.Config) {
		c.Log = slog.New(slog.DiscardHandler)
		c.OnInternalError = nil // seen as a 500; f must not be told inside of f.Fuzz
	})
	alice := s.User("alice")
	var room struct {
		ID string `json:"room_id"`
	}
	alice.Must("POST", "v3/createRoom", `{}`, &room)
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

	f.Fuzz(func(t *testing.T, method uint8, path, query string, body []byte, signedIn bool) {
		path = "/" + strings.TrimLeft(strings.ReplaceAll(path, "{}", room.ID), "/") // "//x" would name a host
		if u, err := url.ParseRequestURI(path + "?" + query); err != nil || u.Host != "" || strings.ContainsAny(path+query, " \t\r\n#") {
			t.Skip("net/http refuses it before we see it")
		}
		token := ""
		if signedIn {
			token = alice.Token
		}
		ctx, cancel := context.WithTimeout(t.Context(), fuzzPatience)
		defer cancel()
		r := s.AskIn(ctx, t, token, routes[int(method)%len(routes)].Method, path+"?"+query, strings.NewReader(string(body)))
		if r.Status == http.StatusInternalServerError {
			t.Errorf("%s?%s: %s", path, query, r.Body)
		}
	})
}
