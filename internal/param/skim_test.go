package param

import (
	"encoding/json"
	"strings"
	"testing"
)

// What Members finds is what encoding/json finds, in every object that is one.
func TestMembersAreThoseOfTheObject(t *testing.T) {
	for _, text := range []string{
		`{}`, ` { } `, `{"a":1}`, "\n{ \"a\" : [1, {\"b\":\"]}\\\"\"}] , \"c\":\"\\\\\",\"d\":true}\n", `{"\u0061\"":null,"":"x","n":-1.5E+3}`,
		`{"a":"` + strings.Repeat(`\\`, 1000) + `","b":{}}`, `{"a":1,"a":2}`, `{"é":"ü"}`,
	} {
		same(t, []byte(text))
	}
	for _, text := range []string{
		``, `[]`, `"x"`, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1}}`, `{"a":1} {}`, `{a:1}`, `{"a":'x'}`, `{"a":[1}`, `{"a":[}]}`, `{"a":"x}`,
		`{"a":1/**/}`, `{"a":[1//]` + "\n}", `{"a":"\"}`, `{"a" 1}`, `{"a":` + strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1) + `}`,
	} {
		if Members([]byte(text), func(string, int, int) {}) {
			t.Errorf("%.80s is taken for an object", text)
		}
		if _, err := Skim([]byte(text)); err == nil {
			t.Errorf("%.80s is skimmed", text)
		}
	}
}

func same(t *testing.T, b []byte) {
	t.Helper()
	var want map[string]json.RawMessage
	if json.Unmarshal(b, &want) != nil || want == nil {
		return
	}
	got := map[string]string{}
	if !Members(b, func(key string, from, to int) { got[key] = string(b[from:to]) }) {
		t.Fatalf("%q is an object", b)
	}
	if len(got) != len(want) {
		t.Fatalf("%q: got %q, want %q", b, got, want)
	}
	for k, v := range want {
		if got[k] != string(v) {
			t.Errorf("%q: %q is %q, want %q", b, k, got[k], v)
		}
	}
}

func FuzzMembers(f *testing.F) {
	f.Add([]byte(`{"a":[1,"]"],"b\"":{"c":"\\"}}`))
	f.Fuzz(func(t *testing.T, b []byte) { same(t, b) })
}
