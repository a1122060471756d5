package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
)

// Part is the kind of one part of a key, as the ledger names it.
type Part uint8

// The kinds of key parts. The bytes of each sort as its values do.
const (
	Text   Part = iota + 1 // string: bytes, 0x00 as 00 FF, ended by 00 01
	Number                 // uint64: 8 bytes, big-endian
	Signed                 // int64: 8 bytes, big-endian, sign flipped
	Small                  // uint32: 4 bytes, big-endian
	Flag                   // bool: 1 byte
	Hash                   // [32]byte: as it is
)

// String is the kind's name as the ledger prints it.
func (p Part) String() string {
	if p < Text || p > Hash {
		return "?"
	}
	return [...]string{"text", "number", "signed", "small", "flag", "hash"}[p-1]
}

var errShortKey = errors.New("the key ends early")

func partOf(t reflect.Type) (Part, bool) {
	switch t.Kind() {
	case reflect.String:
		return Text, true
	case reflect.Uint64:
		return Number, true
	case reflect.Int64:
		return Signed, true
	case reflect.Uint32:
		return Small, true
	case reflect.Bool:
		return Flag, true
	case reflect.Array:
		if t.Len() == 32 && t.Elem().Kind() == reflect.Uint8 {
			return Hash, true
		}
	}
	return 0, false
}

// keyCodec writes and reads the keys of one table.
type keyCodec struct {
	typ    reflect.Type
	single bool // the type is itself a part, not a struct of parts
	parts  []Part
}

func newKeyCodec(t reflect.Type) (keyCodec, error) {
	if p, ok := partOf(t); ok {
		return keyCodec{typ: t, single: true, parts: []Part{p}}, nil
	}
	if t.Kind() != reflect.Struct {
		return keyCodec{}, fmt.Errorf("%s cannot be a key", t)
	}
	c := keyCodec{typ: t}
	for i := range t.NumField() {
		p, ok := partOf(t.Field(i).Type)
		if !ok || !t.Field(i).IsExported() {
			return keyCodec{}, fmt.Errorf("field %s of %s cannot be part of a key", t.Field(i).Name, t)
		}
		c.parts = append(c.parts, p)
	}
	return c, nil
}

func (c keyCodec) encode(dst []byte, v reflect.Value) []byte {
	if c.single {
		return appendPart(dst, c.parts[0], v)
	}
	for i, p := range c.parts {
		dst = appendPart(dst, p, v.Field(i))
	}
	return dst
}

// encodePrefix writes the first parts of a key; each value has to be of its part's kind.
func (c keyCodec) encodePrefix(dst []byte, parts []any) ([]byte, error) {
	if len(parts) > len(c.parts) {
		return nil, fmt.Errorf("%d key parts given for a key of %d", len(parts), len(c.parts))
	}
	for i, part := range parts {
		v := reflect.ValueOf(part)
		if !v.IsValid() {
			return nil, errors.New("nil is no key part")
		}
		if p, ok := partOf(v.Type()); !ok || p != c.parts[i] {
			return nil, fmt.Errorf("key part %d is a %s, want %s", i, v.Type(), c.parts[i])
		}
		dst = appendPart(dst, c.parts[i], v)
	}
	return dst, nil
}

func appendPart(dst []byte, p Part, v reflect.Value) []byte {
	switch p {
	case Text:
		s := v.String()
		for i := range len(s) {
			if s[i] == 0 {
				dst = append(dst, 0, 0xff)
			} else {
				dst = append(dst, s[i])
			}
		}
		return append(dst, 0, 1)
	case Number:
		return binary.BigEndian.AppendUint64(dst, v.Uint())
	case Signed:
		return binary.BigEndian.AppendUint64(dst, uint64(v.Int())^(1<<63))
	case Small:
		return binary.BigEndian.AppendUint32(dst, uint32(v.Uint()))
	case Flag:
		if v.Bool() {
			return append(dst, 1)
		}
		return append(dst, 0)
	default: // Hash
		for i := range v.Len() {
			dst = append(dst, byte(v.Index(i).Uint()))
		}
		return dst
	}
}

// decode fills v, which has the codec's type and can be set.
func (c keyCodec) decode(key []byte, v reflect.Value) error {
	for i, p := range c.parts {
		field := v
		if !c.single {
			field = v.Field(i)
		}
		rest, err := readPart(key, p, field)
		if err != nil {
			return err
		}
		key = rest
	}
	if len(key) != 0 {
		return fmt.Errorf("%d bytes too many in the key", len(key))
	}
	return nil
}

func readPart(key []byte, p Part, v reflect.Value) (rest []byte, err error) {
	size := partSize[p]
	if len(key) < size {
		return nil, errShortKey
	}
	switch p {
	case Text:
		return readText(key, v)
	case Number:
		v.SetUint(binary.BigEndian.Uint64(key))
	case Signed:
		v.SetInt(int64(binary.BigEndian.Uint64(key) ^ (1 << 63)))
	case Small:
		v.SetUint(uint64(binary.BigEndian.Uint32(key)))
	case Flag:
		if key[0] > 1 {
			return nil, errors.New("a flag in the key is neither 0 nor 1")
		}
		v.SetBool(key[0] == 1)
	case Hash:
		reflect.Copy(v, reflect.ValueOf(key[:32]))
	}
	return key[size:], nil
}

func readText(key []byte, v reflect.Value) (rest []byte, err error) {
	text := make([]byte, 0, len(key))
	for i := 0; i < len(key); i++ {
		if key[i] != 0 {
			text = append(text, key[i])
			continue
		}
		if i+1 == len(key) {
			return nil, errShortKey
		}
		switch key[i+1] {
		case 1:
			v.SetString(string(text))
			return key[i+2:], nil
		case 0xff:
			text = append(text, 0)
			i++
		default:
			return nil, errors.New("a zero byte in the key is not escaped")
		}
	}
	return nil, errShortKey
}

// partSize is the length of the parts whose length is fixed, in bytes.
var partSize = [...]int{Text: 0, Number: 8, Signed: 8, Small: 4, Flag: 1, Hash: 32}
