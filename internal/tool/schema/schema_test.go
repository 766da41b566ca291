package schema_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool/schema"
)

const order = `{
  "$schema": "http://json-schema.org/draft-07/schema",
  "type": "object",
  "properties": {
    "count": {"type": "integer", "minimum": 1, "maximum": 9},
    "mode": {"enum": ["fast", "slow"]},
    "note": {"type": "string", "maxLength": 5, "pattern": "^[a-z]*$"},
    "size": {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"w": {"type": "number"}}, "required": ["w"]}]},
    "rows": {"type": "array", "maxItems": 3, "items": {"$ref": "#/definitions/row"}}
  },
  "required": ["count"],
  "additionalProperties": false,
  "definitions": {"row": {"type": "object", "properties": {"id": {"type": "string"}, "next": {"$ref": "#/definitions/row"}}, "required": ["id"]}}
}`

func TestCheckSaysWhatToMend(t *testing.T) {
	tests := []struct{ name, arguments, want string }{
		{"fits", `{"count": 1, "mode": "fast", "rows": [{"id": "a", "next": {"id": "b"}}], "size": {"w": 1.5}}`, ""},
		{"whole number written as a float", `{"count": 3.0}`, ""},
		{"missing", `{}`, `count: required, but missing (an integer)`},
		{"empty", ``, `count: required, but missing`},
		{"empty string", `""`, `count: required, but missing`},
		{"type", `{"count": "three"}`, `count: expected an integer, got the string "three"`},
		{"range", `{"count": 12}`, `count: expected at most 9, got the number 12`},
		{"enum", `{"count": 1, "mode": "warp"}`, `mode: expected one of "fast", "slow", got the string "warp"`},
		{"length", `{"count": 1, "note": "abcdefg"}`, `note: expected at most 5 characters`},
		{"pattern", `{"count": 1, "note": "A"}`, `note: expected a string that matches ^[a-z]*$`},
		{"extra", `{"count": 1, "cuont": 2}`, `cuont: not a known property; the known ones are count, mode, note, rows, size`},
		{"odd name", `{"count": 1, "a b": 2}`, `["a b"]: not a known property`},
		{"nested", `{"count": 1, "rows": [{"id": "a"}, {"id": "b", "next": {"id": 7}}]}`, `rows[1].next.id: expected a string, got the number 7`},
		{"too many", `{"count": 1, "rows": [{"id":"1"},{"id":"1"},{"id":"1"},{"id":"1"}]}`, `rows: expected at most 3 items, got 4`},
		{"choice", `{"count": 1, "size": 4}`, `size: expected one of: a string, an object, got the number 4`},
		{"nearest choice", `{"count": 1, "size": {"w": "x"}}`, `size.w: expected a number, got the string "x"`},
		{"array", `[1]`, `must be one JSON object, got an array of 1 items`},
		{"null", `null`, `must be one JSON object, got null`},
		{"half", `{"count": 1`, `not valid JSON`},
		{"half, as the journal holds it", `"{\"count\": 1"`, `not valid JSON: unexpected end of JSON input`},
		{"object in a string", `"{\"count\": 1}"`, `got a string that holds one`},
		{"prose", `"count is 1"`, `got the string "count is 1"`},
		{"huge number", `{"count": 1e999}`, `not valid JSON`},
		{"deep", `{"count":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, `nested deeper than 128`},
	}
	s, err := schema.Compile(json.RawMessage(order))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := s.Check(json.RawMessage(test.arguments))
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v\nwant %q", err, test.want)
			}
		})
	}
}

func TestCheckWithoutRequirements(t *testing.T) {
	for _, parameters := range []string{``, `null`, `{}`, `true`, `{"type": "object"}`} {
		s, err := schema.Compile(json.RawMessage(parameters))
		if err != nil {
			t.Fatalf("%q: %v", parameters, err)
		}
		for _, arguments := range []string{``, `""`, ` `, `{}`, `{"a": [1]}`} {
			if err := s.Check(json.RawMessage(arguments)); err != nil {
				t.Errorf("%q, %q: %v", parameters, arguments, err)
			}
		}
	}
}

func TestCheckNamesFewProblems(t *testing.T) {
	s, err := schema.Compile(json.RawMessage(`{"additionalProperties": {"type": "string"}}`))
	if err != nil {
		t.Fatal(err)
	}
	fields := []string{}
	for i := range 1000 {
		fields = append(fields, fmt.Sprintf(`"%s%d": %d`, strings.Repeat("k", 300), i, i))
	}
	got := s.Check(json.RawMessage("{" + strings.Join(fields, ",") + "}")).Error()
	if n := strings.Count(got, "\n- "); n != schema.MaxProblems+1 || len(got) > 2*schema.MaxProblems*schema.MaxProblemBytes {
		t.Fatalf("%d problems in %d bytes:\n%s", n, len(got), got)
	}
}

func TestCompileAccepts(t *testing.T) {
	tests := []struct{ name, parameters, fits, fails string }{
		{"anchor", `{"properties": {"a": {"$ref": "#n"}}, "$defs": {"x": {"$anchor": "n", "type": "number"}}}`, `{"a": 1}`, `{"a": "x"}`},
		{"own id", `{"$id": "https://example.com/t", "properties": {"a": {"$ref": "https://example.com/t#/$defs/n"}}, "$defs": {"n": {"type": "number"}}}`, `{"a": 1}`, `{"a": "x"}`},
		{"relative id", `{"$id": "t.json", "type": "object", "required": ["a"]}`, `{"a": 1}`, `{}`},
		{"reference to a property", `{"properties": {"a/b": {"type": "number"}, "c": {"$ref": "#/properties/a~1b"}}}`, `{"c": 1}`, `{"c": "x"}`},
		{"recursion through the value", `{"properties": {"a": {"$ref": "#"}}, "additionalProperties": false}`, `{"a": {"a": {}}}`, `{"a": {"b": 1}}`},
		{"a lookahead is not asserted", `{"properties": {"a": {"type": "string", "pattern": "^(?!x)"}}}`, `{"a": "x"}`, `{"a": 1}`},
		{"2019-09", `{"$schema": "https://json-schema.org/draft/2019-09/schema", "required": ["a"]}`, `{"a": 1}`, `{}`},
		{"draft-07 tuple", `{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"items": [{"type": "string"}], "additionalItems": false}}}`, `{"a": ["x"]}`, `{"a": ["x", 1]}`},
		{"not", `{"not": {"required": ["a"]}}`, `{}`, `{"a": 1}`},
		{"refuses all", `false`, ``, `{}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := schema.Compile(json.RawMessage(test.parameters))
			if err != nil {
				t.Fatal(err)
			}
			if test.fits != "" {
				if err := s.Check(json.RawMessage(test.fits)); err != nil {
					t.Error(err)
				}
			}
			if err := s.Check(json.RawMessage(test.fails)); err == nil {
				t.Errorf("%s was accepted", test.fails)
			}
		})
	}
}

func TestCompileRefuses(t *testing.T) {
	tests := []struct{ name, parameters, want string }{
		{"no JSON", `{"type":`, "usable JSON Schema"},
		{"a list", `[]`, "not a JSON object"},
		{"wrong keyword", `{"properties": 3}`, "usable JSON Schema"},
		{"null property", `{"properties": {"a": null}}`, "usable JSON Schema"},
		{"broken pattern", `{"pattern": "("}`, "pattern"},
		{"another document", `{"$ref": "https://example.com/other.json"}`, "none is fetched"},
		{"nowhere", `{"$ref": "#/$defs/none"}`, "none"},
		{"loop", `{"$ref": "#"}`, "refers to itself"},
		{"wide loop", `{"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"anyOf": [{"$ref": "#"}]}}}`, "refers to itself"},
		{"dynamic", `{"$dynamicRef": "#x"}`, "$dynamicRef"},
		{"nested id", `{"properties": {"a": {"$id": "https://example.com/a"}}}`, "$id"},
		{"dialect", `{"$schema": "https://example.com/mine"}`, "unknown"},
		{"deep", strings.Repeat(`{"not":`, 200) + `{}` + strings.Repeat(`}`, 200), "levels deep"},
		{"big", `{"description": "` + strings.Repeat("x", schema.MaxSchemaBytes) + `"}`, "bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := schema.Compile(json.RawMessage(test.parameters))
			if stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
		})
	}
}

// Work that doubles with every level, of the value or of the schema, must be refused soon.
func TestCheckIsBounded(t *testing.T) {
	doubling := `{"anyOf": [{"properties": {"a": {"$ref": "#"}}, "required": ["x"]}, {"properties": {"a": {"$ref": "#"}}, "required": ["y"]}]}`
	chain := `{"$ref": "#/$defs/d0", "$defs": {`
	for i := range 40 {
		chain += fmt.Sprintf(`"d%d": {"allOf": [{"$ref": "#/$defs/d%d"}, {"$ref": "#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	chain += `"d40": {}}}`
	deep := strings.Repeat(`{"a":`, 100) + `{}` + strings.Repeat(`}`, 100)
	for _, test := range []struct{ parameters, arguments string }{{doubling, deep}, {chain, `{}`}} {
		s, err := schema.Compile(json.RawMessage(test.parameters))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := s.Check(json.RawMessage(test.arguments)); err == nil || !strings.Contains(err.Error(), "send less") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
	}
}

func TestCheckTakesLargeText(t *testing.T) {
	s, err := schema.Compile(json.RawMessage(`{"type": "object", "properties": {"content": {"type": "string"}}, "required": ["content"]}`))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(map[string]string{"content": strings.Repeat("x", schema.MaxArgumentsBytes-100)})
	if err := s.Check(text); err != nil {
		t.Error(err)
	}
	text, _ = json.Marshal(map[string]string{"content": strings.Repeat("x", schema.MaxArgumentsBytes)})
	if err := s.Check(text); err == nil {
		t.Error("arguments above the limit were accepted")
	}
}

func TestCache(t *testing.T) {
	c := schema.NewCache()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 1000 {
				s, err := c.Compile(json.RawMessage(fmt.Sprintf(`{"required": ["a%d"]}`, (i+j)%700)))
				if err != nil || s.Check(nil) == nil {
					t.Errorf("compile %d: %v", j, err)
				}
			}
		})
	}
	wg.Wait()
	if got := c.Len(); got != 700 {
		t.Errorf("holds %d schemas, want 700", got)
	}
	first, _ := c.Compile(json.RawMessage(`{"required": ["a1"]}`))
	again, _ := c.Compile(json.RawMessage(`{"required": ["a1"]}`))
	if first != again {
		t.Error("compiled twice")
	}
	for i := range schema.MaxCached {
		if _, err := c.Compile(json.RawMessage(fmt.Sprintf(`{"title": "%d"}`, i))); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.Len(); got != schema.MaxCached {
		t.Errorf("holds %d schemas, want %d", got, schema.MaxCached)
	}
	if _, err := c.Compile(json.RawMessage(`[`)); err == nil {
		t.Error("a broken schema was accepted")
	}
}

// FuzzCheck looks for schemas and arguments that crash, hang or make an endless answer.
func FuzzCheck(f *testing.F) {
	f.Add(order, `{"count": "x", "rows": [1, {"id": 3}]}`)
	f.Add(`{"properties": {"a": {"$ref": "#"}}, "unevaluatedProperties": false}`, `{"a": {"b": 1}}`)
	f.Add(`{"if": {"required": ["a"]}, "then": false, "else": {"minProperties": 1}}`, `{"a": null}`)
	f.Add(`{"properties": {"l": {"uniqueItems": true, "contains": {"const": 1}, "prefixItems": [true]}}}`, `{"l": [1, 1]}`)
	f.Add(`{"$anchor": "a", "oneOf": [{"$ref": "#a"}]}`, `""`)
	f.Add(`{"multipleOf": 0, "dependentSchemas": {"a": {"not": {}}}, "patternProperties": {"^x": {"type": ["null", "array"]}}}`, `{"a": 1, "x": 2}`)
	f.Fuzz(func(t *testing.T, parameters, arguments string) {
		s, err := schema.Compile(json.RawMessage(parameters))
		if err != nil {
			if stead.KindOf(err) != stead.KindInvalid {
				t.Fatalf("compile: kind %s", stead.KindOf(err))
			}
			return
		}
		err = s.Check(json.RawMessage(arguments))
		if err == nil {
			return
		}
		if stead.KindOf(err) != stead.KindInvalid || len(err.Error()) > 2*(schema.MaxProblems+2)*schema.MaxProblemBytes {
			t.Fatalf("check: kind %s, %d bytes", stead.KindOf(err), len(err.Error()))
		}
	})
}
