// Package trace makes OpenTelemetry traces of a session's journal: a pure fold, of which nothing is stored.
//
// Shape: one trace a root turn, with a span for whatever took time in it:
//
//	invoke_agent AGENT                 the turn, from its message to its end
//	├── search_memory                  what was recalled before it
//	├── chat MODEL                     a call of the model; each attempt is one, and so is a summary
//	├── execute_tool TOOL              a call that the model asked for, from then until it was settled
//	│   ├── wait mcp_approval_request  somebody had to act: approve it, answer it, say what happened
//	│   ├── tools/call TOOL            an attempt of the runtime
//	│   └── invoke_agent SUBAGENT      a turn of a subagent, under the call that began it
//	├── wait budget_limit              what the turn waited for: a budget, a consent, an approval
//	└── environment open               what was done with the environment
//
// A decision of policies is an event of the span that it is about, with how long it took. Names of attributes are those of the
// GenAI conventions, and begin with "stead." where these have none.
//
// A span is there once it has ended, and never changes from then on: what a longer journal adds to a trace stands behind what was there, and
// the turn's own span comes last. Ids derive from the session's and from places in its journal, so that the same journal gives
// the same trace, wherever it is read.
//
// No texts: what was said, instructions, arguments, outputs, reasons and messages of errors are in no span; errors have codes.
//
// Units and limits: times are those of the journal, in milliseconds, and never go back within a trace; a trace has MaxSpans spans, and
// a page of traces ends early at about MaxPageBytes.
//
// Errors: those of the reader; KindInvalid for an After that is no turn; KindInternal for events that can't be read.
//
// Source: OTLP 1.x and its JSON encoding (opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding), the semantic conventions for
// generative AI (github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai), W3C Trace Context, and the object
// agent.session.trace of the Agents API (npm openai 7.57.0).
package trace

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/session"
)

// Limits of what is read at once.
const (
	MaxSpans     = 4096     // of a trace; its root says how many more there were
	MaxPageBytes = 16 << 20 // of the traces of a page, but for the first one
)

// Service is what doors call. Implemented by package runner.
type Service interface {
	// Traces lists a session's traces in the order of their turns. Who may read the session may read them.
	Traces(ctx context.Context, p stead.Principal, id stead.SessionID, q session.PageQuery) (session.Page[Trace], error)
}

// Trace is the trace of a root turn, as on the wire.
type Trace struct {
	ID        string          `json:"id"` // of the turn
	CreatedAt int64           `json:"created_at"`
	Object    string          `json:"object"` // "agent.session.trace"
	OTLP      json.RawMessage `json:"otlp"`   // an ExportTraceServiceRequest
	Session   stead.SessionID `json:"session_id"`
}

// List makes a page of traces. v is the view at the tail, looked at from the root's thread. A turn of which nothing has ended yet has no trace.
func List(v *session.View, read session.EventReader, q session.PageQuery) (session.Page[Trace], error) {
	out := session.Page[Trace]{Data: []Trace{}}
	for size := 0; ; {
		turns, err := session.ListTurns(v, read, q)
		if err != nil {
			return out, err
		}
		for _, t := range turns.Data {
			one, err := ofTurn(v, read, t)
			if err != nil {
				return out, err
			}
			if one == nil {
				continue
			}
			if size += len(one.OTLP); size > MaxPageBytes && len(out.Data) > 0 {
				out.HasMore = true
				return out, nil
			}
			out.Data = append(out.Data, *one)
		}
		out.HasMore = turns.HasMore
		if len(out.Data) > 0 || !turns.HasMore {
			return out, nil
		}
		q.After = turns.Data[len(turns.Data)-1].ID // a page must not look like the last one
	}
}

// ofTurn is the trace of a turn; nil: there is nothing of it yet.
func ofTurn(v *session.View, read session.EventReader, t session.Turn) (*Trace, error) {
	_, begin, _, _ := stead.ParseDerivedID(v.Key.Session, t.ID)
	spans, err := Spans(v, read, begin)
	if err != nil || len(spans) == 0 {
		return nil, err
	}
	data, err := json.Marshal(Request(v.Key, spans))
	if err != nil {
		return nil, err
	}
	return &Trace{ID: t.ID, CreatedAt: t.CreatedAt, Object: "agent.session.trace", OTLP: data, Session: v.Key.Session}, nil
}

// Spans are those that have ended, of the root turn that the event begin made. Of v it takes what is so for all turns.
func Spans(v *session.View, read session.EventReader, begin stead.Seq) ([]Span, error) {
	f := newFolder(v, begin)
	for after := begin - 1; ; {
		events, err := read(after, readChunk, false)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if e.Seq > v.Tail {
				return f.spans, nil
			}
			if err := f.step(e); err != nil {
				return nil, err
			}
			if f.done {
				return f.spans, nil
			}
			after = e.Seq
		}
		if len(events) < readChunk {
			return f.spans, nil
		}
	}
}

// readChunk is how many events are asked for at once.
const readChunk = 256

// partial is a view in which a root turn is about to begin. It knows of the session what all turns have in common: before a root
// turn no thread has one.
func partial(v *session.View, begin stead.Seq) *session.View {
	pin := v.Created.Agent
	out := &session.View{Key: v.Key, Tail: begin - 1, Created: session.Created{
		Agent: session.AgentPin{ID: pin.Limited(), Spec: agent.Spec{Name: pin.Spec.Name}}, Principal: v.Created.Principal,
	}}
	for _, s := range v.Subagents {
		if s.ID < begin {
			out.Subagents = append(out.Subagents, &session.Subagent{ID: s.ID, Parent: s.Parent, Name: s.Name, OpenedAt: s.OpenedAt})
		}
	}
	out.Subagents = slices.Clip(out.Subagents)
	return out
}
