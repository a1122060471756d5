package accounts

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"

	"porchlight/kv"
	"porchlight/server/matrix"
)

// Found is a user whom a search has found.
type Found struct {
	User        matrix.UserID
	DisplayName string
	AvatarURL   string
}

// known is how much there is to show of the user besides the ID.
func (f Found) known() int {
	n := 0
	for _, text := range []string{f.DisplayName, f.AvatarURL} {
		if text != "" {
			n++
		}
	}
	return n
}

// SearchUsers finds up to limit users by what they are called, best first, of those whom
// visible lets through. Each word of the term has to begin a word of the display name or
// the user ID; in scripts that are written without spaces it may stand anywhere. Case and
// accents do not matter. more says that there were others.
func (k *Keeper) SearchUsers(r kv.Reader, term string, limit int, visible func(matrix.UserID) bool) (found []Found, more bool) {
	type ranked struct {
		Found
		rank int
	}
	var all []ranked
	wanted := strings.Fields(searchForm(strings.TrimPrefix(term, "@")))
	if len(wanted) == 0 {
		return nil, false
	}
	for user, row := range k.users.Scan(r, kv.All()) {
		if row.Deactivated || row.Guest {
			continue
		}
		if rank := matchRank(wanted, user, row.DisplayName); rank > 0 && visible(user) {
			all = append(all, ranked{Found{user, row.DisplayName, row.AvatarURL}, rank})
		}
	}
	slices.SortStableFunc(all, func(a, b ranked) int {
		return cmp.Or(b.rank-a.rank, b.known()-a.known())
	})
	for _, f := range all[:min(limit, len(all))] {
		found = append(found, f.Found)
	}
	return found, len(all) > limit
}

// searchForm is a text without what does not matter: case, accents, width, punctuation.
func searchForm(s string) string {
	plain, _, err := transform.String(transform.Chain(norm.NFKD, runes.Remove(runes.In(unicode.Mn)), cases.Fold(), norm.NFC), s)
	if err != nil {
		plain = strings.ToLower(s)
	}
	return plain
}

// matchRank says how well a user is meant by the words: 0 is not at all.
func matchRank(wanted []string, user matrix.UserID, displayName string) int {
	id, name := searchForm(strings.TrimPrefix(string(user), "@")), searchForm(displayName)
	localpart, _, _ := strings.Cut(id, ":")
	term := strings.Join(wanted, " ")
	switch {
	case term == id || term == localpart || term == name:
		return 3
	case strings.HasPrefix(id, term) || strings.HasPrefix(name, term):
		return 2
	}
	for _, word := range wanted {
		if !beginsWord(id, word) && !beginsWord(name, word) {
			return 0
		}
	}
	return 1
}

// beginsWord says whether a word of text begins with prefix, or, in a script without spaces,
// whether prefix stands anywhere.
func beginsWord(text, prefix string) bool {
	for at := 0; ; {
		i := strings.Index(text[at:], prefix)
		if i < 0 {
			return false
		}
		at += i
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		first, size := utf8.DecodeRuneInString(text[at:])
		if at == 0 || !unicode.In(before, unicode.L, unicode.N, unicode.M) || unspaced(first) || unspaced(before) {
			return true
		}
		at += size
	}
}

// unspaced says whether a letter is of a script that does not put spaces between words.
func unspaced(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar, unicode.Tibetan)
}
