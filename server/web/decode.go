package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"porchlight/server/matrix"
)

// bodyTimeout is how long a client may take to send a JSON body.
const bodyTimeout = 30 * time.Second

// plan is how an input type is filled. The tags of its fields say from where:
//
//	path:"roomId"          a parameter of the path; always there
//	query:"limit"          a query parameter; zero or nil if it is not given
//	query:"from,required"  M_MISSING_PARAM if it is not given
//	json:"room_version"    a field of the body; null counts as absent, and absent is
//	                       M_MISSING_PARAM with `required:"true"`, else zero or nil
//	body:"raw"             json.RawMessage: the whole body, checked, an object
//	body:"stream"          io.Reader: the body as it comes, bounded
//
// Path and query take string kinds, whole numbers, bools, pointers to these, and in a
// query slices of these. Identifiers of package matrix are parsed wherever they stand.
// Embedded structs count as their fields.
type plan struct {
	path   []textField
	query  []textField
	raw    []int // index of the field, nil if there is none
	stream []int
	object *jsonObject // nil if there are no fields from the body
}

type textField struct {
	index    []int
	name     string
	place    int // of a path parameter
	required bool
	list     bool
	set      textSetter
}

type textSetter func(v reflect.Value, s string) error

// newPlan reads the tags of an input type.
func newPlan(t reflect.Type, params []string, method string) (*plan, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("the input type %s is not a struct", t)
	}
	p := &plan{}
	for _, f := range reflect.VisibleFields(t) {
		if err := p.add(f, params); err != nil {
			return nil, fmt.Errorf("field %s of %s: %w", f.Name, t, err)
		}
	}
	var err error
	if p.object, err = newJSONBuilder().object(t, true); err != nil {
		return nil, err
	}
	if len(p.object.fields) == 0 {
		p.object = nil
	}
	if p.takesBody() && (method == http.MethodGet || method == http.MethodHead) {
		return nil, fmt.Errorf("%s takes fields from a body, %s has none", t, method)
	}
	return p, nil
}

func (p *plan) takesBody() bool { return p.raw != nil || p.object != nil }

func (p *plan) add(f reflect.StructField, params []string) error {
	path, isPath := f.Tag.Lookup("path")
	query, isQuery := f.Tag.Lookup("query")
	body, isBody := f.Tag.Lookup("body")
	_, isJSON := f.Tag.Lookup("json")
	switch {
	case f.Anonymous && f.Type.Kind() == reflect.Struct:
		return nil
	case !f.IsExported():
		return errors.New("it is not exported")
	case isPath:
		place := slices.Index(params, path)
		set, ok := newTextSetter(f.Type)
		if place < 0 || !ok {
			return fmt.Errorf("the path has no parameter %q, or %s cannot hold one", path, f.Type)
		}
		p.path = append(p.path, textField{index: f.Index, name: path, place: place, set: set})
	case isQuery:
		return p.addQuery(f, query)
	case isBody && body == "raw" && f.Type == reflect.TypeFor[json.RawMessage]():
		p.raw = f.Index
	case isBody && body == "stream" && f.Type == reflect.TypeFor[io.Reader]():
		p.stream = f.Index
	case !isJSON:
		return errors.New("no tag says where it comes from")
	}
	return nil
}

func (p *plan) addQuery(f reflect.StructField, tag string) error {
	name, option, _ := strings.Cut(tag, ",")
	field := textField{index: f.Index, name: name, required: option == "required"}
	t := f.Type
	if field.list = t.Kind() == reflect.Slice; field.list {
		t = t.Elem()
	}
	var ok bool
	if field.set, ok = newTextSetter(t); !ok || (option != "" && !field.required) {
		return fmt.Errorf("%s cannot hold the query parameter %q", f.Type, tag)
	}
	p.query = append(p.query, field)
	return nil
}

// newTextSetter makes the parser of one value, if the type is one that text can fill.
func newTextSetter(t reflect.Type) (textSetter, bool) {
	if parse, ok := idParsers[t]; ok {
		return func(v reflect.Value, s string) error {
			v.SetString(s)
			return parse(s)
		}, true
	}
	switch t.Kind() {
	case reflect.Pointer:
		set, ok := newTextSetter(t.Elem())
		return func(v reflect.Value, s string) error {
			v.Set(reflect.New(t.Elem()))
			return set(v.Elem(), s)
		}, ok && t.Elem().Kind() != reflect.Pointer
	case reflect.String:
		return func(v reflect.Value, s string) error { v.SetString(s); return nil }, true
	case reflect.Bool:
		return setBool, true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return setInt, true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return setUint, true
	}
	return nil, false
}

func setBool(v reflect.Value, s string) error {
	if s != "true" && s != "false" {
		return matrix.InvalidParam("it has to be true or false.")
	}
	v.SetBool(s == "true")
	return nil
}

func setInt(v reflect.Value, s string) error {
	n, err := strconv.ParseInt(s, 10, v.Type().Bits())
	if err != nil {
		return matrix.InvalidParam("it has to be a whole number within range.")
	}
	v.SetInt(n)
	return nil
}

func setUint(v reflect.Value, s string) error {
	n, err := strconv.ParseUint(s, 10, v.Type().Bits())
	if err != nil {
		return matrix.InvalidParam("it has to be a whole number within range and not negative.")
	}
	v.SetUint(n)
	return nil
}

// decode fills a pointer to the handler's input.
func (x *exchange) decode(in any) error {
	p, v := x.op.plan, reflect.ValueOf(in).Elem()
	for _, f := range p.path {
		// Only the last parameter of an EmptyLast route can be empty.
		if err := f.set(v.FieldByIndex(f.index), x.path[f.place]); err != nil {
			return f.invalid("path", err)
		}
	}
	for _, f := range p.query {
		if err := f.fromQuery(v.FieldByIndex(f.index), x.query[f.name]); err != nil {
			return err
		}
	}
	if p.stream != nil {
		v.FieldByIndex(p.stream).Set(reflect.ValueOf(x.bodyReader()))
	}
	if !p.takesBody() {
		return nil
	}
	body, err := x.readBody()
	if err != nil {
		return err
	}
	if p.raw != nil {
		v.FieldByIndex(p.raw).SetBytes(body)
	}
	if p.object == nil {
		return nil
	}
	return p.object.decode(body, v, "")
}

func (f *textField) fromQuery(v reflect.Value, values []string) error {
	if len(values) == 0 {
		if f.required {
			return matrix.MissingParam("The query parameter " + f.name + " is missing.")
		}
		return nil
	}
	if !f.list {
		values = values[:1]
	}
	for i, s := range values {
		at := v
		if f.list {
			if i == 0 {
				v.Set(reflect.MakeSlice(v.Type(), len(values), len(values)))
			}
			at = v.Index(i)
		}
		if err := f.set(at, s); err != nil {
			return f.invalid("query", err)
		}
	}
	return nil
}

// invalid names the parameter that is wrong.
func (f *textField) invalid(where string, err error) error {
	return matrix.InvalidParam("The " + where + " parameter " + f.name + " is not valid: " + sentence(err))
}

func sentence(err error) string {
	var e *matrix.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

// bodyReader is the body with the route's bound on it.
func (x *exchange) bodyReader() io.Reader {
	limit := x.op.route.MaxBody
	if limit == 0 {
		limit = x.server.maxBody
	}
	if limit < 0 {
		return x.call.R.Body
	}
	return http.MaxBytesReader(x.w.ResponseWriter, x.call.R.Body, limit)
}

// firstRead is how much room a body of unknown length gets at first, in bytes.
const firstRead = 4 << 10

// longAgo, as a deadline, ends a read or a write at once.
var longAgo = time.Unix(1, 0)

// readAll reads a body, which is charged to the budget as it grows, so that what was
// announced and has not come takes nothing from others.
func (x *exchange) readAll(r io.Reader) ([]byte, error) {
	announced := x.call.R.ContentLength
	var body []byte
	for {
		if len(body) == cap(body) {
			size := max(firstRead, 2*cap(body))
			if announced >= int64(len(body)) {
				size = min(size, int(announced)+1) // one more, to see the end
			}
			if err := x.body.grow(x.call.Ctx, int64(size-cap(body))); err != nil {
				return nil, err
			}
			body = append(make([]byte, 0, size), body...)
		}
		n, err := r.Read(body[len(body):cap(body)])
		x.body.progress(n)
		body = body[:len(body)+n]
		switch {
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, err
		}
	}
}

// readBody reads a JSON object. An empty body counts as {}, since clients send it for
// operations without parameters; but not where the body itself is the content.
func (x *exchange) readBody() ([]byte, error) {
	rc := http.NewResponseController(x.w.ResponseWriter)
	// The deadline is the network's, so it goes by the real clock. Where there is no
	// connection to put it on, there is nobody to be slow either.
	timed := rc.SetReadDeadline(time.Now().Add(bodyTimeout)) == nil
	x.body = x.server.bodies.hold(x.client(), func() { _ = rc.SetReadDeadline(longAgo) })
	body, err := x.readAll(x.bodyReader())
	x.body.settle()
	if err != nil {
		x.body.release() // what has come is dropped
	}
	if timed && err == nil {
		_ = rc.SetReadDeadline(time.Time{}) // the handler may take its time
	}
	var refused *matrix.Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, err
	case errors.As(err, &refused):
		x.w.Header().Set("Connection", "close")
		return nil, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.w.Header().Set("Connection", "close") // else net/http waits for the rest
		return nil, matrix.Unknown(http.StatusRequestTimeout, "The request body took too long to arrive.")
	case err != nil:
		return nil, matrix.NotJSON("The request body ended early.")
	case len(body) == 0 && x.op.plan.raw == nil:
		return []byte("{}"), nil
	}
	if err := matrix.CheckJSON(body); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return nil, matrix.BadJSON("The request body has to be a JSON object.")
	}
	return body, nil
}
