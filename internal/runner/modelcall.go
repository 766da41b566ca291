package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/citation"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

func randomFloat() float64 { return rand.Float64() }

// gate asks whether an effect of this session may happen.
func (a *actor) gate(effect policy.Effect, resource string) (policy.Decision, error) {
	req := a.state.Request(effect, resource)
	req.Carried, req.Waits = true, true
	d, err := policy.Check(a.ctx, a.r.cfg.Policy, req)
	a.decided = a.r.draft(a.ctx, a.decided, req, d)
	return d, err
}

// intendModel journals the intent of a step's model call and plans the call.
func (a *actor) intendModel(p *plan, c session.CallModel) error {
	if a.state.SpendTaken() { // by a call of another thread, which begins with the same append
		return nil
	}
	name := a.state.Created.Agent.Spec.Model
	info, m, err := a.r.cfg.Models.Resolve(name, a.caller())
	if err != nil {
		return a.endTurn(p, session.KindTurnFailed, session.TurnEnded{Error: &session.TurnError{Code: model.CodeNotFound, Message: clientMessage(err)}})
	}
	described := a.state.Describing(a.r.cfg.Untrusted)
	decision, held, err := a.gateOrHold(p, modelKey(session.PurposeStep, name), func() session.EffectHeld { return a.modelEffect(session.PurposeStep, name, info, 0) }, described...)
	if held {
		return err
	}
	if err != nil {
		return a.endTurn(p, session.KindTurnFailed, session.TurnEnded{Error: &session.TurnError{Code: model.CodeInvalid, Message: clientMessage(err)}, Decision: decision.Recorded()})
	}
	hold, refused, err := a.reserve(p, name, info)
	if err != nil || refused {
		return err
	}
	if err := a.record(p, session.KindModelCalled, session.ModelCalled{Model: name, Attempt: c.Attempt, Decision: decision, Hold: hold, Spend: a.spend(info), Described: described}); err != nil {
		return err
	}
	call := &modelCall{a: a, seq: a.state.Tail, info: info, model: m, input: a.requestTokens(), perToken: a.state.Context.BytesPerToken, attempt: c.Attempt, items: a.state.Context.Items(0), cited: a.state.Context.Passages(), spec: a.state.Created.Agent.Spec, holder: holderOf(&a.state.View), settled: settledConsents(&a.state.View), caller: a.caller(), computer: a.state.Environment != nil, skills: skillsText(a.state.Environment) + codeText(a.state)}
	if t := a.state.Turn; t != nil && t.Response != nil {
		call.ask, call.first = &t.Response.Ask, t.Steps <= 1
		call.shown, call.known = maps.Clone(a.state.Listed), t.Response.Listed
		if call.shown == nil {
			call.shown = map[string]string{}
		}
	}
	call.defined = a.state.Defined
	call.skills += subagentText(&a.state.View)
	call.agent, call.depth = a.state.AgentOf(a.state.Focus()), a.state.Depth(a.state.Focus())
	call.held, call.checks, call.step = hold != nil, a.checks(), a.within(session.WithinTools)
	req := a.state.Request(policy.ModelCall, name)
	p.starts = append(p.starts, func() {
		live := newLiveText(call.seq, a.nudge)
		flight, ctx := a.begin()
		flight.live, flight.call = live, call
		if flight.thread == 0 { // text of subagents is shown as it is journaled
			a.live = live
			a.r.live.set(a.key, live)
		}
		go a.r.watched(ctx, req, func(ctx context.Context) { call.guarded(ctx, flight, call.run) })
	})
	return nil
}

// intendCompact journals the intent of a summary and plans the call.
func (a *actor) intendCompact(p *plan, c session.CompactContext) error {
	if a.state.SpendTaken() {
		return nil
	}
	name := a.state.Created.Agent.Spec.Model
	info, m, err := a.r.cfg.Models.Resolve(name, a.caller())
	if err != nil {
		return a.endTurn(p, session.KindTurnFailed, session.TurnEnded{Error: &session.TurnError{Code: model.CodeNotFound, Message: clientMessage(err)}})
	}
	decision, held, err := a.gateOrHold(p, modelKey(session.PurposeCompact, name), func() session.EffectHeld { return a.modelEffect(session.PurposeCompact, name, info, c.Upto) })
	if held {
		return err
	}
	if err != nil {
		return a.endTurn(p, session.KindTurnFailed, session.TurnEnded{Error: &session.TurnError{Code: model.CodeInvalid, Message: clientMessage(err)}, Decision: decision.Recorded()})
	}
	attempt := a.state.CompactFailures + 1
	hold, refused, err := a.reserve(p, name, info)
	if err != nil || refused {
		return err
	}
	if err := a.record(p, session.KindModelCalled, session.ModelCalled{Model: name, Purpose: session.PurposeCompact, Attempt: attempt, Upto: c.Upto, Decision: decision, Hold: hold, Spend: a.spend(info)}); err != nil {
		return err
	}
	items := append(a.state.Context.Items(c.Upto), stead.Item{Type: stead.ItemMessage, Role: stead.RoleUser, Content: stead.TextContent(stead.ContentInputText, session.CompactPrompt)})
	call := &modelCall{a: a, seq: a.state.Tail, info: info, model: m, input: a.requestTokens(), perToken: a.state.Context.BytesPerToken, attempt: attempt, items: items, cited: a.state.Context.Passages(), spec: a.state.Created.Agent.Spec, caller: a.caller(), upto: c.Upto, held: hold != nil}
	req := a.state.Request(policy.ModelCall, name)
	p.starts = append(p.starts, func() {
		flight, ctx := a.begin()
		flight.background, flight.call = true, call
		go a.r.watched(ctx, req, func(ctx context.Context) { call.guarded(ctx, flight, call.runCompact) })
	})
	return nil
}

// modelCall is one call under way.
type modelCall struct {
	a        *actor
	seq      stead.Seq
	info     model.Info
	model    model.Model
	input    int64 // tokens of the request, as budgets reserve them
	attempt  int
	items    []stead.Item
	cited    map[string]bool   // as session.Context.Passages
	passages citation.Passages // of the request
	spec     agent.Spec
	holder   holder
	settled  []session.Settled // as TurnView.Settled
	caller   model.Caller
	ask      *session.Ask      // what a response wants of its calls; nil: nothing
	first    bool              // of the turn
	shown    map[string]string // as session.View.Listed; nil: lists of tools are not shown
	known    []string          // labels of servers whose lists the application has
	defined  map[string]string // as session.View.Defined; never written to
	upto     stead.Seq
	computer bool    // the session has an environment, and the model gets its tools
	skills   string  // of the environment, in words
	perToken float64 // bytes of a token, as far as was learned; 0: not at all
	heard    heard   // so far
	held     bool    // budgets reserved what it may use
	checks   *guardrail.Checks
	step     *policy.Step // of asking servers for their tools
	agent    string       // whose thread it is of, as the wire names it
	depth    int          // of that, among subagents
}

// guarded turns a panic of a provider's adapter into a failed call: what an upstream sends must
// never end the process.
func (c *modelCall) guarded(ctx context.Context, f *flight, call func(context.Context, *flight)) {
	err := safely(func() error { call(ctx, f); return nil })
	if err != nil {
		c.fail(f, &model.Error{Code: model.CodeServer, Message: "The model call broke off.", Err: err})
	}
}

// run makes a step's call and delivers its outcome.
func (c *modelCall) run(ctx context.Context, f *flight) {
	defer f.live.end()
	tools, err := c.a.r.toolset(policy.InStep(ctx, c.step), c.a.key, c.holder, c.spec.Tools, c.computer)
	if c.holds(f, tools, err) {
		return
	}
	if err == nil && len(tools.wanting) > 0 {
		var asks bool
		if asks, err = c.consents(ctx, f, tools); asks {
			return
		}
	}
	if err != nil {
		c.fail(f, toolsetError(err))
		return
	}
	if c.spec.MultiAgent.Enabled {
		tools.offerSubagents(c.agent, c.depth)
	}
	if !c.list(ctx, tools.servers) {
		return
	}
	req, err := c.request(ctx, tools)
	if err != nil {
		c.fail(f, &model.Error{Code: model.CodeServer, Message: "The conversation could not be loaded.", Retry: true, Err: err})
		return
	}
	shown := f.live
	if c.checks.Any(guardrail.Output) {
		shown = nil // nobody sees a text before it is checked, and that is when it is whole
	}
	reply, err := c.generate(ctx, req, shown)
	if err != nil {
		c.fail(f, c.placed(c.blame(err)))
		return
	}
	c.finish(ctx, f, req, tools, reply)
}

// holds ends a call whose tools want approvals first: the model was not asked.
func (c *modelCall) holds(f *flight, tools *toolset, err error) bool {
	errs := []error{err}
	if tools != nil {
		for _, s := range tools.servers {
			errs = append(errs, s.err)
		}
	}
	all := wanted(c.step, errs...)
	if len(all) == 0 {
		return false
	}
	failed := session.ModelFailed{Call: c.seq, Error: session.TurnError{Code: model.CodeInvalid, Message: "What its tools need waits for approval."}, RetryAt: c.a.r.now(), Held: true}
	c.a.deliver(f, append([]pending{happened(session.KindModelFailed, failed)}, holds(session.WithinTools, "", all)...)...)
	return true
}

// runCompact makes a summary and delivers it.
func (c *modelCall) runCompact(ctx context.Context, f *flight) {
	req, err := c.request(ctx, &toolset{})
	if err != nil {
		c.fail(f, err)
		return
	}
	req.Format = nil
	reply, err := c.generate(ctx, req, nil)
	text := ""
	if err == nil {
		text, _ = citation.Take(reply.text(), c.passages)
		if strings.TrimSpace(text) == "" {
			err = beside(&model.Error{Code: model.CodeServer, Message: "The model's summary was empty.", Retry: true}, reply.route)
		}
	}
	if err != nil {
		c.fail(f, err)
		return
	}
	summary := stead.NewText(text)
	if !c.a.spill(ctx, &summary) {
		return
	}
	price := c.price(reply)
	provider, region := c.provider(reply)
	c.a.deliver(f, happened(session.KindContextCompacted, session.ContextCompacted{
		Call: c.seq, Upto: c.upto, Summary: summary, Usage: reply.usage, Guessed: reply.guessed, Cost: price.Cost(reply.usage), Prices: version(price), Model: reply.model, Provider: provider, Region: region, Route: reply.route,
	}))
}

// request builds the model's request from the items. Nothing of it is journaled.
func (c *modelCall) request(ctx context.Context, tools *toolset) (model.Request, error) {
	items, err := c.a.r.loadItems(ctx, c.a.key, c.items)
	if err != nil {
		return model.Request{}, err
	}
	c.passages = passagesIn(items, c.cited)
	remark(items, c.passages)
	shortenRedacted(items)
	req := model.Request{
		Model: c.info.Upstream, Items: items, Tools: tools.specs,
		Verbosity: asked(c.spec.Text.Verbosity), ServiceTier: c.spec.ServiceTier,
		CacheKey: string(c.a.key.Session), Caller: c.caller,
	}
	if c.spec.Instructions != nil {
		req.Instructions = *c.spec.Instructions
	}
	req.Instructions += c.skills
	if len(tools.missing) > 0 {
		req.Instructions += "\n\nThe tools of these servers can't be reached at present: " + strings.Join(tools.missing, ", ") + ". Say so if they are needed."
	}
	for _, told := range tools.without {
		req.Instructions += "\n\n" + told
	}
	if c.spec.Experimental.TimeAwareness {
		req.Instructions += "\n\nThe current time is " + c.a.r.cfg.Now().UTC().Format(time.RFC3339) + "."
	}
	if c.spec.Reasoning.Effort != nil {
		req.Effort = *c.spec.Reasoning.Effort
	}
	if c.spec.Reasoning.Summary != nil {
		req.ReasonSummary = *c.spec.Reasoning.Summary
	}
	if c.spec.Text.Format.Type == "json_schema" && c.depth == 0 { // a subagent answers its parent, and nobody else
		req.Format = &model.Format{Name: "output", Schema: c.spec.Text.Format.Schema, Strict: true}
	}
	if c.ask != nil {
		applyAsk(c.ask, &req, c.first)
	}
	if c.held && req.MaxOutputTokens == 0 {
		req.MaxOutputTokens = heldOutput(c.info) // what was reserved bounds what is asked for
	}
	return req, nil
}

// caller says for whom the session's model calls are.
func (a *actor) caller() model.Caller {
	c := &a.state.Created
	return model.Caller{
		Stateful: true, Project: a.key.Project, Agent: c.Agent.Limited(), Session: a.key.Session, User: c.Principal.ID, Labels: a.state.Labels(),
	}
}

// asked leaves out the contract's default: upstreams that do not know the field refuse it.
func asked(verbosity string) string {
	if verbosity == "medium" {
		return ""
	}
	return verbosity
}

// reply is what a finished stream brought.
type reply struct {
	items   []stead.Item
	usage   stead.Usage
	guessed bool // usage is: the provider did not say it
	finish  model.Finish
	model   string
	route   *model.Route // nil when there was but one way
	first   int64        // milliseconds until the first word; 0: there was none
}

func (r *reply) text() string {
	var b strings.Builder
	for _, it := range r.items {
		for _, p := range it.Content {
			b.WriteString(p.Text.Inline)
		}
	}
	return b.String()
}

// generate runs the stream to its end. A provider that says nothing for too long is cut off.
func (c *modelCall) generate(ctx context.Context, req model.Request, live *liveText) (*reply, error) {
	out := &reply{}
	if err := c.listen(ctx, req, live, out); err != nil {
		return nil, beside(err, out.route)
	}
	return out, nil
}

// beside says of a failed call where it went, and what was given up beside it, if its error does not say it.
func beside(err error, route *model.Route) error {
	me, ok := errors.AsType[*model.Error](err)
	if !ok || me.Route != nil || route == nil {
		return err
	}
	out := *me
	out.Route = route
	return &out
}

// listen takes the stream down.
func (c *modelCall) listen(ctx context.Context, req model.Request, live *liveText, out *reply) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := c.a.r.cfg.ModelIdleTimeout
	within, silence := model.WithSilence(model.WithTally(ctx, &c.heard.tally), idle, func() { cancel(errIdle) })
	defer silence.Stop()
	ended, began := false, c.a.r.now()
	marks := cites{passages: c.passages}
	show := func(s session.Segment) {
		if live != nil && s.Text != "" {
			live.add(s)
		}
	}
	for d, err := range c.model.Generate(within, req) {
		silence.Heard()
		if err != nil {
			if e := stopped(ctx); e != nil {
				return &model.Error{Code: model.CodeInvalid, Message: e.Message, Err: err}
			}
			if context.Cause(ctx) == errIdle {
				return &model.Error{Code: model.CodeTimeout, Message: fmt.Sprintf("The model said nothing for %s.", idle), Retry: true}
			}
			return err
		}
		c.heard.delta(d, c.a.r.now()-began)
		if out.first == 0 && d.Kind != model.Done {
			out.first = max(c.a.r.now()-began, 1)
		}
		if d.Route != nil {
			out.route = d.Route
		}
		switch d.Kind {
		case model.TextDelta, model.ReasoningDelta:
			if d.Kind == model.TextDelta && !d.Refusal {
				d.Text = marks.piece(d.Index, d.Text)
			}
			show(segment(d))
		case model.ItemDone:
			it := *d.Item
			show(session.Segment{Index: d.Index, Type: stead.ItemMessage, Text: marks.whole(d.Index, &it)})
			for len(out.items) <= d.Index {
				out.items = append(out.items, stead.Item{})
			}
			out.items[d.Index] = it
		case model.Done:
			ended = true
			out.finish, out.model = d.Finish, d.Model
			if tier := cmp.Or(d.Tier, model.AskedTier("", c.spec.ServiceTier)); tier != "" && out.route == nil {
				out.route = c.only(tier)
			}
			out.usage, out.guessed = c.used(d.Usage)
		}
	}
	if !ended {
		if context.Cause(ctx) == errIdle {
			return &model.Error{Code: model.CodeTimeout, Message: fmt.Sprintf("The model said nothing for %s.", idle), Retry: true}
		}
		return &model.Error{Code: model.CodeConnection, Message: "The model's stream ended too early.", Retry: true}
	}
	for i, it := range out.items {
		if it.Type == "" {
			return &model.Error{Code: model.CodeServer, Message: fmt.Sprintf("The model's answer lacks its item %d.", i), Retry: true}
		}
	}
	return nil
}

var errIdle = errors.New("idle timeout")

func segment(d model.Delta) session.Segment {
	s := session.Segment{Index: d.Index, Type: stead.ItemMessage, Text: d.Text, Refusal: d.Refusal}
	if d.Kind == model.ReasoningDelta {
		s.Type, s.Part = stead.ItemReasoning, d.Part
	}
	return s
}

// blame names the provider in errors after which somebody must look there.
func (c *modelCall) blame(err error) error {
	me, ok := errors.AsType[*model.Error](err)
	if !ok || (me.Code != model.CodeConnection && me.Code != model.CodeAuthentication) {
		return err
	}
	named := *me
	provider := c.info.Provider
	if me.Route != nil {
		provider = me.Route.Provider
	}
	named.Message += fmt.Sprintf(" (provider %s)", provider)
	return &named
}

// placed says of a failed call where it went, also where there was but one way.
func (c *modelCall) placed(err error) error {
	me, ok := errors.AsType[*model.Error](err)
	if !ok || me.Route != nil || me.Own || me.Code == model.CodeNotFound && len(c.info.Card.Versions) > 1 { // then none fitted
		return err
	}
	out := *me
	out.Route = c.only("")
	return &out
}

// fail delivers a failed call: with a time to try again when that may help.
func (c *modelCall) fail(f *flight, err error) {
	var me *model.Error
	if !errors.As(err, &me) {
		me = &model.Error{Code: model.CodeServer, Message: "The model call failed.", Retry: true, Err: err}
	}
	c.a.log.Info("model call failed", "model", c.info.Name, "attempt", c.attempt, "code", me.Code, "err", err)
	c.priceHedged(me.Route, stead.Usage{})
	out := session.ModelFailed{Call: c.seq, Error: session.TurnError{Code: me.Code, Message: me.Message}, Route: me.Route, Spent: c.spent(me.Route)}
	if me.Retry && c.attempt < stead.MaxModelAttempts {
		out.RetryAt = c.a.r.now() + c.a.r.backoff(c.attempt, me.RetryAfter).Milliseconds()
	}
	c.a.deliver(f, happened(session.KindModelFailed, out))
}

// backoff is exponential with full jitter on its upper half, never shorter than the upstream asked.
func (r *Runner) backoff(attempt int, asked time.Duration) time.Duration {
	d := min(stead.RetryBaseDelay<<min(attempt-1, 16), stead.RetryMaxDelay)
	d = d/2 + time.Duration(r.cfg.Random()*float64(d/2))
	return max(d, asked)
}

func clientMessage(err error) string {
	if e, ok := errors.AsType[*stead.Error](err); ok {
		if e.Hint != "" {
			return e.Message + " (" + e.Hint + ")"
		}
		return e.Message
	}
	return "An internal error occurred."
}

// contextBytes estimates the request's size in the units of session.Context.Bytes.
func contextBytes(req model.Request) int {
	n := len(req.Instructions)
	for _, t := range req.Tools {
		n += len(t.Name) + len(t.Description) + len(t.Parameters)
	}
	for _, it := range req.Items {
		n += model.ItemBytes(it)
	}
	return n
}
