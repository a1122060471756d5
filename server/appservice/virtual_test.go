package appservice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/accounts"
	"porchlight/server/changes"
	"porchlight/server/e2ee"
	"porchlight/server/ephemeral"
	"porchlight/server/matrix"
	"porchlight/server/rooms"
	"porchlight/server/setup"
)

// asked is one request that a service got.
type asked struct {
	at            time.Duration // since the start
	host, path    string
	id, body      string // of a transaction
	authorization string
}

// network is all services, by their hosts.
type network struct {
	began time.Time
	mu    sync.Mutex
	hosts map[string]func(*http.Request) (status int, body string, err error)
	asked []asked
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		body = string(raw)
	}
	id, _ := strings.CutPrefix(r.URL.Path, "/_matrix/app/v1/transactions/")
	n.mu.Lock()
	n.asked = append(n.asked, asked{time.Since(n.began), r.URL.Host, r.URL.RequestURI(), id, body, r.Header.Get("Authorization")})
	serve := n.hosts[r.URL.Host]
	n.mu.Unlock()
	status, answer, err := serve(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

func (n *network) at(host string) (all []asked) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.asked {
		if a.host == host {
			all = append(all, a)
		}
	}
	return all
}

func (n *network) set(host string, serve func(*http.Request) (int, string, error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[host] = serve
}

func takes(*http.Request) (int, string, error)   { return 200, "{}", nil }
func refuses(*http.Request) (int, string, error) { return 503, "", nil }
func unheard(*http.Request) (int, string, error) { return 0, "", errors.New("connection refused") }
func hangs(r *http.Request) (int, string, error) {
	<-r.Context().Done()
	return 0, "", r.Context().Err()
}

// house is the keepers that an application service has to do with, in virtual time.
type house struct {
	*testing.T
	*network
	k    *Keeper
	room matrix.RoomID
}

const alice = matrix.UserID("@alice:house.test")

func newHouse(t *testing.T, hosts ...string) *house {
	db := kvtest.Open(t)
	h := &house{T: t, network: &network{began: time.Now(), hosts: map[string]func(*http.Request) (int, string, error){}}}
	log := slog.New(slog.DiscardHandler)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	su, err := setup.New(t.Context(), setup.Config{DB: db, ServerName: "house.test"})
	must(err)
	c, err := changes.New(t.Context(), db)
	must(err)
	acc := accounts.New(accounts.Config{DB: db, Setup: su, Changes: c, Now: time.Now, Log: log})
	id, key := su.SigningKey()
	r := rooms.New(rooms.Config{DB: db, Changes: c, Profiles: people{acc}, Server: "house.test", KeyID: id, Key: key})
	e := e2ee.New(e2ee.Config{DB: db, Changes: c, Accounts: acc, Rooms: r, Server: "house.test"})
	acc.AddDeviceWitness(e)
	h.k, err = New(t.Context(), Config{
		DB: db, Changes: c, Accounts: acc, Rooms: r, E2EE: e, Log: log,
		Ephemeral: ephemeral.New(ephemeral.Config{DB: db, Changes: c, Rooms: r}), Client: &http.Client{Transport: h.network},
	})
	must(err)
	h.update(func(tx *kv.WriteTx) error {
		_, err := acc.Create(tx, accounts.NewUser{Localpart: "alice"})
		return err
	})
	for _, host := range hosts {
		h.set(host, takes)
		reg, err := Parse(fmt.Appendf(nil, "{id: %[1]s, url: 'http://%[1]s', as_token: 'as-token-%[1]s', hs_token: 'hs-token-%[1]s', "+
			"sender_localpart: bot-%[1]s, namespaces: {users: [{exclusive: true, regex: '@_%[1]s_.*'}], aliases: [{exclusive: true, regex: '#_%[1]s_.*'}]}, "+
			"protocols: [irc], receive_ephemeral: true, org.matrix.msc3202: true}", host))
		must(err)
		h.update(func(tx *kv.WriteTx) error { return h.k.Add(tx, reg) })
	}
	h.update(func(tx *kv.WriteTx) error {
		h.room, err = r.Create(tx, rooms.CreateArgs{Creator: alice, Preset: "public_chat"})
		return err
	})
	for _, host := range hosts {
		h.member(matrix.UserID("@bot-"+host+":house.test"), "join")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.k.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	synctest.Wait()
	return h
}

// people shows the accounts to the rooms.
type people struct{ *accounts.Keeper }

func (p people) MemberProfile(r kv.Reader, user matrix.UserID) (string, string) {
	return p.DisplayProfile(r, user)
}

func (p people) UserExists(r kv.Reader, user matrix.UserID) bool { return p.Exists(r, user) }

func (h *house) update(fn func(tx *kv.WriteTx) error) {
	h.Helper()
	kvtest.Update(h, h.db(), fn)
}

func (h *house) db() *kv.DB {
	if h.k != nil {
		return h.k.DB
	}
	return nil
}

func (h *house) member(user matrix.UserID, membership string) {
	h.Helper()
	h.update(func(tx *kv.WriteTx) error {
		_, err := h.k.Rooms.SetMembership(tx, rooms.MemberArgs{Room: h.room, Sender: user, Target: user, Membership: membership})
		return err
	})
}

func (h *house) say(text string) {
	h.Helper()
	h.update(func(tx *kv.WriteTx) error {
		content, err := json.Marshal(map[string]string{"msgtype": "m.text", "body": text})
		if err != nil {
			return err
		}
		_, err = h.k.Rooms.Send(tx, rooms.SendArgs{Room: h.room, Sender: alice, Type: "m.room.message", Content: content})
		return err
	})
}

// heard are the messages of all transactions that a service took, once for each ID.
func heard(t *testing.T, all []asked) (texts []string) {
	seen := map[string]string{}
	for _, a := range all {
		if before, ok := seen[a.id]; ok {
			if before != a.body {
				t.Errorf("transaction %s is another one:\n%s\n%s", a.id, before, a.body)
			}
			continue
		}
		seen[a.id] = a.body
		var body struct {
			Events []struct{ Content struct{ Body string } }
		}
		if err := json.Unmarshal([]byte(a.body), &body); err != nil {
			t.Fatalf("%v in %s", err, a.body)
		}
		for _, e := range body.Events {
			if e.Content.Body != "" {
				texts = append(texts, e.Content.Body)
			}
		}
	}
	return texts
}

func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "a", "b")
		h.set("a", refuses)
		h.set("b", hangs)
		before := len(h.at("a"))
		h.say("one")
		time.Sleep(time.Hour)
		h.say("two")
		tries := h.at("a")[before:]
		last := time.Duration(0)
		for i, try := range tries[1:] {
			wait := try.at - tries[i].at
			most := min(maxRetry, firstRetry<<min(i, 20))
			if wait < most/2 || wait > most {
				t.Errorf("try %d after %v, want at most %v", i+2, wait, most)
			}
			last = wait
		}
		if last < maxRetry/2 || len(tries) < 15 {
			t.Errorf("%d tries, the last after %v", len(tries), last)
		}
		if texts := heard(t, tries); !slices.Equal(texts, []string{"one"}) {
			t.Errorf("sent %q", texts)
		}
		for i, try := range h.at("b")[1:] {
			if wait := try.at - h.at("b")[i].at; i > 2 && wait < callTimeout {
				t.Errorf("a service that hangs is asked again after %v", wait)
			}
		}

		// A ping that succeeds ends the wait (spec: MSC2659).
		h.set("a", takes)
		upTo := len(h.at("a"))
		if _, err := h.k.Ping(t.Context(), h.k.Service("a"), nil); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if now := h.at("a")[upTo:]; len(now) != 3 || now[0].body != "{}" {
			t.Errorf("after the ping: %+v", now)
		}
		if texts := heard(t, slices.DeleteFunc(h.at("a"), func(a asked) bool { return strings.HasSuffix(a.path, "/ping") })); !slices.Equal(texts, []string{"one", "two"}) {
			t.Errorf("told %q", texts)
		}
	})
}

// TestSlowServicesDelayNobody: one service hangs, the other hears at once.
func TestSlowServicesDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "a", "b")
		h.set("a", hangs)
		for i := range 50 {
			began := time.Now()
			h.say(fmt.Sprint(i))
			synctest.Wait()
			if texts := heard(t, h.at("b")); len(texts) != i+1 || time.Since(began) > 0 {
				t.Fatalf("%d messages, %d heard after %v", i+1, len(texts), time.Since(began))
			}
		}
	})
}

func TestPingErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "a")
		for _, c := range []struct {
			name   string
			serve  func(*http.Request) (int, string, error)
			status int
			code   string
			after  time.Duration
		}{
			{"hangs", hangs, 504, "M_CONNECTION_TIMEOUT", pingTimeout},
			{"cannot be reached", unheard, 502, "M_CONNECTION_FAILED", 0},
			{"does not know us", func(*http.Request) (int, string, error) { return 403, `{"errcode":"M_FORBIDDEN"}`, nil }, 502, "M_BAD_STATUS", 0},
			{"leads elsewhere", func(*http.Request) (int, string, error) { return 302, "", nil }, 502, "M_BAD_STATUS", 0},
		} {
			h.set("a", c.serve)
			began := time.Now()
			_, err := h.k.Ping(t.Context(), h.k.Service("a"), nil)
			var refused *matrix.Error
			if !errors.As(err, &refused) || refused.Status != c.status || refused.Code != c.code || time.Since(began) != c.after {
				t.Errorf("%s: %v after %v", c.name, err, time.Since(began))
			}
		}
	})
}

func TestQueriesThatAreNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "a", "b")
		query := func() (bool, time.Duration, error) {
			began := time.Now()
			made, err := h.k.QueryAlias(t.Context(), "#_a_x:house.test", nil)
			return made, time.Since(began), err
		}
		for _, c := range []struct {
			name  string
			serve func(*http.Request) (int, string, error)
			code  int // of the error
			made  bool
			after time.Duration
			asked int
		}{
			{"yes", takes, 0, true, 0, 1},
			{"no", func(*http.Request) (int, string, error) { return 404, "", nil }, 0, false, 0, 2}, // at the older path, too
			{"in trouble", refuses, 0, false, 0, 1},
			{"not there", unheard, 408, false, (queryTries - 1) * queryPause, queryTries},
			{"hangs", hangs, 408, false, queryTimeout, queryTries},
		} {
			h.set("a", c.serve)
			before := len(h.at("a"))
			made, after, err := query()
			var refused *matrix.Error
			if errors.As(err, &refused) != (c.code != 0) || refused != nil && refused.Status != c.code || made != c.made || after != c.after {
				t.Errorf("%s: %t, %v after %v", c.name, made, err, after)
			}
			if n := len(h.at("a")) - before; n != c.asked {
				t.Errorf("%s: asked %d times", c.name, n)
			}
		}
		if made, err := h.k.QueryAlias(t.Context(), "#_a_x:house.test", h.k.Service("a")); made || err != nil {
			t.Errorf("a service is asked by itself: %t, %v", made, err)
		}
	})
}

func TestLookUpsHaveADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "a", "b", "c", "d")
		h.set("a", hangs)
		h.set("b", func(*http.Request) (int, string, error) {
			return 200, `{"user_fields":["nick"],"location_fields":[],"icon":"mxc://x/y","field_types":{},"instances":[{"network_id":"b","desc":"B","fields":{},"bot_user_id":"@b:x"}]}`, nil
		})
		h.set("c", func(*http.Request) (int, string, error) {
			return 200, `{"user_fields":["other"],"location_fields":[],"icon":"","field_types":{},"instances":[{"network_id":"c","desc":"C","fields":{}}]}`, nil
		})
		h.set("d", func(*http.Request) (int, string, error) { return 200, `{"instances":[7]}`, nil })
		began := time.Now()
		raw, err := json.Marshal(h.k.Protocols(t.Context(), ""))
		want := `{"irc":{"user_fields":["nick"],"location_fields":[],"icon":"mxc://x/y","field_types":{},"instances":[` +
			`{"bot_user_id":"@b:x","desc":"B","fields":{},"instance_id":"b|irc|b","network_id":"b"},` +
			`{"desc":"C","fields":{},"instance_id":"c|irc|c","network_id":"c"}]}}`
		if err != nil || string(raw) != want || time.Since(began) != lookupTimeout {
			t.Errorf("after %v: %s", time.Since(began), raw)
		}
		h.set("d", func(r *http.Request) (int, string, error) {
			return 200, `[{"alias":"#d:house.test","protocol":"irc","fields":{}},{"alias":7},null,{"userid":"@u:x","protocol":"irc","fields":{}}]`, nil
		})
		found, known := h.k.Search(t.Context(), Locations, "irc", map[string][]string{"channel": {"#go & more"}})
		if len(found) != 1 || !known {
			t.Errorf("%s, %t", found, known)
		}
		if all := h.at("d"); all[len(all)-1].path != "/_matrix/app/v1/thirdparty/location/irc?channel=%23go+%26+more" {
			t.Errorf("asked for %s", all[len(all)-1].path)
		}
		if found, known := h.k.Search(t.Context(), Users, "xmpp", nil); len(found) != 0 || known {
			t.Errorf("an unknown network: %s, %t", found, known)
		}
	})
}

// TestLateSave: the place of a transaction that was taken is written later than the next
// transaction is. It must not undo that one, or a repeat after a crash would be another.
func TestLateSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		reg, err := Parse([]byte("{id: a, url: null, as_token: as-token-a, hs_token: hs-token-a, sender_localpart: bot, namespaces: {}}"))
		if err != nil {
			t.Fatal(err)
		}
		h.update(func(tx *kv.WriteTx) error { return h.k.Add(tx, reg) })
		stored := func() (q queueRow) {
			kvtest.View(t, h.k.DB, func(tx *kv.ReadTx) { q, _ = h.k.queues.Get(tx, "a") })
			return q
		}
		begin := stored().Done
		w := &worker{k: h.k, service: h.k.Service("a"), started: true}
		w.set(queueRow{Done: begin + 1})
		w.save()
		next := queueRow{Done: begin + 1, Through: begin + 2, Events: []uint64{begin + 2}}
		h.update(func(tx *kv.WriteTx) error { return w.store(tx, next) })
		if err := h.k.DB.Flush(); err != nil { // the worker does not know yet that it is stored
			t.Fatal(err)
		}
		if q := stored(); !q.pending() {
			t.Errorf("the next transaction is gone: %+v", q)
		}
		w.set(queueRow{Done: begin + 2})
		w.save()
		if err := h.k.DB.Flush(); err != nil {
			t.Fatal(err)
		}
		if q := stored(); q.Done != begin+2 || q.pending() {
			t.Errorf("it was taken, but there is %+v", q)
		}
	})
}
