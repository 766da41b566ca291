package gemini

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// fault is a google.rpc.Status as JSON.
type fault struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Status  string `json:"status"` // google.rpc.Code
	Details []struct {
		RetryDelay string `json:"retryDelay"` // RetryInfo: "34.5s"
		Reason     string `json:"reason"`     // ErrorInfo
		Violations []struct {
			Quota string `json:"quotaId"`
		} `json:"violations"` // QuotaFailure
	} `json:"details"`
}

func (f *fault) common() upstream.Fault {
	code := ""
	if f.Code != 0 {
		code = strconv.Itoa(f.Code)
	}
	return upstream.Fault{Message: f.Message, Type: f.Status, Code: code}
}

// explain maps an error reply: {"error": fault}, or a list of one such object.
func explain(status int, h http.Header, body []byte, now time.Time) *model.Error {
	body = bytes.TrimSpace(body)
	var list []json.RawMessage
	if json.Unmarshal(body, &list) == nil && len(list) > 0 {
		body = list[0]
	}
	var reply struct {
		Error fault `json:"error"`
	}
	_ = json.Unmarshal(body, &reply) // what cannot be read is not worth showing: the status says the most
	e := upstream.StatusError(status, h, reply.Error.common(), reply.Error.known(), now)
	if e.Retry && e.RetryAfter == 0 {
		e.RetryAfter = reply.Error.delay()
	}
	return e
}

// delay is how long RetryInfo asks to wait; 0 for nothing.
func (f *fault) delay() time.Duration {
	for _, d := range f.Details {
		if n, err := time.ParseDuration(d.RetryDelay); err == nil && n > 0 {
			return min(n, upstream.MaxRetryAfter)
		}
	}
	return 0
}

// known maps the statuses; nil for others.
func (f *fault) known() *model.Error {
	switch f.Status {
	case "RESOURCE_EXHAUSTED":
		for _, d := range f.Details {
			for _, v := range d.Violations {
				if strings.Contains(v.Quota, "PerDay") {
					return &model.Error{Code: model.CodeUsageLimit, Message: "the model provider's quota is used up"}
				}
			}
		}
		return &model.Error{Code: model.CodeRateLimit, Message: "the model provider limits the rate of calls", Retry: true}
	case "UNAUTHENTICATED", "PERMISSION_DENIED":
		return &model.Error{Code: model.CodeAuthentication, Message: "the model provider refused the credentials"}
	case "NOT_FOUND":
		return &model.Error{Code: model.CodeNotFound, Message: "the model provider does not know the model"}
	case "UNAVAILABLE":
		return &model.Error{Code: model.CodeOverloaded, Message: "the model provider is overloaded", Retry: true}
	case "DEADLINE_EXCEEDED":
		return &model.Error{Code: model.CodeTimeout, Message: "the model provider did not answer in time", Retry: true}
	case "INTERNAL":
		return &model.Error{Code: model.CodeServer, Message: "the model provider failed", Retry: true}
	case "INVALID_ARGUMENT":
		return f.invalid()
	}
	return nil
}

// invalid tells apart what the wire has one status for.
func (f *fault) invalid() *model.Error {
	for _, d := range f.Details {
		if d.Reason == "API_KEY_INVALID" {
			return &model.Error{Code: model.CodeAuthentication, Message: "the model provider refused the credentials"}
		}
	}
	if strings.HasPrefix(f.Message, "The input token count") {
		return &model.Error{Code: model.CodeContextLength, Message: "the conversation is too long for the model"}
	}
	return &model.Error{Code: model.CodeInvalid, Message: "the model provider refused the request"}
}
