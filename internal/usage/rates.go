package usage

import (
	"math"
	"math/bits"
	"strings"
)

// ToolPrice is what calls of a tool cost.
type ToolPrice struct {
	Name string // as records name it: "server/tool", "tool"; "server/*" is any of a server, "*" any at all
	Call int64  // micro-cents
}

// Rates are what an environment costs, by what it uses. A rate of 0 is nothing.
type Rates struct {
	Hour    int64  `json:"hour,omitempty"`    // micro-cents an hour in which it is resident
	Month   int64  `json:"month,omitempty"`   // micro-cents a gigabyte that is stored for 30 days
	Egress  int64  `json:"egress,omitempty"`  // micro-cents a gigabyte that leaves or enters it
	Version string `json:"version,omitempty"` // of the price book
}

// Units of rates. A gigabyte is 10^9 bytes.
const (
	millisPerHour          = 3_600_000
	bytesPerGigabyte       = 1_000_000_000
	megabyteSecondsInMonth = 1000 * 30 * 24 * 3600 // of a gigabyte
)

// Cost is what quantities of a kind cost, in micro-cents, rounded up; 0 without rates.
func (r *Rates) Cost(kind Kind, q Quantities) int64 {
	if r == nil {
		return 0
	}
	switch kind {
	case Environment:
		return share(r.Hour, q.Millis, millisPerHour)
	case Storage:
		return share(r.Month, q.MegabyteSeconds, megabyteSecondsInMonth)
	case Egress:
		return share(r.Egress, q.SentBytes+q.ReceivedBytes, bytesPerGigabyte)
	}
	return 0
}

// share is rate × n / of, rounded up; what leaves int64 is its greatest number.
func share(rate, n, of int64) int64 {
	hi, lo := bits.Mul64(uint64(max(rate, 0)), uint64(max(n, 0)))
	lo, carry := bits.Add64(lo, uint64(of-1), 0)
	if hi += carry; hi >= uint64(of) {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, uint64(of))
	return int64(min(q, math.MaxInt64))
}

// edition is the one that is valid at a time; nil: none is.
func (b *Book) edition(at int64) *Edition {
	if b == nil {
		return nil
	}
	all := *b.editions.Load()
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].From <= at {
			return &all[i]
		}
	}
	return nil
}

// Tool is what a call of a tool costs that begins at a time, in micro-cents, and the version of the book that
// says so; "": none does. The line that names the tool counts before one of its server, and that before "*".
func (b *Book) Tool(at int64, name string) (cost int64, version string) {
	e := b.edition(at)
	if e == nil {
		return 0, ""
	}
	server, _, _ := strings.Cut(name, "/")
	for _, n := range []string{name, server + "/*", "*"} {
		for _, t := range e.Tools {
			if t.Name == n {
				return t.Call, e.Version
			}
		}
	}
	return 0, ""
}

// Rates are those of environments at a time; nil: they cost nothing.
func (b *Book) Rates(at int64) *Rates {
	e := b.edition(at)
	if e == nil || e.Rates == (Rates{}) {
		return nil
	}
	r := e.Rates
	r.Version = e.Version
	return &r
}
