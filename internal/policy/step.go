package policy

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"github.com/stead-dev/stead"
)

// Step is something that an agent does in its session, such as a tool call, which has effects of its own on the way: a credential is
// used, memories are read. Where policies want an approval of one of those, the step knows what was approved of it, and what is to be
// asked about before it is done again. It is safe for concurrent use.
type Step struct {
	grants []Grant
	// call: it is one call of several, and changed are those who changed it.
	call    bool
	changed []stead.Principal

	mu    sync.Mutex
	asked []Wanting
}

// Grant is what was answered about an effect within a step.
type Grant struct {
	Effect   Effect
	Resource string
	Shown    json.RawMessage // as Shown; nil: of the resource, whatever else
	By       []stead.Principal
	Behind   []stead.Principal // as Asked.Behind, when it was asked about
	Lapsed   bool              // nobody answered in time, and that allows it
	Refusal  string            // why it is not to be done; "": it was approved
	Request  string            // id of the question
}

// Wanting is an effect of a step that wants an approval which it has not. It is the cause of Check's error then.
type Wanting struct {
	Request  Request
	Decision Decision
}

// Error implements error.
func (w *Wanting) Error() string {
	return string(w.Request.Effect) + " of " + w.Request.Resource + " waits for approval"
}

// Wants reports whether an error of Check says that an approval is wanted which nobody was asked for yet: whoever asks about a request that is still coming
// asks again once it is whole.
func Wants(err error) bool {
	_, ok := errors.AsType[*Wanting](err)
	return ok
}

// NewStep is a step with what was answered about its effects.
func NewStep(grants []Grant) *Step { return &Step{grants: grants} }

// NewCall is the step of one tool call, which those changed: who changed another one is nothing to it.
func NewCall(grants []Grant, changed []stead.Principal) *Step {
	return &Step{grants: grants, call: true, changed: changed}
}

// Within is a request with what the context says of the call that it is a part of. Where that says none, it stays as it is.
func Within(ctx context.Context, req Request) Request {
	if s, _ := ctx.Value(stepKey{}).(*Step); s != nil && s.call {
		req.Changed = s.changed
	}
	return req
}

type stepKey struct{}

type subagentsKey struct{}

// BySubagents is ctx of what a subagent does; all that stand between are named, from the one that the root agent made.
func BySubagents(ctx context.Context, ids []string) context.Context {
	if len(ids) == 0 {
		return ctx
	}
	return context.WithValue(ctx, subagentsKey{}, ids)
}

// SubagentsOf are those of the context; nil: the root agent does it itself.
func SubagentsOf(ctx context.Context) []string {
	ids, _ := ctx.Value(subagentsKey{}).([]string)
	return ids
}

// InStep is ctx within a step; nil: in none.
func InStep(ctx context.Context, s *Step) context.Context {
	return context.WithValue(ctx, stepKey{}, s)
}

// StepOf is the step that a request is within; nil: none.
func StepOf(ctx context.Context, req Request) *Step {
	if s, _ := ctx.Value(stepKey{}).(*Step); s != nil {
		return s
	}
	return req.Step
}

// Asked is what is to be asked about.
func (s *Step) Asked() []Wanting {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Wanting(nil), s.asked...)
}

// Settle is a decision that asks, as far as it was answered.
func (s *Step) Settle(req Request, d Decision) Decision {
	shown := string(Shown(req))
	for _, g := range s.grants {
		if g.Effect != req.Effect || g.Resource != req.Resource || g.Shown != nil && string(g.Shown) != shown {
			continue
		}
		switch {
		case g.Refusal != "":
			d.Needs, d.Reason, d.Quotes = nil, g.Refusal, QuotesSomebody
			return d
		case g.Lapsed && d.Needs.Default == DefaultAllow:
			d.Reason += "; nobody answered in time, and it is done then"
		case g.Lapsed || d.Needs.Missing(g.By, append(slices.Clone(g.Behind), req.Principal)...) > 0: // policies want more by now
			continue
		}
		d.Allow, d.Needs, d.Approval = true, nil, g.Request
		return d
	}
	if req.Optional {
		return d
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.asked {
		if w.Request.Effect == req.Effect && w.Request.Resource == req.Resource && string(Shown(w.Request)) == shown {
			return d
		}
	}
	s.asked = append(s.asked, Wanting{req, d})
	return d
}

// Shown is what whoever answers is shown of an effect within a step, beside which step it is.
func Shown(req Request) json.RawMessage {
	b, err := json.Marshal(struct {
		Destination string    `json:"destination,omitempty"`
		Entry       *Entry    `json:"memories,omitempty"`
		Document    *Document `json:"documents,omitempty"`
		Semantic    *Semantic `json:"query,omitempty"`
	}{req.Destination, req.Entry, req.Document, req.Semantic})
	if err != nil {
		panic(err) // texts always encode
	}
	return b
}
