package param

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
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
	f.Add([]byte(`[1,"]",{"a":["b","c"]}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		same(t, b)
		sameElements(t, b)
		sameTexts(t, b)
	})
}

// What Elements finds is what encoding/json finds, in every array that is one.
func TestElementsAreThoseOfTheArray(t *testing.T) {
	for _, text := range []string{`[]`, ` [ ] `, "\n[ 1 , [\"]\"],{\"a\":[]} ,null, \"\\\"\" ]\n"} {
		sameElements(t, []byte(text))
	}
	for _, text := range []string{``, `{}`, `"x"`, `[`, `[1`, `[1,]`, `[,]`, `[1]]`, `[1] []`, `[1 2]`, `["a]`, `[{]`} {
		if Elements([]byte(text), func(int, int) {}) {
			t.Errorf("%s is taken for an array", text)
		}
	}
}

func sameElements(t *testing.T, b []byte) {
	t.Helper()
	var want []json.RawMessage
	if json.Unmarshal(b, &want) != nil || want == nil {
		return
	}
	var got []string
	if !Elements(b, func(from, to int) { got = append(got, string(b[from:to])) }) || len(got) != len(want) {
		t.Fatalf("%q: got %q, want %q", b, got, want)
	}
	for i, v := range want {
		if got[i] != string(v) {
			t.Errorf("%q: %d is %q, want %q", b, i, got[i], v)
		}
	}
}

// Texts are the leaves that encoding/json has as texts, in their order.
func TestTextsAreThoseOfTheValue(t *testing.T) {
	for _, text := range []string{`"a"`, `7`, `["a",{"b" : "c","d":["e\"",{"f":{}}]},"g:"]`, `{"a":"b","pass":["c",{"d":"e"}],"p\u0061ss":"f","x":"pass"}`} {
		sameTexts(t, []byte(text))
	}
	for _, text := range []string{`"\"\\\/\b\f\n\r\tx\u00e9\ud83d\ude00\ud83d\u0041\ude00\ud83d"`, `["\u0000",  "\\u0041"]`} {
		sameTexts(t, []byte(text))
	}
	for _, text := range []string{`"\x"`, `"\u12"`, `"\u12g4"`, `"\u+123"`, `"\"`} {
		if got, ok := Unquote([]byte(text)); ok {
			t.Errorf("%s says %q", text, got)
		}
	}
	deep := strings.Repeat(`["a",`, 1_000_000) // no array any more, and looked through once
	n := 0
	if Texts([]byte(deep), passed, func(int, int) { n++ }); n != 1_000_000 {
		t.Errorf("%d texts", n)
	}
	Texts([]byte(`{"pass":`), passed, func(int, int) { t.Error("there is none") })
	Texts([]byte(`["`), passed, func(int, int) { t.Error("there is none") })
}

func passed(name string) bool { return name == "pass" }

func sameTexts(t *testing.T, b []byte) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.UseNumber()
	if !json.Valid(b) || !utf8.Valid(b) {
		return
	}
	want := textsOf(t, dec)
	var got []string
	Texts(b, passed, func(from, to int) {
		text, ok := Unquote(b[from:to])
		if !ok {
			t.Errorf("%q is none", b[from:to])
		}
		got = append(got, text)
	})
	if !slices.Equal(got, want) {
		t.Errorf("%q: got %q, want %q", b, got, want)
	}
}

// textsOf are the texts of the next value.
func textsOf(t *testing.T, dec *json.Decoder) (out []string) {
	token, err := dec.Token()
	if err != nil {
		t.Fatal(err)
	}
	switch token := token.(type) {
	case string:
		return []string{token}
	case json.Delim:
		for dec.More() {
			name := ""
			if token == '{' {
				key, err := dec.Token()
				if err != nil {
					t.Fatal(err)
				}
				name = key.(string)
			}
			if inner := textsOf(t, dec); !passed(name) {
				out = append(out, inner...)
			}
		}
		if _, err := dec.Token(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
