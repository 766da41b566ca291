package anthropic

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// explain maps an error reply: {"type":"error","error":{"type","message"}}.
func explain(status int, h http.Header, body []byte, now time.Time) *model.Error {
	var reply struct {
		Error upstream.Fault `json:"error"`
	}
	_ = json.Unmarshal(body, &reply) // what cannot be read is not worth showing: the status says the most
	e := upstream.StatusError(status, h, reply.Error, known(reply.Error), now)
	if e.Code == model.CodeRateLimit && e.RetryAfter == 0 {
		e.RetryAfter = untilReset(h, now)
	}
	return e
}

// untilReset is how long to wait by the rate-limit headers, whose resets are dates of RFC 3339
// (platform.claude.com/docs/en/api/rate-limits#response-headers).
func untilReset(h http.Header, now time.Time) time.Duration {
	var limits []upstream.Limit
	for _, what := range []string{"Requests", "Tokens", "Input-Tokens", "Output-Tokens"} {
		if at, err := time.Parse(time.RFC3339, h.Get("Anthropic-Ratelimit-"+what+"-Reset")); err == nil {
			limits = append(limits, upstream.Limit{Remaining: h.Get("Anthropic-Ratelimit-" + what + "-Remaining"), Wait: at.Sub(now)})
		}
	}
	return upstream.UntilReset(limits...)
}

// known maps the types of error; nil for others.
func known(f upstream.Fault) *model.Error {
	switch f.Type {
	case "rate_limit_error":
		return &model.Error{Code: model.CodeRateLimit, Message: "the model provider limits the rate of calls", Retry: true}
	case "overloaded_error":
		return &model.Error{Code: model.CodeOverloaded, Message: "the model provider is overloaded", Retry: true}
	case "api_error":
		return &model.Error{Code: model.CodeServer, Message: "the model provider failed", Retry: true}
	case "timeout_error":
		return &model.Error{Code: model.CodeTimeout, Message: "the model provider did not answer in time", Retry: true}
	case "authentication_error", "permission_error":
		return &model.Error{Code: model.CodeAuthentication, Message: "the model provider refused the credentials"}
	case "billing_error":
		return &model.Error{Code: model.CodeUsageLimit, Message: "the model provider's quota is used up"}
	case "not_found_error":
		return &model.Error{Code: model.CodeNotFound, Message: "the model provider does not know the model"}
	case "request_too_large":
		return &model.Error{Code: model.CodeContextLength, Message: "the conversation is too large for the model provider"}
	case "invalid_request_error":
		return invalid(f.Message)
	}
	return nil
}

// invalid tells apart what the wire has one type for.
func invalid(message string) *model.Error {
	for _, begin := range []string{"prompt is too long", "input length and `max_tokens` exceed context limit"} {
		if strings.HasPrefix(message, begin) {
			return &model.Error{Code: model.CodeContextLength, Message: "the conversation is too long for the model"}
		}
	}
	if strings.HasPrefix(message, "Your credit balance is too low") {
		return &model.Error{Code: model.CodeUsageLimit, Message: "the model provider's quota is used up"}
	}
	return &model.Error{Code: model.CodeInvalid, Message: "the model provider refused the request"}
}
