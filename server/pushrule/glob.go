package pushrule

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxPattern is the length of a pattern in bytes; a longer one matches nothing.
	MaxPattern = 1024
	// maxText is how many bytes of a text are looked at; what is behind them is as if it
	// were not there.
	maxText = 16 << 10
	// maxWork bounds what all patterns of a user together may cost for one event, in steps:
	// machine words of states that are moved. That is a few milliseconds, and more than 250
	// patterns with wildcards over the longest text; patterns behind it match nothing.
	maxWork = 4 << 20
	// plainShare is how many bytes a plain pattern is searched for in the time of one step,
	// and plainMiss the steps that a place costs where it stands but not as a word.
	plainShare = 16
	plainMiss  = 4
)

// effort is how many steps are left for an event.
type effort int

// spend takes steps; false if there are no more.
func (w *effort) spend(steps int) bool {
	*w -= effort(steps)
	return *w >= 0
}

// glob is a compiled pattern (spec: appendices, glob-style matching), to be held against
// folded texts. A pattern without wildcards is plain. One with wildcards is an automaton
// whose states are the places between its characters, one bit each: reading a character of
// the text moves all states that are reached at once, so the time is the text's length
// times a few words, whatever the pattern.
type glob struct {
	plain   string
	wild    bool
	never   bool              // the pattern is too long
	steps   map[rune][]uint64 // bit i: this character leads from state i to i+1
	any     []uint64          // bit i: every character does
	star    []uint64          // bit i: state i stays whatever is read
	accept  int               // the last state
	anyRune []uint64          // steps of the characters that the pattern does not name
}

// compileGlob compiles a pattern, which need not be folded.
func compileGlob(pattern string) *glob {
	if len(pattern) > MaxPattern {
		return &glob{never: true}
	}
	pattern = fold(pattern)
	if !strings.ContainsAny(pattern, "*?") {
		return &glob{plain: pattern}
	}
	g := &glob{wild: true, steps: map[rune][]uint64{}}
	runes := []rune(pattern)
	words := len(runes)/64 + 1
	g.any, g.star = make([]uint64, words), make([]uint64, words)
	for _, c := range runes {
		switch c {
		case '*':
			set(g.star, g.accept)
			continue
		case '?':
			set(g.any, g.accept)
		default:
			if g.steps[c] == nil {
				g.steps[c] = make([]uint64, words)
			}
			set(g.steps[c], g.accept)
		}
		g.accept++
	}
	for _, step := range g.steps {
		for i, bits := range g.any {
			step[i] |= bits
		}
	}
	g.anyRune = g.any
	return g
}

func set(bits []uint64, i int) { bits[i/64] |= 1 << (i % 64) }

func isSet(bits []uint64, i int) bool { return bits[i/64]&(1<<(i%64)) != 0 }

// matches says whether the pattern is the whole of a folded text.
func (g *glob) matches(folded string, left *effort) bool {
	if !g.wild {
		return !g.never && folded == g.plain
	}
	if !left.spend(len(folded) * len(g.star)) {
		return false
	}
	now := make([]uint64, len(g.star))
	set(now, 0)
	for _, c := range folded {
		if !g.read(now, c) {
			return false
		}
	}
	return isSet(now, g.accept)
}

// read moves the states over one character; false if none is left.
func (g *glob) read(now []uint64, c rune) bool {
	step, known := g.steps[c]
	if !known {
		step = g.anyRune
	}
	var carry, some uint64
	for i, bits := range now {
		moved := bits & step[i]
		now[i] = bits&g.star[i] | moved<<1 | carry
		carry = moved >> 63
		some |= now[i]
	}
	return some != 0
}

// found says whether the pattern is a part of a folded text that starts and ends at a word
// boundary (spec: push rules, event_match of content.body): nothing before it and behind it,
// or a character that belongs to no word.
func (g *glob) found(folded string, left *effort) bool {
	if g.never {
		return false
	}
	if !g.wild {
		return foundPlain(folded, g.plain, left)
	}
	if !left.spend(len(folded) * len(g.star)) {
		return false
	}
	now := make([]uint64, len(g.star))
	boundary := true // before the character at hand
	for i, c := range folded {
		if boundary {
			set(now, 0)
		}
		if isSet(now, g.accept) && endsBefore(folded, i) {
			return true
		}
		g.read(now, c)
		boundary = !inWord(folded, i)
	}
	if boundary {
		set(now, 0)
	}
	return isSet(now, g.accept)
}

func foundPlain(folded, word string, left *effort) bool {
	left.spend(len(folded) / plainShare)
	for from := 0; from <= len(folded) && left.spend(plainMiss); {
		at := strings.Index(folded[from:], word)
		if at < 0 {
			return false
		}
		at += from
		if (at == 0 || !inWord(folded, at-1)) && endsBefore(folded, at+len(word)) {
			return true
		}
		_, size := utf8.DecodeRuneInString(folded[at:])
		from = at + max(size, 1) // an empty word is nowhere inside a character
	}
	return false
}

// endsBefore says whether a word can end before byte i.
func endsBefore(s string, i int) bool { return i == len(s) || !inWord(s, i) }

// inWord says whether byte i of a folded text belongs to a word: only ASCII does.
func inWord(s string, i int) bool {
	c := s[i]
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z'
}

// fold makes upper and lower case the same, also where there are two of one, as of the Greek
// sigma. No other character becomes one of ASCII, so that words end where they did.
func fold(s string) string {
	return strings.Map(func(c rune) rune {
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			return c
		}
		if l := unicode.ToLower(unicode.ToUpper(c)); l >= utf8.RuneSelf {
			return l
		}
		return c
	}, s)
}

// foldText is fold of the part of a text that is looked at.
func foldText(s string) string {
	if len(s) > maxText {
		cut := maxText
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut]
	}
	return fold(s)
}
