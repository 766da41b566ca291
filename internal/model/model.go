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
	"cmp"
	"context"
	"encoding/json"
	"io"
	"iter"
	"strings"
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

	// What a stateless caller may set besides; a session's turn leaves it to the model. An adapter
	// whose upstream has no such setting fails the call with CodeInvalid and names it: a wish that
	// silently does not happen is worse than a refusal.
	ToolChoice       string   // "": as "auto"; "none", "required", or ToolChoiceNamed + a tool's name
	SerialTools      bool     // at most one tool call a reply
	Temperature      *float64 // 0 … 2; nil: the model's own
	TopP             *float64 // 0 … 1; nil: the model's own
	Stop             []string // texts that end the answer, at most MaxStop
	PresencePenalty  *float64 // -2 … 2
	FrequencyPenalty *float64 // -2 … 2
	Seed             *int64

	Caller Caller // who asks; routers and meters look at it, upstreams never see it
}

// ToolChoiceNamed begins a ToolChoice that names the tool to call.
const ToolChoiceNamed = "tool:"

// MaxStop is the most stop texts of a request (OpenAI's chat completions).
const MaxStop = 4

// Caller is what is known of a call besides its content.
type Caller struct {
	Stateful bool // a session's turn, not a call of a stateless door
	Project  stead.ProjectID
	Agent    stead.AgentID   // "" of stateless calls
	Session  stead.SessionID // "" of stateless calls
	User     string          // the principal's id
	Key      string          // of one request of a stateless door, however often it is tried; "" of turns
	Affinity string          // what calls have in common that should go one way, for prompt caches; "" of turns
	Labels   stead.Labels
	Tried    []string // routes of this call that failed already, as Route has them
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
	// TextDelta: Index, Text, Refusal: a piece of the message at Index.
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
	FinishFilter    Finish = "filter"     // a safety system cut it off; the last message may be a refusal that says so
	FinishRefusal   Finish = "refusal"    // the model declined; the last message is a refusal that says so
)

// Delta is one piece of a stream.
type Delta struct {
	Kind  DeltaKind
	Index int // output index within this call, from 0, without gaps
	Part  int // summary index of a ReasoningDelta, from 0
	Text  string
	// Refusal: the message is a refusal. All pieces of one message say the same.
	Refusal bool
	Item    *stead.Item
	Usage   *stead.Usage // nil when the upstream does not say
	Finish  Finish
	Model   string // the model that answered, as the upstream names it
	Tier    string // of Done: the service tier that the upstream says it served; "": it does not say
	// Route is of Done: where the call went; nil when there was but one way. It is of the first delta as well
	// when another attempt was given up for it: whoever stops listening knows of that one then.
	Route *Route
}

// Route says where a call went and why.
type Route struct {
	Provider string `json:"provider"`         // as configured
	Model    string `json:"model"`            // as the provider knows it
	Region   string `json:"region,omitempty"` // as configured
	Tier     string `json:"tier,omitempty"`   // service tier that was served, as far as the upstream says; else that was asked for
	Why      string `json:"why,omitempty"`    // one line: what decided
	// Tried are the routes that were tried before and failed, as "provider/model: code".
	Tried []string `json:"tried,omitempty"`
	// Considered are the other routes of the model and why they were left out or stand behind, in the words of
	// "stead models explain", as "provider/model: why".
	Considered []string `json:"considered,omitempty"`
	// Price of this route; nil: not priced.
	Price *Price `json:"price,omitempty"`
	// Hedged is the attempt that ran beside this one and was given up, because this one spoke first.
	Hedged *Hedged `json:"hedged,omitempty"`
	// Lost are the attempts on routes before that broke off when their upstreams had the request, and may charge for it.
	Lost []*Hedged `json:"lost,omitempty"`
}

// Beside are the attempts beside this one that used something, or may have. r may be nil.
func (r *Route) Beside() []*Hedged {
	if r == nil {
		return nil
	}
	all := r.Lost
	if r.Hedged != nil {
		all = append([]*Hedged{r.Hedged}, all...)
	}
	return all
}

// Tried is a route that failed before another one was tried.
type Tried struct{ Provider, Model, Code string }

// TriedBefore reads Tried. r may be nil.
func (r *Route) TriedBefore() []Tried {
	if r == nil {
		return nil
	}
	var out []Tried
	for _, s := range r.Tried {
		provider, rest, _ := strings.Cut(s, "/") // a provider's name has no slash
		at := strings.LastIndex(rest, ": ")
		if at < 0 {
			continue
		}
		out = append(out, Tried{provider, rest[:at], rest[at+len(": "):]})
	}
	return out
}

// Both is what a call used with all of its attempts, of what the one used that won. r may be nil.
func (r *Route) Both(used stead.Usage, cost int64) (stead.Usage, int64) {
	for _, h := range r.Beside() {
		if h.Usage != nil {
			used, cost = used.Add(*h.Usage), cost+h.Cost
		}
	}
	return used, cost
}

// Hedged is the slower of two attempts of one call, or one of Lost.
type Hedged struct {
	Provider string       `json:"provider"`
	Model    string       `json:"model"`
	Region   string       `json:"region,omitempty"`
	Tier     string       `json:"tier,omitempty"`
	AfterMS  int64        `json:"after_ms"`        // when the second attempt began; 0: it was lost
	Usage    *stead.Usage `json:"usage,omitempty"` // nil: its provider did not say that it used anything
	// Unknown: it was cut off before its provider said what it used, and may be charged. Whoever meters the call
	// estimates Usage then: a request is read whole before the first word of its answer.
	Unknown bool   `json:"unknown,omitempty"`
	Price   *Price `json:"price,omitempty"`
	// Cost of Usage in micro-cents, and the version of the price book that it is by: whoever meters
	// the call fills them in.
	Cost   int64  `json:"cost,omitempty"`
	Prices string `json:"prices,omitempty"`
}

// Charged reports whether the attempt used something, or may have. h may be nil.
func (h *Hedged) Charged() bool { return h != nil && (h.Usage != nil || h.Unknown) }

// Error is a failed call. Code is one of the Agents API's turn error codes.
type Error struct {
	Code       string        // "rate_limit_exceeded", "server_overloaded", "context_length_exceeded", …
	Status     int           // the upstream's HTTP status; 0 when there was none
	Message    string        // safe to show
	Retry      bool          // trying again may help
	Stay       bool          // no other route is to be tried instead
	Own        bool          // a limit of this server, not the upstream's fault
	Route      *Route        // where the call went last; nil when there was but one way
	RetryAfter time.Duration // the upstream's wish; 0: none
	Upstream   string        // the upstream's own code or type, for doors that speak its dialect; ""
	Param      string        // the field of the request that the upstream names; ""
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

// CodeDialect is the code of a Forward that must be translated; it ends no turn.
const CodeDialect = "dialect_not_spoken"

// Forwarder is a Model whose upstream speaks the dialect of a stateless door: the door's request goes
// there as it is, and so does the answer, with every field that Stead does not know.
type Forwarder interface {
	// Forward posts Body. A *Error of CodeDialect says that the call would go to an upstream that does
	// not speak the dialect: the caller translates it to Generate or Embed instead, with what its Route
	// says was tried before; Err is then how the last of those failed. An answer that is not a success
	// is a *Error as well. The caller closes Answer.Body; ending ctx ends the call.
	Forward(ctx context.Context, f Forward) (*Answer, error)
}

// Speaker is a Forwarder that says beforehand what its upstream speaks, so that nobody waits for a call that is none.
type Speaker interface {
	// Speaks reports whether Forward may be asked for a dialect; if not, it would fail with CodeDialect.
	Speaks(dialect string) bool
}

// Forward is a request of a stateless door.
type Forward struct {
	Dialect string          // DialectChat, DialectResponses or DialectEmbeddings
	Model   string          // as the provider knows it: replaces the body's "model"
	Body    json.RawMessage // one JSON object
	Loan    *Loan           // of Body: whoever reads it when Forward has returned takes a share; nil: it is not lent
	Tier    string          // service tier that Body asks for, or that it is to ask for; "" for the default
	Caller  Caller
	// InputBytes is what Body has as input, in bytes of text, its pictures and files as Request.InputBytes counts them; 0:
	// nobody has looked, and it is taken for as long as it is.
	InputBytes int
	// MostOutput is the most tokens that Body allows of an answer, all of its choices together; 0: it does not say.
	MostOutput int64
	// Only: the call can't be translated, so upstreams that don't speak the dialect are passed over.
	Only bool
	// Makers: the model has routes at several providers, so that what one encrypts is to say who made it. Again: another
	// one was asked before.
	Makers, Again bool
	// Runs: its provider may run tools in it, as whoever made it has found in Body.
	Runs bool
	// TellUsage adds to a streamed chat that the upstream tells its usage, in a last chunk of its own: whoever
	// asked for the stream did not.
	TellUsage bool
}

// The dialects of stateless doors: the paths behind an upstream's base URL.
const (
	DialectChat       = "chat/completions"
	DialectResponses  = "responses"
	DialectEmbeddings = "embeddings"
)

// Answer is an upstream's success, as it came.
type Answer struct {
	ContentType string
	Body        io.ReadCloser
	Route       *Route // nil when there was but one way
	// Used is set by whoever reads Body, before it is closed, if what was read says what the call used.
	Used *stead.Usage
	// Ended, if set, is told once how the answer ended, before Body is closed: nil when it was whole.
	Ended func(error)
}

// Embedder turns texts into vectors.
type Embedder interface {
	// Embed returns a vector for each text, in their order. Errors are *Error.
	Embed(ctx context.Context, req EmbedRequest) (EmbedReply, error)
}

// EmbedRequest asks for vectors.
type EmbedRequest struct {
	Model      string   // as the provider knows it
	Texts      []string // at least one, none empty
	Dimensions int      // 0: the model's own
	User       string
	Caller     Caller
}

// EmbedReply holds the vectors.
type EmbedReply struct {
	Vectors [][]float32 // one a text, all of one length
	Usage   *stead.Usage
	Model   string // as the upstream names it
	Route   *Route // nil when there was but one way
}

// Info is what the runner must know of a model before it calls it.
type Info struct {
	Name            string // as agents ask for it
	Provider        string // as configured: "sim", "openai"
	Upstream        string // as the provider knows it
	Region          string // of Provider's route, as configured; "": it has none
	ContextWindow   int    // tokens
	MaxOutputTokens int    // tokens; 0: unknown
	Price           *Price // nil: not priced
	// Highest is what no call on any of its routes exceeds, by their own prices: budgets reserve by it.
	// nil: as Price.
	Highest *Price
	Hedged  bool // calls may be on two routes at once: budgets reserve for both
	Card    Card
}

// Price is what a million tokens cost, in micro-cents (1 US cent = 1,000,000). What writing to a
// prompt cache costs is given where it differs from Input.
type Price struct {
	Input       int64 `json:"input"`
	CachedInput int64 `json:"cached_input"`          // 0: nothing; a configuration that has none gives Input
	CacheWrite  int64 `json:"cache_write,omitempty"` // 0: as Input
	Output      int64 `json:"output"`
	Reasoning   int64 `json:"reasoning,omitempty"` // of output that is reasoning; 0: as Output
	// Version of the price book that it is from; "": of none.
	Version string `json:"version,omitempty"`
}

// Cost of a usage in micro-cents, rounded up; math.MaxInt64 where it is more than that.
func (p *Price) Cost(u stead.Usage) int64 {
	if p == nil {
		return 0
	}
	const perMillion = 1_000_000
	var sum wide
	sum.add(u.InputTokens-u.CachedTokens-u.CacheWriteTokens, p.Input)
	sum.add(u.CachedTokens, p.CachedInput)
	sum.add(u.CacheWriteTokens, cmp.Or(p.CacheWrite, p.Input))
	sum.add(u.OutputTokens-u.ReasoningTokens, p.Output)
	sum.add(u.ReasoningTokens, cmp.Or(p.Reasoning, p.Output))
	return sum.over(perMillion)
}

// Over is a price that neither is above. Either may be nil.
func (p *Price) Over(o *Price) *Price {
	if p == nil || o == nil {
		return cmp.Or(p, o)
	}
	return &Price{
		Input: max(p.Input, o.Input), CachedInput: max(p.CachedInput, o.CachedInput), Output: max(p.Output, o.Output),
		CacheWrite: max(cmp.Or(p.CacheWrite, p.Input), cmp.Or(o.CacheWrite, o.Input)),
		Reasoning:  max(cmp.Or(p.Reasoning, p.Output), cmp.Or(o.Reasoning, o.Output)),
	}
}

// Catalog resolves the names that agents use. A model that the caller may not use is not there: the
// answer is the one for a name that nobody has, so that nobody learns of it.
type Catalog interface {
	// Resolve returns the model for a name: an alias, or "provider/model". KindNotFound with near
	// matches in the hint otherwise.
	Resolve(name string, by Caller) (Info, Model, error)
	// List returns every name that the project may know of and that can be resolved without guessing,
	// sorted. Some of them may be for certain agents only.
	List(project stead.ProjectID) []Info
}
