package cedar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go/types"
)

// flatten names every text, number and boolean of a JSON object by its path, as far as policies look into it. What could be read in
// two ways is an error, and so a no: a name that stands twice in one object, of which the tool might
// take the other one than the policy.
func flatten(arguments []byte, looks *tagNames, texts, numbers types.RecordMap) error {
	if len(bytes.TrimSpace(arguments)) == 0 {
		return nil
	}
	if !json.Valid(arguments) {
		if dec := json.NewDecoder(bytes.NewReader(arguments)); dec.Decode(new(json.RawMessage)) == nil {
			return errors.New("they are more than one JSON value")
		}
		return errors.New("they are not JSON")
	}
	f := flattener{rest: arguments, looks: looks, texts: texts, numbers: numbers}
	f.path = f.room[:0]
	f.space()
	return f.value(0)
}

// flattener reads JSON that is known to be valid, which leaves little to look at.
type flattener struct {
	rest           []byte // that was not read yet
	path           []byte // of what is read
	looks          *tagNames
	texts, numbers types.RecordMap
	values         int
	room           [128]byte // for most paths
}

// space passes over white space.
func (f *flattener) space() {
	for len(f.rest) > 0 && (f.rest[0] == ' ' || f.rest[0] == '\t' || f.rest[0] == '\n' || f.rest[0] == '\r') {
		f.rest = f.rest[1:]
	}
}

// sign passes over one byte, which the caller knows, and the white space around it.
func (f *flattener) sign() {
	f.space()
	f.rest = f.rest[1:]
	f.space()
}

// closes passes over the end of an object or array, or over the comma before what follows.
func (f *flattener) closes(end byte) bool {
	f.space()
	last := f.rest[0] == end
	f.sign()
	return last
}

// text reads a string. It is a part of the arguments, where that is how it is written.
func (f *flattener) text() ([]byte, error) {
	plain, i := true, 1
	for ; f.rest[i] != '"'; i++ {
		if f.rest[i] == '\\' {
			plain = false
			i++
		}
	}
	raw := f.rest[:i+1]
	f.rest = f.rest[i+1:]
	if plain && utf8.Valid(raw) {
		return raw[1:i], nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, errors.New("they are not JSON")
	}
	return []byte(s), nil
}

// keep keeps a value by its path, if policies look at it.
func (f *flattener) keep(value []byte, number *types.Decimal) error {
	if f.values++; f.values > MaxTags {
		return fmt.Errorf("they have more than %d values", MaxTags)
	}
	if !f.looks.hasBytes(f.path) {
		return nil
	}
	path := types.String(f.path)
	f.texts[path] = types.String(value)
	if number != nil {
		f.numbers[path] = *number
	}
	return nil
}

func (f *flattener) value(depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("they are nested more than %d deep", MaxDepth)
	}
	switch f.rest[0] {
	case '{':
		return f.object(depth)
	case '[':
		return f.array(depth)
	case '"':
		s, err := f.text()
		if err != nil {
			return err
		}
		return f.keep(s, nil)
	case 't', 'f', 'n':
		end := 0
		for end < len(f.rest) && f.rest[end] >= 'a' && f.rest[end] <= 'z' {
			end++
		}
		word := f.rest[:end]
		f.rest = f.rest[end:]
		if word[0] == 'n' { // null
			return nil
		}
		return f.keep(word, nil)
	}
	end := 0
	for end < len(f.rest) && strings.IndexByte("+-.0123456789eE", f.rest[end]) >= 0 {
		end++
	}
	number := f.rest[:end]
	f.rest = f.rest[end:]
	d, err := decimal(number)
	if err != nil {
		return err
	}
	return f.keep(number, &d)
}

func (f *flattener) object(depth int) error {
	f.sign()
	if f.rest[0] == '}' {
		f.sign()
		return nil
	}
	var few [8][]byte // names that were seen: most objects have no more
	seen := few[:0]
	var many map[string]bool
	path := len(f.path)
	for {
		name, err := f.text()
		if err != nil {
			return err
		}
		if many[string(name)] || many == nil && slices.ContainsFunc(seen, func(s []byte) bool { return bytes.Equal(s, name) }) {
			return fmt.Errorf("they have %.40q twice", name)
		}
		if many == nil && len(seen) == len(few) {
			many = map[string]bool{}
			for _, s := range seen {
				many[string(s)] = true
			}
		}
		if many != nil {
			many[string(name)] = true
		} else {
			seen = append(seen, name)
		}
		f.sign() // the colon
		f.below(name, depth)
		if err := f.value(depth + 1); err != nil {
			return err
		}
		f.path = f.path[:path]
		if f.closes('}') {
			return nil
		}
	}
}

func (f *flattener) array(depth int) error {
	f.sign()
	if f.rest[0] == ']' {
		f.sign()
		return nil
	}
	path := len(f.path)
	var digits [20]byte
	for i := 0; ; i++ {
		f.below(strconv.AppendInt(digits[:0], int64(i), 10), depth)
		if err := f.value(depth + 1); err != nil {
			return err
		}
		f.path = f.path[:path]
		if f.closes(']') {
			return nil
		}
	}
}

// below goes one step further: a path is a JSON Pointer (RFC 6901) without its first slash. What is in an object of the name "" has a
// path of its own: "/a", and not that of the "a" beside it.
func (f *flattener) below(name []byte, depth int) {
	if depth > 0 {
		f.path = append(f.path, '/')
	}
	if !bytes.ContainsAny(name, "~/") {
		f.path = append(f.path, name...)
		return
	}
	for _, c := range name {
		switch c {
		case '~':
			f.path = append(f.path, "~0"...)
		case '/':
			f.path = append(f.path, "~1"...)
		default:
			f.path = append(f.path, c)
		}
	}
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
func decimal(written []byte) (types.Decimal, error) {
	if len(written) > maxNumberBytes {
		return types.Decimal{}, fmt.Errorf("they have a number of more than %d characters", maxNumberBytes)
	}
	if d, ok := plainDecimal(written); ok {
		return d, nil
	}
	s := string(written)
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

// plainDecimal is decimal for a number as most are written: few digits, up to four of them behind the point, and no exponent.
func plainDecimal(s []byte) (types.Decimal, bool) {
	const most = 14 // digits: times decimalScale, that is still below 2^63
	digits, negative := bytes.CutPrefix(s, []byte{'-'})
	whole, part, _ := bytes.Cut(digits, []byte{'.'})
	if len(whole) > most || len(part) > decimalDigits {
		return types.Decimal{}, false
	}
	n := int64(0)
	for i := range len(whole) + decimalDigits {
		digit := byte('0')
		if i < len(whole) {
			digit = whole[i]
		} else if j := i - len(whole); j < len(part) {
			digit = part[j]
		}
		if digit < '0' || digit > '9' {
			return types.Decimal{}, false
		}
		n = n*10 + int64(digit-'0')
	}
	if negative {
		n = -n
	}
	d, err := types.NewDecimal(n, -decimalDigits)
	return d, err == nil
}
