package server

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
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
	// Provided decides whether a tool may be offered that the model's provider runs; KindForbidden otherwise. Its calls are seen by nobody here.
	Provided(ctx context.Context, p stead.Principal, model string, labels stead.Labels, o policy.Offer) error
	// Unasked reports whether Function is sure to allow it, whatever the arguments: then Function is not asked. "": any function.
	Unasked(ctx context.Context, p stead.Principal, model string, labels stead.Labels, function string) bool
}

// Meter is told of each stateless call that passed the gate, once, when it has ended.
type Meter interface {
	Metered(Metered)
}

// Metered is a stateless call that has ended.
type Metered struct {
	Caller  model.Caller
	Dialect string       // the door: model.DialectChat, …
	Model   string       // as it was asked for
	Info    model.Info   // what that resolved to
	Route   *model.Route // nil when there was but one way
	Usage   *stead.Usage // nil when the upstream did not say; of an answer that is not Whole, what it said until then
	Guess   stead.Usage  // what it may have used, by what went in and came out
	Whole   bool         // the answer was
	Sent    bool         // an upstream had the request, and did not refuse it
	Finish  model.Finish // "": the upstream did not say, or in another way than is looked for
	Began   time.Time
	First   time.Duration // until the answer's first byte or delta; 0: there was none
	Took    time.Duration
	Outcome string // OutcomeDone, OutcomeGone, or the code of a model.Error
	Hold    string // of budgets; whoever records the call settles it. "": none
}

// How a call ended, when it did not fail.
const (
	OutcomeDone = "completed"
	OutcomeGone = "client_gone"
)

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

// errIdle ends a call whose upstream has said nothing for too long.
var errIdle = errors.New("idle timeout")

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
	offers := offered(door, req, late)
	caller.Labels = caller.Labels.And(labels).And(brought(offers))
	if err := s.Gate.ModelCall(r.Context(), p, name, caller.Labels, offers); err != nil {
		return nil, err
	}
	asked, err := serviceTier(req)
	if err != nil {
		return nil, err
	}
	c := &call{s: s, by: p, name: name, door: door, info: info, model: m, body: req.raw, lent: lent{memory: req.memory}, asked: asked, head: w.Header().Set, offers: offers}
	c.decides = slices.ContainsFunc(offers, func(o policy.Offer) bool {
		return !o.Provider && !s.Gate.Unasked(r.Context(), p, name, caller.Labels, o.Resource)
	})
	c.meter = Metered{Caller: caller, Dialect: door, Model: name, Info: info, Began: time.Now()}
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

// end tells the meter.
func (c *call) end(err error) {
	c.ended = true
	if c.s.Meter == nil {
		return
	}
	c.meter.Took = time.Since(c.meter.Began)
	c.meter.Guess = c.guess()
	told, charged := c.tally.Used()
	c.meter.Sent = charged
	if c.meter.Usage == nil {
		c.meter.Usage = told
	}
	c.meter.Outcome = OutcomeDone
	if errors.Is(err, errClientGone) || errors.Is(err, context.Canceled) {
		c.meter.Outcome = OutcomeGone
	} else if me, ok := errors.AsType[*model.Error](err); ok {
		c.meter.Outcome = me.Code
		c.meter.Route = cmp.Or(me.Route, c.meter.Route) // what broke off later does not say again where it went
		if me.Route != nil {
			c.head(routeHeader, "failed at "+routeWords(me.Route))
		}
	} else if err != nil {
		c.meter.Outcome = model.CodeServer
	}
	if c.meter.Usage != nil && c.estimated > 0 {
		c.s.learned.told(learnedKey{c.meter.Caller.Project, c.name}, c.meter.Usage.Total(), c.estimated)
	}
	c.placed()
	c.s.Meter.Metered(c.meter)
}

// placed notes at the call's route which service tier was served or asked for, also where there was but one way.
func (c *call) placed() {
	route := model.Route{Provider: c.info.Provider, Model: c.info.Upstream, Region: c.info.Region}
	if c.meter.Route != nil {
		route = *c.meter.Route
	}
	route.Lost = append(slices.Clone(c.lost), route.Lost...)
	if route.Tier = cmp.Or(c.served, route.Tier, model.AskedTier("", c.asked)); c.meter.Route != nil || route.Tier != "" || len(route.Lost) > 0 {
		c.meter.Route = &route
	}
}

// linesAnEvent is how many lines an event of a stream has, with the empty one behind it.
const linesAnEvent = 2

// guess is what the call may have used, by what went in and came out. A streamed event that is passed on is about a token,
// or more where its text is longer.
func (c *call) guess() stead.Usage {
	said := int64(c.said.Bytes())
	u := stead.Usage{InputTokens: c.input(), OutputTokens: max(c.lines/linesAnEvent, (max(said, c.texts)+bytesPerToken-1)/bytesPerToken)}
	if c.lines == 0 && said == 0 {
		u.OutputTokens = c.bytes / bytesPerToken
	}
	if c.door == model.DialectEmbeddings {
		u.OutputTokens = 0
	}
	return u
}

// Used is what the call is taken to have used, and whether any of it is guessed.
func (m *Metered) Used() (u stead.Usage, guessed bool) { return model.Used(m.Usage, m.Guess, m.Whole) }

// Failure is the code of an upstream's error that the call ended with; "" when it did not.
func (m *Metered) Failure() string {
	if m.Outcome == OutcomeDone || m.Outcome == OutcomeGone {
		return ""
	}
	return m.Outcome
}

// began notes the answer's first byte or delta.
func (c *call) began() {
	if c.meter.First == 0 {
		c.meter.First = time.Since(c.meter.Began)
	}
}

// idle is how long an upstream may say nothing.
func (c *call) idle() time.Duration {
	if c.s.ModelIdleTimeout > 0 {
		return c.s.ModelIdleTimeout
	}
	return stead.ModelIdleTimeout
}

// watched is a context that ends with errIdle unless touch is called often enough.
func (c *call) watched(parent context.Context) (ctx context.Context, touch, stop func()) {
	ctx, cancel := context.WithCancelCause(model.WithTally(parent, &c.tally))
	done := func() {}
	if c.s.Watch != nil {
		done = c.s.Watch(cancel, policy.Request{Principal: c.by, Effect: policy.ModelCall, Resource: c.name, Labels: c.meter.Caller.Labels, Offers: c.offers})
	}
	ctx, silence := model.WithSilence(ctx, c.idle(), func() { cancel(errIdle) })
	return ctx, silence.Heard, func() { silence.Stop(); cancel(nil); done() }
}

// blame says what an error of a call was: the client that went, or the upstream that was silent.
func (c *call) blame(ctx context.Context, err error) error {
	switch {
	case err == nil || errors.Is(err, errClientGone):
		return err
	case errors.Is(context.Cause(ctx), errIdle):
		return &model.Error{Code: model.CodeTimeout, Message: "the model said nothing for " + c.idle().String(), Retry: true}
	case ctx.Err() != nil:
		if e, stopped := errors.AsType[*stead.Error](context.Cause(ctx)); stopped {
			return e
		}
		return errClientGone
	}
	return err
}

// generate runs a translated call and hands each delta but the last to each, once guardrails and
// policies have seen what they must see.
func (c *call) generate(parent context.Context, req model.Request, each func(model.Delta) error) (model.Delta, error) {
	run := c.listen
	if c.checks.Any(guardrail.Output, guardrail.ToolCall) {
		run = c.generateHeld
	}
	if !c.decides {
		return run(parent, req, each)
	}
	held := heldCalls{each: each}
	done, err := run(parent, req, held.delta)
	if err == nil {
		err = c.settle(parent, &held, &done)
	}
	return done, err
}

// listen is generate without guardrails.
func (c *call) listen(parent context.Context, req model.Request, each func(model.Delta) error) (model.Delta, error) {
	ctx, touch, stop := c.watched(parent)
	defer stop()
	req.Model, req.Caller = c.info.Upstream, c.meter.Caller
	for d, err := range c.model.Generate(ctx, req) {
		touch()
		if err != nil {
			return d, c.blame(ctx, err)
		}
		c.began()
		c.said.Delta(d)
		if d.Route != nil {
			c.meter.Route = d.Route
			c.head(routeHeader, routeWords(d.Route))
		}
		if d.Kind == model.Done {
			c.meter.Usage, c.meter.Route, c.meter.Finish, c.served = d.Usage, d.Route, d.Finish, d.Tier
			c.meter.Whole = true
			return d, nil
		}
		if err := each(d); err != nil {
			return d, err
		}
	}
	return model.Delta{}, c.blame(ctx, &model.Error{Code: model.CodeConnection, Message: "the model's stream ended too early", Retry: true})
}

// collect runs a translated call to its end, for an answer in one piece.
func (c *call) collect(ctx context.Context, req model.Request) ([]stead.Item, model.Delta, error) {
	items := map[int]stead.Item{}
	done, err := c.generate(ctx, req, func(d model.Delta) error {
		if d.Kind == model.ItemDone {
			items[d.Index] = *d.Item
		}
		return nil
	})
	out := make([]stead.Item, 0, len(items))
	for _, i := range slices.Sorted(maps.Keys(items)) {
		out = append(out, items[i])
	}
	return out, done, err
}

// gatewayError is what a client is told of a failed model call. What is wrong between this server and
// the upstream (its key was refused) is no fault of the client, and none that trying again mends.
func gatewayError(err error) error {
	e, ok := errors.AsType[*model.Error](err)
	if !ok {
		return err
	}
	out := &stead.Error{Code: e.Code, Message: e.Message, Param: e.Param, RetryAfter: e.RetryAfter, Err: e}
	switch e.Code {
	case model.CodeRateLimit, model.CodeUsageLimit:
		out.Kind = stead.KindLimited
	case model.CodeContextLength, model.CodeInvalid, model.CodePolicy, model.CodeMaxOutput:
		out.Kind = stead.KindInvalid
	case model.CodeNotFound:
		out.Kind, out.Code = stead.KindNotFound, "model_not_found"
	case model.CodeAuthentication:
		out.Kind, out.Message = stead.KindUpstream, "the model provider refused this server's credentials"
		out.Hint = "The operator must look at the provider's key."
	default:
		out.Kind = stead.KindUnavailable
		if !e.Retry {
			out.Kind = stead.KindUpstream
		}
	}
	return out
}

// stream counts an open stream; the error says that there are too many.
func (s *server) countStream(by stead.Principal) (done func(), err error) {
	if s.Authenticate == nil {
		return s.metrics.openStream(nil)
	}
	return s.metrics.openStream(&by)
}

// teller writes a translated stream. An error that comes before the first event is an error of the
// request, with its status, unless the model was silent for so long that the answer had to begin.
type teller struct {
	out  *eventWriter
	stop func()
}

func (s *server) newTeller(ctx context.Context, w http.ResponseWriter) *teller {
	t := &teller{out: newEventWriter(w)}
	ctx, cancel := context.WithCancel(ctx)
	opened := time.AfterFunc(KeepAliveInterval, func() { t.out.open() })
	go func() {
		tick := time.NewTicker(KeepAliveInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if t.out.comment() != nil { // the next event finds out as well
					return
				}
			}
		}
	}()
	t.stop = func() { opened.Stop(); cancel(); t.out.close() }
	return t
}
