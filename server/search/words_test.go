package search

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWords(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"Hello, World! hello", "hello world"},
		{"Die Straße, STRASSE", "die strasse"},
		{"GRÜSSE aus Köln", "grüsse aus köln"},
		{"Ko\u0308ln", "köln"},
		{"Привет, МИР", "привет мир"},
		{"ΟΔΥΣΣΕΥΣ", "οδυσσευσ"},
		{"ｗｉｄｅ ﬁn ①", "wide fin 1"},
		{"don't_stop 3.14", "don t stop 3 14"},
		{"北京大学", "北 京 北京 大 京大 学 大学"},
		{"茶", "茶"},
		{"iPhone手机", "iphone 手 机 手机"},
		{"カメラー", "カメ メラ ラー"},
		{"ｶﾒﾗ", "カメ メラ"},
		{"話す。を", "話 話す を"},
		{"ไทย", "ไท ทย"},
		{"서울", "서울"},
		{"السَّلامُ عَلَيْكُم", "السلام عليكم"},
		{"كتـــاب", "كتاب"},
		{"שָׁלוֹם", "שלום"},
		{"नमस्ते दुनिया", "नमस्ते दुनिया"},
		{"👍🏽 ❤️ 👨‍👩‍👧 🇩🇪 …!", ""},
		{"soft\u00adhyphen a\u200bb", "softhyphen a b"},
		{"\u0301", ""},
		{"ab\xffcd", "ab cd"},
		{strings.Repeat("ä", 100), strings.Repeat("ä", maxWord/2)},
	} {
		if got := strings.Join(read(c.text).words, " "); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestHas(t *testing.T) {
	for _, c := range []struct {
		text, term string
		want       int
	}{
		{"one two one", "one", 2},
		{"one two", "on", 0},
		{"東京都と京都", "京都", 2},
		{"東京と京都府", "東京都", 0}, // each pair stands there, but not together
		{"서울에서 만나요", "서울", 1},
		{"สวัสดีครับ", "ครับ", 1},
		{"茶を飲む", "茶", 1},
	} {
		text, term := read(c.text), read(c.term)
		if got := text.has(term.runs[0]); got != c.want {
			t.Errorf("%q has %q %d times, want %d", c.text, c.term, got, c.want)
		}
	}
}

func FuzzWords(f *testing.F) {
	for _, seed := range []string{"Hello, Straße", "北京 カメラー ไทย", "\xff\u0301a\u200d", "👍🏽1️⃣", "İΐŉ", "ﷺ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := read(s)
		if len(text.words) > maxWords || len(text.words) != len(text.count) {
			t.Errorf("%d words, %d counted", len(text.words), len(text.count))
		}
		for _, w := range text.words {
			if w == "" || len(w) > maxWord || !utf8.ValidString(w) || strings.ContainsRune(w, 0) {
				t.Errorf("%q is no word", w)
			}
		}
		if len(text.words) == maxWords {
			return
		}
		for _, r := range text.runs {
			if text.has(r) == 0 {
				t.Errorf("%q is not found in its own text", r.text)
			}
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add(token{Order: ByRecent, Through: 7, Seen: 3}.encode())
	f.Add(token{Order: ByRank, Through: 7, Rank: 0.5, Position: 3, Group: ByRoom, Value: "!a:b"}.encode())
	f.Add("x")
	f.Fuzz(func(t *testing.T, s string) {
		for _, order := range []string{ByRank, ByRecent} {
			from, err := parseToken(s, order)
			if err != nil {
				continue
			}
			again, err := parseToken(from.encode(), order)
			if err != nil && len(from.encode()) <= maxToken || err == nil && again != from {
				t.Errorf("%+v becomes %+v: %v", from, again, err)
			}
		}
	})
}

func TestDistinctRuns(t *testing.T) {
	if got := distinct(runs("a b a")); !slices.Equal(got, []run{{"a", false}, {"b", false}}) {
		t.Error(got)
	}
}
