package clientapi_test

import (
	"bufio"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"porchlight/kv"
	"porchlight/kv/kvtest"
	"porchlight/server/clientapi"
	"porchlight/server/matrix"
	"porchlight/server/web"
)

// nobody refuses every token.
type nobody struct{}

func (nobody) Authenticate(kv.Reader, string, time.Time) (web.Requester, error) {
	return web.Requester{}, matrix.UnknownToken(false)
}
func (nobody) Answer(kv.Reader, web.OnceKey) ([]byte, bool)         { return nil, false }
func (nobody) Remember(*kv.WriteTx, web.OnceKey, []byte, time.Time) {}

// TestRoutes holds the table to the standard's list of operations: an operationId has
// the method and the path that belong to it.
func TestRoutes(t *testing.T) {
	standard := operations(t)
	seen := map[string]bool{}
	for _, r := range clientapi.New(clientapi.Config{}).Routes() {
		if seen[r.Op] {
			t.Errorf("%s stands twice in the table", r.Op)
		}
		seen[r.Op] = true
		want, ok := standard[r.Op]
		if got := r.Method + " " + strings.TrimSuffix(r.Path, "/"); ok && !want[got] {
			t.Errorf("%s is %s, the standard says %v", r.Op, got, want)
		}
		if strings.Contains(r.Path, "{txnId}") != r.Once {
			t.Errorf("%s: a path with {txnId} is once-only, no other is", r.Op)
		}
	}
}

// operations maps an operationId to its "METHOD path", of which a few have two.
func operations(t *testing.T) map[string]map[string]bool {
	t.Helper()
	f, err := os.Open("../testdata/operations.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Split(lines.Text(), "\t")
		if strings.HasPrefix(lines.Text(), "#") || len(fields) < 3 {
			continue
		}
		op := fields[2]
		if all[op] == nil {
			all[op] = map[string]bool{}
		}
		all[op][fields[0]+" "+strings.TrimSuffix(strings.TrimSpace(fields[1]), "/")] = true
	}
	return all
}

// TestRoutesNeedTokens asks every operation for signed-in users without a token and with
// a bad one. The body is none, so that whoever reads it first gives another answer.
func TestRoutesNeedTokens(t *testing.T) {
	routes := clientapi.New(clientapi.Config{}).Routes()
	s, err := web.New(web.Config{DB: kvtest.Open(t), Auth: nobody{}, Once: nobody{}, RateLimitsOff: true}, routes)
	if err != nil {
		t.Fatal(err)
	}
	parameter := regexp.MustCompile(`\{\w+\}`)
	for _, r := range routes {
		if r.Access != web.User {
			continue
		}
		path := parameter.ReplaceAllString(r.Path, "x")
		for token, code := range map[string]string{"": "M_MISSING_TOKEN", "bad": "M_UNKNOWN_TOKEN"} {
			req := httptest.NewRequest(r.Method, path, strings.NewReader("{"))
			if token != "" {
				req.Header.Set("Authorization", "Bearer "+token)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, req)
			if w.Code != 401 || !strings.Contains(w.Body.String(), code) {
				t.Errorf("%s with the token %q: %d %s", r.Op, token, w.Code, w.Body)
			}
		}
	}
}
