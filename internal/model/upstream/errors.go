package upstream

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/stead-dev/stead/internal/model"
)

// Fault is what upstreams say about a failure, in a reply or in the middle of a stream.
type Fault struct {
	Message string
	Type    string
	Code    string // a word, or a number as some servers have it
	Param   string // the request's field
	Inner   string // the code within that is more exact, as Azure has it
}

// UnmarshalJSON reads the object {"message","type","code","param"} and the bare string of simple servers.
// Members of unexpected types are left out.
func (f *Fault) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		f.Message = text
		return nil
	}
	var raw map[string]json.RawMessage
	if json.Unmarshal(b, &raw) != nil {
		return nil
	}
	var inner struct{ Code string }
	_ = json.Unmarshal(raw["innererror"], &inner) // absent for most
	f.Inner = inner.Code
	f.Message, f.Type, f.Code, f.Param = Word(raw["message"]), Word(raw["type"]), Word(raw["code"]), Word(raw["param"])
	return nil
}

// Word is a JSON string's text, a number's digits, and "" for anything else.
func Word(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	return ""
}

// StatusError is an error reply: known is what its code means, nil for what the status says alone.
func StatusError(status int, h http.Header, f Fault, known *model.Error, now time.Time) *model.Error {
	e := known
	if e == nil {
		e = byStatus(status)
	}
	e.Status = status
	if e.Code == model.CodeRateLimit || e.Retry {
		e.RetryAfter = retryAfter(h, now)
	}
	switch h.Get("X-Should-Retry") { // the clients of OpenAI and Anthropic obey it
	case "true":
		e.Retry = true
	case "false":
		e.Retry = false
	}
	describe(e, f)
	return e
}

// StreamError is a failure that comes within a stream. Without a known code, and a code that is no
// status, it is the server's fault and may pass.
func StreamError(f Fault, known *model.Error) *model.Error {
	e := known
	if e == nil {
		status, err := strconv.Atoi(f.Code)
		if err == nil && status >= 400 && status < 600 {
			e = byStatus(status)
			e.Status = status
		} else {
			e = &model.Error{Code: model.CodeServer, Message: "the model provider failed", Retry: true}
		}
	}
	describe(e, f)
	return e
}

func byStatus(status int) *model.Error {
	switch {
	case status == http.StatusTooManyRequests:
		return &model.Error{Code: model.CodeRateLimit, Message: "the model provider limits the rate of calls", Retry: true}
	case status == http.StatusPaymentRequired:
		return &model.Error{Code: model.CodeUsageLimit, Message: "the model provider's quota is used up"}
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return &model.Error{Code: model.CodeAuthentication, Message: "the model provider refused the credentials"}
	case status == http.StatusNotFound:
		return &model.Error{Code: model.CodeNotFound, Message: "the model provider does not know the model or the address"}
	case status == http.StatusRequestTimeout || status == http.StatusGatewayTimeout:
		return &model.Error{Code: model.CodeTimeout, Message: "the model provider did not answer in time", Retry: true}
	case status == http.StatusServiceUnavailable || status == 529: // 529: overloaded, as Anthropic and others have it
		return &model.Error{Code: model.CodeOverloaded, Message: "the model provider is overloaded", Retry: true}
	case status >= 500:
		return &model.Error{Code: model.CodeServer, Message: "the model provider failed", Retry: true}
	case status/100 == 3:
		return &model.Error{Code: model.CodeServer, Message: "the model provider redirects elsewhere: mend its base_url"}
	}
	return &model.Error{Code: model.CodeInvalid, Message: "the model provider refused the request"}
}

// describe adds the upstream's own words, but for refused credentials: those quote the key.
func describe(e *model.Error, f Fault) {
	if e.Status != 0 {
		e.Message += fmt.Sprintf(" (%d)", e.Status)
	}
	e.Upstream = cmp.Or(f.Code, f.Type)
	if e.Code == model.CodeAuthentication {
		return
	}
	e.Param = f.Param
	if f.Message != "" {
		e.Message += ": " + f.Message
	}
}

// Clean makes an error safe to show: shortened, on one line, without secrets.
func (c *Client) Clean(e *model.Error) *model.Error {
	if e == nil {
		return nil
	}
	e.Message = shorten(c.unquote(e.Message), maxMessageRunes)
	e.Upstream, e.Param = shorten(c.unquote(e.Upstream), maxNameRunes), shorten(c.unquote(e.Param), maxNameRunes)
	e.Err = c.scrub(e.Err)
	return e
}

func shorten(s string, most int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > most {
			b.WriteString("…")
			break
		}
		if unicode.IsControl(r) {
			r = ' '
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Limit is one of a provider's limits of rate, as its headers tell it.
type Limit struct {
	Remaining string        // as the header has it; "" where it does not say
	Wait      time.Duration // until it is whole again; 0 or less: nobody said
}

// UntilReset is how long to wait for limits, at most MaxResetWait: for the last of those that are used
// up, else for the first that is whole again, since one of them was not enough for the call.
func UntilReset(limits ...Limit) time.Duration {
	used, first := time.Duration(0), time.Duration(0)
	for _, l := range limits {
		switch {
		case l.Wait <= 0:
		case l.Remaining == "0":
			used = max(used, l.Wait)
		case first == 0 || l.Wait < first:
			first = l.Wait
		}
	}
	return min(cmp.Or(used, first), MaxResetWait)
}

// retryAfter reads the upstream's wish: retry-after-ms, else Retry-After in seconds or as a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if d, ok := span(h.Get("Retry-After-Ms"), time.Millisecond); ok {
		return d
	}
	text := h.Get("Retry-After")
	if d, ok := span(text, time.Second); ok {
		return d
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), MaxRetryAfter)
	}
	return 0
}

func span(text string, unit time.Duration) (time.Duration, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(n) || n < 0 {
		return 0, false
	}
	if n > float64(MaxRetryAfter/unit) {
		return MaxRetryAfter, true
	}
	return time.Duration(n * float64(unit)), true
}
