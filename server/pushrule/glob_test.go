package pushrule

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// plenty is effort that one pattern cannot use up.
func plenty() *effort {
	left := effort(1 << 40)
	return &left
}

func TestGlobs(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		whole, part   bool
	}{
		{"lunc?*", "Lunch plans", true, true}, // spec: event_match, the examples of content.topic
		{"lunc?*", "LUNCH", true, true},
		{"lunc?*", " lunch", false, true},
		{"lunc?*", "lunc", false, false},
		{"ex*ple", "An example event.", false, true}, // spec: those of content.body
		{"ex*ple", "exple", true, true},
		{"ex*ple", "An exciting triple-whammy", false, true},
		{"ex*ple", "examples", false, false},
		{"ex*ple", "an inexample", false, false},
		{"cake", "I like CAKE!", false, true},
		{"cake", "cakes", false, false},
		{"cake", "pancake", false, false},
		{"cake", "_cake", false, false},
		{"cake", "äcakeß", false, true}, // only ASCII belongs to words
		{"cake*lie", "the cake is a lie.", false, true},
		{"cake*lie", "the cake is a lied", false, false},
		{"äpfel", "ÄPFEL", true, true},
		{"ΦΙΛΟΣ", "φίλος", false, false}, // an accent is another letter
		{"ΝΟΜΟΣ", "νομος", true, true},   // a sigma at the end is the same
		{"*", "", true, true},
		{"*", "anything", true, true},
		{"?", "", false, false},
		{"?", "é", true, true},
		{"a?c", "abbc", false, false},
		{"", "", true, true},
		{"", "x", false, false},
		{"a*b*c", "aXbXbXc", true, true},
		{"a.c", "abc", false, false},
		{`\*`, `\anything`, true, false}, // a backslash is no escape, and no word begins behind it
		{"k", "\u212a", false, false},    // the Kelvin sign is not in [A-Za-z]
		{strings.Repeat("?", 130), strings.Repeat("x", 130), true, true},
		{strings.Repeat("?", 130), strings.Repeat("x", 129), false, false},
		{strings.Repeat("a", MaxPattern+1), strings.Repeat("a", MaxPattern+1), false, false},
	} {
		g := compileGlob(c.pattern)
		if got := g.matches(fold(c.text), plenty()); got != c.whole {
			t.Errorf("%.20q is %.20q: %t", c.pattern, c.text, got)
		}
		if c.pattern == `\*` {
			continue
		}
		if got := g.found(fold(c.text), plenty()); got != c.part {
			t.Errorf("%.20q is in %.20q: %t", c.pattern, c.text, got)
		}
	}
}

func TestNoPatternIsSlow(t *testing.T) {
	body := foldText(strings.Repeat("a", 64<<10))
	for _, pattern := range []string{
		strings.Repeat("a*", MaxPattern/2-1) + "b", strings.Repeat("*?", MaxPattern/2-1) + "b",
		strings.Repeat("?", MaxPattern), strings.Repeat("a", MaxPattern-1) + "b", strings.Repeat("*", MaxPattern),
	} {
		start := time.Now()
		g := compileGlob(pattern)
		g.found(body, plenty())
		g.matches(body, plenty())
		if took := time.Since(start); took > time.Second {
			t.Errorf("%.8s… took %s", pattern, took)
		}
	}
}

func BenchmarkWorstGlob(b *testing.B) {
	body := foldText(strings.Repeat("a", 64<<10))
	g := compileGlob(strings.Repeat("a*", MaxPattern/2-1) + "b")
	for b.Loop() {
		g.found(body, plenty())
	}
}

// asRegexp is the same pattern for the engine of the standard library.
func asRegexp(pattern, before, behind string) *regexp.Regexp {
	quoted := regexp.QuoteMeta(pattern)
	quoted = strings.ReplaceAll(strings.ReplaceAll(quoted, `\*`, `.*`), `\?`, `.`)
	return regexp.MustCompile(`(?s)` + before + quoted + behind)
}

func FuzzGlob(f *testing.F) {
	f.Add("ex*ple", "An exciting triple-whammy")
	f.Add("a?c*", "äbc\n")
	f.Add("**??**", "x")
	f.Add("", "a b")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 200 || len(text) > 500 || strings.ToValidUTF8(text, "") != text || strings.ToValidUTF8(pattern, "") != pattern {
			return
		}
		g, p, s := compileGlob(pattern), fold(pattern), fold(text)
		if got, want := g.matches(s, plenty()), asRegexp(p, `^`, `$`).MatchString(s); got != want {
			t.Errorf("%q is %q: %t, want %t", pattern, text, got, want)
		}
		if got, want := g.found(s, plenty()), asRegexp(p, `(^|[^a-z0-9_])`, `([^a-z0-9_]|$)`).MatchString(s); got != want {
			t.Errorf("%q is in %q: %t, want %t", pattern, text, got, want)
		}
	})
}

func TestPaths(t *testing.T) {
	for path, want := range map[string]string{
		`content.body`:             "content|body",
		`content.m\.relates_to`:    "content|m.relates_to",
		`content.m\\foo`:           `content|m\foo`,
		`content.\x`:               `content|\x`,
		`content.m\\\.relates\.to`: `content|m\.relates.to`,
		``:                         "",
		`.`:                        "|",
		`a\`:                       `a\`,
	} {
		if got := strings.Join(splitPath(path), "|"); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
