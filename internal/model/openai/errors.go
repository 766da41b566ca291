package openai

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// explain maps an error reply to a turn error code.
func explain(status int, h http.Header, body []byte, now time.Time) *model.Error {
	f := parseFault(body)
	e := upstream.StatusError(status, h, f, byCode(f), now)
	if e.Code == model.CodeRateLimit && e.RetryAfter == 0 {
		e.RetryAfter = untilReset(h)
	}
	return e
}

// untilReset is how long to wait by the rate-limit headers, whose resets are spans like 1s and 6m0s
// (platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers); Azure writes seconds as well.
func untilReset(h http.Header) time.Duration {
	var limits []upstream.Limit
	for _, what := range []string{"Requests", "Tokens"} {
		text := h.Get("X-Ratelimit-Reset-" + what)
		wait, err := time.ParseDuration(text)
		if err != nil {
			wait, err = time.ParseDuration(text + "s")
		}
		if err == nil {
			limits = append(limits, upstream.Limit{Remaining: h.Get("X-Ratelimit-Remaining-" + what), Wait: wait})
		}
	}
	return upstream.UntilReset(limits...)
}

// streamFault maps a failure that comes within a stream.
func streamFault(f upstream.Fault) *model.Error { return upstream.StreamError(f, byCode(f)) }

// parseFault reads an error reply: {"error": fault}, a fault itself, {"detail": …}, or a list of
// one such object. Anything else, such as a proxy's HTML, is not worth showing.
func parseFault(body []byte) upstream.Fault {
	body = bytes.TrimSpace(body)
	var list []json.RawMessage
	if json.Unmarshal(body, &list) == nil && len(list) > 0 {
		body = list[0]
	}
	var reply struct {
		Error  *upstream.Fault
		Detail json.RawMessage
	}
	var f upstream.Fault
	if json.Unmarshal(body, &reply) != nil {
		return f
	}
	if reply.Error != nil {
		return *reply.Error
	}
	_ = f.UnmarshalJSON(body) // never fails
	if f.Message == "" {
		f.Message = upstream.Word(reply.Detail)
	}
	return f
}

// byCode maps the codes and types that mean the same wherever they come; nil for the others.
func byCode(f upstream.Fault) *model.Error {
	for _, code := range []string{f.Code, f.Type, f.Inner} {
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
		case "cyber_policy", "content_filter", "ResponsibleAIPolicyViolation": // the latter two: Azure's filter of prompts
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
