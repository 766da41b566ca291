package guardrail

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
)

// Tool checks what a request says of a tool that it brings: the description, and the texts in the schema of its parameters, as one.
// It is asked of rules that find places: how long texts are, what schema they fit and what a judge thinks of them is about what is
// said, and not about what tools are like.
func (c *Checks) Tool(ctx context.Context, description string, parameters json.RawMessage) (string, json.RawMessage, Verdict) {
	if !c.Any(Input) {
		return description, parameters, Verdict{}
	}
	var schema any
	dec := json.NewDecoder(bytes.NewReader(parameters))
	dec.UseNumber()
	if err := dec.Decode(&schema); err != nil {
		schema = nil // there is none: whoever reads the tool says what is wrong
	}
	d := &document{parts: worded(schema, []string{description}), whole: lines, beside: true}
	began := slices.Clone(d.parts)
	v := c.check(ctx, Input, c.of, d).firmly()
	if !slices.Equal(d.parts[1:], began[1:]) {
		tree, _ := reworded(schema, d.parts[1:])
		parameters = encoded(tree)
	}
	return d.parts[0], parameters, v
}

// technical reports whether a member of a schema holds no words, but what it is checked by or names go by. A property may have any
// name: it is described by an object.
func technical(name string, v any) bool {
	_, described := v.(map[string]any)
	return !described && slices.Contains([]string{"$schema", "$id", "$ref", "$anchor", "$dynamicRef", "type", "format", "pattern", "required", "contentEncoding", "contentMediaType"}, name)
}

// worded are the texts of a schema, in an order that is always the same: no names, which arguments go by.
func worded(v any, out []string) []string {
	switch v := v.(type) {
	case string:
		return append(out, v)
	case []any:
		for _, e := range v {
			out = worded(e, out)
		}
	case map[string]any:
		for _, name := range sorted(v) {
			if technical(name, v[name]) {
				continue
			}
			out = worded(v[name], out)
		}
	}
	return out
}

// reworded puts texts in the place of those that worded found, and returns those that are left.
func reworded(v any, parts []string) (any, []string) {
	switch v := v.(type) {
	case string:
		return parts[0], parts[1:]
	case []any:
		for i, e := range v {
			v[i], parts = reworded(e, parts)
		}
	case map[string]any:
		for _, name := range sorted(v) {
			if technical(name, v[name]) {
				continue
			}
			v[name], parts = reworded(v[name], parts)
		}
	}
	return v, parts
}
