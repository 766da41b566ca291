package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// Dialects as the library wants them spelled.
const (
	draft7    = "http://json-schema.org/draft-07/schema#"
	draft2020 = "https://json-schema.org/draft/2020-12/schema"
	// baseURI lets a relative $id resolve. Nothing is ever fetched from it.
	baseURI = "https://schema.invalid/"
)

func compile(raw json.RawMessage) (_ *Schema, err error) {
	// The library panics on some schemas that are wrong in ways it does not look for.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the schema is malformed: %v", p)
		}
	}()
	root, err := parse(raw)
	if err != nil {
		return nil, err
	}
	paths, err := index(root)
	if err != nil {
		return nil, err
	}
	for s := range paths.schemas() {
		if err := dropForeignPatterns(s); err != nil {
			return nil, err
		}
	}
	resolved, err := root.Resolve(&jsonschema.ResolveOptions{BaseURI: baseURI, Loader: noLoader})
	if err != nil {
		return nil, err
	}
	c := &Schema{root: root, resolved: resolved, refs: map[*jsonschema.Schema]*jsonschema.Schema{}}
	if err := c.link(paths); err != nil {
		return nil, err
	}
	return c, c.refuseLoops(paths)
}

func parse(raw json.RawMessage) (*jsonschema.Schema, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		raw = []byte("{}")
	}
	if len(raw) > MaxSchemaBytes {
		return nil, fmt.Errorf("it has %d bytes, more than %d", len(raw), MaxSchemaBytes)
	}
	if d := depth(raw); d > MaxSchemaDepth {
		return nil, fmt.Errorf("it is nested %d levels deep, more than %d", d, MaxSchemaDepth)
	}
	if raw[0] != '{' && !bytes.Equal(raw, []byte("true")) && !bytes.Equal(raw, []byte("false")) {
		return nil, errors.New("it is not a JSON object")
	}
	var root jsonschema.Schema
	if err := json.Unmarshal(raw, &root); err != nil {
		return nil, err
	}
	dialect, err := dialect(root.Schema)
	if err != nil {
		return nil, err
	}
	root.Schema = dialect
	return &root, nil
}

// dialect maps the spellings of $schema that tools send to the two that the library validates.
func dialect(uri string) (string, error) {
	name := strings.TrimSuffix(uri, "#")
	name = strings.TrimPrefix(strings.TrimPrefix(name, "https://"), "http://")
	switch name {
	case "", "json-schema.org/draft/2020-12/schema", "json-schema.org/draft/2019-09/schema", "json-schema.org/schema":
		return draft2020, nil
	case "json-schema.org/draft-07/schema", "json-schema.org/draft-06/schema", "json-schema.org/draft-04/schema":
		return draft7, nil
	}
	return "", fmt.Errorf("its $schema %.100q is unknown", uri)
}

func noLoader(uri *url.URL) (*jsonschema.Schema, error) {
	return nil, fmt.Errorf("%.100q is another document, and none is fetched", uri.String())
}

// places maps JSON Pointers and "#anchor" to the schemas of one document.
type places map[string]*jsonschema.Schema

func (p places) schemas() iter.Seq[*jsonschema.Schema] {
	return func(yield func(*jsonschema.Schema) bool) {
		for _, path := range slices.Sorted(maps.Keys(p)) {
			if strings.HasPrefix(path, "#") {
				continue // an anchor; its schema stands under its path too
			}
			if !yield(p[path]) {
				return
			}
		}
	}
}

// index walks the document and refuses what the walks of this package don't follow.
func index(root *jsonschema.Schema) (places, error) {
	found := places{}
	var visit func(s *jsonschema.Schema, path string) error
	visit = func(s *jsonschema.Schema, path string) error {
		if s == nil {
			return fmt.Errorf("%s is null, not a schema", path)
		}
		if s.DynamicRef != "" {
			return fmt.Errorf("%s uses $dynamicRef, which is not supported", path)
		}
		if s.ID != "" && s != root && !strings.HasPrefix(s.ID, "#") {
			return fmt.Errorf("%s has an $id of its own, which is not supported", path)
		}
		found[path] = s
		for _, anchor := range []string{s.Anchor, s.DynamicAnchor, strings.TrimPrefix(s.ID, "#")} {
			if anchor != "" {
				found["#"+anchor] = s
			}
		}
		for name, child := range children(s) {
			if err := visit(child, path+"/"+name); err != nil {
				return err
			}
		}
		return nil
	}
	return found, visit(root, "")
}

// children yields every schema that stands directly in s, with its JSON Pointer from s.
func children(s *jsonschema.Schema) iter.Seq2[string, *jsonschema.Schema] {
	return func(yield func(string, *jsonschema.Schema) bool) {
		for name, child := range single(s) {
			if child != nil && !yield(name, child) {
				return
			}
		}
		for name, list := range lists(s) {
			for i, child := range list {
				if !yield(name+"/"+strconv.Itoa(i), child) {
					return
				}
			}
		}
		for name, m := range named(s) {
			for key, child := range m {
				if !yield(name+"/"+escape(key), child) {
					return
				}
			}
		}
	}
}

func single(s *jsonschema.Schema) map[string]*jsonschema.Schema {
	return map[string]*jsonschema.Schema{
		"items": s.Items, "additionalItems": s.AdditionalItems, "contains": s.Contains,
		"unevaluatedItems": s.UnevaluatedItems, "additionalProperties": s.AdditionalProperties,
		"propertyNames": s.PropertyNames, "unevaluatedProperties": s.UnevaluatedProperties,
		"not": s.Not, "if": s.If, "then": s.Then, "else": s.Else, "contentSchema": s.ContentSchema,
	}
}

func lists(s *jsonschema.Schema) map[string][]*jsonschema.Schema {
	return map[string][]*jsonschema.Schema{
		"prefixItems": s.PrefixItems, "items": s.ItemsArray,
		"allOf": s.AllOf, "anyOf": s.AnyOf, "oneOf": s.OneOf,
	}
}

func named(s *jsonschema.Schema) map[string]map[string]*jsonschema.Schema {
	return map[string]map[string]*jsonschema.Schema{
		"$defs": s.Defs, "definitions": s.Definitions, "dependencies": s.DependencySchemas,
		"properties": s.Properties, "patternProperties": s.PatternProperties,
		"dependentSchemas": s.DependentSchemas,
	}
}

// escape writes a name as a segment of a JSON Pointer (RFC 6901).
func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// dropForeignPatterns removes the patterns that ECMA-262 knows and RE2 does not (lookarounds,
// back references, large repeats), as if they were annotations. Zod's e-mail pattern is one.
func dropForeignPatterns(s *jsonschema.Schema) error {
	foreign, err := isForeign(s.Pattern)
	if err != nil {
		return err
	}
	if foreign {
		s.Pattern = ""
	}
	for pattern := range s.PatternProperties {
		foreign, err := isForeign(pattern)
		if err != nil {
			return err
		}
		if !foreign {
			continue
		}
		delete(s.PatternProperties, pattern)
		// Which properties are additional can't be told any more.
		s.AdditionalProperties, s.UnevaluatedProperties = nil, nil
	}
	return nil
}

func isForeign(pattern string) (bool, error) {
	_, err := regexp.Compile(pattern)
	if err == nil {
		return false, nil
	}
	if e, ok := errors.AsType[*syntax.Error](err); ok {
		switch e.Code {
		case syntax.ErrInvalidPerlOp, syntax.ErrInvalidEscape, syntax.ErrInvalidRepeatSize,
			syntax.ErrInvalidCharRange, syntax.ErrLarge, syntax.ErrInvalidNamedCapture:
			return true, nil
		}
	}
	return false, fmt.Errorf("pattern %.100q: %w", pattern, err)
}

// link finds the target of every $ref. Resolve has already said that each has one.
func (s *Schema) link(p places) error {
	for from := range p.schemas() {
		if from.Ref == "" {
			continue
		}
		document, fragment, _ := strings.Cut(from.Ref, "#")
		if document != "" && document != strings.TrimSuffix(s.root.ID, "#") {
			return fmt.Errorf("$ref %.100q is another document, and none is fetched", from.Ref)
		}
		fragment, err := url.PathUnescape(fragment)
		if err != nil {
			return fmt.Errorf("$ref %.100q: %w", from.Ref, err)
		}
		if fragment != "" && !strings.HasPrefix(fragment, "/") {
			fragment = "#" + fragment
		}
		target, ok := p[fragment]
		if !ok {
			return fmt.Errorf("$ref %.100q leads nowhere", from.Ref)
		}
		s.refs[from] = target
	}
	return nil
}

// inPlace yields the schemas that apply to the same value as s does.
func (s *Schema) inPlace(at *jsonschema.Schema) iter.Seq[*jsonschema.Schema] {
	return func(yield func(*jsonschema.Schema) bool) {
		for _, one := range []*jsonschema.Schema{s.refs[at], at.Not, at.If, at.Then, at.Else} {
			if one != nil && !yield(one) {
				return
			}
		}
		for _, list := range [][]*jsonschema.Schema{at.AllOf, at.AnyOf, at.OneOf} {
			for _, one := range list {
				if !yield(one) {
					return
				}
			}
		}
		for _, m := range []map[string]*jsonschema.Schema{at.DependentSchemas, at.DependencySchemas} {
			for _, one := range m {
				if !yield(one) {
					return
				}
			}
		}
	}
}

// refuseLoops finds schemas that apply to the same value without end; the library would recurse
// until the process dies of it.
func (s *Schema) refuseLoops(p places) error {
	const open, done = 1, 2
	state := map[*jsonschema.Schema]int{}
	var visit func(at *jsonschema.Schema) error
	visit = func(at *jsonschema.Schema) error {
		switch state[at] {
		case open:
			return errors.New("it refers to itself without stepping into the value")
		case done:
			return nil
		}
		state[at] = open
		for next := range s.inPlace(at) {
			if err := visit(next); err != nil {
				return err
			}
		}
		state[at] = done
		return nil
	}
	for at := range p.schemas() {
		if err := visit(at); err != nil {
			return err
		}
	}
	return nil
}
