package cedar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// flattened is all that flatten finds.
func flattened(arguments []byte) (texts, numbers types.RecordMap, err error) {
	texts, numbers = types.RecordMap{}, types.RecordMap{}
	return texts, numbers, flatten(arguments, &tagNames{any: true}, texts, numbers)
}

// below is a path one step further, in another way than flatten's.
func below(path, name string, depth int) string {
	if name = strings.NewReplacer("~", "~0", "/", "~1").Replace(name); depth > 0 {
		name = path + "/" + name
	}
	return name
}

// byTokens does what flatten does, by the standard library's tokens.
func byTokens(arguments []byte) (texts, numbers types.RecordMap, err error) {
	f := tokens{dec: json.NewDecoder(bytes.NewReader(arguments)), texts: types.RecordMap{}, numbers: types.RecordMap{}}
	if len(bytes.TrimSpace(arguments)) == 0 {
		return f.texts, f.numbers, nil
	}
	f.dec.UseNumber()
	if err := f.value("", 0); err != nil {
		return nil, nil, err
	}
	if _, err := f.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("they are more than one JSON value")
	}
	return f.texts, f.numbers, nil
}

type tokens struct {
	dec            *json.Decoder
	texts, numbers types.RecordMap
}

func (f *tokens) value(path string, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("they are nested more than %d deep", MaxDepth)
	}
	t, err := f.dec.Token()
	if err != nil {
		return errors.New("they are not JSON")
	}
	switch v := t.(type) {
	case json.Delim:
		if v == '{' {
			return f.object(path, depth)
		}
		return f.array(path, depth)
	case string:
		f.texts[types.String(path)] = types.String(v)
	case bool:
		f.texts[types.String(path)] = types.String(strconv.FormatBool(v))
	case json.Number:
		d, err := decimal([]byte(v.String()))
		if err != nil {
			return err
		}
		f.texts[types.String(path)], f.numbers[types.String(path)] = types.String(v.String()), d
	}
	if len(f.texts) > MaxTags {
		return fmt.Errorf("they have more than %d values", MaxTags)
	}
	return nil
}

func (f *tokens) object(path string, depth int) error {
	seen := map[string]bool{}
	for f.dec.More() {
		t, err := f.dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return errors.New("they are not JSON")
		}
		if seen[name] {
			return fmt.Errorf("they have %.40q twice", name)
		}
		seen[name] = true
		if err := f.value(below(path, name, depth), depth+1); err != nil {
			return err
		}
	}
	_, err := f.dec.Token()
	return err
}

func (f *tokens) array(path string, depth int) error {
	for i := 0; f.dec.More(); i++ {
		if err := f.value(below(path, strconv.Itoa(i), depth), depth+1); err != nil {
			return err
		}
	}
	_, err := f.dec.Token()
	return err
}

// odd are arguments in which two readers could differ.
func odd() []string {
	return []string{
		``, ` `, `{}`, `[]`, `null`, `5`, `"x"`, `true`, ` { "a" : [ 1 , 2.50 , { } , [ ] , null ] , "b" : { "c" : false } } `, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"":1,"/":2,"~":3}`, `{"a":1,"":{"a":2,"":{"a":3}},"/a":4}`, `[{"":[1]},""]`,
		`{"a":"\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00"}`, `{"a":"\ud83d"}`, "{\"a\":\"\xff\"}", "{\"\xff\":1,\"\xfe\":2}", `{"a":1e5,"b":-0,"c":1E-9,"d":123456789012345678901234567890,"e":0.00001}`,
		`{"a":1} {"b":2}`, `{"a":1}x`, "0\v", "\v0", "\v", " 0\n", `{"a":01}`, `{"a":+1}`, `{"a":.5}`, `{"a":1.}`, `{a:1}`, `{"a":1,}`, `[1,]`, `{"a"}`, `{"a":tru}`, "{\"a\":\"\n\"}", "\ufeff{}", `{"a":NaN}`,
		`{"1":1,"2":2,"3":3,"4":4,"5":5,"6":6,"7":7,"8":8,"9":9,"1":0}`, `{"1":1,"2":2,"3":3,"4":4,"5":5,"6":6,"7":7,"8":8,"9":9,"9":0}`,
		strings.Repeat("[", MaxDepth) + "1" + strings.Repeat("]", MaxDepth), strings.Repeat("[", MaxDepth+1) + "1" + strings.Repeat("]", MaxDepth+1), strings.Repeat("[", 20_000),
		`{"a":` + strings.Repeat("9", maxNumberBytes) + `}`, `{"a":` + strings.Repeat("9", maxNumberBytes+1) + `}`, `{"a":99999999999999.9999,"b":-99999999999999.9999,"c":999999999999999,"d":1.00005,"e":-1.00005}`,
	}
}

func FuzzFlatten(f *testing.F) {
	for _, s := range odd() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, arguments []byte) { same(t, arguments) })
}

// same holds flatten against byTokens.
func same(t *testing.T, arguments []byte) {
	t.Helper()
	texts, numbers, err := flattened(arguments)
	wantTexts, wantNumbers, wantErr := byTokens(arguments)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%q: %v, by tokens %v", arguments, err, wantErr)
	}
	if err == nil && (!types.NewRecord(texts).Equal(types.NewRecord(wantTexts)) || !types.NewRecord(numbers).Equal(types.NewRecord(wantNumbers))) {
		t.Fatalf("%q: %v %v, by tokens %v %v", arguments, texts, numbers, wantTexts, wantNumbers)
	}
}

// TestNoTwoValuesHaveOnePath: what is below the name "" is not taken for what stands above it.
func TestNoTwoValuesHaveOnePath(t *testing.T) {
	texts, numbers, err := flattened([]byte(`{"amount":5000,"":{"amount":1,"":{"amount":2}},"/amount":3,"l":[4,{"":5}],"x":{"":{"y":6}}}`))
	want := map[string]string{"amount": "5000", "/amount": "1", "//amount": "2", "~1amount": "3", "l/0": "4", "l/1/": "5", "x//y": "6"}
	if err != nil || len(texts) != len(want) || len(numbers) != len(want) {
		t.Fatalf("%v, %v", texts, err)
	}
	for path, v := range want {
		if texts[types.String(path)] != types.String(v) {
			t.Errorf("%s is %v, not %s", path, texts[types.String(path)], v)
		}
	}
}

// TestPlainDecimals: numbers as most are written are what they are by the way for all others.
func TestPlainDecimals(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		s := strconv.FormatInt(r.Int64N(1e15), 10)[r.IntN(2):]
		if i := r.IntN(6); i < len(s) && r.IntN(3) > 0 {
			s = s[:len(s)-i] + "." + s[len(s)-i:]
		}
		if s = strings.TrimSuffix(s, "."); s == "" || s[0] == '.' {
			s = "0" + s
		}
		if r.IntN(2) == 0 {
			s = "-" + s
		}
		plain, err := decimal([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		exact, err := decimal([]byte(s + "e0")) // which is written in another way
		if err != nil || plain.Compare(exact) != 0 {
			t.Fatalf("%s is %s, and %s, %v", s, plain, exact, err)
		}
	}
}

// TestEveryAttributeIsThere: what a policy reads of the context of any action is in it, alone or with all others.
func TestEveryAttributeIsThere(t *testing.T) {
	known, err := published()
	if err != nil {
		t.Fatal(err)
	}
	if atEnd != 1<<len(attributeNames()) {
		t.Errorf("there are %d names, and the end is %b", len(attributeNames()), atEnd)
	}
	seen := 0
	for uid, action := range known.Actions {
		if action.AppliesTo == nil {
			continue
		}
		for name, a := range action.AppliesTo.Context {
			if named[string(name)] == 0 {
				t.Errorf("the context of %s has %s, which attributeNames has not", uid, name)
			}
			if a.Optional {
				continue
			}
			for _, way := range []string{"context has " + string(name), `context has "` + string(name) + `"`, `if context has ` + string(name) + ` then true else context == context`} {
				text := "@reason(\"the context\") forbid(principal, action == " + uid.String() + ", resource) when { " + way + " };"
				s, err := Load([]Source{{Name: "t", Text: []byte(text)}}, Options{})
				if err != nil {
					t.Fatal(err)
				}
				if read := s.rules[0].looks.context; strings.Contains(way, "==") != (read == atAll) {
					t.Errorf("%s reads %b", way, read)
				}
				seen++
				d, wrong, _ := decide([]*Set{s}, s.version, policy.Decision{Allow: true}, policy.Request{
					Principal: stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "ada"}, Effect: policy.Effect(uid.ID), Resource: "a/b",
				}, nil)
				if d.Allow || len(wrong) > 0 || len(d.Policies) != 1 {
					t.Errorf("%s: %s is not so: %+v, %v", uid, way, d, wrong)
				}
			}
		}
	}
	if seen < 500 {
		t.Errorf("only %d were asked", seen)
	}
}

func TestAttributesRead(t *testing.T) {
	for text, want := range map[string]attributes{
		`forbid ( principal, action, resource )`:                                                          0,
		`forbid ( principal, action, resource )\nwhen { context.hour > 3 && context["weekday"] == 1 };`:   atHour | atWeekday,
		`permit ( principal, action, resource )\nwhen { "context.hour \" context" == "x" };`:              0,
		`permit ( principal, action, resource )\nwhen { context has spend && context.spend.cents > 1 };`:  atSpend,
		`permit ( principal, action, resource )\nwhen { context == {"a": 1} };`:                           atAll,
		`permit ( principal, action, resource )\nwhen { (if true then context else context).hour == 1 };`: atAll,
		`permit ( principal, action, resource )\nwhen { context.unknown };`:                               atAll,
		`permit ( principal, action, resource )\nwhen { context["ho\u{75}r"] };`:                          atAll,
		"@reason(\"context\")\npermit ( principal, action, resource )\nwhen { context.class == \"x\" };":  atClass,
	} {
		if got := attributesRead(text); got != want {
			t.Errorf("%s reads %b, want %b", text, got, want)
		}
	}
}
