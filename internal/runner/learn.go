package runner

import (
	"context"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// keepTimeout is how long one write of memories may take before it is made again.
const keepTimeout = time.Minute

// maxLearnOutput is how many tokens a model may say about what is worth remembering.
const maxLearnOutput = 4096

// learnAsk is what memory must know of the session.
func (a *actor) learnAsk() session.LearnAsk {
	c := &a.state.Created
	return session.LearnAsk{
		Key: a.key, Principal: c.Principal, Behind: a.state.Behind(), Alone: a.state.Alone(), Agent: c.Agent.ID, Extraction: *a.state.Extraction(), Session: a.state.Labels(), Labels: a.state.Labels()[session.LabelMemory],
	}
}

// notTheirs says why nothing is remembered of whom the session serves; "": it is, or it is not of them.
func notTheirs(ask session.LearnAsk) string {
	if ask.Extraction.Scope != "user" {
		return ""
	}
	return ask.NotAlone()
}

// intendKeep journals the intent of a write of memories and plans it. Where policies deny it, that is its outcome.
func (a *actor) intendKeep(p *plan, c session.KeepMemories) error {
	ask := a.learnAsk()
	decision, held, err := a.gateOrHold(p, keepKey(c, ask.Extraction.Store), func() session.EffectHeld { return a.keepEffect(c, ask.Extraction.Store) })
	if held {
		return err
	}
	started := session.MemoryKeepingStarted{Store: ask.Extraction.Store, Items: c.Items, Turns: c.Turns, Decision: decision}
	if err := a.record(p, session.KindMemoryKeeping, started); err != nil {
		return err
	}
	out := session.MemoryKept{Call: a.state.Tail, Items: c.Items, Turns: c.Turns}
	switch {
	case a.r.cfg.Memory == nil:
		err = stead.Errorf(stead.KindNotImplemented, "This server keeps no memories.")
	case err == nil && notTheirs(ask) != "":
		err = stead.Errorf(stead.KindForbidden, "%s", notTheirs(ask))
	}
	if err != nil {
		out.Error = clientMessage(err)
		return a.record(p, session.KindMemoryKept, out)
	}
	if !c.Items {
		ask.Found, ask.At = a.state.Learn.Extracted.Found, a.state.Learn.At
	}
	req, step := a.state.Request(policy.MemoryWrite, ask.Extraction.Store), a.within("", keepKey(c, ask.Extraction.Store))
	p.starts = append(p.starts, func() {
		flight, ctx := a.begin()
		flight.learns = true
		go a.r.watched(ctx, req, func(ctx context.Context) { a.keep(policy.InStep(ctx, step), flight, ask, out) })
	})
	return nil
}

// keep writes, as often as it takes while the store is away: what is written has ids of its own, so that a second
// time changes nothing.
func (a *actor) keep(ctx context.Context, f *flight, ask session.LearnAsk, out session.MemoryKept) {
	err := a.patient(func() error {
		within, cancel := context.WithTimeout(ctx, keepTimeout)
		defer cancel()
		return safely(func() error {
			messages, err := a.learnMessages(within, out.Turns, out.Items && ask.Extraction.ToolOutputs)
			if err == nil && out.Items {
				messages, err = a.withGiven(within, messages, out.Turns, ask.Extraction.ToolOutputs)
			}
			if err != nil {
				return err
			}
			ask.Messages = messages
			kept, err := a.r.cfg.Memory.Keep(within, ask, out.Items)
			kept.Call, kept.Items, kept.Turns = out.Call, out.Items, out.Turns
			if err == nil {
				out = kept
			}
			return err
		})
	})
	a.unkeep(ask.Principal)
	if ctx.Err() != nil && stopped(ctx) == nil {
		return // the lease is gone, or the session: whoever comes next does it again
	}
	if err != nil {
		out.Error = clientMessage(err)
		if e := stopped(ctx); e != nil {
			out.Error = e.Message
		}
		a.log.Warn("what was said is not remembered", "err", err)
	}
	a.deliver(f, happened(session.KindMemoryKept, out))
}

// unkeep forgets again what was written while its session was deleted.
func (a *actor) unkeep(p stead.Principal) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), keepTimeout)
	defer cancel()
	if _, err := a.r.cfg.Store.Head(ctx, a.key); stead.KindOf(err) != stead.KindNotFound {
		return
	}
	if _, err := a.r.cfg.Memory.Forget(ctx, p, a.key, ""); err != nil {
		a.log.Error("what was remembered of a deleted session could not be forgotten", "err", err)
	}
}

// learnMessages are the messages of turns, and with tools what tools said.
func (a *actor) learnMessages(ctx context.Context, turns []stead.Seq, tools bool) ([]session.LearnMessage, error) {
	v, err := a.r.view(ctx, a.key)
	if err != nil {
		return nil, err
	}
	var out []session.LearnMessage
	for _, seq := range turns {
		found, err := session.MessagesOf(v, a.r.reader(ctx, a.key), seq, a.r.texts(ctx, a.key), tools)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// withGiven adds what came without a turn, in front of each.
func (a *actor) withGiven(ctx context.Context, messages []session.LearnMessage, turns []stead.Seq, tools bool) ([]session.LearnMessage, error) {
	v, err := a.r.view(ctx, a.key)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, m := range messages {
		known[m.Item] = true
	}
	for _, seq := range turns {
		found, err := session.MessagesBefore(v, a.r.reader(ctx, a.key), seq, a.r.texts(ctx, a.key), tools)
		if err != nil {
			return nil, err
		}
		for _, m := range found {
			if !known[m.Item] {
				known[m.Item], messages = true, append(messages, m)
			}
		}
	}
	return messages, nil
}

// intendExtract journals the intent of the model call that remembers, and plans it. Where it can't be made, since
// policies or budgets say so, that is its outcome: nothing waits for it.
func (a *actor) intendExtract(p *plan, c session.ExtractMemories) error {
	skip := func(why string) error {
		return a.record(p, session.KindMemoryExtracted, session.MemoryExtracted{Turns: c.Turns, Error: why})
	}
	if c.Skip == "" && a.state.SpendTaken() {
		return nil
	}
	ask := a.learnAsk()
	name := ask.Extraction.Model
	if name == "" {
		name = a.state.Created.Agent.Spec.Model
	}
	switch {
	case c.Skip != "":
		return skip(c.Skip)
	case a.r.cfg.Memory == nil:
		return skip("This server keeps no memories.")
	case notTheirs(ask) != "":
		return skip(notTheirs(ask))
	}
	if d, err := a.gate(policy.MemoryWrite, ask.Extraction.Store); err != nil && d.Needs == nil {
		return skip(clientMessage(err)) // what could not be written is not asked for
	}
	info, m, err := a.r.cfg.Models.Resolve(name, a.caller())
	if err != nil {
		return skip(clientMessage(err))
	}
	decision, held, err := a.gateOrHold(p, modelKey(session.PurposeRemember, name), func() session.EffectHeld { return a.rememberEffect(name, info, c.Turns) })
	if held {
		return err
	}
	if err != nil {
		return skip(clientMessage(err))
	}
	hold, why := a.holdExtract(p, info)
	if why != "" {
		return skip(why)
	}
	if a.ctx.Err() != nil {
		return a.ctx.Err()
	}
	if err := a.record(p, session.KindModelCalled, session.ModelCalled{Model: name, Purpose: session.PurposeRemember, Attempt: c.Attempt, Decision: decision, Hold: hold, Spend: a.spend(info)}); err != nil {
		return err
	}
	call := &modelCall{a: a, seq: a.state.Tail, info: info, model: m, input: a.requestTokens(), perToken: a.state.Context.BytesPerToken, attempt: c.Attempt, spec: a.state.Created.Agent.Spec, caller: a.caller(), held: hold != nil}
	req := a.state.Request(policy.ModelCall, name)
	run := func(ctx context.Context, f *flight) { call.runExtract(ctx, f, ask, c.Turns) }
	p.starts = append(p.starts, func() {
		flight, ctx := a.begin()
		flight.learns, flight.call = true, call
		go a.r.watched(ctx, req, func(ctx context.Context) { call.guarded(ctx, flight, run) })
	})
	return nil
}

// holdExtract reserves what the call may use; a reason: there is no room, or nobody can say.
func (a *actor) holdExtract(p *plan, info model.Info) (*session.Hold, string) {
	if a.r.cfg.Budgets == nil {
		return nil, ""
	}
	grant, hold, err := a.hold(p, a.estimate(info), false)
	switch {
	case a.ctx.Err() != nil:
		return nil, ""
	case err != nil:
		return nil, clientMessage(err)
	case grant.Refused != nil:
		return nil, grant.Exhausted()
	}
	return hold, ""
}

// runExtract asks the model and delivers what it found.
func (c *modelCall) runExtract(ctx context.Context, f *flight, ask session.LearnAsk, turns []stead.Seq) {
	out := session.MemoryExtracted{Call: c.seq, Turns: turns}
	var err error
	if ask.Messages, err = c.a.learnMessages(ctx, turns, false); err != nil {
		c.fail(f, &model.Error{Code: model.CodeServer, Message: "The conversation could not be loaded.", Retry: true, Err: err})
		return
	}
	question, err := c.a.r.cfg.Memory.Question(ctx, ask)
	if err != nil {
		c.fail(f, &model.Error{Code: model.CodeServer, Message: "Memory could not be read.", Retry: stead.KindOf(err) == stead.KindUnavailable, Err: err})
		return
	}
	if question.Text == "" { // nobody said anything
		c.a.deliver(f, happened(session.KindMemoryExtracted, out))
		return
	}
	req := model.Request{
		Model: c.info.Upstream, Instructions: question.Instructions, Format: &question.Format, ServiceTier: c.spec.ServiceTier,
		Items:           []stead.Item{{Type: stead.ItemMessage, Role: stead.RoleUser, Content: stead.TextContent(stead.ContentInputText, question.Text)}},
		MaxOutputTokens: maxLearnOutput, Caller: c.caller,
	}
	reply, err := c.generate(ctx, req, nil)
	if err != nil {
		c.fail(f, c.placed(c.blame(err)))
		return
	}
	if out.Found, out.Refused, err = c.a.r.cfg.Memory.Answer(ask, reply.text()); err != nil {
		out.Error = clientMessage(err)
	}
	price := c.price(reply)
	out.Usage, out.Guessed, out.Cost, out.Prices = reply.usage, reply.guessed, price.Cost(reply.usage), version(price)
	out.Model, out.Route, out.Finish = reply.model, reply.route, string(reply.finish)
	out.Provider, out.Region = c.provider(reply)
	c.a.deliver(f, happened(session.KindMemoryExtracted, out))
}
