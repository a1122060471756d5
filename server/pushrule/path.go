package pushrule

import "strings"

// splitPath splits a dot-separated property path (spec: appendices, dot-separated property
// paths): a dot or backslash that belongs to a name has a backslash before it, and any
// other backslash stands for itself.
func splitPath(path string) []string {
	var names []string
	var name strings.Builder
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '\\' && i+1 < len(path) && (path[i+1] == '.' || path[i+1] == '\\'):
			i++
			name.WriteByte(path[i])
		case c == '.':
			names = append(names, name.String())
			name.Reset()
		default:
			name.WriteByte(c)
		}
	}
	return append(names, name.String())
}
