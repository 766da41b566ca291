package usage

import (
	"encoding/hex"
	"strings"

	"github.com/google/uuid"
)

// RequestPrefix begins the id of a request.
const RequestPrefix = "req_"

// requestTail are the digits at the end of a request's id that the id of its call's record ends with
// as well: with them, and the time of both, a record is found by its request.
const requestTail = 20

// NewRequestID makes the id of a request: the prefix and a UUIDv7 in hex.
func NewRequestID() string {
	u := uuid.Must(uuid.NewV7())
	return RequestPrefix + hex.EncodeToString(u[:])
}

// NewCallID makes the id of the record of a stateless call that ends now: a UUIDv7, which ends as that
// of its request; "" is of no request.
func NewCallID(request string) (id string, at int64) {
	u := uuid.Must(uuid.NewV7())
	digits := hex.EncodeToString(u[:])
	if tail, ok := tailOf(request); ok {
		digits = digits[:len(digits)-requestTail] + tail
	}
	id = Prefix + digits
	at, _ = TimeOf(id)
	return id, at
}

// OfRequest reports whether a record is of the call of a request.
func OfRequest(record, request string) bool {
	tail, ok := tailOf(request)
	return ok && strings.HasSuffix(record, tail)
}

// RequestTime is when a request began, Unix milliseconds; false for what is no request's id.
func RequestTime(request string) (int64, bool) {
	digits, ok := strings.CutPrefix(request, RequestPrefix)
	if !ok {
		return 0, false
	}
	return TimeOf(Prefix + digits)
}

func tailOf(request string) (string, bool) {
	if _, ok := RequestTime(request); !ok {
		return "", false
	}
	return request[len(request)-requestTail:], true
}
