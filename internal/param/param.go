// Package param reads the JSON of a request field by field, and says which field is at fault.
//
// It exists because a wire struct can't tell an omitted field from null, and because the errors of
// encoding/json name Go types where a client needs the path of a field.
//
// Shape: an Object is a path ("agent.tools[0]") and its fields as raw JSON. A getter returns the
// value, whether it is there (absent and null are not), and an error. Of duplicate keys the last
// wins; fields that nobody asks for are ignored, unless Only refuses them.
//
// Errors: stead.KindInvalid with the path of the field as its param.
package param

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
)

// Object is a JSON object of a request and where in the request it stands.
type Object struct {
	path   string // "" for the body itself
	fields map[string]json.RawMessage
}

// Body reads a whole request body, which must be one JSON object. Empty bodies are empty objects.
// A syntax error says line and column.
func Body(b []byte) (Object, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return Object{}, nil
	}
	if err := syntax(b); err != nil {
		return Object{}, err
	}
	if !utf8.Valid(b) { // encoding/json would store something else than was sent
		return Object{}, stead.Invalid("", "the body is not valid UTF-8")
	}
	return Parse("", b)
}

// Parse reads valid JSON that stands at path. It fails where that is no object.
func Parse(path string, raw json.RawMessage) (Object, error) {
	if kind(raw) != "an object" {
		if path == "" {
			return Object{}, stead.Invalid("", "the body must be a JSON object, not %s", kind(raw))
		}
		return Object{}, wrong(path, "an object", raw)
	}
	o := Object{path: path}
	if err := json.Unmarshal(raw, &o.fields); err != nil {
		return Object{}, stead.Invalid(path, "the JSON can't be read: %s", err)
	}
	return o, nil
}

// Path is where the field stands in the request.
func (o Object) Path(name string) string {
	if o.path == "" {
		return name
	}
	return o.path + "." + name
}

// Has reports whether the field is there, null included.
func (o Object) Has(name string) bool { _, ok := o.fields[name]; return ok }

// Null reports whether the field is there and null.
func (o Object) Null(name string) bool { return kind(o.fields[name]) == "null" }

// Raw returns the field's JSON, and whether it is there and not null.
func (o Object) Raw(name string) (json.RawMessage, bool) {
	raw, ok := o.fields[name]
	return raw, ok && kind(raw) != "null"
}

// With is the object with a field set to valid JSON.
func (o Object) With(name string, raw json.RawMessage) Object {
	fields := maps.Clone(o.fields)
	if fields == nil {
		fields = map[string]json.RawMessage{}
	}
	fields[name] = raw
	return Object{path: o.path, fields: fields}
}

// JSON is the object as it is written; its keys are sorted.
func (o Object) JSON() json.RawMessage {
	raw, err := json.Marshal(o.fields)
	if err != nil {
		return json.RawMessage("{}") // cannot be: every field is valid JSON
	}
	return raw
}

// Names lists the fields, in no order.
func (o Object) Names() []string {
	names := make([]string, 0, len(o.fields))
	for n := range o.fields {
		names = append(names, n)
	}
	return names
}

// Only refuses the fields that an object does not have: what they ask for would not happen. Null asks for
// nothing, and is let through. what names the object for people.
func (o Object) Only(what string, fields ...string) error {
	for _, name := range slices.Sorted(maps.Keys(o.fields)) {
		if slices.Contains(fields, name) || o.Null(name) {
			continue
		}
		e := stead.Invalid(o.Path(name), "%.200s is not a field of %s, so it would not happen", o.Path(name), what)
		e.Hint = "Its fields are " + strings.Join(fields, ", ") + "."
		if len(fields) == 0 {
			e.Hint = "It has none."
		}
		return e
	}
	return nil
}

// String reads a string.
func (o Object) String(name string) (string, bool, error) { return get[string](o, name, "a string") }

// Bool reads a boolean.
func (o Object) Bool(name string) (bool, bool, error) { return get[bool](o, name, "a boolean") }

// Strings reads a list of strings.
func (o Object) Strings(name string) ([]string, bool, error) {
	list, ok, err := o.List(name)
	if !ok || err != nil {
		return nil, ok, err
	}
	out := make([]string, len(list))
	for i, raw := range list {
		if out[i], err = value[string](Index(o.Path(name), i), "a string", raw); err != nil {
			return nil, true, err
		}
	}
	return out, true, nil
}

// StringMap reads an object whose values are strings.
func (o Object) StringMap(name string) (map[string]string, bool, error) {
	sub, ok, err := o.Object(name)
	if !ok || err != nil {
		return nil, ok, err
	}
	out := make(map[string]string, len(sub.fields))
	for k, raw := range sub.fields {
		if out[k], err = value[string](sub.Path(k), "a string", raw); err != nil {
			return nil, true, err
		}
	}
	return out, true, nil
}

// Int reads a whole number between lo and hi.
func (o Object) Int(name string, lo, hi int64) (int64, bool, error) {
	raw, ok := o.Raw(name)
	if !ok {
		return 0, false, nil
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(raw)), 10, 64)
	if err != nil || n < lo || n > hi {
		return 0, true, stead.Invalid(o.Path(name), "%s must be a whole number from %d to %d", o.Path(name), lo, hi)
	}
	return n, true, nil
}

// Number reads a number between lo and hi; nil when it is not there.
func (o Object) Number(name string, lo, hi float64) (*float64, error) {
	raw, ok := o.Raw(name)
	if !ok {
		return nil, nil
	}
	var f float64
	if err := json.Unmarshal(raw, &f); err != nil || f < lo || f > hi {
		return nil, stead.Invalid(o.Path(name), "%s must be a number from %g to %g", o.Path(name), lo, hi)
	}
	return &f, nil
}

// Enum reads one of the strings.
func (o Object) Enum(name string, allowed ...string) (string, bool, error) {
	s, ok, err := o.String(name)
	if !ok || err != nil {
		return "", ok, err
	}
	for _, a := range allowed {
		if s == a {
			return s, true, nil
		}
	}
	return "", true, stead.Invalid(o.Path(name), "%s must be one of %s, not %.40q", o.Path(name), quoted(allowed), s)
}

// Object reads an object.
func (o Object) Object(name string) (Object, bool, error) {
	raw, ok := o.Raw(name)
	if !ok {
		return Object{}, false, nil
	}
	sub, err := Parse(o.Path(name), raw)
	return sub, true, err
}

// List reads a list of anything.
func (o Object) List(name string) ([]json.RawMessage, bool, error) {
	return get[[]json.RawMessage](o, name, "a list")
}

// Need turns the absence of a field that was asked for into an error:
//
//	id, err := param.Need(o.String("call_id"))(o.Path("call_id"))
func Need[T any](v T, ok bool, err error) func(path string) (T, error) {
	return func(path string) (T, error) {
		if err == nil && !ok {
			err = stead.Invalid(path, "%s is required", path)
		}
		return v, err
	}
}

// Index is the path of a list's entry.
func Index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func get[T any](o Object, name, want string) (T, bool, error) {
	raw, ok := o.Raw(name)
	if !ok {
		var zero T
		return zero, false, nil
	}
	v, err := value[T](o.Path(name), want, raw)
	return v, true, err
}

func value[T any](path, want string, raw json.RawMessage) (T, error) {
	var v T
	if kind(raw) != want {
		return v, wrong(path, want, raw)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, stead.Invalid(path, "%s can't be read: %s", path, err)
	}
	return v, nil
}

func wrong(path, want string, raw json.RawMessage) error {
	return stead.Invalid(path, "%s must be %s, not %s", path, want, kind(raw))
}

// kind names the type of a JSON value by its first byte; the value is known to be valid.
func kind(raw json.RawMessage) string {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}

// syntax reports where b stops being one JSON value.
func syntax(b []byte) error {
	if json.Valid(b) {
		return nil
	}
	var v json.RawMessage
	err := json.Unmarshal(b, &v)
	at := len(b)
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		at = min(max(int(e.Offset)-1, 0), len(b))
	}
	line := 1 + bytes.Count(b[:at], []byte("\n"))
	column := at - bytes.LastIndexByte(b[:at], '\n')
	return stead.Invalid("", "the body is not valid JSON at line %d, column %d: %s", line, column, reason(err))
}

func reason(err error) string {
	if err == nil {
		return "it can't be read"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(q, ", ")
}
