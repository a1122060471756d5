package syncv2

import (
	"encoding/json"
	"strings"

	"porchlight/server/matrix"
)

// fieldPaths are the event_fields of a filter, each taken apart at its dots
// (spec: appendices, dot-separated property paths).
type fieldPaths [][]string

func parseFieldPaths(fields []string) fieldPaths {
	var paths fieldPaths
	for _, f := range fields {
		paths = append(paths, splitPath(f))
	}
	return paths
}

// splitPath takes a path apart; a backslash takes away the meaning of a dot or backslash
// behind it.
func splitPath(s string) []string {
	var parts []string
	var part strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '.' || s[i+1] == '\\'):
			i++
			part.WriteByte(s[i])
		case s[i] == '.':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(s[i])
		}
	}
	return append(parts, part.String())
}

// cut reduces an event to the fields asked for.
func (paths fieldPaths) cut(event any) (any, error) {
	raw, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	whole, err := matrix.ParseObject(raw)
	if err != nil {
		return nil, err
	}
	kept := matrix.Object{}
	for _, path := range paths {
		copyPath(kept, whole, path)
	}
	return kept, nil
}

// copyPath copies one field, and the objects that it lies in, as far as they are there.
func copyPath(to, from matrix.Object, path []string) {
	name := path[0]
	value, ok := from[name]
	if !ok {
		return
	}
	if len(path) == 1 {
		to[name] = value
		return
	}
	inner, ok := from.Object(name)
	if !ok {
		return
	}
	kept, ok := to.Object(name)
	if !ok {
		kept = matrix.Object{}
	}
	copyPath(kept, inner, path[1:])
	to[name] = kept.Encode()
}
