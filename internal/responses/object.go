package responses

import (
	"bytes"
	"encoding/json"

	"github.com/stead-dev/stead"
)

// Statuses of a response.
const (
	StatusQueued     = "queued"
	StatusInProgress = "in_progress"
	StatusCompleted  = "completed"
	StatusIncomplete = "incomplete"
	StatusFailed     = "failed"
	StatusCancelled  = "cancelled"
)

// Object is a response as it stands. As JSON it has the fields of its Echo as well.
type Object struct {
	Echo json.RawMessage `json:"-"`

	ID           string        `json:"id"`
	Object       string        `json:"object"` // "response"
	CreatedAt    int64         `json:"created_at"`
	CompletedAt  *int64        `json:"completed_at"`
	Status       string        `json:"status"`
	Error        *Failure      `json:"error"`
	Incomplete   *Incomplete   `json:"incomplete_details"`
	Model        string        `json:"model"`
	Output       []any         `json:"output"`
	Usage        *Usage        `json:"usage"`
	Previous     *string       `json:"previous_response_id"`
	Conversation *Conversation `json:"conversation,omitempty"`
}

// Failure says why a response failed.
type Failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Incomplete says why a response ended early: "max_output_tokens" or "content_filter".
type Incomplete struct {
	Reason string `json:"reason"`
}

// Conversation is where a response belongs.
type Conversation struct {
	ID string `json:"id"`
}

// Usage is the wire's usage.
type Usage struct {
	Input        int64 `json:"input_tokens"`
	InputDetails struct {
		Cached     int64 `json:"cached_tokens"`
		CacheWrite int64 `json:"cache_write_tokens"`
	} `json:"input_tokens_details"`
	Output        int64 `json:"output_tokens"`
	OutputDetails struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
	Total int64 `json:"total_tokens"`
}

// NewUsage writes a usage; nil stays nil.
func NewUsage(u *stead.Usage) *Usage {
	if u == nil {
		return nil
	}
	out := &Usage{Input: u.InputTokens, Output: u.OutputTokens, Total: u.Total()}
	out.InputDetails.Cached, out.InputDetails.CacheWrite = u.CachedTokens, u.CacheWriteTokens
	out.OutputDetails.Reasoning = u.ReasoningTokens
	return out
}

// own is Object without its MarshalJSON.
type own Object

// MarshalJSON implements json.Marshaler: the echo's fields, over which the response's own go.
func (o *Object) MarshalJSON() ([]byte, error) {
	o.Object = "response"
	if o.Output == nil {
		o.Output = []any{}
	}
	mine, err := json.Marshal((*own)(o))
	if err != nil || len(o.Echo) == 0 {
		return mine, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(o.Echo, &fields); err != nil {
		return nil, err
	}
	var set map[string]json.RawMessage
	if err := json.Unmarshal(mine, &set); err != nil {
		return nil, err
	}
	for name, value := range set {
		if name == "model" && bytes.Equal(value, []byte(`""`)) {
			continue // as it was asked for
		}
		fields[name] = value
	}
	return json.Marshal(fields)
}

// FailureOf is the API's code for a turn's: the ones that it does not know are the server's. What trying
// again does not mend never is.
func FailureOf(code, message string) *Failure {
	switch code {
	case "rate_limit_exceeded", "server_error", "context_length_exceeded":
	case "invalid_request":
		code = "invalid_prompt"
	case "usage_limit_exceeded":
		code = "insufficient_quota"
	case "resource_not_found":
		code = "model_not_found"
	default:
		message = code + ": " + message
		code = "server_error"
	}
	return &Failure{code, message}
}
