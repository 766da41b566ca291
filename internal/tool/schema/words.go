package schema

import (
	"encoding/json"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// maxShown bounds what of a value, a list or a name is repeated to the model, in bytes.
const maxShown = 80

// plainName is a property that needs no quotes in a path.
const plainName = `^[A-Za-z_$][A-Za-z0-9_$-]*$`

// place is the start of a sentence about the value at path.
func place(path string) string {
	if path == "" {
		return "the arguments: "
	}
	return cut(path, maxShown*2) + ": "
}

// join appends a property to a path: a.b, or a["b c"] where the name is odd.
func join(path, name string) string {
	if ok, _ := regexp.MatchString(plainName, name); !ok {
		return path + "[" + quote(name) + "]"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

func expected(path, want string, v *value) string {
	return place(path) + "expected " + cut(want, 2*maxShown) + ", got " + describe(v.plain)
}

// wanted says what a missing property should have been.
func wanted(s *jsonschema.Schema) string {
	if s == nil {
		return ""
	}
	if len(s.Enum) > 0 {
		return " (one of " + cut(quoteList(s.Enum), 2*maxShown) + ")"
	}
	if t := typeOf(s); t != "anything" {
		return " (" + t + ")"
	}
	return ""
}

// known lists the properties that there are.
func known(properties map[string]*jsonschema.Schema) string {
	if len(properties) == 0 {
		return "; there are none"
	}
	return "; the known ones are " + cut(strings.Join(slices.Sorted(maps.Keys(properties)), ", "), 2*maxShown)
}

// describe names a value by its type, and shows it where it is short.
func describe(plain any) string {
	switch p := plain.(type) {
	case string:
		return "the string " + quote(p)
	case float64:
		return "the number " + number(p)
	case bool:
		return strconv.FormatBool(p)
	case nil:
		return "null"
	case []any:
		return "an array of " + strconv.Itoa(len(p)) + " items"
	default:
		return "an object"
	}
}

func quote(plain any) string {
	if s, ok := plain.(string); ok {
		plain = cut(s, maxShown)
	}
	b, err := json.Marshal(plain)
	if err != nil {
		return "?"
	}
	return cut(string(b), maxShown+2)
}

func quoteList(list []any) string {
	words := make([]string, len(list))
	for i, one := range list {
		words[i] = quote(one)
	}
	return strings.Join(words, ", ")
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func jsonType(plain any) string {
	switch p := plain.(type) {
	case string:
		return "string"
	case float64:
		if p == math.Trunc(p) {
			return "integer"
		}
		return "number"
	case bool:
		return "boolean"
	case nil:
		return "null"
	case []any:
		return "array"
	default:
		return "object"
	}
}

// typeOf says what a schema wants, by its type.
func typeOf(s *jsonschema.Schema) string {
	if s.Type != "" {
		return article(s.Type)
	}
	if len(s.Types) > 0 {
		return strings.Join(articles(s.Types), " or ")
	}
	if len(s.Properties) > 0 || len(s.Required) > 0 {
		return "an object"
	}
	return "anything"
}

func articles(types []string) []string {
	words := make([]string, len(types))
	for i, t := range types {
		words[i] = article(t)
	}
	return words
}

func article(jsonType string) string {
	switch jsonType {
	case "null":
		return "null"
	case "integer", "array", "object":
		return "an " + jsonType
	}
	return "a " + jsonType
}
