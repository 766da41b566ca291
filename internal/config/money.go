package config

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
)

// Dollars is an amount of US dollars, read digit by digit into micro-cents (1 US cent = 1,000,000):
// no float comes between what the operator wrote and what is charged.
type Dollars int64

// dollarDigits is how many digits behind the point a micro-cent allows.
const dollarDigits = 8

// UnmarshalYAML reads 12, 0.25 or "0.00000001".
func (d *Dollars) UnmarshalYAML(b []byte) error {
	n, err := parseDollars(strings.Trim(string(bytes.TrimSpace(b)), `"'`))
	*d = Dollars(n)
	return err
}

func parseDollars(s string) (int64, error) {
	whole, part, _ := strings.Cut(s, ".")
	digits := func(s string) bool { return strings.Trim(s, "0123456789") == "" }
	if whole+part == "" || !digits(whole) || !digits(part) || len(part) > dollarDigits {
		return 0, stead.Invalid("", "%.40q is no amount of US dollars: write digits, and at most %d behind a point", s, dollarDigits)
	}
	n, err := strconv.ParseInt(whole+part+strings.Repeat("0", dollarDigits-len(part)), 10, 64)
	if err != nil || n > math.MaxInt64/1000 {
		return 0, stead.Invalid("", "%.40q US dollars are more than can be counted", s)
	}
	return n, nil
}

// String is the amount as a person would write it.
func (d Dollars) String() string {
	const perDollar = 100_000_000
	return fmt.Sprintf("%d.%08d", int64(d)/perDollar, int64(d)%perDollar)
}
