package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/policy"
)

// The stateless doors: chat completions, embeddings, and responses that are not kept. A call goes to an
// upstream that speaks the door's dialect as it is, byte for byte but for the model's name, and its
// answer comes back so; for every other upstream it is translated. Nothing is written to disk.
//
//	POST ── model named? ── Gate ──▶ Forward ──▶ relay
//	                                   │ dialect not spoken
//	                                   └──▶ parse ── Generate | Embed ──▶ encode
//
// A client that goes away ends the upstream's call. A server that stops lets calls finish for as long
// as it drains.

// Gate decides whether a stateless call of a model may happen, and is asked before each of them.
type Gate interface {
	// ModelCall returns nil if it may; KindForbidden otherwise. labels are those of what is asked, offers the tools that the model may
	// ask for.
	ModelCall(ctx context.Context, p stead.Principal, model string, labels stead.Labels, offers []policy.Offer) error
	// Function decides whether the client may be handed a call of a function; KindForbidden otherwise.
	Function(ctx context.Context, p stead.Principal, model string, labels stead.Labels, function string, arguments []byte) error
	// Provided decides whether tools may be offered that the model's provider runs; KindForbidden otherwise, with the first that may not. Their calls are
	// seen by nobody here.
	Provided(ctx context.Context, p stead.Principal, model string, labels stead.Labels, offers []policy.Offer) (policy.Offer, error)
	// Unasked reports whether Function is sure to allow it, whatever the arguments: then Function is not asked. "": any function.
	Unasked(ctx context.Context, p stead.Principal, model string, labels stead.Labels, function string) bool
}

// call is one stateless call. It has one owner.
type call struct {
	s      *server
	by     stead.Principal
	name   string // of the model, as it was asked for
	door   string
	info   model.Info
	model  model.Model
	body   []byte
	lent   lent   // of body
	served string // service tier, as the upstream says
	asked  string // service tier, as the request names it; "": it does not
	most   int64  // tokens of an answer that the request allows; 0: it does not say
	tells  bool   // a chat's stream is to tell its usage, to us alone
	meter  Metered
	ended  bool
	checks *guardrail.Checks
	head   func(name, value string) // sets a header of the answer, if that has not begun
	// failed is how the last upstream failed that was tried before one that must be translated to.
	failed    error
	lost      []*model.Hedged // attempts that broke off before those that translate
	tally     model.Tally
	measured  *size          // nil: nobody has asked yet
	estimated int64          // tokens, as they were reserved before anything was learned; 0: nothing was
	lines     int64          // of a streamed answer that was passed on
	bytes     int64          // of an answer that was passed on
	said      model.Said     // of a translated one
	texts     int64          // bytes of a streamed one that was passed on
	offers    []policy.Offer // tools that the request offers: see offered
	decides   bool           // calls of those are decided before the client has them
}

// newCall resolves the model of a request, asks the gate, and reserves in budgets. The caller closes it.
func (s *server) newCall(w http.ResponseWriter, r *http.Request, p stead.Principal, door string, req request) (*call, error) {
	name, err := param.Need(req.String("model"))("model")
	if err != nil {
		return nil, err
	}
	c, err := s.resolved(w, r, p, door, name, req)
	if err != nil {
		return nil, err
	}
	if err := c.provided(r.Context()); err != nil {
		return nil, err
	}
	if err := c.reserve(r.Context(), req); err != nil {
		return nil, err
	}
	s.warn(w, p, c.info)
	return c, nil
}

// resolved is a call that nothing is reserved for.
func (s *server) resolved(w http.ResponseWriter, r *http.Request, p stead.Principal, door, name string, req request) (*call, error) {
	caller := model.Caller{Project: p.Project, User: p.ID, Key: requestID(w)}
	info, m, err := s.Models.Resolve(name, caller)
	if err != nil {
		return nil, aboutModel(err)
	}
	if s.Gate == nil {
		return nil, stead.Errorf(stead.KindForbidden, "nobody is there to decide whether the model may be called")
	}
	caller.Affinity, caller.Labels = affinity(req), req.labels
	if req.Has("metadata") && !req.Null("metadata") {
		// Rules are about labels: what can't be read as such is no call without any.
		labels, _, err := req.StringMap("metadata")
		if err != nil {
			return nil, err
		}
		caller.Labels = caller.Labels.And(stead.LabelsOf(labels))
	}
	labels, late := heard(door, req.raw)
	offers, err := offered(door, req, late)
	if err != nil {
		return nil, err
	}
	caller.Labels = caller.Labels.And(labels).And(brought(offers))
	if err := s.Gate.ModelCall(r.Context(), p, name, caller.Labels, offers); err != nil {
		return nil, err
	}
	asked, err := serviceTier(req)
	if err != nil {
		return nil, err
	}
	c := &call{s: s, by: p, name: name, door: door, info: info, model: m, body: req.raw, lent: lent{memory: req.memory}, asked: asked, head: w.Header().Set, offers: offers}
	c.meter = Metered{Caller: caller, Dialect: door, Model: name, Info: info, Began: time.Now()}
	if err := c.unknown(r.Context()); err != nil {
		return nil, err
	}
	c.decides = c.asks(r.Context())
	c.most = c.limit(req)
	c.checks = s.Guardrails.Of(guardrail.Subject{Principal: p, Project: p.Project, Model: name, Labels: caller.Labels})
	return c, nil
}

// serviceTier is the tier that a call asks for, the same ones at every door. Others are refused also where a call
// is passed on: pools would not know where to let it wait, nor prices what it costs. A route's own tier may be any.
func serviceTier(req request) (string, error) {
	tier, _, err := req.Enum("service_tier", "auto", "default", "flex", "scale", "priority", "fast", "ultrafast")
	return tier, err
}

// affinity is what calls say that they have in common: their prompts' beginning, or their user. What is
// no text, whoever reads the body says.
func affinity(req request) string {
	for _, name := range []string{"prompt_cache_key", "safety_identifier", "user"} {
		if text, _, err := req.String(name); err == nil && text != "" {
			return text
		}
	}
	return ""
}

func aboutModel(err error) error {
	if e, ok := errors.AsType[*stead.Error](err); ok {
		own := *e
		own.Param = "model"
		return &own
	}
	return err
}
