package servertest

import (
	"encoding/json"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// absent in a Want is a field that must not be there.
const absent = "!absent"

// more at the end of an array in a Want lets others follow.
const more = "…"

// Match fails the test where got does not contain want, as Case.Want says.
func Match(t testing.TB, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Errorf("%v in %s", err, got)
		return
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("the test's own Want: %v in %s", err, want)
	}
	if why := differ(g, w, ""); len(why) > 0 {
		t.Errorf("%s\nin %s", strings.Join(why, "\n"), got)
	}
}

// differ lists where got does not contain want.
func differ(got, want any, at string) []string {
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{say(at, got, "an object")}
		}
		var why []string
		for _, key := range sortedKeys(want) {
			value, there := g[key]
			switch {
			case want[key] == absent && there:
				why = append(why, say(at+"/"+key, value, "nothing"))
			case want[key] == absent:
			case !there:
				why = append(why, at+"/"+key+" is missing")
			default:
				why = append(why, differ(value, want[key], at+"/"+key)...)
			}
		}
		return why
	case []any:
		return differArray(got, want, at)
	case string:
		g, ok := got.(string)
		if want == "*" && got != nil || ok && glob(want, g) {
			return nil
		}
		return []string{say(at, got, strconv.Quote(want))}
	default:
		if got == want {
			return nil
		}
		return []string{say(at, got, text(want))}
	}
}

func differArray(got any, want []any, at string) []string {
	g, ok := got.([]any)
	open := len(want) > 0 && want[len(want)-1] == more
	if open {
		want = want[:len(want)-1]
	}
	if !ok || len(g) < len(want) || !open && len(g) > len(want) {
		return []string{say(at, got, text(want))}
	}
	var why []string
	for i := range want {
		why = append(why, differ(g[i], want[i], at+"/"+strconv.Itoa(i))...)
	}
	return why
}

// glob compares with * for anything.
func glob(pattern, s string) bool {
	if !strings.Contains(pattern, "*") {
		return pattern == s
	}
	// In path.Match, * stops at a slash and some more characters are special.
	escape := strings.NewReplacer("/", "\x00", "?", `\?`, "[", `\[`, `\`, `\\`)
	ok, err := path.Match(escape.Replace(pattern), strings.ReplaceAll(s, "/", "\x00"))
	return err == nil && ok
}

func say(at string, got any, want string) string { return at + " is " + text(got) + ", want " + want }

func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return string(raw)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
