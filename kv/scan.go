package kv

import "slices"

// Range says which rows a Scan yields, and in which direction. The zero value is all
// rows, upwards.
type Range struct {
	prefix           []any
	lo, hi           any // further bounds on the part behind the prefix
	loAfter, hiAfter bool
	reverse          bool
}

// All is every row of a table.
func All() Range { return Range{} }

// Prefix is the rows whose keys begin with these parts, each of its part's type.
func Prefix(parts ...any) Range { return Range{prefix: parts} }

// From keeps the rows whose next part is at least v.
func (rg Range) From(v any) Range { rg.lo, rg.loAfter = v, false; return rg }

// After keeps the rows whose next part is greater than v.
func (rg Range) After(v any) Range { rg.lo, rg.loAfter = v, true; return rg }

// Before keeps the rows whose next part is less than v.
func (rg Range) Before(v any) Range { rg.hi, rg.hiAfter = v, false; return rg }

// Through keeps the rows whose next part is at most v.
func (rg Range) Through(v any) Range { rg.hi, rg.hiAfter = v, true; return rg }

// Reverse yields the last row first.
func (rg Range) Reverse() Range { rg.reverse = true; return rg }

// bounds are the first key of the range and the first one behind it.
func (rg Range) bounds(tag byte, c keyCodec) (lo, hi []byte, err error) {
	base, err := c.encodePrefix([]byte{tag}, rg.prefix)
	if err != nil {
		return nil, nil, err
	}
	lo, hi = base, successor(base)
	if rg.lo != nil {
		if lo, err = c.encodePrefix([]byte{tag}, append(slices.Clone(rg.prefix), rg.lo)); err != nil {
			return nil, nil, err
		}
		if rg.loAfter {
			lo = successor(lo)
		}
	}
	if rg.hi != nil {
		if hi, err = c.encodePrefix([]byte{tag}, append(slices.Clone(rg.prefix), rg.hi)); err != nil {
			return nil, nil, err
		}
		if rg.hiAfter {
			hi = successor(hi)
		}
	}
	return lo, hi, nil
}

// successor is the first key that does not begin with key. Tags end at 0xFE, so there
// always is one.
func successor(key []byte) []byte {
	next := slices.Clone(key)
	for i := len(next) - 1; i >= 0; i-- {
		if next[i] < 0xff {
			next[i]++
			return next[:i+1]
		}
	}
	return []byte{0xff}
}
