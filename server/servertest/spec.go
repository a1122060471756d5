package servertest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"porchlight/server/matrix"
)

// specJSON is copied from the OpenAPI files of the Matrix specification (Apache-2.0,
// The Matrix.org Foundation C.I.C.) by TestSpecCopy.
//
//go:embed testdata/spec.json
var specJSON []byte

// jsonType is the content type of JSON.
const jsonType = "application/json"

// Spec is what the client-server API says of its operations, as far as tests ask.
type Spec struct {
	Operations map[string]*Operation `json:"operations"` // by operationId
	Schemas    map[string]any        `json:"schemas"`    // what "$ref":"#/schemas/…" names

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	compiled map[string]*jsonschema.Schema
}

// Operation is one operation of the standard.
type Operation struct {
	Method     string            `json:"method"`
	Path       string            `json:"path"`
	Parameters []Parameter       `json:"parameters,omitempty"`
	Body       *Answer           `json:"body,omitempty"`
	Responses  map[string]Answer `json:"responses"` // by status
}

// Parameter is a parameter of a path, a query or a header.
type Parameter struct {
	Name     string `json:"name"`
	In       string `json:"in"`
	Required bool   `json:"required,omitempty"`
	Schema   any    `json:"schema"`
}

// Answer is what a body may be: content types, and the schema where one of them is
// JSON.
type Answer struct {
	Types  []string `json:"types,omitempty"`
	Schema any      `json:"schema,omitempty"`
}

// JSON says whether the body is JSON.
func (a Answer) JSON() bool { return slices.Contains(a.Types, jsonType) }

// specOnce reads the copy when it is first asked for.
var specOnce = sync.OnceValues(func() (*Spec, error) {
	s := &Spec{compiled: map[string]*jsonschema.Schema{}}
	if err := json.Unmarshal(specJSON, s); err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(specJSON))
	if err != nil {
		return nil, err
	}
	s.compiler = jsonschema.NewCompiler()
	s.compiler.AssertFormat()
	for _, f := range formats {
		s.compiler.RegisterFormat(f)
	}
	return s, s.compiler.AddResource(specURL, doc)
})

const specURL = "spec.json"

// TheSpec is the copy of the standard.
func TheSpec() (*Spec, error) { return specOnce() }

// Deref follows the references of a schema.
func (s *Spec) Deref(schema any) map[string]any {
	for {
		m, _ := schema.(map[string]any)
		ref, ok := m["$ref"].(string)
		if !ok {
			return m
		}
		schema = s.Schemas[strings.TrimPrefix(ref, "#/schemas/")]
	}
}

// validate holds JSON to the schema at a place of the copy, as "#/schemas/x".
func (s *Spec) validate(place string, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	schema, ok := s.compiled[place]
	if !ok {
		var err error
		if schema, err = s.compiler.Compile(specURL + place); err != nil {
			return err
		}
		s.compiled[place] = schema
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

// formats are those that the standard adds to JSON Schema's own.
var formats = []*jsonschema.Format{
	idFormat("mx-user-id", matrix.ParseUserID),
	idFormat("mx-room-id", matrix.ParseRoomID),
	idFormat("mx-event-id", matrix.ParseEventID),
	idFormat("mx-room-alias", matrix.ParseRoomAlias),
	idFormat("mx-server-name", matrix.ParseServerName),
	{Name: "mx-mxc-uri", Validate: ofString(func(s string) error {
		server, media, ok := strings.Cut(strings.TrimPrefix(s, "mxc://"), "/")
		if !ok || server == "" || media == "" || !strings.HasPrefix(s, "mxc://") {
			return fmt.Errorf("%q is not an mxc:// URI", s)
		}
		return nil
	})},
	{Name: "mx-unpadded-base64", Validate: ofString(base64Of("+/"))},
	{Name: "mx-urlsafe-unpadded-base64", Validate: ofString(base64Of("-_"))},
	{Name: "int64", Validate: func(v any) error {
		if n, ok := v.(json.Number); ok {
			if _, err := n.Int64(); err != nil {
				return fmt.Errorf("%s does not fit 64 bits", n)
			}
		}
		return nil
	}},
}

func idFormat[T ~string](name string, parse func(string) (T, error)) *jsonschema.Format {
	return &jsonschema.Format{Name: name, Validate: ofString(func(s string) error { _, err := parse(s); return err })}
}

// ofString leaves to the schema's type what is no string.
func ofString(check func(string) error) func(any) error {
	return func(v any) error {
		if s, ok := v.(string); ok {
			return check(s)
		}
		return nil
	}
}

func base64Of(last string) func(string) error {
	return func(s string) error {
		isBase64 := func(r rune) bool {
			return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(last, r)
		}
		if strings.TrimFunc(s, isBase64) != "" {
			return fmt.Errorf("%q is not unpadded base64", s)
		}
		return nil
	}
}
