// Package schema checks a model's arguments against the JSON Schema of a tool, and says what is
// wrong in words that a model can mend its call with.
//
// Shape:
//
//	Compile(schema) ─▶ Schema ─ Check(arguments) ─▶ nil, or "…do not fit: - items[2].size: expected an integer, got the string "big""
//
// The verdict is that of github.com/google/jsonschema-go (2020-12 and draft-07). It has no budget
// and recurses without bound, and its sentences name places in the schema, not in the arguments.
// So two walks of our own stand around it: one before, which counts the work that the verdict can
// cost and refuses what is too much, and one after a "no", which finds what to tell the model.
//
// Not asserted: "format" (the library does not), and a "pattern" that Go's regular expressions
// lack, such as a lookahead; the tool itself still checks those. Refused when compiled: references
// to other documents, which are never fetched, a nested $id, $dynamicRef, and a schema that refers
// to itself without stepping into the value.
//
// Units and limits: bytes, levels of nesting, and units of work (see MaxWork).
//
// Errors: KindInvalid, with Param "parameters" from Compile and "arguments" from Check.
//
// Source: JSON Schema 2020-12 and draft-07, core and validation.
package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/stead-dev/stead"
)

// Limits of a schema and of a check.
const (
	// MaxSchemaBytes is the largest schema of one tool.
	MaxSchemaBytes = 512 << 10
	// MaxSchemaDepth is the deepest nesting of a schema's JSON.
	MaxSchemaDepth = 128
	// MaxArgumentsBytes is the largest arguments of one call.
	MaxArgumentsBytes = 8 << 20
	// MaxArgumentsDepth is the deepest nesting of the arguments' JSON.
	MaxArgumentsDepth = 128
	// MaxWork is the most units one check may cost. A unit is one schema applied to one value, and
	// bytesPerUnit bytes of that value once more.
	MaxWork = 1 << 20
	// MaxProblems is the most problems that one answer names.
	MaxProblems = 8
	// MaxProblemBytes is the longest description of one problem.
	MaxProblemBytes = 400

	bytesPerUnit = 64
	// maxStack bounds the recursion of a check: values and schemas that apply to the same value.
	maxStack = 4096
)

// Schema is a compiled schema. It is immutable and safe for concurrent use.
type Schema struct {
	root     *jsonschema.Schema
	refs     map[*jsonschema.Schema]*jsonschema.Schema // schema with a $ref → what it refers to
	resolved *jsonschema.Resolved
}

// Compile prepares a schema. An empty one, null and {} accept every object.
func Compile(schema json.RawMessage) (*Schema, error) {
	s, err := compile(schema)
	if err != nil {
		return nil, &stead.Error{
			Kind: stead.KindInvalid, Param: "parameters",
			Message: "the parameters are not a usable JSON Schema: " + cut(err.Error(), MaxProblemBytes),
			Hint:    "draft-07 and 2020-12 are understood; references must stay inside the schema",
		}
	}
	return s, nil
}

// Check says whether arguments fit. Empty arguments (no bytes, or an empty JSON string, as models
// send for a tool without parameters) count as {}.
func (s *Schema) Check(arguments json.RawMessage) error {
	v, problem := parseArguments(arguments)
	if problem != "" {
		return invalid([]string{problem})
	}
	if err := s.spend(v); err != nil {
		return invalid([]string{err.Error()})
	}
	verdict := s.verdict(v)
	if verdict == nil {
		return nil
	}
	problems := s.explain(v)
	if len(problems) == 0 {
		problems = []string{cut(verdict.Error(), MaxProblemBytes)}
	}
	return invalid(problems)
}

// verdict asks the library. A panic in there is a schema that it can't handle, not our end.
func (s *Schema) verdict(v *value) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the parameters' schema can't be applied to these arguments: %v", p)
		}
	}()
	return s.resolved.Validate(v.plain)
}

func invalid(problems []string) error {
	var b strings.Builder
	b.WriteString("The arguments do not fit the tool's parameters. Mend them and call again:")
	for _, p := range problems {
		b.WriteString("\n- ")
		b.WriteString(cut(p, MaxProblemBytes))
	}
	return stead.Invalid("arguments", "%s", b.String())
}

// parseArguments returns the arguments as a value, or what is wrong with them.
func parseArguments(arguments json.RawMessage) (*value, string) {
	text := bytes.TrimSpace(arguments)
	if len(text) > MaxArgumentsBytes {
		return nil, fmt.Sprintf("the arguments have %d bytes; at most %d are allowed", len(text), MaxArgumentsBytes)
	}
	// Arguments that were no JSON travel as a JSON string of what the model wrote.
	if len(text) > 0 && text[0] == '"' {
		var written string
		if json.Unmarshal(text, &written) == nil {
			return parseWritten(written)
		}
	}
	if len(text) == 0 {
		text = []byte("{}")
	}
	if depth(text) > MaxArgumentsDepth {
		return nil, fmt.Sprintf("the arguments are nested deeper than %d levels", MaxArgumentsDepth)
	}
	var plain any
	if err := json.Unmarshal(text, &plain); err != nil {
		return nil, "the arguments are not valid JSON: " + err.Error()
	}
	if _, ok := plain.(map[string]any); !ok {
		return nil, "the arguments must be one JSON object, got " + describe(plain)
	}
	return measure(plain), ""
}

// parseWritten handles what a model wrote in place of an object.
func parseWritten(written string) (*value, string) {
	trimmed := strings.TrimSpace(written)
	if trimmed == "" {
		return measure(map[string]any{}), ""
	}
	if depth([]byte(trimmed)) <= MaxArgumentsDepth {
		var inner any
		if err := json.Unmarshal([]byte(trimmed), &inner); err != nil && trimmed[0] == '{' {
			return nil, "the arguments are not valid JSON: " + err.Error()
		} else if _, ok := inner.(map[string]any); ok {
			return nil, "the arguments must be a JSON object, got a string that holds one: send the object itself"
		}
	}
	return nil, "the arguments must be one JSON object, got " + describe(written)
}

// depth is how deep brackets nest in text. It reads past strings and expects no valid JSON.
func depth(text []byte) int {
	deepest, level, inString := 0, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}

// cut shortens s to at most n bytes, on a rune, as valid UTF-8 on one line.
func cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.ReplaceAll(s, "\n", " ")
	if len(s) <= n {
		return s
	}
	const dots = "…"
	end := n - len(dots)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + dots
}
