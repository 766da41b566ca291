package session

import (
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
)

// Command says what the holder of the lease must do next. Exactly one of the concrete types.
type Command interface{ command() }

// StartTurn begins the queued turn.
type StartTurn struct{}

// CallModel asks the model for the turn's next step, after journaling the intent.
type CallModel struct{ Attempt int }

// CompactContext asks the model for a summary of the items up to an event.
type CompactContext struct{ Upto stead.Seq }

// CallTool executes a call, after journaling the intent.
type CallTool struct{ Call *Call }

// RefuseTool ends a call that was not made, and says why.
type RefuseTool struct {
	Call   *Call
	Reason string
}

// LapseTool ends the question about a call that nobody answered and whose policies let it be made then.
type LapseTool struct{ Call *Call }

// EndTurn ends the turn; Kind is one of turn.completed, turn.failed, turn.cancelled.
type EndTurn struct {
	Kind  string
	Error *TurnError
}

// WaitUntil says that nothing can be done before a time (Unix milliseconds), unless input arrives.
type WaitUntil struct{ At int64 }

func (StartTurn) command()      {}
func (CallModel) command()      {}
func (CompactContext) command() {}
func (CallTool) command()       {}
func (RefuseTool) command()     {}
func (LapseTool) command()      {}
func (EndTurn) command()        {}
func (WaitUntil) command()      {}

// Window is what Next must know of the model: how much it can take.
type Window struct {
	ContextTokens int // the model's context window; 0: unknown, no budget is kept
	OutputTokens  int // kept free for the answer
	FixedBytes    int // instructions and tools, which every request carries
	// EnvironmentIdle is how long an environment stays resident when nothing needs it; 0: for ever.
	EnvironmentIdle time.Duration
	// EnvironmentExpire is how long the workspace of an environment that is not resident is kept after
	// it was used last; 0: for ever.
	EnvironmentExpire time.Duration
}

// The budget of the context: from compactAt of it a summary is made, from blockAt on the turn waits
// for it; keepShare of it stays as it is.
const (
	compactAt = 0.70
	blockAt   = 0.90
	keepShare = 0.25
	// maxCompactFailures in a row end the attempts until the next turn.
	maxCompactFailures = 3
	// defaultOutputTokens are kept free when the model's limit is not known.
	defaultOutputTokens = 4096
)

// Next says what to do in this state. It is a pure function of the events so far and the window;
// calling it again without new events gives the same commands. Commands for work in flight are
// never repeated. No command and nothing in flight: the session waits for input.
func (s *State) Next(w Window) []Command {
	if len(s.Subagents) > 0 {
		return alone(s.nextThreads(w))
	}
	return alone(s.heldBack(s.next(w)))
}

// alone leaves out commands of the environment where something is done with it: one that begins in the same append would be stored in part, and
// taken for stored. Its turn comes.
func alone(cmds []Command) []Command {
	if !slices.ContainsFunc(cmds, func(c Command) bool { _, ok := c.(EnvironmentAction); return ok }) {
		return cmds
	}
	return slices.DeleteFunc(cmds, func(c Command) bool {
		if in, ok := c.(InThread); ok {
			c = in.Command
		}
		call, ok := c.(CallTool)
		return ok && call.Call.Tool.Environment
	})
}

func (s *State) next(w Window) []Command {
	cmds := append(s.nextSlice(), s.nextTurn(w)...)
	if slices.ContainsFunc(cmds, func(c Command) bool { _, ok := c.(EnvironmentAction); return ok }) {
		return cmds // one thing at a time is done with the environment
	}
	return append(append(cmds, s.nextLearn()...), s.nextEnvironment(w)...)
}

func (s *State) nextTurn(w Window) []Command {
	t := s.Turn
	switch {
	case s.Failed != nil || t == nil:
		return nil
	case t.Cancelling, s.orphaned():
		return []Command{EndTurn{Kind: KindTurnCancelled}}
	case s.Paused:
		return nil
	case t.StartedAt == 0:
		return []Command{StartTurn{}}
	}
	if tells := s.tells(); len(tells) > 0 {
		return tells
	}
	if lapses := s.lapses(); len(lapses) > 0 {
		return lapses
	}
	cmds, busy, holds := s.nextTools()
	if len(cmds) > 0 || busy {
		return cmds
	}
	if t.Failure != nil {
		return s.saveFirst(EndTurn{Kind: KindTurnFailed, Error: t.Failure})
	}
	if t.waitsForApplication() {
		return s.saveFirst(EndTurn{Kind: KindTurnCompleted})
	}
	if holds || t.Model != nil {
		return s.untilExpiry()
	}
	if !t.Fresh {
		return s.settled()
	}
	if len(t.Consents) > 0 {
		return s.untilExpiry()
	}
	if s.serversInside() && !s.Environment.open() {
		return s.untilExpiry() // nextEnvironment brings it, or somebody connects it
	}
	if wanted, busy := s.recalls(); wanted {
		return []Command{RecallMemory{}}
	} else if busy {
		return nil
	}
	return s.nextModel(w)
}

// nextTools says which tools to call, whether any runs or waits for its time, and whether the model
// must wait for a call.
func (s *State) nextTools() (cmds []Command, busy, holds bool) {
	running, wake := 0, int64(0)
	for _, c := range s.Turn.Calls {
		if c.State == CallRunning {
			running++
		}
		if c.State != CallDone && !c.Tool.Async {
			holds = true
		}
	}
	busy = running > 0
	for _, c := range s.Turn.Calls {
		switch {
		case c.Expired(s.Now) && c.Held().Default == policy.DefaultAllow:
			cmds = append(cmds, LapseTool{c})
		case c.Expired(s.Now):
			cmds = append(cmds, RefuseTool{c, ToldExpired})
		case c.State != CallReady:
		case c.Tool.Subagent != nil:
			if about := s.nextAbout(c); about != nil {
				cmds = append(cmds, about)
			}
		case s.budgetWaits():
			busy = true
			if at := s.Turn.Budget.RetryAt; wake == 0 || at < wake {
				wake = at
			}
		case s.Turn.awaitsConsent(c), s.awaitsEffect(c):
			busy = true
		case c.Tool.Environment && !s.Environment.open():
			busy = true // nextEnvironment brings it, or somebody connects it
		case c.RetryAt > s.Now:
			busy = true
			if wake == 0 || c.RetryAt < wake {
				wake = c.RetryAt
			}
		case running < stead.MaxParallelTools:
			running++
			cmds = append(cmds, CallTool{c})
		}
	}
	if at := s.Turn.expiry(); busy && at > 0 && (wake == 0 || at < wake) {
		wake = at
	}
	if len(cmds) == 0 && wake > 0 {
		cmds = append(cmds, WaitUntil{wake})
	}
	return cmds, busy, holds
}

// settled: the model has seen everything and has nothing more to do.
func (s *State) settled() []Command {
	for _, c := range s.Turn.Calls {
		if c.State != CallDone {
			return s.untilExpiry() // an async call: the turn ends when its result has been seen
		}
	}
	if s.subagentsWork() {
		return nil // so it does with what they answer
	}
	return s.saveFirst(EndTurn{Kind: KindTurnCompleted})
}

func (s *State) nextModel(w Window) []Command {
	t, spec := s.Turn, s.Created.Agent.Spec
	maxSteps := spec.MaxSteps
	if maxSteps == 0 {
		maxSteps = stead.DefaultMaxSteps
	}
	retry := t.Attempts > 0
	switch {
	case t.RetryAt > s.Now:
		return append(s.untilExpiry(), WaitUntil{t.RetryAt})
	case t.Budget != nil && t.Budget.RetryAt > s.Now:
		return append(s.untilExpiry(), WaitUntil{t.Budget.RetryAt})
	case !retry && t.Steps >= maxSteps:
		return endFailed("session_budget_exceeded", "The turn reached its maximum of model calls (max_steps).")
	case s.overspent():
		return endFailed("session_budget_exceeded", "The session reached its spend_control limit.")
	case s.SpendTaken():
		return s.untilExpiry() // until one of the calls under way has ended, and says what it cost
	}
	return s.withinBudget(w, CallModel{Attempt: t.Attempts + 1})
}

func (s *State) overspent() bool {
	limit := s.Created.SpendLimitCents
	return limit != nil && s.Cost >= *limit*MicroCentsPerCent
}

// SpendTaken reports whether calls under way may use up what is left of the session's limit: others wait for them.
func (v *View) SpendTaken() bool {
	limit, held := v.Created.SpendLimitCents, v.spending()
	return limit != nil && held > 0 && v.Cost+held >= *limit*MicroCentsPerCent
}

// spending is what the model calls of all threads that are under way may cost.
func (v *View) spending() (held int64) {
	if c := v.Learn.Extract; c != nil {
		held += c.Spend
	}
	v.each(func(u *View) bool {
		if u.Turn != nil && u.Turn.Model != nil {
			held += u.Turn.Model.Spend
		}
		if u.Compact != nil {
			held += u.Compact.Spend
		}
		return true
	})
	return held
}

// MicroCentsPerCent is how many units of Cost make one US cent.
const MicroCentsPerCent = 1_000_000

func endFailed(code, message string) []Command {
	return []Command{EndTurn{Kind: KindTurnFailed, Error: &TurnError{code, message}}}
}

// withinBudget puts a compaction before or beside the model call when the context grows too large.
func (s *State) withinBudget(w Window, call CallModel) []Command {
	budget := w.budget()
	tokens := s.Context.Tokens(s.Context.Bytes() + w.FixedBytes)
	full := budget > 0 && float64(tokens) >= compactAt*float64(budget)
	if !full && !s.Turn.Overflow {
		return []Command{call}
	}
	block := s.Turn.Overflow || !s.Created.Agent.Spec.Compaction.Async || float64(tokens) >= blockAt*float64(budget)
	if s.Compact != nil {
		if block {
			return s.untilExpiry() // its outcome comes first
		}
		return []Command{call}
	}
	if s.Turn.Overflow && (budget == 0 || tokens < budget) {
		budget = tokens // the model takes less than was believed: keep a share of what is there
	}
	upto, ok := s.Context.boundary(budget)
	if !ok || s.CompactFailures >= maxCompactFailures {
		if s.Turn.Overflow {
			return endFailed(model.CodeContextLength, "The conversation no longer fits the model's context, and it can't be summarized further.")
		}
		return []Command{call} // let the model say whether it is too much
	}
	if block {
		return []Command{CompactContext{upto}}
	}
	return []Command{CompactContext{upto}, call}
}

func (w Window) budget() int {
	if w.ContextTokens == 0 {
		return 0
	}
	out := w.OutputTokens
	if out == 0 || out > w.ContextTokens/4 {
		out = min(defaultOutputTokens, w.ContextTokens/4)
	}
	return w.ContextTokens - out
}

// boundary finds the last event whose items the summary takes: what follows is about keepShare of
// the budget, and begins with a whole reply or a message, never between a call and its output. Open calls stay
// whatever the boundary (see compacted).
func (c *Context) boundary(budget int) (stead.Seq, bool) {
	keep := int(keepShare * float64(budget))
	kept, upto := 0, stead.Seq(0)
	for i := len(c.Entries) - 1; i >= 0; i-- {
		en := c.Entries[i]
		kept += c.Tokens(model.ItemBytes(en.Item))
		if kept > keep && i < len(c.Entries)-1 {
			upto = en.Seq
			break
		}
	}
	// Only what is dropped makes room: a summary of open calls alone would be made for ever.
	drops := slices.ContainsFunc(c.Entries, func(en *Entry) bool { return en.Seq <= upto && !en.Open })
	return upto, drops
}
