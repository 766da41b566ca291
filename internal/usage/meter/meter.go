// Package meter makes usage records of a session's journal: a pure fold.
//
// Shape: Follow(view before an event, the event) → the records that follow from it, in order.
//
//	model.replied, context.compacted,
//	  memory.extracted                           → a model call, with the cost that the event says; a
//	                                               second one where it was hedged and both used something
//	model.failed, and routes that failed before  → notes of failures, which count and cost nothing;
//	                                               what the call had used, if its answer had begun; and
//	                                               the attempt that was given up beside, if one was
//	model.cut, runner.recovered                  → what the calls had used that are cut off
//	tool.returned, tool.lost (if it was sent)    → a tool call
//	environment.prepared, failed                 → a set-up's time, and its egress
//	environment.checkpointed, suspended,
//	  disconnected, runner.recovered             → the residence's time, and its egress
//	environment.extended                         → the residence's time
//	environment.checkpointed, suspended, expired → what was stored until then
//
// All that it must know beside the event is in the view (session.Metering), so a holder that begins
// at a snapshot writes the same records as one who folds from the first event.
//
// No record is made of: a call that was cut off before its answer had begun, an outcome that
// nobody waited for any more, what was copied with a fork or an import (its session has paid), and a
// self-hosted environment's time (it is its user's machine). Time of a residence that a crash ended
// counts up to the last event before it, its egress up to the end of the last command.
//
// Errors: KindInternal for an event that can't be read.
package meter

import (
	"cmp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/usage"
)

// Indexes of the records of one event, which their ids hold.
const (
	indexFirst   = 0
	indexEgress  = 1
	indexStorage = 2
	indexHedged  = 3  // of a model call that was on two routes at once
	indexSpent   = 4  // of a model call that was cut off, and 2 further on what was beside it; 1 further on a second one
	indexTried   = 8  // and on: routes that were tried before
	indexLost    = 12 // and on: attempts that broke off before; journal.MaxUsageIndex is the last
)

// Follow returns the records of an event that is about to be applied to the view.
func Follow(v *session.View, e stead.Event) (records []usage.Record, err error) {
	if v.Copied(e.Seq) {
		return nil, nil
	}
	err = v.On(e.Thread, func() error {
		records, err = onThread(v, e)
		return err
	})
	return records, err
}

// onThread is Follow with the view looked at from the event's thread.
func onThread(v *session.View, e stead.Event) ([]usage.Record, error) {
	f := follower{v: v, e: e}
	switch e.Kind {
	case session.KindModelReplied:
		return follow(f, f.modelReplied)
	case session.KindContextCompacted:
		return follow(f, f.compacted)
	case session.KindMemoryExtracted:
		return follow(f, f.extracted)
	case session.KindModelFailed:
		return follow(f, f.modelFailed)
	case session.KindModelCut:
		return follow(f, f.modelCut)
	case session.KindToolReturned:
		return follow(f, f.toolReturned)
	case session.KindToolLost:
		return follow(f, f.toolLost)
	case session.KindEnvironmentPrepared:
		return follow(f, func(p session.EnvironmentPrepared) []usage.Record { return f.setUp(p.Call, p.SetUp) })
	case session.KindEnvironmentFailed:
		return follow(f, func(p session.EnvironmentFailed) []usage.Record { return f.setUp(p.Call, p.SetUp) })
	case session.KindEnvironmentCheckpointed:
		return follow(f, func(p session.EnvironmentCheckpointed) []usage.Record { return f.left(p.Call, p.Usage) })
	case session.KindEnvironmentSuspended:
		return follow(f, func(p session.EnvironmentSuspended) []usage.Record { return f.left(p.Call, p.Usage) })
	case session.KindEnvironmentDisconnected:
		return follow(f, f.died)
	case session.KindEnvironmentExpired:
		return follow(f, func(p session.EnvironmentExpired) []usage.Record {
			if env := v.Environment; !env.Hosted() || p.Call != env.Call {
				return nil
			}
			return f.stored()
		})
	case session.KindEnvironmentExtended:
		return f.extended(), nil
	case session.KindRunnerRecovered:
		return follow(f, f.recovered)
	}
	return nil, nil
}

// Fold returns the records of a whole journal, in order.
func Fold(key stead.SessionKey, events []stead.Event) ([]usage.Record, error) {
	v := session.NewView(key)
	var all []usage.Record
	for _, e := range events {
		records, err := Follow(v, e)
		if err != nil {
			return nil, err
		}
		if err := v.Apply(e); err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
	return all, nil
}

// follower makes the records of one event.
type follower struct {
	v *session.View
	e stead.Event
}

func follow[T any](f follower, records func(T) []usage.Record) ([]usage.Record, error) {
	p, err := session.Decode[T](f.e)
	if err != nil {
		return nil, err
	}
	return records(p), nil
}

func (f follower) record(kind usage.Kind, index int) usage.Record {
	c := &f.v.Created
	r := usage.Record{
		ID: usage.EventID(f.v.Key.Session, f.e.Seq, index), At: f.e.At, Project: f.v.Key.Project, Session: f.v.Key.Session,
		Kind: kind, Agent: c.Agent.Limited(), User: c.Principal.ID,
	}
	if f.v.Turn != nil {
		r.Turn = session.TurnID(f.v.Key.Session, f.v.Turn.Seq)
	}
	if thread := f.v.Focus(); thread != 0 {
		r.Subagent = session.SubagentID(f.v.Key.Session, thread)
	}
	return r
}

// recordOf is a record of a model call. One that remembers is no part of a turn, whichever runs meanwhile.
func (f follower) recordOf(call *session.ModelCall, kind usage.Kind, index int) usage.Record {
	r := f.record(kind, index)
	if call == f.v.Learn.Extract {
		r.Turn = ""
	}
	return r
}

func (f follower) modelReplied(p session.ModelReplied) []usage.Record {
	t := f.v.Turn
	if t == nil || t.Model == nil || t.Model.Seq != p.Call {
		return nil
	}
	return f.model(t.Model, p.Usage, p.Cost, p.Prices, place{p.Provider, p.Region, p.Model}, p.Route, ended{p.Finish, p.FirstMS, p.Guessed})
}

func (f follower) compacted(p session.ContextCompacted) []usage.Record {
	if f.v.Compact == nil || f.v.Compact.Seq != p.Call {
		return nil
	}
	return f.model(f.v.Compact, p.Usage, p.Cost, p.Prices, place{p.Provider, p.Region, p.Model}, p.Route, ended{guessed: p.Guessed})
}

func (f follower) extracted(p session.MemoryExtracted) []usage.Record {
	call := f.v.Learn.Extract
	if call == nil || call.Seq != p.Call {
		return nil
	}
	return f.model(call, p.Usage, p.Cost, p.Prices, place{p.Provider, p.Region, p.Model}, p.Route, ended{finish: p.Finish, guessed: p.Guessed})
}

// place is where a call went, as its event says it where there was but one way; the route knows better. upstream is
// what the provider said. Events from before regions were in them say none, and so do their records.
type place struct{ provider, region, upstream string }

// ended is how a call ended, and when it began to speak.
type ended struct {
	finish  string
	first   int64 // milliseconds; 0: not known
	guessed bool  // its provider did not say what it used
}

func (f follower) model(call *session.ModelCall, used stead.Usage, cost int64, prices string, at place, route *model.Route, end ended) []usage.Record {
	r := f.called(indexFirst, call, used, at, route)
	r.Cost, r.Prices, r.First = cost, prices, end.first
	if model.Finish(end.finish) != model.FinishStop && model.Finish(end.finish) != model.FinishToolCalls {
		r.Outcome = end.finish
	}
	if end.guessed {
		r.Outcome = usage.Estimated
	}
	all := append([]usage.Record{r}, f.beside(r, route, indexHedged, indexLost)...)
	return append(all, f.tried(call, route)...)
}

// called is a model call that used something.
func (f follower) called(index int, call *session.ModelCall, used stead.Usage, at place, route *model.Route) usage.Record {
	r := f.recordOf(call, usage.ModelCall, index)
	r.Model, r.Provider, r.Region, r.Upstream = call.Model, at.provider, at.region, at.upstream
	if route != nil {
		r.Provider, r.Region, r.Tier = route.Provider, route.Region, route.Tier
		if r.Upstream == "" {
			r.Upstream = route.Model
		}
		if r.Upstream != route.Model {
			r.Asked = route.Model
		}
	}
	if call.Hold != nil {
		r.Hold = call.Hold.ID
	}
	r.Calls, r.Millis = 1, span(call.At, f.e.At)
	r.SetTokens(used)
	return r
}

// spent is the record of a call that was cut off. It has a time: an attempt that was given up for another
// has none.
func (f follower) spent(at spentAt, call *session.ModelCall, s *session.Spent, route *model.Route) []usage.Record {
	r := f.called(at.spent, call, s.Usage, place{s.Provider, s.Region, s.Model}, cmp.Or(s.Route, route))
	r.Cost, r.Prices, r.First = s.Cost, s.Prices, s.FirstMS
	r.Millis = max(r.Millis, 1)
	if !s.Told {
		r.Outcome = usage.Estimated
	}
	return append([]usage.Record{r}, f.beside(r, s.Route, at.beside, at.lost)...)
}

// maxLost is how many attempts of a call break off before one that counts: a call is tried three times.
const maxLost = 2

// spentAt are the indexes of the records of one of the calls that an event cuts off: its own, and those of the
// attempts beside it.
type spentAt struct{ spent, beside, lost int }

func spentIndexes() [session.MaxSpentAtOnce]spentAt {
	return [session.MaxSpentAtOnce]spentAt{
		{indexSpent, indexSpent + 2, indexLost},
		{indexSpent + 1, indexSpent + 3, indexLost + maxLost},
	}
}

// modelCut is what a call had used that the event behind this one cuts off.
func (f follower) modelCut(p session.ModelCut) []usage.Record {
	call := f.v.CallBySeq(p.Spent.Call)
	if call == nil {
		return nil
	}
	return f.spent(spentIndexes()[0], call, &p.Spent, nil)
}

// modelFailed notes which routes failed, and what the call had used. A call that went nowhere is none.
func (f follower) modelFailed(p session.ModelFailed) []usage.Record {
	call := f.v.CallBySeq(p.Call)
	if call == nil {
		return nil
	}
	var all []usage.Record
	if p.Spent != nil {
		all = append(all, f.spent(spentIndexes()[0], call, p.Spent, p.Route)...)
	}
	if p.Route == nil {
		return all
	}
	r := f.failure(indexFirst, call, p.Route.Provider, p.Route.Model, p.Error.Code)
	r.Region, r.Tier = p.Route.Region, p.Route.Tier
	all = append(all, r)
	beside := f.recordOf(call, usage.ModelCall, indexHedged) // what was given up for it is charged all the same
	beside.Model, beside.Calls = call.Model, 1
	if call.Hold != nil {
		beside.Hold = call.Hold.ID
	}
	all = append(all, f.beside(beside, p.Route, indexHedged, indexLost)...)
	return append(all, f.tried(call, p.Route)...)
}

// tried notes the routes that failed before the one that was taken.
func (f follower) tried(call *session.ModelCall, route *model.Route) []usage.Record {
	var out []usage.Record
	for i, t := range route.TriedBefore() {
		if i >= indexLost-indexTried {
			break
		}
		r := f.failure(indexTried+i, call, t.Provider, t.Model, t.Code)
		r.Name = usage.FailedOver
		out = append(out, r)
	}
	return out
}

func (f follower) failure(index int, call *session.ModelCall, provider, upstream, code string) usage.Record {
	r := f.recordOf(call, usage.ModelFailure, index)
	r.Model, r.Provider, r.Upstream, r.Outcome = call.Model, provider, upstream, code
	return r
}

// beside are the records of the attempts beside that of a record; hedged and lost are their indexes.
func (f follower) beside(r usage.Record, route *model.Route, hedged, lost int) []usage.Record {
	var all []usage.Record
	if route == nil {
		return nil
	}
	if h := route.Hedged; h != nil && h.Usage != nil {
		all = append(all, f.hedged(hedged, r, h))
	}
	for i, h := range route.Lost[:min(len(route.Lost), maxLost)] {
		if h.Usage != nil {
			all = append(all, f.hedged(lost+i, r, h))
		}
	}
	return all
}

// hedged is what the attempt used that was given up beside the one of a record.
func (f follower) hedged(index int, r usage.Record, h *model.Hedged) usage.Record {
	r.ID = usage.EventID(f.v.Key.Session, f.e.Seq, index)
	r.Provider, r.Upstream, r.Region, r.Tier, r.Cost, r.Prices = h.Provider, h.Model, h.Region, h.Tier, h.Cost, h.Prices
	r.Millis, r.First, r.Asked, r.Outcome = 0, 0, "", usage.OutcomeBeside(h) // its time is the other one's
	r.SetTokens(*h.Usage)
	return r
}

func (f follower) toolReturned(p session.ToolReturned) []usage.Record {
	c := f.v.CallByID(p.CallID)
	if c == nil || c.State != session.CallRunning || p.NotSent {
		return nil // nothing was called: policies refused it, or its server has no such tool any more
	}
	return f.tool(c, p.DurationMS)
}

func (f follower) toolLost(p session.ToolLost) []usage.Record {
	c := f.v.CallByID(p.CallID)
	if c == nil || c.State != session.CallRunning || !p.Sent {
		return nil
	}
	return f.tool(c, 0)
}

func (f follower) tool(c *session.Call, millis int64) []usage.Record {
	r := f.record(usage.ToolCall, indexFirst)
	r.Name, r.Calls, r.Millis, r.Cost, r.Prices = c.ToolName(), 1, max(millis, 0), c.Cost, c.Prices
	if c.Hold != nil {
		r.Hold = c.Hold.ID
	}
	return []usage.Record{r}
}

// left is what a checkpoint or the orderly end of a residence says.
func (f follower) left(call stead.Seq, used environment.Usage) []usage.Record {
	env := f.v.Environment
	if !env.Hosted() || env.Action == "" || env.Call != call {
		return nil
	}
	return append(f.resided(f.e.At, env.Since.Grown(used)), f.stored()...)
}

func (f follower) died(p session.EnvironmentDisconnected) []usage.Record {
	env := f.v.Environment
	if !env.Hosted() || env.Node != p.Node {
		return nil
	}
	return f.resided(f.e.At, env.Since.Grown(p.Usage))
}

// extended is a slice's time, and the egress that is known of it.
func (f follower) extended() []usage.Record {
	env := f.v.Environment
	if !env.Hosted() || env.Status != session.EnvironmentConnectedNow {
		return nil
	}
	return f.resided(f.e.At, env.Since)
}

func (f follower) recovered(p session.RunnerRecovered) []usage.Record {
	var all []usage.Record
	for i := range p.Spent[:min(len(p.Spent), session.MaxSpentAtOnce)] {
		if call := f.v.CallBySeq(p.Spent[i].Call); call != nil {
			all = append(all, f.spent(spentIndexes()[i], call, &p.Spent[i], nil)...)
		}
	}
	if env := f.v.Environment; env.Hosted() {
		all = append(all, f.resided(f.v.Now, env.Since)...) // as of the last command
	}
	return all
}

// resided is the time since what is on record, what was computed in it, and the bytes that passed the egress proxy.
func (f follower) resided(until int64, used environment.Usage) []usage.Record {
	m := f.v.Environment.Metering
	if m.Seconds == 0 {
		return nil
	}
	return f.ran(span(m.Seconds, until), m.Used, used)
}

// setUp is the time of a set-up, and what was computed and sent in it.
func (f follower) setUp(call stead.Seq, ran *environment.SetUp) []usage.Record {
	env := f.v.Environment
	if ran == nil || !env.Hosted() || env.Action != session.ActionPrepare || env.Call != call {
		return nil
	}
	return f.ran(ran.Millis, environment.Usage{}, ran.Usage)
}

// ran is a time, and what was used in it: after less what was used before.
func (f follower) ran(millis int64, before, after environment.Usage) []usage.Record {
	var out []usage.Record
	if millis > 0 {
		r := f.record(usage.Environment, indexFirst)
		r.Millis = millis
		r.CPUMillis = max(after.CPU.Milliseconds()-before.CPU.Milliseconds(), 0)
		r.Commands, r.MemoryBytes = max(after.Commands-before.Commands, 0), after.MemoryBytes
		out = append(out, f.priced(r))
	}
	sent, received := max(after.EgressSentBytes-before.EgressSentBytes, 0), max(after.EgressReceivedBytes-before.EgressReceivedBytes, 0)
	if sent+received > 0 {
		r := f.record(usage.Egress, indexEgress)
		r.SentBytes, r.ReceivedBytes = sent, received
		out = append(out, f.priced(r))
	}
	return out
}

// stored is what the checkpoint that is about to be replaced or deleted held.
func (f follower) stored() []usage.Record {
	m := f.v.Environment.Metering
	n := span(m.Stored, f.e.At)
	if m.Stored == 0 || n == 0 || m.Bytes == 0 {
		return nil
	}
	r := f.record(usage.Storage, indexStorage)
	r.SetStored(m.Bytes, n)
	return []usage.Record{f.priced(r)}
}

// priced says what a use of the environment cost, by the rates of the slice that it is in.
func (f follower) priced(r usage.Record) usage.Record {
	s := f.v.Environment.Slice
	if s.Rates != nil {
		rates := usage.Rates(*s.Rates)
		r.Cost, r.Prices = rates.Cost(r.Kind, r.Quantities), rates.Version
	}
	if s.Hold != nil {
		r.Hold = s.Hold.ID
	}
	return r
}

// span is a duration between two events' times. Clocks of nodes differ: it is never negative.
func span(from, to int64) int64 {
	if from == 0 {
		return 0
	}
	return max(to-from, 0)
}
