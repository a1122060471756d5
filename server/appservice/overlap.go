package appservice

import (
	"regexp/syntax"
	"slices"
	"unicode"
)

// maxOverlapSteps bounds the comparison of one registration's expressions with all others',
// about a quarter of a second; those that take longer count as overlapping.
const maxOverlapSteps = 1 << 20

// overlap says whether there is a text that both expressions match from its beginning on.
// It walks both programs at once: a pair of places is reached if one text leads to both.
// Each step is taken off steps.
func overlap(a, b string, steps *int) bool {
	first, err := program(a)
	if err != nil {
		return true
	}
	second, err := program(b)
	if err != nil {
		return true
	}
	w := overlapWalk{a: first, b: second, seen: map[pair]bool{}}
	w.visit(pair{a: first.Start, b: second.Start, begin: true})
	for len(w.open) > 0 {
		if *steps--; *steps < 0 {
			return true
		}
		p := w.open[len(w.open)-1]
		w.open = w.open[:len(w.open)-1]
		if w.step(p) {
			return true
		}
	}
	return false
}

func program(regex string) (*syntax.Prog, error) {
	parsed, err := syntax.Parse(regex, syntax.Perl)
	if err != nil {
		return nil, err
	}
	return syntax.Compile(parsed.Simplify())
}

// pair is a place in both programs. Begin says that nothing was read yet, end that the text
// must end here.
type pair struct {
	a, b       int
	begin, end bool
}

type overlapWalk struct {
	a, b *syntax.Prog
	seen map[pair]bool
	open []pair
}

func (w *overlapWalk) visit(p pair) {
	if !w.seen[p] {
		w.seen[p] = true
		w.open = append(w.open, p)
	}
}

// step goes on from a pair; true if both programs have matched.
func (w *overlapWalk) step(p pair) bool {
	x, y := &w.a.Inst[p.a], &w.b.Inst[p.b]
	if x.Op == syntax.InstMatch && y.Op == syntax.InstMatch {
		return true
	}
	if nexts, end, moves := free(x, p.begin); moves {
		for _, next := range nexts {
			w.visit(pair{next, p.b, p.begin, p.end || end})
		}
		return false
	}
	if nexts, end, moves := free(y, p.begin); moves {
		for _, next := range nexts {
			w.visit(pair{p.a, next, p.begin, p.end || end})
		}
		return false
	}
	if p.end {
		return false
	}
	// Both read a character now; one that has matched already takes any.
	nextA, nextB := p.a, p.b
	if x.Op != syntax.InstMatch {
		nextA = int(x.Out)
	}
	if y.Op != syntax.InstMatch {
		nextB = int(y.Out)
	}
	if intersect(ranges(x), ranges(y)) {
		w.visit(pair{nextA, nextB, false, false})
	}
	return false
}

// free are the places that an instruction leads to without reading; end says that they are
// reached at the end of the text only. What asks for borders of words counts as fulfilled.
func free(i *syntax.Inst, begin bool) (next []int, end, moves bool) {
	switch i.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		return []int{int(i.Out), int(i.Arg)}, false, true
	case syntax.InstCapture, syntax.InstNop:
		return []int{int(i.Out)}, false, true
	case syntax.InstEmptyWidth:
		need := syntax.EmptyOp(i.Arg)
		if need&syntax.EmptyBeginText != 0 && !begin {
			return nil, false, true
		}
		return []int{int(i.Out)}, need&syntax.EmptyEndText != 0, true
	case syntax.InstFail:
		return nil, false, true
	}
	return nil, false, false
}

// ranges are the characters that an instruction reads, as pairs of first and last.
func ranges(i *syntax.Inst) []rune {
	switch i.Op {
	case syntax.InstRune, syntax.InstRune1:
		all := i.Rune
		if len(all) != 1 {
			return all
		}
		all = []rune{all[0], all[0]}
		if syntax.Flags(i.Arg)&syntax.FoldCase != 0 {
			for r := unicode.SimpleFold(all[0]); r != all[0]; r = unicode.SimpleFold(r) {
				all = slices.Concat(all, []rune{r, r})
			}
		}
		return all
	case syntax.InstRuneAnyNotNL:
		return []rune{0, '\n' - 1, '\n' + 1, unicode.MaxRune}
	}
	return []rune{0, unicode.MaxRune}
}

func intersect(a, b []rune) bool {
	for i := 0; i+1 < len(a); i += 2 {
		for j := 0; j+1 < len(b); j += 2 {
			if a[i] <= b[j+1] && b[j] <= a[i+1] {
				return true
			}
		}
	}
	return false
}
