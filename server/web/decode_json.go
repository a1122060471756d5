package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"porchlight/server/matrix"
)

// idParsers check the identifiers, wherever they stand in a request.
var idParsers = map[reflect.Type]func(string) error{
	reflect.TypeFor[matrix.UserID]():     parser(matrix.ParseUserID),
	reflect.TypeFor[matrix.RoomID]():     parser(matrix.ParseRoomID),
	reflect.TypeFor[matrix.EventID]():    parser(matrix.ParseEventID),
	reflect.TypeFor[matrix.RoomAlias]():  parser(matrix.ParseRoomAlias),
	reflect.TypeFor[matrix.DeviceID]():   parser(matrix.ParseDeviceID),
	reflect.TypeFor[matrix.ServerName](): parser(matrix.ParseServerName),
}

func parser[T ~string](parse func(string) (T, error)) func(string) error {
	return func(s string) error { _, err := parse(s); return err }
}

// jsonDecoder fills v from JSON that matrix.CheckJSON has passed. at is where in the
// body it stands, for the error: "auth.session".
//
// This is done here rather than by encoding/json alone because that matches the names
// of fields without regard to case, and cannot name what is wrong in a sentence.
type jsonDecoder func(raw []byte, v reflect.Value, at string) error

// jsonObject is a struct whose fields are taken from an object.
type jsonObject struct{ fields []jsonField }

type jsonField struct {
	index    []int
	name     string
	required bool
	decode   jsonDecoder
}

// jsonBuilder makes decoders; seen breaks the circle of types that hold themselves.
type jsonBuilder struct{ seen map[reflect.Type]*jsonObject }

func newJSONBuilder() *jsonBuilder {
	return &jsonBuilder{seen: map[reflect.Type]*jsonObject{}}
}

// object reads the json tags of a struct. At the top, fields from elsewhere are left
// out.
func (b *jsonBuilder) object(t reflect.Type, top bool) (*jsonObject, error) {
	if o, ok := b.seen[t]; ok {
		return o, nil
	}
	o := &jsonObject{}
	b.seen[t] = o
	for _, f := range reflect.VisibleFields(t) {
		tag, tagged := f.Tag.Lookup("json")
		name, _, _ := strings.Cut(tag, ",")
		switch {
		case f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct, name == "-", !f.IsExported():
			continue
		case name == "" && top:
			continue
		case name == "":
			return nil, fmt.Errorf("field %s of %s has no json tag", f.Name, t)
		}
		decode, err := b.decoder(f.Type)
		if err != nil {
			return nil, fmt.Errorf("field %s of %s: %w", f.Name, t, err)
		}
		o.fields = append(o.fields, jsonField{
			index: f.Index, name: name, decode: decode,
			required: f.Tag.Get("required") == "true",
		})
	}
	return o, nil
}

func (b *jsonBuilder) decoder(t reflect.Type) (jsonDecoder, error) {
	if parse, ok := idParsers[t]; ok {
		return decodeID(parse), nil
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return decodeLeaf("of another form"), nil
	}
	switch t.Kind() {
	case reflect.Struct:
		o, err := b.object(t, false)
		return func(raw []byte, v reflect.Value, at string) error { return o.decode(raw, v, at) }, err
	case reflect.Pointer:
		inner, err := b.decoder(t.Elem())
		return func(raw []byte, v reflect.Value, at string) error {
			v.Set(reflect.New(t.Elem()))
			return inner(raw, v.Elem(), at)
		}, err
	case reflect.Slice:
		inner, err := b.decoder(t.Elem())
		return decodeSlice(t, inner), err
	case reflect.Map:
		inner, err := b.decoder(t.Elem())
		if t.Key().Kind() != reflect.String {
			return nil, fmt.Errorf("%s has keys that are no strings", t)
		}
		return decodeMap(t, inner), err
	case reflect.String:
		return decodeLeaf("a string"), nil
	case reflect.Bool:
		return decodeLeaf("true or false"), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return decodeLeaf("a whole number within range"), nil
	case reflect.Float32, reflect.Float64:
		return decodeLeaf("a number"), nil
	case reflect.Interface:
		return decodeLeaf("of another form"), nil
	}
	return nil, fmt.Errorf("%s cannot be read from JSON", t)
}

func (o *jsonObject) decode(raw []byte, v reflect.Value, at string) error {
	object, err := matrix.ParseObject(raw)
	if err != nil {
		return wrongKind(at, "an object")
	}
	for i := range o.fields {
		f := &o.fields[i]
		value, ok := object[f.name]
		if !ok || isNull(value) { // clients send null for what they leave out
			if f.required {
				return matrix.MissingParam("The field " + join(at, f.name) + " is missing.")
			}
			continue
		}
		if err := f.decode(value, v.FieldByIndex(f.index), join(at, f.name)); err != nil {
			return err
		}
	}
	return nil
}

func decodeID(parse func(string) error) jsonDecoder {
	leaf := decodeLeaf("a string")
	return func(raw []byte, v reflect.Value, at string) error {
		if err := leaf(raw, v, at); err != nil {
			return err
		}
		if err := parse(v.String()); err != nil {
			return matrix.InvalidParam("The field " + at + " is not valid: " + sentence(err))
		}
		return nil
	}
}

// decodeLeaf leaves the value to encoding/json; want describes what it should be.
func decodeLeaf(want string) jsonDecoder {
	return func(raw []byte, v reflect.Value, at string) error {
		if isNull(raw) && v.Kind() != reflect.Interface && v.Kind() != reflect.Slice {
			return wrongKind(at, want)
		}
		if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
			return wrongKind(at, want)
		}
		return nil
	}
}

func decodeSlice(t reflect.Type, inner jsonDecoder) jsonDecoder {
	return func(raw []byte, v reflect.Value, at string) error {
		var all []json.RawMessage
		if err := json.Unmarshal(raw, &all); err != nil || all == nil {
			return wrongKind(at, "an array")
		}
		s := reflect.MakeSlice(t, len(all), len(all))
		for i, one := range all {
			if err := inner(one, s.Index(i), join(at, strconv.Itoa(i))); err != nil {
				return err
			}
		}
		v.Set(s)
		return nil
	}
}

func decodeMap(t reflect.Type, inner jsonDecoder) jsonDecoder {
	parse := idParsers[t.Key()]
	return func(raw []byte, v reflect.Value, at string) error {
		all, err := matrix.ParseObject(raw)
		if err != nil {
			return wrongKind(at, "an object")
		}
		m := reflect.MakeMapWithSize(t, len(all))
		for key, one := range all {
			if parse != nil {
				if err := parse(key); err != nil {
					return matrix.InvalidParam("A key of the field " + at + " is not valid: " + sentence(err))
				}
			}
			value := reflect.New(t.Elem()).Elem()
			if err := inner(one, value, join(at, key)); err != nil {
				return err
			}
			m.SetMapIndex(reflect.ValueOf(key).Convert(t.Key()), value)
		}
		v.Set(m)
		return nil
	}
}

func isNull(raw []byte) bool { return bytes.Equal(bytes.TrimSpace(raw), []byte("null")) }

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

func wrongKind(at, want string) error {
	if at == "" {
		return matrix.BadJSON("The request body has to be " + want + ".")
	}
	return matrix.BadJSON("The field " + at + " has to be " + want + ".")
}
