// Package wiretest holds what a server says to its own OpenAPI document, in tests.
//
// Shape: a Spec is the document; Transport and Handler put themselves between a client and a server
// and check every request that was accepted, every answer and every server-sent event.
//
// Errors: sentences that name the call, the schema and where the JSON departs from it.
package wiretest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// Spec is an OpenAPI document, ready to check with. It is safe for concurrent use.
type Spec struct {
	paths map[string]map[string]operation // path → method in lower case → operation
	defs  map[string]*jsonschema.Schema
	all   *jsonschema.Resolved // an object with a property for each schema: resolved once for all
}

type operation struct {
	RequestBody *struct {
		Content content `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Content content `json:"content"`
	} `json:"responses"`
}

type content map[string]struct { // media type → schema
	Schema struct {
		Ref string `json:"$ref"`
	} `json:"schema"`
}

const componentRef = "#/components/schemas/"

// Load reads the document as /openapi.json serves it.
func Load(doc []byte) (*Spec, error) {
	var d struct {
		OpenAPI    string                          `json:"openapi"`
		Paths      map[string]map[string]operation `json:"paths"`
		Components struct {
			Schemas json.RawMessage `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(doc, &d); err != nil {
		return nil, fmt.Errorf("read OpenAPI document: %w", err)
	}
	if d.OpenAPI != "3.1.0" || len(d.Paths) == 0 {
		return nil, fmt.Errorf("read OpenAPI document: version %q with %d paths", d.OpenAPI, len(d.Paths))
	}
	s := &Spec{paths: d.Paths}
	// In the document a schema is a component; for a JSON Schema validator it is a definition.
	local := bytes.ReplaceAll(d.Components.Schemas, []byte(componentRef), []byte("#/$defs/"))
	if err := json.Unmarshal(local, &s.defs); err != nil {
		return nil, fmt.Errorf("read schemas: %w", err)
	}
	root := &jsonschema.Schema{Defs: s.defs, Properties: map[string]*jsonschema.Schema{}}
	for name := range s.defs {
		root.Properties[name] = &jsonschema.Schema{Ref: "#/$defs/" + name}
	}
	var err error
	if s.all, err = root.Resolve(nil); err != nil {
		return nil, fmt.Errorf("resolve schemas: %w", err)
	}
	return s, s.checkRefs()
}

// checkRefs makes sure that every operation names schemas that exist.
func (s *Spec) checkRefs() error {
	check := func(c content) error {
		for _, m := range c {
			if name := strings.TrimPrefix(m.Schema.Ref, componentRef); s.defs[name] == nil {
				return fmt.Errorf("the document names a schema %q that it does not have", name)
			}
		}
		return nil
	}
	for _, methods := range s.paths {
		for _, op := range methods {
			if op.RequestBody != nil {
				if err := check(op.RequestBody.Content); err != nil {
					return err
				}
			}
			for _, r := range op.Responses {
				if err := check(r.Content); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Value checks JSON against a named schema.
func (s *Spec) Value(name string, b []byte) error {
	if s.defs[name] == nil {
		return fmt.Errorf("the document has no schema %q", name)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := s.all.Validate(map[string]any{name: v}); err != nil {
		return fmt.Errorf("%s: %w\n%.2000s", name, err, b)
	}
	return nil
}

// Event checks the data of one server-sent event against the schema of its type.
func (s *Spec) Event(data []byte) error {
	var head struct {
		Type   string          `json:"type"`
		Object string          `json:"object"` // of what has no type
		Error  json.RawMessage `json:"error"`
	}
	if string(data) == "[DONE]" { // how a chat completion ends
		return nil
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return fmt.Errorf("event: %w: %.200s", err, data)
	}
	switch {
	case head.Type != "":
		return s.Value(head.Type, data)
	case head.Error != nil:
		return s.Value("Error", data)
	}
	return s.Value(head.Object, data)
}

// Request checks a body that the server accepted.
func (s *Spec) Request(method, path string, body []byte) error {
	op, pattern, ok := s.find(method, path)
	if !ok || op.RequestBody == nil || len(body) == 0 {
		return nil
	}
	name, ok := name(op.RequestBody.Content, "application/json")
	if !ok {
		return nil
	}
	if err := s.Value(name, body); err != nil {
		return fmt.Errorf("%s %s: accepted a request that the document does not allow: %w", method, pattern, err)
	}
	return nil
}

// Response checks an answer that is no event stream.
func (s *Spec) Response(method, path string, status int, media string, body []byte) error {
	media, _, _ = strings.Cut(media, ";")
	if status >= 400 {
		if method == "HEAD" {
			return nil
		}
		kind := "Error"
		if op, _, ok := s.find(method, path); ok {
			if _, page := name(op.Responses["default"].Content, media); page && media != "application/json" {
				return nil // for people
			}
			if own, ok := name(op.Responses["default"].Content, "application/json"); ok {
				kind = own
			}
		}
		if err := s.Value(kind, body); err != nil {
			return fmt.Errorf("%s %s: status %d: %w", method, path, status, err)
		}
		return nil
	}
	op, pattern, ok := s.find(method, path)
	if !ok {
		return fmt.Errorf("%s %s: status %d from a call that the document does not have", method, path, status)
	}
	r, ok := op.Responses[fmt.Sprint(status)]
	if !ok {
		return fmt.Errorf("%s %s: the document has no status %d", method, pattern, status)
	}
	if len(r.Content) == 0 {
		if len(body) > 0 {
			return fmt.Errorf("%s %s: a body where the document has none: %.200s", method, pattern, body)
		}
		return nil
	}
	name, ok := name(r.Content, media)
	if !ok {
		return fmt.Errorf("%s %s: the document has no answer of type %q", method, pattern, media)
	}
	if media != "application/json" {
		return nil
	}
	if err := s.Value(name, body); err != nil {
		return fmt.Errorf("%s %s: %w", method, pattern, err)
	}
	return nil
}

func name(c content, media string) (string, bool) {
	m, ok := c[media]
	return strings.TrimPrefix(m.Schema.Ref, componentRef), ok
}

// find looks a call up; literal segments win over parameters.
func (s *Spec) find(method, path string) (operation, string, bool) {
	path, _, _ = strings.Cut(path, "?")
	best, found := "", false
	for pattern, methods := range s.paths {
		if _, ok := methods[strings.ToLower(method)]; !ok || !fits(pattern, path) {
			continue
		}
		if !found || strings.Count(pattern, "{") < strings.Count(best, "{") {
			best, found = pattern, true
		}
	}
	return s.paths[best][strings.ToLower(method)], best, found
}

func fits(pattern, path string) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if strings.HasPrefix(pattern, "/v1/models/") && len(have) > len(want) {
		have = have[:len(want)] // the one id that may hold a slash
	}
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if want[i] != have[i] && !strings.HasPrefix(want[i], "{") {
			return false
		}
	}
	return true
}
