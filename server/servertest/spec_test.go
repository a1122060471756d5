package servertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

var (
	update  = flag.Bool("update", false, "write testdata/spec.json anew from the standard's files")
	specDir = flag.String("spec", "../../../shared/spec", "folder with the standard's OpenAPI files")
)

// TestSpecCopy holds the copy of the standard's schemas to the standard, where that is
// at hand. With -update it writes the copy.
func TestSpecCopy(t *testing.T) {
	folder := filepath.Join(*specDir, "api", "client-server")
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 && !*update {
		t.Skipf("the standard is not in %s", *specDir)
	}
	c := copier{root: *specDir, files: map[string]any{}, out: Spec{Operations: map[string]*Operation{}, Schemas: map[string]any{}}}
	for _, file := range files {
		if err := c.file(path.Join("api/client-server", filepath.Base(file))); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.out.encode()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/spec.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile("testdata/spec.json")
	if err != nil || !bytes.Equal(have, got) {
		t.Errorf("testdata/spec.json is not what the standard says (%v): go test ./server/servertest -run TestSpecCopy -update", err)
	}
}

// encode writes one operation or schema per line, so that differences can be read.
func (s *Spec) encode() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("{\n\"operations\": {\n")
	if err := encodeLines(&b, s.Operations); err != nil {
		return nil, err
	}
	b.WriteString("},\n\"schemas\": {\n")
	if err := encodeLines(&b, s.Schemas); err != nil {
		return nil, err
	}
	b.WriteString("}\n}\n")
	return b.Bytes(), nil
}

func encodeLines[V any](b *bytes.Buffer, all map[string]V) error {
	for i, key := range sortedKeys(all) {
		line, err := json.Marshal(all[key])
		if err != nil {
			return err
		}
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(b, "%q: %s", key, line)
	}
	b.WriteString("\n")
	return nil
}

// copier reads the standard's OpenAPI files and keeps of them what tests need.
type copier struct {
	root  string
	files map[string]any // by path from the root
	out   Spec
}

func (c *copier) load(file string) (any, error) {
	if v, ok := c.files[file]; ok {
		return v, nil
	}
	raw, err := os.ReadFile(filepath.Join(c.root, filepath.FromSlash(file)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there", file)
	}
	if err != nil {
		return nil, err
	}
	var v any
	if err := yaml.Unmarshal(raw, &v); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	c.files[file] = withStringKeys(v)
	return c.files[file], nil
}

// withStringKeys turns what YAML allows as a key into text, as JSON has it.
func withStringKeys(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			v[key] = withStringKeys(value)
		}
	case map[any]any:
		m := map[string]any{}
		for key, value := range v {
			m[fmt.Sprint(key)] = withStringKeys(value)
		}
		return m
	case []any:
		for i, value := range v {
			v[i] = withStringKeys(value)
		}
	}
	return v
}

// follow goes along references until there is none; file is where the node stands.
func (c *copier) follow(file string, node any) (string, map[string]any, error) {
	for {
		m, ok := node.(map[string]any)
		if !ok {
			return "", nil, fmt.Errorf("%s: %v is not an object", file, node)
		}
		ref, ok := m["$ref"].(string)
		if !ok {
			return file, m, nil
		}
		var err error
		if file, node, err = c.target(file, ref); err != nil {
			return "", nil, err
		}
	}
}

// target finds what a reference names.
func (c *copier) target(file, ref string) (string, any, error) {
	name, pointer, _ := strings.Cut(strings.TrimSpace(ref), "#")
	if name != "" {
		file = path.Join(path.Dir(file), name)
	}
	node, err := c.load(file)
	if err != nil {
		return "", nil, err
	}
	for step := range strings.SplitSeq(strings.Trim(pointer, "/"), "/") {
		if step == "" {
			continue
		}
		m, _ := node.(map[string]any)
		if node = m[step]; node == nil {
			return "", nil, fmt.Errorf("%s: nothing at %s", file, ref)
		}
	}
	return file, node, nil
}

// file copies the operations of one file.
func (c *copier) file(file string) error {
	doc, err := c.load(file)
	if err != nil {
		return err
	}
	base := "/_matrix/client/v3"
	if servers, ok := at(doc, "servers").([]any); ok {
		if path, ok := at(servers[0], "variables", "basePath", "default").(string); ok {
			base = path
		}
	}
	paths, _ := at(doc, "paths").(map[string]any)
	for path, item := range paths {
		for method, op := range item.(map[string]any) {
			if !slices.Contains([]string{"get", "put", "post", "delete"}, method) {
				return fmt.Errorf("%s: %s has %s", file, path, method)
			}
			if err := c.operation(file, strings.ToUpper(method), strings.TrimSuffix(base, "/")+strings.TrimSpace(path), op); err != nil {
				return fmt.Errorf("%s: %s %s: %w", file, method, path, err)
			}
		}
	}
	return nil
}

// at steps into objects; nil where there is no such step.
func at(v any, steps ...string) any {
	for _, step := range steps {
		m, _ := v.(map[string]any)
		v = m[step]
	}
	return v
}

func (c *copier) operation(file, method, path string, node any) error {
	op := &Operation{Method: method, Path: path, Responses: map[string]Answer{}}
	params, _ := at(node, "parameters").([]any)
	for _, p := range params {
		from, p, err := c.follow(file, p)
		if err != nil {
			return err
		}
		schema, err := c.schema(from, p["schema"])
		if err != nil {
			return err
		}
		required, _ := p["required"].(bool)
		op.Parameters = append(op.Parameters, Parameter{Name: p["name"].(string), In: p["in"].(string), Required: required, Schema: schema})
	}
	if body := at(node, "requestBody"); body != nil {
		from, body, err := c.follow(file, body)
		if err != nil {
			return err
		}
		if op.Body, err = c.content(from, body); err != nil {
			return err
		}
	}
	responses, _ := at(node, "responses").(map[string]any)
	for status, response := range responses {
		from, response, err := c.follow(file, response)
		if err != nil {
			return err
		}
		answer, err := c.content(from, response)
		if err != nil {
			return err
		}
		op.Responses[status] = *answer
	}
	c.out.Operations[at(node, "operationId").(string)] = op
	return nil
}

// content copies what a body may be.
func (c *copier) content(file string, node any) (*Answer, error) {
	a := &Answer{}
	kinds, _ := at(node, "content").(map[string]any)
	for kind, media := range kinds {
		a.Types = append(a.Types, kind)
		if kind != jsonType {
			continue
		}
		var err error
		if a.Schema, err = c.schema(file, at(media, "schema")); err != nil {
			return nil, err
		}
	}
	slices.Sort(a.Types)
	return a, nil
}

// The keywords of schemas: copied as they are, holding one schema, a list of schemas or
// named schemas. Others say nothing about what is right.
var (
	plain = []string{"type", "required", "enum", "const", "format", "pattern", "minimum", "maximum", "exclusiveMinimum",
		"minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"}
	one    = []string{"items", "additionalProperties", "not"}
	list   = []string{"allOf", "anyOf", "oneOf"}
	named  = []string{"properties", "patternProperties"}
	silent = []string{"description", "title", "example", "examples", "default", "deprecated", "externalDocs", "$id", "$schema"}
)

// schema copies a schema. What it refers to goes among the named schemas.
func (c *copier) schema(file string, node any) (any, error) {
	in, ok := node.(map[string]any)
	if !ok {
		return node, nil // true, false or none
	}
	out := map[string]any{}
	for key, value := range in {
		var err error
		switch {
		case key == "$ref":
			out[key], err = c.reference(file, value.(string))
		case slices.Contains(plain, key):
			out[key] = value
		case slices.Contains(one, key):
			out[key], err = c.schema(file, value)
		case slices.Contains(list, key):
			var all []any
			for _, one := range value.([]any) {
				var s any
				if s, err = c.schema(file, one); err != nil {
					break
				}
				all = append(all, s)
			}
			out[key] = all
		case slices.Contains(named, key):
			all := map[string]any{}
			for name, one := range value.(map[string]any) {
				if all[name], err = c.schema(file, one); err != nil {
					break
				}
			}
			out[key] = all
		case slices.Contains(silent, key) || strings.HasPrefix(key, "x-"):
		default:
			err = fmt.Errorf("%s: the keyword %s is not known here", file, key)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *copier) reference(file, ref string) (string, error) {
	from, node, err := c.target(file, ref)
	if err != nil {
		return "", err
	}
	_, pointer, _ := strings.Cut(strings.TrimSpace(ref), "#")
	name := strings.NewReplacer("/", ".", "$", ".", ".yaml", "").Replace(strings.TrimPrefix(from, "api/") + pointer)
	if _, ok := c.out.Schemas[name]; !ok {
		c.out.Schemas[name] = nil // a schema may hold itself
		if c.out.Schemas[name], err = c.schema(from, node); err != nil {
			return "", err
		}
	}
	return "#/schemas/" + name, nil
}
