package search

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

const (
	// maxText is how much of a text is looked at, in bytes.
	maxText = 16 << 10
	// maxWord is where a word is cut off, in bytes: the rest does not tell it from others.
	maxWord = 64
	// maxWords is how many different words of a text are indexed.
	maxWords = 1000
)

// run is letters and digits that stand together, folded.
type run struct {
	text string
	// unspaced: the script does not put spaces between words, or hangs particles on them.
	// Nobody knows where the words are then, so any two neighbours count as one.
	unspaced bool
}

// fold takes away what does not matter: case, width and the like (NFKC), signs that cannot
// be seen, and the vowel signs of Arabic and Hebrew, which most people leave out.
func fold(s string) string {
	s = norm.NFKC.String(cases.Fold().String(norm.NFKC.String(s)))
	return strings.Map(func(r rune) rune {
		if silent(r) {
			return -1
		}
		return r
	}, s)
}

// silent says whether a rune is left out of words.
func silent(r rune) bool {
	switch {
	case r < 0x80, r == '\u200b': // a space without width parts words
		return false
	case r == '\u0640': // the Arabic lengthening sign
		return true
	case 0x0591 <= r && r <= 0x05c7, 0x0610 <= r && r <= 0x061a, 0x064b <= r && r <= 0x065f, r == 0x0670, 0x06d6 <= r && r <= 0x06ed:
		return unicode.Is(unicode.Mn, r)
	default:
		return unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r)
	}
}

// unspaced says whether a letter belongs to a run that is unspaced.
func unspaced(r rune) bool {
	if r < 0x0e00 {
		return false
	}
	return r == 'ー' || r == '〆' || unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Bopomofo,
		unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar, unicode.Tibetan, unicode.Javanese, unicode.Balinese, unicode.Tai_Tham)
}

// runs parts a text.
func runs(text string) []run {
	var all []run
	var word strings.Builder
	spelled, together := false, false // word has more than marks; word is unspaced
	end := func() {
		if spelled {
			all = append(all, run{word.String(), together})
		}
		word.Reset()
		spelled = false
	}
	for _, r := range fold(cut(strings.ToValidUTF8(text, " "), maxText)) {
		switch {
		case unicode.In(r, unicode.L, unicode.N):
			if u := unspaced(r); u != together || !spelled {
				end()
				together = u
			}
			spelled = true
			word.WriteRune(r)
		case unicode.Is(unicode.M, r):
			if spelled {
				word.WriteRune(r) // a mark goes with its letter
			}
		default:
			end()
		}
	}
	end()
	return all
}

// cut is the beginning of a text, at most so many bytes of whole runes.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// words are what a run is indexed by: itself, or if it is unspaced any two neighbours, and
// Chinese characters also by themselves, since many are words.
func (r run) words(yield func(string) bool) {
	if !r.unspaced {
		yield(cut(r.text, maxWord))
		return
	}
	letters := []rune(r.text)
	if len(letters) == 1 {
		yield(r.text)
		return
	}
	for i, c := range letters {
		if unicode.Is(unicode.Han, c) && !yield(string(c)) {
			return
		}
		if i > 0 && !yield(string(letters[i-1:i+1])) {
			return
		}
	}
}

// text is a text ready to be compared.
type text struct {
	runs  []run
	count map[string]int // of each word; the first maxWords different ones
	words []string       // the same, in order of appearance
	total int            // all words
	// unspaced is the runs that are, with a line between each two.
	unspaced string
}

// read makes a text ready.
func read(s string) *text {
	t := &text{runs: runs(s), count: map[string]int{}}
	var unspaced strings.Builder
	for _, r := range t.runs {
		if r.unspaced {
			unspaced.WriteString(r.text + "\n")
		}
		for w := range r.words {
			t.total++
			if t.count[w] == 0 {
				if len(t.words) == maxWords {
					continue
				}
				t.words = append(t.words, w)
			}
			t.count[w]++
		}
	}
	t.unspaced = unspaced.String()
	return t
}

// has says how often what a run of the query says stands in the text.
func (t *text) has(r run) (times int) {
	for w := range r.words {
		if t.count[w] == 0 {
			return 0
		}
		times = t.count[w]
	}
	if !r.unspaced {
		return times
	}
	return strings.Count(t.unspaced, r.text)
}
