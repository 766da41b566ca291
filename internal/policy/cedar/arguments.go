package cedar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
)

// flatten names every text, number and boolean of a JSON object by its path. What could be read in
// two ways is an error, and so a no: a name that stands twice in one object, of which the tool might
// take the other one than the policy.
func flatten(arguments []byte) (texts, numbers types.RecordMap, err error) {
	f := flattener{dec: json.NewDecoder(bytes.NewReader(arguments)), texts: types.RecordMap{}, numbers: types.RecordMap{}}
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

type flattener struct {
	dec            *json.Decoder
	texts, numbers types.RecordMap
}

func (f *flattener) value(path string, depth int) error {
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
		d, err := decimal(v.String())
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

func (f *flattener) object(path string, depth int) error {
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
		if err := f.value(below(path, name), depth+1); err != nil {
			return err
		}
	}
	_, err := f.dec.Token()
	return err
}

func (f *flattener) array(path string, depth int) error {
	for i := 0; f.dec.More(); i++ {
		if err := f.value(below(path, strconv.Itoa(i)), depth+1); err != nil {
			return err
		}
	}
	_, err := f.dec.Token()
	return err
}

// below is a path one step further: a JSON Pointer (RFC 6901) without its first slash.
func below(path, name string) string {
	name = strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
	if path == "" {
		return name
	}
	return path + "/" + name
}

// canonical is the arguments as one text that does not depend on how they were written: names in
// order, no spaces, no escapes that need not be.
func canonical(arguments []byte) (string, error) {
	if len(bytes.TrimSpace(arguments)) == 0 {
		return "", nil
	}
	dec := json.NewDecoder(bytes.NewReader(arguments))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return "", errors.New("they are not JSON")
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

// maxNumberBytes is the longest number that is looked at: longer ones only cost time.
const maxNumberBytes = 64

// digits behind the point that a decimal has.
const (
	decimalDigits = 4
	decimalScale  = 10_000
)

// decimal is a JSON number with four digits behind the point, rounded away from zero, so that what is
// over a limit stays over it. What a decimal can't hold becomes the largest one, or the smallest.
func decimal(s string) (types.Decimal, error) {
	if len(s) > maxNumberBytes {
		return types.Decimal{}, fmt.Errorf("they have a number of more than %d characters", maxNumberBytes)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return types.Decimal{}, errors.New("they have a number that is none")
	}
	const most = 9.2e14 // below 2^63 / decimalScale
	mantissa, _, _ := strings.Cut(strings.ToLower(s), "e")
	zero := !strings.ContainsAny(mantissa, "123456789")
	switch {
	case zero:
		return types.NewDecimal(0, -decimalDigits)
	case f >= most:
		return types.NewDecimal(math.MaxInt64, -decimalDigits)
	case f <= -most:
		return types.NewDecimal(math.MinInt64, -decimalDigits)
	case math.Abs(f) < 1.0/decimalScale:
		if strings.HasPrefix(s, "-") {
			return types.NewDecimal(-1, -decimalDigits)
		}
		return types.NewDecimal(1, -decimalDigits)
	}
	r, ok := new(big.Rat).SetString(s) // its exponent is small: its value is between the two above
	if !ok {
		return types.Decimal{}, errors.New("they have a number that is none")
	}
	r.Mul(r, big.NewRat(decimalScale, 1))
	q, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	if rest.Sign() != 0 {
		q.Add(q, big.NewInt(int64(r.Sign())))
	}
	return types.NewDecimal(q.Int64(), -decimalDigits)
}
