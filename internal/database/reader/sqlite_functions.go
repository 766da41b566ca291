package reader

import (
	"bytes"
	"database/sql/driver"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"modernc.org/sqlite"
)

// bounded puts functions of ours in the place of those of SQLite that take the product of two values' lengths: for hours, of values of a few
// megabytes, and no interruption ends a function. Ours say the same, and take the sum.
func bounded(d *sqlite.Driver) {
	text := func(name string, args int32, do func(v []string) (driver.Value, error)) {
		d.MustRegisterDeterministicScalarFunction(name, args, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
			v := make([]string, len(args))
			for i, a := range args {
				if a == nil {
					return nil, nil
				}
				v[i] = written(a)
			}
			return do(v)
		})
	}
	d.MustRegisterDeterministicScalarFunction("instr", 2, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		return instr(args[0], args[1]), nil
	})
	text("replace", 3, func(v []string) (driver.Value, error) { return replaced(v[0], v[1], v[2]) })
	text("trim", 2, func(v []string) (driver.Value, error) { return strings.TrimFunc(v[0], oneOf(v[1])), nil })
	text("ltrim", 2, func(v []string) (driver.Value, error) { return strings.TrimLeftFunc(v[0], oneOf(v[1])), nil })
	text("rtrim", 2, func(v []string) (driver.Value, error) { return strings.TrimRightFunc(v[0], oneOf(v[1])), nil })
}

func oneOf(letters string) func(rune) bool {
	set := map[rune]bool{}
	for _, r := range letters {
		set[r] = true
	}
	return func(r rune) bool { return set[r] }
}

// instr is where a text begins in another one, in characters from 1, or bytes among bytes; 0: nowhere.
func instr(in, what driver.Value) driver.Value {
	if in == nil || what == nil {
		return nil
	}
	b, bytesIn := in.([]byte)
	c, bytesOf := what.([]byte)
	if bytesIn && bytesOf {
		return int64(bytes.Index(b, c) + 1)
	}
	text := written(in)
	at := strings.Index(text, written(what))
	if at < 0 {
		return int64(0)
	}
	return int64(utf8.RuneCountInString(text[:at]) + 1)
}

func replaced(text, what, by string) (driver.Value, error) {
	if what == "" {
		return text, nil
	}
	if n := strings.Count(text, what); len(text)+n*(len(by)-len(what)) > maxAnswerBytes {
		return nil, fmt.Errorf("what replace makes has more than %d bytes", maxAnswerBytes)
	}
	return strings.ReplaceAll(text, what, by), nil
}

// written is a value as SQLite makes a text of it.
func written(v driver.Value) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return decimal(v)
	}
	return fmt.Sprint(v)
}

// decimal is a float as SQLite writes it: with a point, and with an exponent from 17 digits on.
func decimal(v float64) string {
	const least, most = 1e-4, 1e17
	size := math.Abs(v)
	switch {
	case math.IsInf(v, 0):
		return strings.TrimPrefix(strconv.FormatFloat(v, 'f', -1, 64), "+")
	case size == 0 || size >= least && size < most:
		s := strconv.FormatFloat(v, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'e', -1, 64), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	return mantissa + "e" + exponent
}
