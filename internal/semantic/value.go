package semantic

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
)

// Operators of conditions and filters.
const (
	opEquals    = "equals"
	opNot       = "not_equals"
	opIn        = "in"
	opNotIn     = "not_in"
	opGreater   = "greater_than"
	opAtLeast   = "at_least"
	opLess      = "less_than"
	opAtMost    = "at_most"
	opContains  = "contains"
	opIsNull    = "is_null"
	opIsNotNull = "is_not_null"
)

// Operators lists them.
func Operators() []string {
	return []string{opEquals, opNot, opIn, opNotIn, opGreater, opAtLeast, opLess, opAtMost, opContains, opIsNull, opIsNotNull}
}

// operands is how many values an operator takes: at least and at most.
func operands(op string) (least, most int) {
	switch op {
	case opIn, opNotIn:
		return 1, MaxValues
	case opIsNull, opIsNotNull:
		return 0, 0
	}
	return 1, 1
}

// checkOperation says what is wrong with an operator and its values, and gives the values in their type.
func checkOperation(op string, a *Attribute, values []any) ([]any, error) {
	if !slices.Contains(Operators(), op) {
		return nil, unknown("operator", op, names(Operators()))
	}
	least, most := operands(op)
	switch n := len(values); {
	case n < least || n > most:
		return nil, stead.Invalid("values", "the operator %s takes %s, not %d values", op, amount(least, most), n)
	case op == opContains && a.Type != Text:
		return nil, stead.Invalid("operator", "the operator %s is for text, and this is of type %s", op, a.Type)
	case a.Type == Boolean && op != opEquals && op != opNot && most > 0:
		return nil, stead.Invalid("operator", "the operator %s is not for booleans: use %s", op, opEquals)
	}
	out := make([]any, len(values))
	for i, v := range values {
		var err error
		if out[i], err = typed(a, v, op != opContains); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func amount(least, most int) string {
	if least == most {
		return strconv.Itoa(least)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

// typed reads a value as one of an attribute: int64, decimal, bool, string or time.Time.
func typed(a *Attribute, v any, enumerated bool) (any, error) {
	text, ok := written(v)
	if !ok {
		return nil, stead.Invalid("values", "a value is a text, a number or true or false, not %s", short(v))
	}
	if len(text) > maxValueBytes || strings.ContainsRune(text, 0) {
		return nil, stead.Invalid("values", "a value has at most %d bytes, and none of them is zero", maxValueBytes)
	}
	bad := func(want string) error {
		return stead.Invalid("values", "%.80q is not %s", text, want)
	}
	switch a.Type {
	case Integer:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, bad("a whole number")
		}
		return n, nil
	case Number:
		if !decimalText().MatchString(text) {
			return nil, bad("a number")
		}
		return decimal(text), nil
	case Boolean:
		if text != "true" && text != "false" {
			return nil, bad("true or false")
		}
		return text == "true", nil
	case Date:
		t, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return nil, bad("a date such as 2026-01-31")
		}
		return t, nil
	case Timestamp:
		t, err := moment(text)
		if err != nil {
			return nil, bad("a time such as 2026-01-31T09:00:00Z")
		}
		return t, nil
	}
	if enumerated && len(a.Values) > 0 && !slices.Contains(a.Values, text) {
		t, err := find("value", text, names(a.Values))
		if err != nil {
			return nil, err
		}
		return t.name, nil
	}
	return text, nil
}

// decimal is a number as it was written: no digit of it is lost on the way to the database.
type decimal string

var decimalText = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?$`)
})

// written is a value of JSON or YAML as text.
func written(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case json.Number:
		return v.String(), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case int:
		return strconv.Itoa(v), true
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return "", false
		}
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}

func short(v any) string {
	text := fmt.Sprint(v)
	const most = 40
	if len(text) > most {
		text = text[:most] + "…"
	}
	return fmt.Sprintf("%q", text)
}

// moment reads a date or a time, to the second, in UTC.
func moment(text string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC().Truncate(time.Second), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time", text)
}
