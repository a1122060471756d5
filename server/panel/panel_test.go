package panel_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server"
	"porchlight/server/accounts"
	"porchlight/server/matrix"
	"porchlight/server/panel"
	"porchlight/server/servertest"
	"porchlight/server/setup"
)

const password = "correct horse"

// withBoard gives the house a board that has no devices.
func withBoard(c *server.Config) {
	c.Board = server.BoardConfig{Camera: "none", Microphone: "none", Loudspeaker: "none", Loopback: true}
}

// code is the short claim code of a fresh house.
func code(t *testing.T, s *servertest.Server) string {
	t.Helper()
	claim, ok := s.Setup.ClaimCode()
	if !ok {
		t.Fatal("the house has no claim")
	}
	return claim.Code
}

func TestInfo(t *testing.T) {
	s := servertest.New(t, withBoard, func(c *server.Config) {
		c.PublicURL, c.Registration = "https://porch.example/", server.RegistrationToken
	})
	info := servertest.Case{Name: "before the claim", Method: "GET", Path: "/_porchlight/info", Status: 200, Want: `{
		"server_name": "house.test", "public_url": "https://porch.example", "version": "*", "claimed": false,
		"board": true, "board_user": "@porch:house.test", "registration": "token"}`}
	s.Run(t, []servertest.Case{info})
	s.User("owner")
	info.Name, info.Want = "after it", `{"claimed": true, "owner": "!absent"}`
	theirs, others, nobodys := info, info, info
	theirs.Name, theirs.Who, theirs.Want = "for the owner", "owner", `{"owner": true}`
	others.Name, others.Who = "for another", "bob"
	nobodys.Name, nobodys.Token, nobodys.Status, nobodys.Errcode, nobodys.Want = "with a token that does not hold", "stale", 401, "M_UNKNOWN_TOKEN", ""
	s.Run(t, []servertest.Case{info, theirs, others, nobodys})
}

func TestInfoWithoutBoard(t *testing.T) {
	servertest.New(t).Run(t, []servertest.Case{{
		Name: "info", Method: "GET", Path: "/_porchlight/info", Status: 200,
		Want: `{"board": false, "board_user": "!absent", "public_url": "!absent", "address": "http://127.0.0.1:*"}`,
	}})
}

func TestClaim(t *testing.T) {
	s := servertest.New(t, withBoard)
	s.Set("code", strings.ToLower(strings.ReplaceAll(code(t, s), "-", " ")))
	body := func(code, username, password string) string {
		return fmt.Sprintf(`{"code": "%s", "username": "%s", "password": "%s", "display_name": " Ada "}`, code, username, password)
	}
	claim := func(name, body string, status int, errcode string) servertest.Case {
		return servertest.Case{Name: name, Method: "POST", Path: "/_porchlight/claim", Body: body, Status: status, Errcode: errcode}
	}
	good := claim("the right code", body("{code}", "@Ada:house.test", password), 200, "")
	good.Changes, good.Want = servertest.Any, `{"user_id": "@ada:house.test"}`
	s.Run(t, []servertest.Case{
		claim("no body", ``, 400, "M_MISSING_PARAM"),
		claim("no JSON", `code=1`, 400, "M_NOT_JSON"),
		claim("nothing said", `{}`, 400, "M_MISSING_PARAM"),
		claim("a wrong code", body("0000-0000", "ada", password), 403, "M_FORBIDDEN"),
		claim("no code", body("", "ada", password), 403, "M_FORBIDDEN"),
		claim("a bad name", body("{code}", "a b", password), 400, "M_INVALID_USERNAME"),
		claim("no name", body("{code}", " @:house.test ", password), 400, "M_INVALID_USERNAME"),
		claim("a name that is taken", body("{code}", "porch", password), 400, "M_USER_IN_USE"),
		claim("a weak password", body("{code}", "ada", "short"), 400, "M_WEAK_PASSWORD"),
		good,
		claim("a second time", body("{code}", "bob", password), 403, "M_FORBIDDEN"),
		{Name: "the account works", Method: "POST", Path: "v3/login", Status: 200, Changes: servertest.Any, Want: `{"user_id": "@ada:house.test"}`,
			Body: `{"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "ada"}, "password": "` + password + `"}`},
	})
	kvtest.View(t, s.DB, func(tx *kv.ReadTx) {
		if owner := s.Setup.Owner(tx); owner != "@ada:house.test" {
			t.Errorf("the owner is %q", owner)
		}
		row, _ := s.Accounts.User(tx, "@ada:house.test")
		if !row.Admin || row.DisplayName != "Ada" {
			t.Errorf("the account is %+v", row)
		}
		shared := 0
		for room, m := range s.Rooms.Memberships(tx, "@ada:house.test") {
			if m.State == "join" && s.Rooms.Membership(tx, room, s.BoardUser()) == "join" {
				shared++
			}
		}
		if shared != 1 {
			t.Errorf("the owner shares %d rooms with the board, want 1", shared)
		}
	})
}

// TestClaimRace lets many claim at once; one becomes the owner, and no other account is left.
func TestClaimRace(t *testing.T) {
	s := servertest.New(t)
	given := code(t, s)
	var won sync.Map
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			body := fmt.Sprintf(`{"code": %q, "username": "user%d", "password": %q}`, given, i, password)
			if r := s.Ask(t.Context(), "", "POST", "/_porchlight/claim", strings.NewReader(body)); r.Status == http.StatusOK {
				won.Store(i, true)
			} else if r.Errcode() != "M_FORBIDDEN" {
				t.Errorf("%d %s", r.Status, r.Body)
			}
		})
	}
	wait.Wait()
	winners := 0
	won.Range(func(any, any) bool { winners++; return true })
	users := 0
	kvtest.View(t, s.DB, func(tx *kv.ReadTx) {
		for range s.Accounts.Users(tx) {
			users++
		}
	})
	if winners != 1 || users != 1 {
		t.Errorf("%d claims were taken and %d accounts made, want one", winners, users)
	}
}

// TestClaimUndone: when the house cannot do its part, there is neither owner nor account.
func TestClaimUndone(t *testing.T) {
	s := servertest.New(t)
	given := code(t, s)
	p, err := panel.New(panel.Config{
		DB: s.DB, Setup: s.Setup, Accounts: s.Accounts,
		OwnerMade: func(*kv.WriteTx, matrix.UserID) error { return errors.New("no room for the board") },
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := serve(t, s, p)
	body := fmt.Sprintf(`{"code": %q, "username": "ada", "password": %q}`, given, password)
	if got := ask("POST", "/_porchlight/claim", body); got.Code != http.StatusInternalServerError {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	kvtest.View(t, s.DB, func(tx *kv.ReadTx) {
		if s.Setup.Owner(tx) != "" || s.Accounts.Exists(tx, "@ada:house.test") {
			t.Error("half a claim was kept")
		}
	})
	if err := s.Setup.CheckClaim(given, ""); err != nil {
		t.Errorf("the claim is gone: %v", err)
	}
}

// TestClaimGuessing: guesses are counted by the house and by address.
func TestClaimGuessing(t *testing.T) {
	s := servertest.New(t, func(c *server.Config) { c.RateLimitsOff = false })
	given := code(t, s)
	var codes []string
	for range setup.MaxClaimAttemptsEach + 10 {
		r := s.Ask(t.Context(), "", "POST", "/_porchlight/claim", strings.NewReader(`{"code": "1234-5678", "username": "ada", "password": "correct horse"}`))
		codes = append(codes, r.Errcode())
	}
	if codes[0] != "M_FORBIDDEN" || codes[len(codes)-1] != "M_LIMIT_EXCEEDED" {
		t.Errorf("guesses were answered %v", codes)
	}
	if s.Setup.CheckClaim(given, accounts.Network("192.0.2.1")) == nil {
		t.Error("the short code still holds for who has guessed so often")
	}
	if s.Setup.CheckClaim(given, accounts.Network("198.51.100.1")) != nil {
		t.Error("the short code holds for nobody, since one address has guessed")
	}
	r := httptest.NewRequest("POST", "/_porchlight/claim", strings.NewReader(`{"code": "1234-5678", "username": "ada", "password": "correct horse"}`))
	r.Header.Set("Content-Type", "text/plain") // as a page of another site can send it
	r.RemoteAddr = "203.0.113.1:1"
	w := httptest.NewRecorder()
	if s.Handler.ServeHTTP(w, r); w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("a claim in plain text: %d %s", w.Code, w.Body)
	}
}

func TestStatus(t *testing.T) {
	s := servertest.New(t, withBoard)
	s.User("owner")
	s.User("bob")
	status := func(who string, code int, errcode, want string) servertest.Case {
		return servertest.Case{Name: "by " + who, Who: who, Method: "GET", Path: "/_porchlight/status", Status: code, Errcode: errcode, Want: want}
	}
	s.Run(t, []servertest.Case{
		{Name: "by nobody", Method: "GET", Path: "/_porchlight/status", Status: 401, Errcode: "M_MISSING_TOKEN"},
		status("bob", 403, "M_FORBIDDEN", ""),
		status("owner", 200, "", `{"version": "*", "users": 2, "calls": [], "uptime_s": 0}`),
	})
	r := s.Ask(t.Context(), s.User("owner").Token, "GET", "/_porchlight/status", http.NoBody)
	var got struct {
		Database int64    `json:"database_bytes"`
		About    []string `json:"about"`
	}
	if err := json.Unmarshal(r.Body, &got); err != nil {
		t.Fatal(err)
	}
	if got.Database < 4096 || len(got.About) == 0 {
		t.Errorf("status: %s", r.Body)
	}
}

func TestStatusWithoutBoard(t *testing.T) {
	servertest.New(t).Run(t, []servertest.Case{
		{Name: "status", Who: "owner", Method: "GET", Path: "/_porchlight/status", Status: 200, Want: `{"calls": [], "about": []}`},
	})
}

func TestRing(t *testing.T) {
	s := servertest.New(t, withBoard)
	s.User("owner")
	s.User("bob")
	ring := func(name, who, body string, code int, errcode string) servertest.Case {
		c := servertest.Case{Name: name, Who: who, Method: "POST", Path: "/_porchlight/ring", Body: body, Status: code, Errcode: errcode}
		if code == 200 || code == 429 {
			c.Changes = servertest.Any // the rooms with those who are called; the board goes on meanwhile
		}
		return c
	}
	s.Run(t, []servertest.Case{
		ring("by nobody", "", `{}`, 401, "M_MISSING_TOKEN"),
		ring("by another", "bob", `{}`, 403, "M_FORBIDDEN"),
		ring("bad mode", "owner", `{"mode":"loud"}`, 400, "M_INVALID_PARAM"),
		ring("bad timeout", "owner", `{"timeout":-1}`, 400, "M_INVALID_PARAM"),
		ring("bad person", "owner", `{"people":["bob"]}`, 400, "M_INVALID_PARAM"),
		ring("the ring list", "owner", `{}`, 200, ""),
		ring("at once again", "owner", `{}`, 429, "M_LIMIT_EXCEEDED"),
	})
}

func TestRingWithoutBoard(t *testing.T) {
	servertest.New(t).Run(t, []servertest.Case{
		{Name: "ring", Who: "owner", Method: "POST", Path: "/_porchlight/ring", Body: `{}`, Status: 404, Errcode: "M_NOT_FOUND"},
	})
}
