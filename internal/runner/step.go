package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/usage/meter"
)

// plan is one append in the making, and what to start once it is durable.
type plan struct {
	after   stead.Seq
	events  []stead.Event
	usage   []journal.UsageRow // what follows from events
	audit   [][]byte           // records of what was decided on the way to events
	held    []*session.Hold    // reserved for the calls of starts
	ended   []endedHold        // of calls whose outcome is among events
	waits   int                // how many calls were refused, so that the turn waits for a budget
	starts  []func()
	calls   []starting  // of tools, and all of subagents' threads: they are not made if the turn ends in the same append
	ends    []stead.Seq // threads whose turns end: their work in flight is given up once that is durable
	wake    int64
	release bool
	scarce  bool // something was left out until the disk has room again
}

// step journals what happened and what comes next in one append, then starts the effects. It
// reports whether the session was released.
func (a *actor) step() (released bool, err error) {
	for {
		a.flushDue()
		p, err := a.plan()
		if err != nil {
			return false, err
		}
		a.wake = p.wake
		if a.draining() {
			a.wake = 0 // it begins nothing new; the time is for who comes next
		}
		if len(p.events) == 0 && !p.release {
			a.pending = nil // what had nothing to write any more
			a.acknowledge()
			a.settleCode()
			return false, nil
		}
		err = a.commit(p)
		if stead.KindOf(err) == stead.KindTail {
			// Input arrived (or an append that seemed lost was stored). The outcomes stay, the
			// decisions are made again on what is true now.
			stored, err := a.resolve(p)
			if err != nil {
				return false, err
			}
			if !stored {
				a.unhold(p)
				continue
			}
		} else if err != nil {
			a.unhold(p)
			return false, err
		}
		a.settle(p)
		a.pending, a.listed = nil, a.state.Status()
		a.acknowledge()
		a.settleCode()
		a.giveUp(p.endsTurn)
		for _, start := range p.starts {
			start()
		}
		a.saveSnapshot()
		return p.release, nil
	}
}

// plan applies the outcomes and asks the core what comes next, until it has nothing more to say.
func (a *actor) plan() (*plan, error) {
	p := &plan{after: a.state.Tail}
	a.decided = nil
	asked := a.state.Asks()
	if err := a.abandonCode(p); err != nil {
		return nil, err
	}
	for _, pe := range a.pending {
		if err := a.state.On(pe.thread, func() error { return a.write(p, pe.kind, pe.make) }); err != nil {
			return nil, err
		}
	}
	window := a.window()
	settled := false // the core has nothing more to say
	for !settled && len(p.events) < stead.MaxBatchEvents/2 {
		n := len(p.events)
		cmds := a.state.Next(window)
		if a.draining() {
			cmds = a.onlyEndings(p, cmds)
		} else if a.r.cfg.Low() {
			cmds = a.nothingNew(p, cmds)
		}
		turn := a.state.Turn
		for _, c := range cmds {
			if _, other := c.(session.InThread); turn != nil && a.state.Turn == nil && !other {
				continue // a command before it was refused, and ended the turn
			}
			waits := p.waits
			if err := a.intend(p, c); err != nil {
				return nil, err
			}
			if p.waits > waits {
				break // it was refused, and the turn waits
			}
		}
		settled = len(p.events) == n
	}
	p.audit = a.r.askDrafts(a.ctx, asked, &a.state.View, a.decided)
	for _, s := range p.calls {
		p.starts = append(p.starts, func() {
			_ = a.state.On(s.thread, func() error {
				s.start()
				return nil
			})
		})
	}
	p.release = settled && !p.scarce && len(p.starts) == 0 && !a.flies(p) && !a.resident()
	return p, nil
}

// flies reports whether work is in flight that does not end with the plan's turns.
func (a *actor) flies(p *plan) bool {
	if len(a.flights) > 0 && a.background() {
		return true
	}
	for f := range a.flights {
		if !p.endsTurn(f.thread) {
			return true
		}
	}
	return false
}

// starting is the start of an effect of a thread's turn.
type starting struct {
	thread stead.Seq
	start  func()
}

// wakeAt has the core asked again at a time, unless it is before.
func (p *plan) wakeAt(at int64) {
	if p.wake == 0 || at < p.wake {
		p.wake = at
	}
}

// endsTurn reports whether the plan ends the turn of a thread.
func (p *plan) endsTurn(thread stead.Seq) bool { return slices.Contains(p.ends, thread) }

// end notes that it ends a thread's turn: what of that was to start does not.
func (p *plan) end(thread stead.Seq) {
	p.ends = append(p.ends, thread)
	p.calls = slices.DeleteFunc(p.calls, func(s starting) bool { return s.thread == thread })
}

// intendWithin is intend on a subagent's thread. A turn that a command before it has ended goes on with nothing.
func (a *actor) intendWithin(p *plan, c session.InThread) error {
	starts := len(p.starts)
	err := a.state.On(c.Thread, func() error {
		if a.state.Turn == nil {
			return nil
		}
		return a.intend(p, c.Command)
	})
	for _, start := range p.starts[starts:] {
		p.calls = append(p.calls, starting{c.Thread, start})
	}
	p.starts = p.starts[:starts]
	return err
}

// onlyEndings: a draining node begins nothing new; what there is to do is another node's, at once
// or at its time.
func (a *actor) onlyEndings(p *plan, cmds []session.Command) []session.Command {
	out := cmds[:0:0]
	for _, c := range cmds {
		switch c := c.(type) {
		case session.EndTurn:
			out = append(out, c)
		case session.InThread:
			if end, ok := c.Command.(session.EndTurn); ok {
				out = append(out, session.InThread{Thread: c.Thread, Command: end})
			} else {
				p.wakeAt(a.r.now())
			}
		case session.WaitUntil:
			p.wakeAt(max(c.At, 1))
		default:
			p.wakeAt(a.r.now())
		}
	}
	return append(out, a.lastActions()...)
}

// background reports whether work is in flight that outlives the turn: a summary being made,
// something done with the environment.
func (a *actor) background() bool {
	e := a.state.Environment
	return a.state.Compacts() || a.state.Learn.Busy() || e != nil && e.Action != ""
}

func (a *actor) record(p *plan, kind string, payload any) error {
	return a.write(p, kind, func(*session.State) (any, error) { return payload, nil })
}

// write adds an event to the plan and applies it.
func (a *actor) write(p *plan, kind string, build func(*session.State) (any, error)) error {
	payload, err := build(a.state)
	if err != nil || payload == nil {
		return err
	}
	e, err := session.NewEvent(a.r.now(), kind, payload)
	if err != nil {
		return err
	}
	e.Seq, e.Thread, e.Payload = a.state.Tail+1, a.state.Focus(), payload
	records, err := meter.Follow(&a.state.View, e)
	if err != nil {
		return err
	}
	held := a.state.Holds()
	if err := a.state.Apply(e); err != nil {
		return err
	}
	if err := a.meter(p, held, records); err != nil {
		return err
	}
	e.Payload = nil // the store keeps what is encoded
	p.events = append(p.events, e)
	return nil
}

// intend turns a command into its intent event and the effect to start after the commit.
func (a *actor) intend(p *plan, c session.Command) error {
	switch c := c.(type) {
	case session.InThread:
		return a.intendWithin(p, c)
	case session.ActOnSubagent:
		return a.intendSubagent(p, c.Call)
	case session.AnswerTool:
		return a.record(p, session.KindToolReturned, session.ToolReturned{CallID: c.Call.CallID, Output: stead.TextContent(stead.ContentInputText, c.Output)})
	case session.TellParent:
		return a.tellParent(p, c.Subagent)
	case session.StartTurn:
		return a.record(p, session.KindTurnStarted, session.TurnStarted{})
	case session.EndTurn:
		return a.intendEnd(p, c)
	case session.WaitUntil:
		// The core reads no clock. A time that has come by the store's clock is believed, though this
		// node's clock may be behind: else the session would be released and leased again until the
		// clocks agree. Of a later time that says nothing, nor of one that is further off than clocks are.
		if now := max(a.r.now(), a.due); c.At <= now {
			return a.record(p, session.KindTimerFired, session.TimerFired{At: now})
		}
		p.wakeAt(c.At)
		return nil
	case session.RecallMemory:
		return a.intendRecall(p)
	case session.KeepMemories:
		return a.intendKeep(p, c)
	case session.ExtractMemories:
		return a.intendExtract(p, c)
	case session.CallModel:
		return a.intendModel(p, c)
	case session.CompactContext:
		return a.intendCompact(p, c)
	case session.CallTool:
		return a.intendTool(p, c)
	case session.LapseConsent:
		return a.record(p, session.KindConsentLapsed, session.ConsentLapsed(c))
	case session.LapseTool:
		a.decided = a.r.putDraft(a.ctx, &a.state.View, a.state.OfCall(c.Call), policy.Expire, a.decided)
		return a.record(p, session.KindToolLapsed, session.ToolLapsed{CallID: c.Call.CallID})
	case session.RefuseTool:
		if c.Reason == session.ToldExpired {
			a.decided = a.r.putDraft(a.ctx, &a.state.View, a.state.OfCall(c.Call), policy.Expire, a.decided)
		}
		return a.record(p, session.KindToolReturned, session.ToolReturned{CallID: c.Call.CallID, Error: c.Reason})
	case session.LapseEffect:
		a.decided = a.r.putDraft(a.ctx, &a.state.View, a.state.OfEffect(c.Wait), policy.Expire, a.decided)
		return a.record(p, session.KindEffectLapsed, session.EffectLapsed{Asked: c.Wait.Asked})
	case session.ExtendEnvironment:
		return a.extend(p)
	case session.EnvironmentAction:
		return a.intendEnvironment(p, c)
	}
	return stead.Errorf(stead.KindInternal, "unknown command %T", c)
}

func (a *actor) intendEnd(p *plan, c session.EndTurn) error {
	return a.endTurn(p, c.Kind, session.TurnEnded{Error: c.Error})
}

// endTurn ends the turn. What was shown of its work in flight is kept. A cancel stops the summary
// that is being made as well; otherwise it outlives the turn that began it, unless that is a subagent's.
func (a *actor) endTurn(p *plan, kind string, end session.TurnEnded) error {
	if err := a.endSubagents(p); err != nil {
		return err
	}
	thread := a.state.Focus()
	stops := kind == session.KindTurnCancelled || thread != 0 // its summary as well
	for f := range a.flights {
		if f.thread != thread {
			continue
		}
		if err := a.write(p, session.KindModelStreamed, f.flushed(true).make); err != nil {
			return err
		}
		if !f.action && !f.learns && (stops || !f.background) {
			f.cancel() // upstream calls stop at once
		}
	}
	if t := a.state.Turn; t != nil {
		if spent := a.cutOne(t.Model); spent != nil {
			if err := a.record(p, session.KindModelFailed, cutOff(spent.Call, spent)); err != nil {
				return err
			}
		}
	}
	if stops && a.state.Compact != nil {
		if err := a.record(p, session.KindModelFailed, cutOff(a.state.Compact.Seq, a.cutOne(a.state.Compact))); err != nil {
			return err
		}
	}
	p.end(thread)
	return a.record(p, kind, end)
}

// cutOff is the end of a model call that its turn's end cuts off.
func cutOff(call stead.Seq, spent *session.Spent) session.ModelFailed {
	return session.ModelFailed{Call: call, Error: session.TurnError{Code: model.CodeConnection, Message: "The turn was cancelled."}, Spent: spent}
}

func (a *actor) commit(p *plan) error {
	b := journal.Batch{After: p.after, Events: p.events, Usage: p.usage, Audit: p.audit, Release: p.release, Wake: p.wake}
	if status := a.state.Status(); status != a.listed || p.release {
		b.Update = a.listing(status)
	}
	var stored chan bool
	if p.release && p.wake > 0 {
		stored = make(chan bool, 1)
		a.r.waits.put(a.key, waited{a.state.Tail, p.wake, stored}) // before the release: it may be leased again at once
	}
	lost := false // an answer, so that it may have been stored
	err := a.patient(func() error {
		err := a.r.cfg.Store.Append(a.ctx, a.lease, b)
		lost = lost || stead.KindOf(err) == stead.KindUnavailable
		return err
	})
	if stored != nil {
		stored <- err == nil || lost
	}
	return err
}

func (a *actor) listing(status string) *journal.Listing {
	return &journal.Listing{Status: status, Metadata: a.state.Created.Metadata, LastActive: a.state.LastActive}
}

// resolve finds out, after KindTail, whether the append was stored after all (its acknowledgement
// was lost), and brings the state up to date either way.
func (a *actor) resolve(p *plan) (stored bool, err error) {
	stored, err = a.wasStored(p)
	if err != nil {
		return false, err
	}
	if stored && p.release {
		return true, nil // whoever comes next reads on
	}
	if err := a.reload(); err != nil {
		return false, err
	}
	if !stored {
		p.events = nil
	}
	return stored, nil
}

func (a *actor) wasStored(p *plan) (bool, error) {
	if len(p.events) == 0 {
		return false, nil
	}
	var got []stead.Event
	err := a.patient(func() (err error) {
		got, err = a.r.cfg.Store.Read(a.ctx, a.key, journal.ReadOptions{After: p.after, Limit: len(p.events)})
		return err
	})
	if err != nil || len(got) < len(p.events) {
		return false, err
	}
	for i, e := range p.events {
		if got[i].Kind != e.Kind || got[i].Thread != e.Thread || got[i].At != e.At || !sameJSON(got[i].Data, e.Data) {
			return false, nil
		}
	}
	return true, nil
}

// sameJSON compares encoded payloads: stores may not keep their spacing or the order of keys.
func sameJSON(x, y []byte) bool {
	if bytes.Equal(x, y) {
		return true
	}
	var a, b any
	if json.Unmarshal(x, &a) != nil || json.Unmarshal(y, &b) != nil {
		return false
	}
	ea, _ := json.Marshal(a)
	eb, _ := json.Marshal(b)
	return bytes.Equal(ea, eb)
}

// saveSnapshot keeps long sessions quick to open. Losing one costs time only.
func (a *actor) saveSnapshot() {
	if !a.snapshot.due(a.state.Tail) {
		return
	}
	data, err := a.state.Snapshot()
	if err != nil {
		a.log.Error("snapshot", "err", err)
		return
	}
	a.snapshot = saved{a.state.Tail, len(data)}
	if len(data) > stead.MaxSnapshotBytes {
		a.log.Info("the state is too large for a snapshot: the session is read from its journal", "bytes", len(data), "limit", stead.MaxSnapshotBytes)
		return
	}
	if err := a.r.cfg.Store.SaveSnapshot(a.ctx, a.key, a.state.Tail, data); err != nil && a.ctx.Err() == nil {
		a.log.Info("snapshot not saved", "err", err)
	}
}

// begin registers a flight and returns its context.
func (a *actor) begin() (*flight, context.Context) {
	ctx, cancel := context.WithCancel(policy.BySubagents(a.ctx, a.state.Chain()))
	f := &flight{cancel: cancel, thread: a.state.Focus()}
	a.flights[f] = struct{}{}
	return f, ctx
}

// deliver hands an outcome to the actor; it waits until the actor takes it or is gone.
func (a *actor) deliver(f *flight, events ...pending) {
	select {
	case a.outcomes <- outcome{of: f, events: events}:
	case <-a.ctx.Done():
	}
}
