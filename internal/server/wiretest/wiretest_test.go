package wiretest

import (
	"strings"
	"testing"
)

const document = `{"openapi":"3.1.0",
 "paths":{"/things/{id}":{"post":{
   "requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Param"}}}},
   "responses":{"200":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Thing"}}}},"202":{}}}}},
 "components":{"schemas":{
   "Param":{"type":"object","required":["name"]},
   "Thing":{"type":"object","properties":{"id":{"type":"string"}},"required":["id"],"additionalProperties":false},
   "thing.made":{"type":"object","properties":{"type":{"const":"thing.made"},"thing":{"$ref":"#/components/schemas/Thing"}},"required":["type","thing"]},
   "Error":{"type":"object","required":["error"]}}}}`

// TestDepartures pins that each way off a document is noticed: a checker that finds nothing would
// make every other test green.
func TestDepartures(t *testing.T) {
	s, err := Load([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	answer := func(path string, status int, media, body string) error {
		return s.Response("POST", path, status, media, []byte(body))
	}
	tests := []struct {
		name string
		err  error
		want string // "" for none
	}{
		{"as documented", answer("/things/1", 200, "application/json; charset=utf-8", `{"id":"1"}`), ""},
		{"a field too many", answer("/things/1", 200, "application/json", `{"id":"1","x":1}`), "x"},
		{"a field too few", answer("/things/1", 200, "application/json", `{}`), "id"},
		{"a wrong type", answer("/things/1", 200, "application/json", `{"id":1}`), "integer"},
		{"another media type", answer("/things/1", 200, "text/plain", `x`), "text/plain"},
		{"another status", answer("/things/1", 201, "application/json", `{}`), "no status 201"},
		{"a body where none belongs", answer("/things/1", 202, "application/json", `{}`), "a body"},
		{"another path", answer("/other", 200, "application/json", `{}`), "does not have"},
		{"an error", answer("/other", 404, "application/json", `{"error":{}}`), ""},
		{"an error without envelope", answer("/things/1", 500, "application/json", `{}`), "error"},
		{"a request", s.Request("POST", "/things/1", []byte(`{"name":"x"}`)), ""},
		{"a request that should be refused", s.Request("POST", "/things/1", []byte(`{}`)), "name"},
		{"an event", s.Event([]byte(`{"type":"thing.made","thing":{"id":"1"}}`)), ""},
		{"an event with a wrong part", s.Event([]byte(`{"type":"thing.made","thing":{}}`)), "id"},
		{"an unknown event", s.Event([]byte(`{"type":"thing.lost"}`)), "thing.lost"},
	}
	for _, tt := range tests {
		switch {
		case tt.want == "" && tt.err != nil:
			t.Errorf("%s: %v", tt.name, tt.err)
		case tt.want != "" && (tt.err == nil || !strings.Contains(tt.err.Error(), tt.want)):
			t.Errorf("%s: got %v, want %q", tt.name, tt.err, tt.want)
		}
	}
	if _, err := Load([]byte(strings.ReplaceAll(document, `/Param"`, `/Gone"`))); err == nil {
		t.Error("a document that names a schema it lacks is loaded")
	}
}
