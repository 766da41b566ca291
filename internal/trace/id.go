package trace

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
)

// Parent is the span of somebody else's trace that a turn is a part of: what a traceparent header says (W3C Trace Context, section 3.2).
type Parent struct {
	TraceID string // 32 hex digits
	SpanID  string // 16 hex digits
	Flags   byte
}

// Lengths of the fields of a traceparent header, in hex digits.
const (
	versionDigits = 2
	traceDigits   = 32
	spanDigits    = 16
	flagDigits    = 2
)

// ParseParent reads a traceparent header; false for what is none. Of a version that is to come it reads what version 00 has, as
// the specification says.
func ParseParent(header string) (Parent, bool) {
	f := strings.Split(header, "-")
	if len(f) < 4 || f[0] == "00" && len(f) != 4 || f[0] == "ff" {
		return Parent{}, false
	}
	for i, n := range []int{versionDigits, traceDigits, spanDigits, flagDigits} {
		if len(f[i]) != n || strings.Trim(f[i], "0123456789abcdef") != "" {
			return Parent{}, false
		}
	}
	if strings.Trim(f[1], "0") == "" || strings.Trim(f[2], "0") == "" {
		return Parent{}, false
	}
	flags, err := strconv.ParseUint(f[3], 16, 8)
	return Parent{f[1], f[2], byte(flags)}, err == nil
}

// String is the header of version 00 that says it.
func (p Parent) String() string {
	return "00-" + p.TraceID + "-" + p.SpanID + "-" + hex.EncodeToString([]byte{p.Flags})
}

// traceID is the trace of the turn that an event made, where nobody said of which it is a part.
func traceID(s stead.SessionID, turn stead.Seq) string {
	sum := sha256.Sum256([]byte("stead trace\n" + string(s) + "\n" + strconv.FormatInt(int64(turn), 10)))
	return hex.EncodeToString(sum[:traceDigits/2])
}

// spanID names the span that an event of the journal began; at tells it from others that the event began.
func spanID(s stead.SessionID, kind string, seq stead.Seq, at string) string {
	sum := sha256.Sum256([]byte("stead span\n" + string(s) + "\n" + kind + "\n" + strconv.FormatInt(int64(seq), 10) + "\n" + at))
	return hex.EncodeToString(sum[:spanDigits/2])
}
