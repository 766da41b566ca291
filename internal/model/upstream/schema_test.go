package upstream_test

import (
	"encoding/json"
	"testing"

	"github.com/stead-dev/stead/internal/model/upstream"
)

func TestObjectSchema(t *testing.T) {
	for schema, want := range map[string]string{
		``:                                `{"type":"object","properties":{}}`,
		`null`:                            `{"type":"object","properties":{}}`,
		` { } `:                           `{"type":"object","properties":{}}`,
		`{"type":"object"}`:               `{"type":"object"}`, // as it is: OpenAI's strict mode reads it so
		` {"properties":{"b":{},"a":{}}}`: `{"type":"object","properties":{"b":{},"a":{}}}`,
		`{"description":"x"}`:             `{"type":"object","properties":{},"description":"x"}`,
		`{"anyOf":[{"required":["a"]}]}`:  `{"type":"object","anyOf":[{"required":["a"]}]}`,
		`{"type":["object","null"]}`:      `{"type":["object","null"]}`,
		`{"$ref":"#/$defs/a","$defs":{"a":{} } }`: `{"type":"object","$ref":"#/$defs/a","$defs":{"a":{} } }`,
	} {
		got := upstream.ObjectSchema(json.RawMessage(schema))
		if string(got) != want || !json.Valid(got) {
			t.Errorf("%s: %s, want %s", schema, got, want)
		}
	}
}
