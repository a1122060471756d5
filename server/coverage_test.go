package server_test

import (
	"bufio"
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"porchlight/server/clientapi"
	"porchlight/server/web"
)

// notYet lists the operations of the client-server API that are not served
// yet, by the file of the standard that describes them. Whoever builds one
// takes it off: an operation that is both listed and served fails the test.
var notYet = map[string][]string{}

// beyondTheSpec are operations that the client-server API does not have, each
// with the reason why it is served.
var beyondTheSpec = map[string]string{
	"authFallback":        "the prose asks for it: fallback for stages that a client does not know",
	"authFallbackDone":    "the form of authFallback",
	"loginFallback":       "the prose asks for it: login fallback",
	"exchangeOpenIdToken": "of the server-server API, for services that a user shows an OpenID token",
	"slidingSync":         "MSC4186, for clients that know no other sync",
	"unstableSlidingSync": "the same by its earlier name, which those clients use",
	"validateEmail":       "the page behind the link in mails",
	"confirmEmail":        "the form of validateEmail",

	"putDehydratedDevice":        "MSC3814, which Element and other clients use",
	"getDehydratedDevice":        "MSC3814",
	"deleteDehydratedDevice":     "MSC3814",
	"postDehydratedDeviceEvents": "MSC3814",
	"getDehydratedDeviceEvents":  "MSC3814, as its later revisions have it",
}

// samePath are operations that share method and path with another one, by whose route
// they are served.
var samePath = map[string]string{
	"inviteBy3PID": "inviteUser",
	"peekEvents":   "getEvents",
}

// operation is one line of testdata/operations.tsv.
type operation struct {
	method, path, id, file string
}

func operations(t *testing.T) []operation {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", "operations.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all []operation
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		cells := strings.Split(lines.Text(), "\t")
		if len(cells) != 4 {
			t.Fatalf("operations.tsv: %q", lines.Text())
		}
		// A blank tells two operations on one path apart in the standard's files.
		all = append(all, operation{cells[0], strings.TrimSpace(cells[1]), cells[2], cells[3]})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// parameter is a path parameter; its name is a matter of taste.
var parameter = regexp.MustCompile(`\{[^}]*\}`)

func serves(route web.Route, op operation) bool {
	wanted := parameter.ReplaceAllString(op.path, "{}")
	return route.Method == op.method && slices.ContainsFunc(append(route.Aliases, route.Path), func(path string) bool {
		return parameter.ReplaceAllString(path, "{}") == wanted
	})
}

// TestHouseSpecCoverage compares the table of routes with the operations of the
// standard: each is served, at the standard's method and path, or listed above.
func TestHouseSpecCoverage(t *testing.T) {
	routes := map[string][]web.Route{}
	for _, route := range clientapi.New(clientapi.Config{}).Routes() {
		routes[route.Op] = append(routes[route.Op], route)
	}
	known, served := map[string]bool{}, 0
	for _, op := range operations(t) {
		known[op.id] = true
		listed := slices.Contains(notYet[op.file], op.id)
		by := cmp.Or(samePath[op.id], op.id)
		isServed := slices.ContainsFunc(routes[by], func(r web.Route) bool { return serves(r, op) })
		switch {
		case isServed && listed:
			t.Errorf("%s is served: take it off the list of what is not there yet", op.id)
		case isServed:
			served++
		case len(routes[op.id]) > 0:
			t.Errorf("%s is served, but not as %s %s", op.id, op.method, op.path)
		case !listed:
			t.Errorf("%s (%s %s, %s) is neither served nor listed as not there yet", op.id, op.method, op.path, op.file)
		}
	}
	for file, ids := range notYet {
		for _, id := range ids {
			if !known[id] {
				t.Errorf("%s: the standard has no operation %s", file, id)
			}
		}
	}
	for id := range routes {
		if !known[id] && beyondTheSpec[id] == "" {
			t.Errorf("%s is served, but the standard has no such operation, and no reason is given", id)
		}
	}
	for id := range beyondTheSpec {
		if len(routes[id]) == 0 {
			t.Errorf("%s is listed as served beyond the standard, but is not served", id)
		}
	}
	t.Logf("%d of %d operations of the client-server API are served", served, len(known))
}
