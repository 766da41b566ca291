package param

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-dev/stead"
)

func TestSyntaxErrorSaysWhere(t *testing.T) {
	tests := []struct{ body, want string }{
		{"{\"a\": 1,\n \"b\": x}", `the body is not valid JSON at line 2, column 7: invalid character 'x' looking for beginning of value`},
		{`{"a": 1`, `the body is not valid JSON at line 1, column 7: unexpected end of JSON input`},
		{`{} {}`, `the body is not valid JSON at line 1, column 4: invalid character '{' after top-level value`},
		{`[1]`, `the body must be a JSON object, not a list`},
		{`null`, `the body must be a JSON object, not null`},
	}
	for _, tt := range tests {
		if _, err := Body([]byte(tt.body)); err == nil || err.Error() != tt.want {
			t.Errorf("Body(%q): got %v, want %s", tt.body, err, tt.want)
		}
	}
}

func TestGetters(t *testing.T) {
	o, err := Body([]byte(`{"s":"x","n":null,"i":7,"f":1.5,"l":["a",2],"m":{"k":"v"},"o":{"deep":[true]},"e":"low","s":"last"}`))
	if err != nil {
		t.Fatal(err)
	}
	s, ok, err := o.String("s")
	if s != "last" || !ok || err != nil {
		t.Errorf("String(s) = %q %v %v, want the last of two", s, ok, err)
	}
	if _, ok, err := o.String("n"); ok || err != nil || !o.Has("n") || !o.Null("n") {
		t.Errorf("null is there and not there: %v %v", ok, err)
	}
	if _, ok, err := o.String("absent"); ok || err != nil || o.Has("absent") || o.Null("absent") {
		t.Errorf("absent: %v %v", ok, err)
	}
	if n, ok, err := o.Int("i", 0, 9); n != 7 || !ok || err != nil {
		t.Errorf("Int = %d %v %v", n, ok, err)
	}
	m, _, err := o.StringMap("m")
	if err != nil || !cmp.Equal(m, map[string]string{"k": "v"}) {
		t.Errorf("StringMap = %v %v", m, err)
	}
	sub, _, err := o.Object("o")
	if err != nil || sub.Path("deep") != "o.deep" {
		t.Errorf("Path = %q %v", sub.Path("deep"), err)
	}
	_, err = Need(o.String("absent"))("absent")
	fault(t, err, "absent", "absent is required")
	_, _, err = o.String("i")
	fault(t, err, "i", "i must be a string, not a number")
	_, _, err = o.Int("f", 0, 9)
	fault(t, err, "f", "f must be a whole number from 0 to 9")
	_, _, err = o.Int("i", 0, 5)
	fault(t, err, "i", "i must be a whole number from 0 to 5")
	_, _, err = o.Strings("l")
	fault(t, err, "l[1]", "l[1] must be a string, not a number")
	_, _, err = o.Enum("e", "medium", "high")
	fault(t, err, "e", `e must be one of "medium", "high", not "low"`)
	_, _, err = sub.Bool("deep")
	fault(t, err, "o.deep", "o.deep must be a boolean, not a list")
}

func fault(t *testing.T, err error, param, message string) {
	t.Helper()
	e, ok := errors.AsType[*stead.Error](err)
	if !ok || e.Kind != stead.KindInvalid || e.Param != param || e.Message != message {
		t.Errorf("got %#v, want KindInvalid of %q: %s", err, param, message)
	}
}

func FuzzBody(f *testing.F) {
	f.Add([]byte(`{"a":[{"b":null}]}`))
	f.Add([]byte("{\"a\":\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := Body(b)
		if err != nil {
			if stead.KindOf(err) != stead.KindInvalid {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		for _, n := range o.Names() {
			// None may panic, and at most one may accept a value that is there.
			_, s, e1 := o.String(n)
			_, l, e2 := o.List(n)
			_, x, e3 := o.Object(n)
			if s && l && x && e1 == nil && e2 == nil && e3 == nil {
				t.Fatalf("%q is everything at once", n)
			}
		}
	})
}
