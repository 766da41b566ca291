package runner

import (
	"cmp"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/usage"
)

// heard is how far an answer has come, for whoever ends its call before it is whole.
type heard struct {
	mu    sync.Mutex
	first int64 // milliseconds until the first word; 0: there was none
	said  model.Said
	route *model.Route
	usage *stead.Usage // of the end; nil: the provider has not told it
	tally model.Tally  // before the end
}

// delta takes note of a piece; after is the time since the call began, in milliseconds.
func (h *heard) delta(d model.Delta, after int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.first == 0 && d.Kind != model.Done {
		h.first = max(after, 1)
	}
	h.said.Delta(d)
	if d.Route != nil {
		h.route = d.Route
	}
	if d.Usage != nil {
		h.usage = d.Usage
	}
}

// defaultBytesPerToken is what a token of an answer is taken for where nothing was learned.
const defaultBytesPerToken = 4

// spent is what the call has used, if its provider has it; nil: nothing that anybody charges for. route is
// where it went, if that is known better than by the answer.
func (c *modelCall) spent(route *model.Route) *session.Spent {
	c.heard.mu.Lock()
	defer c.heard.mu.Unlock()
	h := &c.heard
	told, charged := h.tally.Used()
	if told = cmp.Or(h.usage, told); h.first == 0 && told == nil && !charged {
		return nil
	}
	out := &session.Spent{Call: c.seq, FirstMS: h.first}
	used, guessed := model.Used(told, c.guess(), h.usage != nil)
	out.Usage, out.Told = used, !guessed
	if route == nil && h.route != nil {
		own := *h.route
		if own.Hedged != nil { // an attempt beside it, which is cut off as well
			beside := *own.Hedged
			own.Hedged = &beside
			c.priceHedged(&own, out.Usage)
		}
		route, out.Route = &own, &own
	}
	if route == nil {
		out.Provider, out.Region, out.Model = c.info.Provider, c.info.Region, c.info.Upstream
	}
	price := c.priceOn(route)
	out.Cost, out.Prices = price.Cost(out.Usage), version(price)
	return out
}

// guess is what the call has used by what went in and came out. The caller holds the lock of what was heard.
func (c *modelCall) guess() stead.Usage {
	u := stead.Usage{InputTokens: max(c.input, 1)}
	if n := c.heard.said.Bytes(); n > 0 {
		u.OutputTokens = int64(float64(n)/cmp.Or(c.perToken, defaultBytesPerToken)) + 1
	}
	return u
}

// used is what a whole answer used, and whether that is guessed: its provider did not say it.
func (c *modelCall) used(told *stead.Usage) (stead.Usage, bool) {
	c.heard.mu.Lock()
	defer c.heard.mu.Unlock()
	return model.Used(told, c.guess(), true)
}

// cutCall is what a model call has used that is cut off, and the thread that it is of.
type cutCall struct {
	thread stead.Seq
	spent  session.Spent
}

// recovered are the events that cut off everything in flight: calls of subagents say on their own threads what they had used, and so do those
// of the root's for which one event has no room.
func (a *actor) recovered(cut []cutCall) (out []pending) {
	last := session.RunnerRecovered{Node: a.r.cfg.Node, Epoch: a.lease.Epoch}
	for _, c := range cut {
		if c.thread == 0 && len(last.Spent) < session.MaxSpentAtOnce {
			last.Spent = append(last.Spent, c.spent)
			continue
		}
		one := happened(session.KindModelCut, session.ModelCut{Spent: c.spent})
		one.thread = c.thread
		out = append(out, one)
	}
	return append(out, happened(session.KindRunnerRecovered, last))
}

// cutCalls are what the model calls in flight have used, for the events that cut them off.
func (a *actor) cutCalls() []cutCall {
	var out []cutCall
	for f := range a.flights {
		if f.call == nil || a.state.CallBySeq(f.call.seq) == nil {
			continue
		}
		if s := f.call.spent(nil); s != nil {
			out = append(out, cutCall{f.thread, *s})
		}
	}
	return out
}

// cutOne is what one of them has used; nil: nothing, or it is not in flight here.
func (a *actor) cutOne(call *session.ModelCall) *session.Spent {
	if call == nil {
		return nil
	}
	for f := range a.flights {
		if f.call != nil && f.call.seq == call.Seq {
			return f.call.spent(nil)
		}
	}
	return nil
}

// lostCalls is what a call had used that was in flight when its node died, by what it had streamed: all that
// anybody still knows of it. Where it went is known where there is but one way.
func (a *actor) lostCalls() (out []cutCall) {
	out = a.lostCall()
	for _, s := range a.state.Subagents {
		_ = a.state.On(s.ID, func() error {
			out = append(out, a.lostCall()...)
			return nil
		})
	}
	return out
}

// lostCall is that of a thread.
func (a *actor) lostCall() []cutCall {
	if a.state.Turn == nil || a.state.Turn.Model == nil || a.state.Turn.Model.Bytes == 0 {
		return nil
	}
	call := a.state.Turn.Model
	out := session.Spent{Call: call.Seq, Usage: stead.Usage{
		InputTokens: max(a.requestTokens(), 1), OutputTokens: int64(a.state.Context.Tokens(call.Bytes)) + 1,
	}}
	if info, _, err := a.r.cfg.Models.Resolve(call.Model, a.caller()); err == nil {
		sale := usage.Sale{At: a.r.now(), Model: info.Name}
		if len(info.Card.Versions) <= 1 {
			out.Provider, out.Region, out.Model = info.Provider, info.Region, info.Upstream
			sale.Provider, sale.Upstream, sale.Tier = info.Provider, info.Upstream, a.state.Created.Agent.Spec.ServiceTier
		}
		price := cmp.Or(a.r.cfg.Prices.Price(sale), info.Price)
		out.Cost, out.Prices = price.Cost(out.Usage), version(price)
	}
	return []cutCall{{a.state.Focus(), out}}
}
