package kv

import (
	"fmt"
	"reflect"
	"strings"
)

// shownHashBytes is how much of a hash is shown: it tells rows apart and is no use as a
// secret.
const shownHashBytes = 4

// secretParts are names of parts that are never shown: who knows them may act on them.
var secretParts = map[string]bool{"token": true, "pushkey": true, "session": true}

// partTypes are Go types of the kinds of key parts.
var partTypes = map[Part]reflect.Type{
	Text: reflect.TypeFor[string](), Number: reflect.TypeFor[uint64](), Signed: reflect.TypeFor[int64](),
	Small: reflect.TypeFor[uint32](), Flag: reflect.TypeFor[bool](), Hash: reflect.TypeFor[[32]byte](),
}

// describe writes the parts of a key, which may end early, such as room "!a:b", position 5.
func (s *Keyspace) describe(key []byte) string {
	var all []string
	for _, part := range s.Key {
		if len(key) == 0 {
			break
		}
		v := reflect.New(partTypes[part.Kind]).Elem()
		rest, err := readPart(key, part.Kind, v)
		if err != nil {
			all = append(all, fmt.Sprintf("%s %x…", part.Name, key))
			return strings.Join(all, ", ")
		}
		switch {
		case secretParts[part.Name]:
			all = append(all, part.Name+" …")
		case part.Kind == Text:
			all = append(all, fmt.Sprintf("%s %q", part.Name, v.String()))
		case part.Kind == Hash:
			all = append(all, fmt.Sprintf("%s %x…", part.Name, key[:shownHashBytes]))
		default:
			all = append(all, fmt.Sprintf("%s %v", part.Name, v.Interface()))
		}
		key = rest
	}
	if len(key) > 0 {
		all = append(all, fmt.Sprintf("%x…", key))
	}
	return strings.Join(all, ", ")
}
