package appservice

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"porchlight/server/matrix"
)

const good = `
id: "IRC Bridge"
url: "http://127.0.0.1:1234/"
as_token: "30c05ae90a248a41"
hs_token: "312df522183efd40"
sender_localpart: "_irc_bot"
rate_limited: false
protocols: [irc]
de.sorunome.msc2409.push_ephemeral: true
namespaces:
  users:
    - exclusive: true
      regex: "@_irc_bridge_.*"
  aliases:
    - exclusive: false
      regex: "#_irc_bridge_.*"
  rooms: []
`

func TestParse(t *testing.T) {
	reg, err := Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if reg.ID != "IRC Bridge" || reg.URL != "http://127.0.0.1:1234" || len(reg.Users) != 1 || !reg.Users[0].Exclusive || reg.RateLimited {
		t.Errorf("%+v", reg)
	}
	for name, change := range map[string][2]string{
		"no id":              {`id: "IRC Bridge"`, ``},
		"no token":           {`as_token: "30c05ae90a248a41"`, ``},
		"an empty token":     {`as_token: "30c05ae90a248a41"`, `as_token: ""`},
		"a token with a tab": {`30c05ae90a248a41`, `30c0\t5ae9`},
		"the same tokens":    {`30c05ae90a248a41`, `312df522183efd40`},
		"a token with lines": {`30c05ae90a248a41`, `30c05ae9\n0a248a41`},
		"no sender":          {`_irc_bot`, ``},
		"a wrong sender":     {`_irc_bot`, `@irc`},
		"a whole user ID":    {`_irc_bot`, `irc:example.org`},
		"another scheme":     {`http://127`, `ftp://127`},
		"with a password":    {`http://127`, `http://a:b@127`},
		"a bad regex":        {`@_irc_bridge_.*`, `@(`},
		"a backreference":    {`@_irc_bridge_.*`, `@(a)\\1`},
		"a huge repetition":  {`@_irc_bridge_.*`, `@(a{1000}){1000}`},
		"a long regex":       {`@_irc_bridge_.*`, strings.Repeat("a", maxRegexBytes+1)},
		"an empty regex":     {`@_irc_bridge_.*`, ``},
		"another shape":      {`rooms: []`, `rooms: {a: b}`},
		"too large":          {`rooms: []`, "rooms: []\n# " + strings.Repeat("x", MaxRegistrationBytes)},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, change[0]) {
				t.Fatal("nothing is changed")
			}
			_, err := Parse([]byte(strings.ReplaceAll(good, change[0], change[1])))
			if !matrix.IsCode(err, "M_INVALID_PARAM") {
				t.Fatalf("%v", err)
			}
			if strings.Contains(err.Error(), "312df522183efd40") {
				t.Errorf("a token is told: %v", err)
			}
		})
	}
	if reg, err := Parse([]byte(strings.Replace(good, `"http://127.0.0.1:1234/"`, "null", 1))); err != nil || reg.URL != "" {
		t.Errorf("without a URL: %q, %v", reg.URL, err)
	}
}

// TestGeneratedFiles takes what the generators of bridges and people write, which is wider than what is good style.
func TestGeneratedFiles(t *testing.T) {
	for name, c := range map[string]struct {
		change [2]string
		is     func(Registration) bool
	}{
		"a sender of both cases":     {[2]string{`_irc_bot`, `Xq7Pq0ZkWJd3mYtNfLcRbVgHsUaEoIxA`}, func(r Registration) bool { return r.SenderLocalpart == "Xq7Pq0ZkWJd3mYtNfLcRbVgHsUaEoIxA" }},
		"a sender with letters":      {[2]string{`_irc_bot`, `über`}, func(r Registration) bool { return r.SenderLocalpart == "über" }},
		"a sender of printable":      {[2]string{`_irc_bot`, `irc!~`}, func(r Registration) bool { return r.SenderLocalpart == "irc!~" }},
		"a short token":              {[2]string{`312df522183efd40`, `abc`}, func(r Registration) bool { return r.HouseToken == "abc" }},
		"a token with blanks":        {[2]string{`312df522183efd40`, `a b c`}, func(r Registration) bool { return r.HouseToken == "a b c" }},
		"an id with letters":         {[2]string{`"IRC Bridge"`, `"Brücke"`}, func(r Registration) bool { return r.ID == "Brücke" }},
		"namespaces as a list":       {[2]string{good[strings.Index(good, "namespaces:"):], "namespaces: []\n"}, func(r Registration) bool { return r.Users == nil }},
		"no protocols, as a list":    {[2]string{"protocols: [irc]", "protocols: []"}, func(r Registration) bool { return len(r.Protocols) == 0 }},
		"one protocol, as a text":    {[2]string{"protocols: [irc]", "protocols: irc"}, func(r Registration) bool { return len(r.Protocols) == 1 && r.Protocols[0] == "irc" }},
		"a flag, as a text":          {[2]string{"rooms: []", "rooms: []\nreceive_ephemeral: \"true\"\n"}, func(r Registration) bool { return r.Ephemeral }},
		"the flag of the proposal":   {[2]string{"push_ephemeral: true", "push_ephemeral: 'true'"}, func(r Registration) bool { return r.OldEphemeral }},
		"null for a flag":            {[2]string{"rate_limited: false", "rate_limited: null"}, func(r Registration) bool { return !r.RateLimited }},
		"null for a list":            {[2]string{"rooms: []", "rooms:"}, func(r Registration) bool { return r.Rooms == nil }},
		"an empty URL":               {[2]string{`"http://127.0.0.1:1234/"`, `""`}, func(r Registration) bool { return r.URL == "" }},
		"fields that nobody knows":   {[2]string{"rooms: []", "rooms: []\nio.element.msc4190: true\nx: {y: [z]}\n"}, func(r Registration) bool { return len(r.Users) == 1 }},
		"a group of a namespace":     {[2]string{`exclusive: true`, "exclusive: true\n      group_id: \"+x:example.org\""}, func(r Registration) bool { return r.Users[0].Exclusive }},
		"lines with carriage return": {[2]string{"\n", "\r\n"}, func(r Registration) bool { return len(r.Users) == 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, c.change[0]) {
				t.Fatal("nothing is changed")
			}
			reg, err := Parse([]byte(strings.ReplaceAll(good, c.change[0], c.change[1])))
			if err != nil || !c.is(reg) {
				t.Errorf("%v, %+v", err, reg)
			}
		})
	}
	// An odd field is named, and nothing of it is told.
	for field, change := range map[string][2]string{
		"rate_limited": {"rate_limited: false", "rate_limited: perhaps"},
		"protocols":    {"protocols: [irc]", "protocols: {a: b}"},
		"as_token":     {`as_token: "30c05ae90a248a41"`, `as_token: [secret]`},
		"users":        {`users:`, `users: x #`},
	} {
		_, err := Parse([]byte(strings.ReplaceAll(good, change[0], change[1])))
		if !matrix.IsCode(err, "M_INVALID_PARAM") || !strings.Contains(err.Error(), field) && field != "users" || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`@_irc_.*`, `@_irc_.*`, true},
		{`@_irc_.*`, `@_tg_.*`, false},
		{`@_irc_.*`, `^@_irc_ann:house\.test$`, true},
		{`@ann$`, `@anna`, false},
		{`@ann`, `@anna$`, true}, // an expression need not match to the end
		{`@.*_bot:house$`, `@tg_.*:house$`, true},
		{`@[a-m].*`, `@[n-z].*`, false},
		{`@(?i)IRC_x$`, `@irc_x$`, true},
		{`.*`, `#room`, true},
		{`@a+$`, `@(aa)*b$`, false},
	} {
		if got := overlaps(c.a, c.b); got != c.want {
			t.Errorf("%s and %s: %t", c.a, c.b, got)
		}
		if got := overlaps(c.b, c.a); got != c.want {
			t.Errorf("%s and %s: %t", c.b, c.a, got)
		}
	}
}

func overlaps(a, b string) bool {
	steps := maxOverlapSteps
	return overlap(a, b, &steps)
}

// TestOverlapIsBounded: expressions that are hard to compare cost a bounded time, all of a
// registration together, and are refused.
func TestOverlapIsBounded(t *testing.T) {
	steps := maxOverlapSteps
	hard := "@" + strings.Repeat("(a|b)*", 40) + "[ab]{200}"
	n := 0
	for ; n < 1000 && !overlap(hard+"c$", hard+"d$", &steps); n++ {
	}
	if steps > 0 || n == 0 || n == 1000 {
		t.Errorf("%d comparisons, %d steps left", n, steps)
	}
	if !overlap("@a$", "@b$", &steps) {
		t.Error("compared without any steps left")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("id: &a [*a]\n"))
	f.Add([]byte("namespaces: {users: [{regex: '('}]}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		reg, err := Parse(raw)
		if err != nil {
			if !matrix.IsCode(err, "M_INVALID_PARAM") {
				t.Errorf("%v", err)
			}
			return
		}
		for _, n := range reg.Users {
			if _, err := n.compile(); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzOverlap(f *testing.F) {
	f.Add("@_irc_.*", "@_irc_ann:house$")
	f.Add("(a|b)*$", "[^a]c")
	f.Fuzz(func(t *testing.T, a, text string) {
		if len(a) > 64 || len(text) > 64 {
			return
		}
		n := Namespace{Regex: a}
		re, err := n.compile()
		if err != nil || a == "" || !re.MatchString(text) {
			return
		}
		if quoted := quote(text); quoted != "" && !overlaps(a, quoted) {
			t.Errorf("%q matches %q, but they are said not to overlap", a, text)
		}
	})
}

// quote is an expression that matches a text and nothing else; empty if there is none.
func quote(text string) string {
	if text == "" || !utf8.ValidString(text) {
		return ""
	}
	return regexp.QuoteMeta(text) + `\z`
}
