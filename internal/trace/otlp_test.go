package trace_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"testing"
)

// checkOTLP holds a document against the JSON encoding of OTLP (opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding, over
// opentelemetry-proto's trace.proto, common.proto and resource.proto): names of fields in lowerCamelCase and none that the
// messages don't have, ids in hex of their length, 64-bit numbers as decimal strings, enumerations as numbers.
func checkOTLP(t *testing.T, data json.RawMessage) {
	t.Helper()
	var v any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	checkMessage(t, "ExportTraceServiceRequest", v)
}

// field says what a field of a message holds: a message of that name, a list of them with [] before, or a form.
var protoFields = map[string]map[string]string{
	"ExportTraceServiceRequest": {"resourceSpans": "[]ResourceSpans"},
	"ResourceSpans":             {"resource": "Resource", "scopeSpans": "[]ScopeSpans", "schemaUrl": "string"},
	"Resource":                  {"attributes": "[]KeyValue", "droppedAttributesCount": "uint32"},
	"ScopeSpans":                {"scope": "Scope", "spans": "[]Span", "schemaUrl": "string"},
	"Scope":                     {"name": "string", "version": "string", "attributes": "[]KeyValue", "droppedAttributesCount": "uint32"},
	"Span": {"traceId": "id16", "spanId": "id8", "traceState": "string", "parentSpanId": "id8", "flags": "uint32", "name": "string", "kind": "enum5",
		"startTimeUnixNano": "uint64", "endTimeUnixNano": "uint64", "attributes": "[]KeyValue", "droppedAttributesCount": "uint32", "events": "[]Event",
		"droppedEventsCount": "uint32", "links": "[]Link", "droppedLinksCount": "uint32", "status": "Status"},
	"Link":       {"traceId": "id16", "spanId": "id8", "traceState": "string", "attributes": "[]KeyValue", "droppedAttributesCount": "uint32", "flags": "uint32"},
	"Event":      {"timeUnixNano": "uint64", "name": "string", "attributes": "[]KeyValue", "droppedAttributesCount": "uint32"},
	"Status":     {"message": "string", "code": "enum2"},
	"KeyValue":   {"key": "string", "value": "AnyValue"},
	"AnyValue":   {"stringValue": "string", "boolValue": "bool", "intValue": "int64", "doubleValue": "double", "arrayValue": "ArrayValue"},
	"ArrayValue": {"values": "[]AnyValue"},
}

var protoForms = map[string]*regexp.Regexp{
	"id16": regexp.MustCompile(`^"[0-9a-f]{32}"$`), "id8": regexp.MustCompile(`^"[0-9a-f]{16}"$`), "uint64": regexp.MustCompile(`^"[0-9]+"$`),
	"int64": regexp.MustCompile(`^"-?[0-9]+"$`), "uint32": regexp.MustCompile(`^[0-9]+$`), "enum5": regexp.MustCompile(`^[0-5]$`), "enum2": regexp.MustCompile(`^[0-2]$`),
	"bool": regexp.MustCompile(`^(true|false)$`), "double": regexp.MustCompile(`^-?[0-9.]+(e[+-]?[0-9]+)?$`), "string": regexp.MustCompile(`^"`),
}

// needed are fields that receivers refuse a message without.
var needed = map[string][]string{"Span": {"traceId", "spanId", "name", "startTimeUnixNano", "endTimeUnixNano"}, "KeyValue": {"key", "value"}, "Event": {"timeUnixNano", "name"}}

func checkMessage(t *testing.T, name string, v any) {
	t.Helper()
	m, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("%s is %v", name, v)
	}
	for _, f := range needed[name] {
		if _, ok := m[f]; !ok {
			t.Errorf("%s without %s: %v", name, f, m)
		}
	}
	keys := map[string]int{}
	for f, x := range m {
		form, ok := protoFields[name][f]
		if !ok {
			t.Errorf("%s has no field %s", name, f)
			continue
		}
		of, list := form, []any{x}
		if len(form) > 2 && form[:2] == "[]" {
			of = form[2:]
			if list, ok = x.([]any); !ok {
				t.Errorf("%s.%s is no list: %v", name, f, x)
			}
		}
		for _, one := range list {
			if _, ok := protoFields[of]; ok {
				checkMessage(t, of, one)
				if kv, ok := one.(map[string]any); ok && of == "KeyValue" {
					keys[kv["key"].(string)]++
				}
				continue
			}
			if raw, _ := json.Marshal(one); !protoForms[of].Match(raw) {
				t.Errorf("%s.%s is %s, which is no %s", name, f, raw, of)
			}
		}
	}
	for k, n := range keys { // common.proto: keys of attributes must be unique
		if n > 1 {
			t.Errorf("%s has the attribute %s %d times", name, k, n)
		}
	}
	if name == "AnyValue" && len(m) != 1 {
		t.Errorf("a value is one of its forms, and this is %v", m)
	}
	if name == "Span" && slices.Contains([]any{nil, ""}, m["name"]) {
		t.Errorf("a span needs a name: %v", m)
	}
}
