package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/stead-dev/stead/internal/model"
)

// fault is what upstreams say about a failure, in a reply or in the middle of a stream.
type fault struct {
	Message string
	Type    string
	Code    string // a word, or a number as some servers have it
}

// UnmarshalJSON reads the object {"message","type","code"} and the bare string of simple servers.
// Members of unexpected types are left out.
func (f *fault) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		f.Message = text
		return nil
	}
	var raw map[string]json.RawMessage
	if json.Unmarshal(b, &raw) != nil {
		return nil
	}
	f.Message, f.Type, f.Code = word(raw["message"]), word(raw["type"]), word(raw["code"])
	return nil
}

// word is a JSON string's text, a number's digits, and "" for anything else.
func word(raw json.RawMessage) string {
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

// parseFault reads an error reply: {"error": fault}, a fault itself, {"detail": …}, or a list of
// one such object. Anything else, such as a proxy's HTML, is not worth showing.
func parseFault(body []byte) fault {
	body = bytes.TrimSpace(body)
	var list []json.RawMessage
	if json.Unmarshal(body, &list) == nil && len(list) > 0 {
		body = list[0]
	}
	var reply struct {
		Error  *fault
		Detail json.RawMessage
	}
	var f fault
	if json.Unmarshal(body, &reply) != nil {
		return f
	}
	if reply.Error != nil {
		return *reply.Error
	}
	_ = f.UnmarshalJSON(body) // never fails
	if f.Message == "" {
		f.Message = word(reply.Detail)
	}
	return f
}

// statusError maps an error reply to a turn error code.
func statusError(status int, h http.Header, body []byte, now time.Time) *model.Error {
	f := parseFault(body)
	e := byCode(f)
	if e == nil {
		e = byStatus(status)
	}
	e.Status = status
	if e.Code == model.CodeRateLimit || e.Retry {
		e.RetryAfter = retryAfter(h, now)
	}
	switch h.Get("X-Should-Retry") { // OpenAI's own clients obey it
	case "true":
		e.Retry = true
	case "false":
		e.Retry = false
	}
	describe(e, f)
	return e
}

// streamFault maps a failure that comes within a stream. Without a known code it is the server's
// fault and may pass.
func streamFault(f fault) *model.Error {
	e := byCode(f)
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

// byCode maps the codes and types that mean the same wherever they come; nil for the others.
func byCode(f fault) *model.Error {
	for _, code := range []string{f.Code, f.Type} {
		switch code {
		case "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "usage_limit_reached":
			return &model.Error{Code: model.CodeUsageLimit, Message: "the model provider's quota is used up"}
		case "rate_limit_exceeded", "rate_limit_error":
			return &model.Error{Code: model.CodeRateLimit, Message: "the model provider limits the rate of calls", Retry: true}
		case "context_length_exceeded", "exceed_context_size_error": // the latter: llama.cpp
			return &model.Error{Code: model.CodeContextLength, Message: "the conversation is too long for the model"}
		case "server_is_overloaded", "server_overloaded", "slow_down", "overloaded_error":
			return &model.Error{Code: model.CodeOverloaded, Message: "the model provider is overloaded", Retry: true}
		case "invalid_api_key", "authentication_error":
			return &model.Error{Code: model.CodeAuthentication, Message: "the model provider refused the credentials"}
		case "model_not_found":
			return &model.Error{Code: model.CodeNotFound, Message: "the model provider does not know the model"}
		case "cyber_policy":
			return &model.Error{Code: model.CodePolicy, Message: "the model provider's policy forbids the request"}
		case "invalid_prompt", "invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url",
			"image_too_large", "image_too_small", "image_parse_error", "image_content_policy_violation",
			"invalid_image_mode", "image_file_too_large", "unsupported_image_media_type", "empty_image_file",
			"failed_to_download_image", "image_file_not_found", "bio_policy", "data_residency_mismatch":
			return &model.Error{Code: model.CodeInvalid, Message: "the model provider refused the request"}
		}
	}
	return nil
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
		return &model.Error{Code: model.CodeInvalid, Message: "the model provider redirects elsewhere: mend its base_url"}
	}
	return &model.Error{Code: model.CodeInvalid, Message: "the model provider refused the request"}
}

// describe adds the upstream's own words, but for refused credentials: those quote the key.
func describe(e *model.Error, f fault) {
	if e.Status != 0 {
		e.Message += fmt.Sprintf(" (%d)", e.Status)
	}
	if e.Code == model.CodeAuthentication || f.Message == "" {
		return
	}
	e.Message += ": " + f.Message
}

// clean makes an error safe to show: shortened, on one line, without secrets.
func (p *Provider) clean(e *model.Error) *model.Error {
	if e == nil {
		return nil
	}
	e.Message = shorten(p.redact(e.Message))
	e.Err = p.scrub(e.Err)
	return e
}

func (p *Provider) redact(s string) string {
	for _, secret := range p.secrets {
		s = strings.ReplaceAll(s, secret, "[redacted]")
	}
	return s
}

// scrub replaces a cause that quotes a secret; the others stay as they are, for errors.Is.
func (p *Provider) scrub(err error) error {
	if err == nil {
		return nil
	}
	if s := err.Error(); p.redact(s) != s {
		return errors.New(p.redact(s))
	}
	return err
}

func shorten(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > maxMessageRunes {
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
