// Package responsestest holds what a server of the Responses API says against the published description of Open Responses.
//
// Shape: Description{schemas by name, an event's type → its schema}; Check validates a value, Names and what is streamed.
// It is for tests alone. Source: the Open Responses OpenAPI description (2026-04-24, Apache-2.0), openresponses.org.
package responsestest

import (
	"bytes"
	_ "embed" // the description
	"encoding/json"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

//go:embed openresponses.json
var description []byte

// Description is the published one: what we write must be what any of its clients can read.
type Description struct {
	t      *testing.T
	all    *jsonschema.Resolved
	Events map[string]string // an event's type → its schema's name
}

// Load reads it.
func Load(t *testing.T) *Description {
	t.Helper()
	var d struct {
		Components struct {
			Schemas json.RawMessage `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(description, &d); err != nil {
		t.Fatal(err)
	}
	local := bytes.ReplaceAll(d.Components.Schemas, []byte("#/components/schemas/"), []byte("#/$defs/"))
	var defs map[string]*jsonschema.Schema
	if err := json.Unmarshal(local, &defs); err != nil {
		t.Fatal(err)
	}
	// It says that the schema of a format is null in a response; OpenAI shows it, and so do we.
	defs["JsonSchemaResponseFormat"].Properties["schema"] = &jsonschema.Schema{}
	root := &jsonschema.Schema{Defs: defs, Properties: map[string]*jsonschema.Schema{}}
	o := &Description{t: t, Events: map[string]string{}}
	for name, s := range defs {
		root.Properties[name] = &jsonschema.Schema{Ref: "#/$defs/" + name}
		if kind := s.Properties["type"]; kind != nil && len(kind.Enum) == 1 {
			if text, ok := kind.Enum[0].(string); ok {
				o.Events[text] = name
			}
		}
	}
	var err error
	if o.all, err = root.Resolve(nil); err != nil {
		t.Fatal(err)
	}
	return o
}

// For is the description for another test, which is told instead.
func (o *Description) For(t *testing.T) *Description {
	own := *o
	own.t = t
	return &own
}

// Check holds a value against the schema of a name.
func (o *Description) Check(name string, value any) {
	o.t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		o.t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		o.t.Fatal(err)
	}
	if err := o.all.Validate(map[string]any{name: v}); err != nil {
		o.t.Errorf("%s: %v\n%s", name, err, raw)
	}
}
