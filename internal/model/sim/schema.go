package sim

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxStringRunes = 40   // of the message in a string
	maxNodes       = 2000 // values of one document, before it gets frugal
	maxFrugalDepth = 24   // levels, before it gets frugal
	maxDepth       = 96   // levels, before it gives up with null
)

// document makes a JSON document that is valid against a JSON Schema, always the same one: objects
// with all their properties, strings that quote the message, numbers nearest to 0, first values of
// enums, arrays of minItems or one element. A schema that refers to itself is followed once; below
// that, and past maxNodes or maxFrugalDepth, only what is required is there.
//
// It knows type, const, enum, properties, required, items, prefixItems, minItems,
// length and number bounds, multipleOf, common formats, $ref into the document, allOf, and the
// first branch of anyOf and oneOf. It does not know pattern, not, if, or dependent keywords.
func document(schema json.RawMessage, quoted string) string {
	var root any
	if err := json.Unmarshal(schema, &root); err != nil {
		return "null"
	}
	b := builder{root: root, quoted: quoted, open: map[string]int{}}
	out, err := json.Marshal(b.value(root, 0))
	if err != nil {
		return "null" // cannot be: it holds plain values only
	}
	return string(out)
}

type builder struct {
	root   any
	quoted string
	open   map[string]int // $ref → how many of it we are inside of
	nodes  int
}

func (b *builder) frugal(depth int) bool {
	if depth > maxFrugalDepth || b.nodes > maxNodes {
		return true
	}
	for _, n := range b.open {
		if n > 1 {
			return true
		}
	}
	return false
}

func (b *builder) value(schema any, depth int) any {
	b.nodes++
	s, ok := schema.(map[string]any)
	if !ok || depth > maxDepth {
		return nil // true admits anything, false nothing
	}
	if ref, ok := s["$ref"].(string); ok {
		b.open[ref]++
		defer func() { b.open[ref]-- }()
		target, _ := b.resolve(ref).(map[string]any)
		rest := maps.Clone(s)
		delete(rest, "$ref")
		return b.value(merge(target, rest), depth+1)
	}
	s = b.flatten(s)
	if c, ok := s["const"]; ok {
		return c
	}
	if e, ok := s["enum"].([]any); ok && len(e) > 0 {
		return e[0]
	}
	for _, k := range []string{"anyOf", "oneOf"} {
		if branches, ok := s[k].([]any); ok && len(branches) > 0 {
			return b.branch(s, k, branches, depth)
		}
	}
	switch kind(s, b.frugal(depth)) {
	case "object":
		return b.object(s, depth)
	case "array":
		return b.array(s, depth)
	case "string":
		return b.text(s)
	case "integer":
		return number(s, true)
	case "number":
		return number(s, false)
	case "boolean":
		return false
	}
	return nil
}

// branch takes the first alternative, or null when it must be short.
func (b *builder) branch(s map[string]any, key string, branches []any, depth int) any {
	pick := branches[0]
	for _, c := range branches {
		m, _ := c.(map[string]any)
		if isNull := m["type"] == "null"; isNull == b.frugal(depth) {
			pick = c
			break
		}
	}
	rest := maps.Clone(s)
	delete(rest, key)
	m, _ := pick.(map[string]any)
	return b.value(merge(m, rest), depth+1)
}

// flatten merges the branches of allOf into the schema.
func (b *builder) flatten(s map[string]any) map[string]any {
	for range maxDepth {
		all, ok := s["allOf"].([]any)
		if !ok {
			return s
		}
		s = maps.Clone(s)
		delete(s, "allOf")
		for _, part := range all {
			m, _ := part.(map[string]any)
			if ref, ok := m["$ref"].(string); ok {
				target, _ := b.resolve(ref).(map[string]any)
				rest := maps.Clone(m)
				delete(rest, "$ref")
				m = merge(target, rest)
			}
			s = merge(s, m)
		}
	}
	return s
}

// merge returns base with the keywords of more: properties united, required lists joined.
func merge(base, more map[string]any) map[string]any {
	out := maps.Clone(base)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range more {
		old, had := out[k]
		switch {
		case had && k == "properties":
			a, _ := old.(map[string]any)
			c, _ := v.(map[string]any)
			u := maps.Clone(a)
			if u == nil {
				u = map[string]any{}
			}
			maps.Copy(u, c)
			out[k] = u
		case had && (k == "required" || k == "allOf"):
			a, _ := old.([]any)
			c, _ := v.([]any)
			out[k] = append(slices.Clone(a), c...)
		default:
			out[k] = v
		}
	}
	return out
}

// resolve follows "#", "#/$defs/name" and any other pointer into the document.
func (b *builder) resolve(ref string) any {
	path, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil
	}
	at := b.root
	for _, step := range strings.Split(path, "/")[1:] {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch v := at.(type) {
		case map[string]any:
			at = v[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			at = v[i]
		default:
			return nil
		}
	}
	return at
}

// kind is the type to make: the first that is not null, or what the other keywords suggest.
func kind(s map[string]any, frugal bool) string {
	switch t := s["type"].(type) {
	case string:
		return t
	case []any:
		if frugal && slices.Contains(t, any("null")) {
			return "null"
		}
		for _, k := range t {
			if k, _ := k.(string); k != "null" {
				return k
			}
		}
		return "null"
	}
	for _, guess := range []struct{ keyword, kind string }{
		{"properties", "object"}, {"required", "object"}, {"additionalProperties", "object"},
		{"items", "array"}, {"prefixItems", "array"}, {"minItems", "array"},
		{"minLength", "string"}, {"maxLength", "string"}, {"format", "string"}, {"pattern", "string"},
		{"minimum", "number"}, {"maximum", "number"}, {"multipleOf", "number"},
	} {
		if _, ok := s[guess.keyword]; ok {
			return guess.kind
		}
	}
	return "string"
}

func (b *builder) object(s map[string]any, depth int) any {
	props, _ := s["properties"].(map[string]any)
	required, _ := s["required"].([]any)
	frugal := b.frugal(depth)
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(props)) {
		if props[name] == false || frugal && !slices.Contains(required, any(name)) {
			continue
		}
		out[name] = b.value(props[name], depth+1)
	}
	for _, r := range required {
		name, _ := r.(string)
		if _, ok := out[name]; !ok {
			out[name] = b.value(s["additionalProperties"], depth+1)
		}
	}
	return out
}

func (b *builder) array(s map[string]any, depth int) any {
	prefix, _ := s["prefixItems"].([]any)
	least, given := num(s, "minItems")
	want := max(int(least), len(prefix))
	if !given && want == 0 && !b.frugal(depth) {
		want = 1
	}
	if most, ok := num(s, "maxItems"); ok {
		want = min(want, int(most))
	}
	items, open := s["items"]
	if !open {
		items = map[string]any{}
	}
	if items == false {
		want = min(want, len(prefix))
	}
	out := []any{}
	for i := range min(want, maxNodes) {
		if i < len(prefix) {
			out = append(out, b.value(prefix[i], depth+1))
			continue
		}
		out = append(out, b.value(items, depth+1))
	}
	return out
}

// sample is a valid value of a format that is common, "" for the others.
func sample(format string) string {
	switch format {
	case "date-time":
		return "2000-01-01T00:00:00Z"
	case "date":
		return "2000-01-01"
	case "time":
		return "00:00:00Z"
	case "duration":
		return "PT0S"
	case "email":
		return "sim@example.com"
	case "hostname":
		return "example.com"
	case "ipv4":
		return "192.0.2.1"
	case "ipv6":
		return "2001:db8::1"
	case "uri", "url":
		return "https://example.com/"
	case "uuid":
		return "00000000-0000-4000-8000-000000000000"
	}
	return ""
}

func (b *builder) text(s map[string]any) any {
	format, _ := s["format"].(string)
	if v := sample(format); v != "" {
		return v
	}
	v := b.quoted
	if least, ok := num(s, "minLength"); ok {
		short := min(int(least), MaxResultBytes) - utf8.RuneCountInString(v)
		v += strings.Repeat(".", max(short, 0))
	}
	if most, ok := num(s, "maxLength"); ok {
		if r := []rune(v); len(r) > int(most) {
			v = string(r[:max(int(most), 0)])
		}
	}
	return v
}

// number is the one nearest to 0 that the bounds admit.
func number(s map[string]any, whole bool) any {
	lo, hi := math.Inf(-1), math.Inf(1)
	if v, ok := num(s, "minimum"); ok {
		lo = v
	}
	if v, ok := num(s, "exclusiveMinimum"); ok && v >= lo {
		lo = above(v, whole)
	}
	if v, ok := num(s, "maximum"); ok {
		hi = v
	}
	if v, ok := num(s, "exclusiveMaximum"); ok && v <= hi {
		hi = -above(-v, whole)
	}
	step, stepped := num(s, "multipleOf")
	if !stepped && whole {
		step, stepped = 1, true
	}
	v := math.Min(math.Max(0, lo), hi)
	if stepped && step > 0 {
		if v > 0 {
			v = math.Ceil(v/step) * step
		} else {
			v = math.Floor(v/step) * step
		}
	}
	if v == 0 {
		return 0 // and never -0
	}
	return v
}

// above is a number a little greater than v.
func above(v float64, whole bool) float64 {
	if whole {
		return math.Floor(v) + 1
	}
	if v == math.Trunc(v) {
		return v + 0.5
	}
	return math.Nextafter(v, math.Inf(1))
}

func num(s map[string]any, key string) (float64, bool) {
	v, ok := s[key].(float64)
	return v, ok
}
