// Package model is the contract of a language model: one request in, a stream of deltas out.
//
// Shape: Request {instructions, items, tools} → Delta*; the stream is, per output index, text
// deltas and then one finished item, and at the very end exactly one Done with the usage.
//
//	Text(0,"Hel") Text(0,"lo") Item(0,message) Item(1,function_call) Done(usage)
//
// Delivery: a stream that ends without Done and without an error is a broken stream; adapters
// report it as an *Error that may be retried. Ending ctx stops the upstream call at once.
// Adapters hold no state between calls and never retry: the runner does, durably.
//
// Errors: the iterator's error is an *Error; everything after it is undefined.
//
// Source: the item vocabulary is the Responses API's (npm openai 7.57.0, resources/responses).
package model

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/stead-dev/stead"
)

// Model generates. Implementations must be safe for concurrent use.
type Model interface {
	Generate(ctx context.Context, req Request) iter.Seq2[Delta, error]
}

// Request is everything that one call needs. All texts are inline (blobs are loaded already).
type Request struct {
	Model           string // as the provider knows it
	Instructions    string
	Items           []stead.Item // conversation so far: message, reasoning, function_call, function_call_output
	Tools           []ToolSpec
	Format          *Format // nil: plain text
	Verbosity       string  // "low", "medium", "high" or ""
	Effort          string  // reasoning effort or "" for the model's default
	ReasonSummary   string  // "auto", "concise", "detailed" or ""
	ServiceTier     string  // "" or "auto" for the provider's default
	MaxOutputTokens int     // 0: the provider's default
	CacheKey        string  // stable for a session: prompt cache routing
	User            string  // stable, opaque end-user id; may be empty
}

// ToolSpec is a tool as the model sees it.
type ToolSpec struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"` // JSON Schema of an object
}

// Format asks for structured output.
type Format struct {
	Name   string          `json:"name"`
	Schema json.RawMessage `json:"schema"`
	Strict bool            `json:"strict"`
}

// DeltaKind says which fields of a Delta are set.
type DeltaKind int

// The kinds of delta.
const (
	// TextDelta: Index, Text: a piece of the message at Index.
	TextDelta DeltaKind = iota + 1
	// ReasoningDelta: Index, Part, Text: a piece of the reasoning summary's part.
	ReasoningDelta
	// ItemDone: Index, Item: the finished item; its texts are the sum of the deltas before it.
	ItemDone
	// Done: Usage, Finish, Model: the end.
	Done
)

// Finish says why the model stopped.
type Finish string

// The reasons to stop.
const (
	FinishStop      Finish = "stop"       // a complete answer
	FinishToolCalls Finish = "tool_calls" // it wants tools
	FinishLength    Finish = "length"     // the output limit cut it off
	FinishFilter    Finish = "filter"     // a safety system cut it off
	FinishRefusal   Finish = "refusal"    // the model declined; the message says so
)

// Delta is one piece of a stream.
type Delta struct {
	Kind   DeltaKind
	Index  int // output index within this call, from 0, without gaps
	Part   int // summary index of a ReasoningDelta, from 0
	Text   string
	Item   *stead.Item
	Usage  *stead.Usage // nil when the upstream does not say
	Finish Finish
	Model  string // the model that answered, as the upstream names it
}

// Error is a failed call. Code is one of the Agents API's turn error codes.
type Error struct {
	Code       string        // "rate_limit_exceeded", "server_overloaded", "context_length_exceeded", …
	Status     int           // the upstream's HTTP status; 0 when there was none
	Message    string        // safe to show
	Retry      bool          // trying again may help
	RetryAfter time.Duration // the upstream's wish; 0: none
	Err        error         // the cause, for logs
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// The turn error codes that model calls can end in (Agents API, SessionTurnError).
const (
	CodeContextLength  = "context_length_exceeded"
	CodeMaxOutput      = "max_output_tokens"
	CodeRateLimit      = "rate_limit_exceeded"
	CodeUsageLimit     = "usage_limit_exceeded"
	CodeOverloaded     = "server_overloaded"
	CodeConnection     = "connection_failed"
	CodeServer         = "server_error"
	CodeAuthentication = "authentication_error"
	CodeInvalid        = "invalid_request"
	CodeNotFound       = "resource_not_found"
	CodeTimeout        = "request_timeout"
	CodePolicy         = "cyber_policy"
)

// Info is what the runner must know of a model before it calls it.
type Info struct {
	Name            string // as agents ask for it
	Provider        string // as configured: "sim", "openai"
	Upstream        string // as the provider knows it
	ContextWindow   int    // tokens
	MaxOutputTokens int    // tokens; 0: unknown
	Price           *Price // nil: not priced
}

// Price is what a million tokens cost, in micro-cents (1 US cent = 1,000,000).
type Price struct {
	Input, CachedInput, Output int64
}

// Cost of a usage in micro-cents, rounded up.
func (p *Price) Cost(u stead.Usage) int64 {
	if p == nil {
		return 0
	}
	const perMillion = 1_000_000
	sum := (u.InputTokens-u.CachedTokens)*p.Input + u.CachedTokens*p.CachedInput + u.OutputTokens*p.Output
	return (sum + perMillion - 1) / perMillion
}

// Catalog resolves the names that agents use.
type Catalog interface {
	// Resolve returns the model for a name: an alias, or "provider/model". KindNotFound with near
	// matches in the hint otherwise.
	Resolve(name string) (Info, Model, error)
	// List returns every name that can be resolved without guessing, sorted.
	List() []Info
}
