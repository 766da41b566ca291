package session

import (
	"fmt"
	"maps"

	"github.com/stead-dev/stead"
)

// View folds what decides about a session and what streams show of it. It holds no conversation
// text beyond what is open: a watcher keeps one View, however long the session is.
type View struct {
	Key        stead.SessionKey `json:"key"`
	Tail       stead.Seq        `json:"tail"`
	Now        int64            `json:"now"` // Unix milliseconds: the latest time that an event brought
	CreatedAt  int64            `json:"created_at"`
	LastActive int64            `json:"last_active"`

	Created Created     `json:"created"` // with all updates applied
	Paused  bool        `json:"paused,omitempty"`
	Failed  *TurnError  `json:"failed,omitempty"`
	Usage   stead.Usage `json:"usage"`
	Cost    int64       `json:"cost,omitempty"` // micro-cents

	Thread           // of the root agent; see On
	focus  stead.Seq // the thread that Thread is of
	// Subagents are the others, in the order in which they were made.
	Subagents []*Subagent `json:"subagents,omitempty"`
	// Learn is what is to be remembered of turns that ended.
	Learn LearnView `json:"learn,omitzero"`
	// Effects are those that wait for an approval, or were approved and are not over.
	Effects []*EffectWait `json:"effects,omitempty"`
	// Environment is the session's computer; nil: it has none.
	Environment *EnvironmentView `json:"environment,omitempty"`
	// HandedBack are the ids of calls that a response gave to the application, still unanswered.
	HandedBack []string `json:"handed_back,omitempty"`
	// Asked are the calls that a response gave to the application to approve, until the next turn.
	Asked []*Call `json:"asked,omitempty"`
	// Listed are the lists of tools that responses have shown: a server's label → ServerTools.Mark.
	Listed map[string]string `json:"listed,omitempty"`
	// Defined are the definitions of tools that models were given last: a server's label → their digest.
	Defined map[string]string `json:"defined,omitempty"`
	// Labelled is what the texts of the session are labelled with, and Said that there are some; see Labels.
	Labelled stead.Labels `json:"labelled,omitempty"`
	Said     bool         `json:"said,omitempty"`
	// Wrote are those who told the agent something, made the session or gave it tools or files: see behind.
	Wrote []stead.Principal `json:"wrote,omitempty"`
	// Reasoned are those who denied something and told the agent why.
	Reasoned []stead.Principal `json:"reasoned,omitempty"`
	// Deleted are the responses that are not to be shown any more: what made their turns.
	Deleted []stead.Seq `json:"deleted,omitempty"`
	// GoneItems are the items that are not to be shown any more.
	GoneItems []ItemDeleted `json:"gone_items,omitempty"`
}

// TurnView is the running turn of a thread.
type TurnView struct {
	Seq       stead.Seq   `json:"seq"` // of the input.message that made it: its id derives from it
	CreatedAt int64       `json:"created_at"`
	StartedAt int64       `json:"started_at,omitempty"`
	Usage     stead.Usage `json:"usage"`
	Replied   bool        `json:"replied,omitempty"` // a model answered at least once: usage is known

	Steps      int        `json:"steps,omitempty"`
	Outputs    int        `json:"outputs,omitempty"` // wire output index of the next item
	Fresh      bool       `json:"fresh,omitempty"`   // there is something that the model has not seen
	Unread     int        `json:"unread,omitempty"`  // inputs of messages that no model call has seen
	Cancelling bool       `json:"cancelling,omitempty"`
	Failure    *TurnError `json:"failure,omitempty"` // decided, not ended yet

	Model    *ModelCall `json:"model,omitempty"`    // in flight
	Attempts int        `json:"attempts,omitempty"` // failed tries of the present step
	RetryAt  int64      `json:"retry_at,omitempty"` // Unix milliseconds
	Overflow bool       `json:"overflow,omitempty"` // the model said that the context is too long

	// Response is what a response asked for; nil: the turn is a message's.
	Response *ResponseAsk `json:"response,omitempty"`
	// Recall is the memory.called under way, Recalled the memory.recalled of the turn; 0: there is none.
	Recall    stead.Seq `json:"recall,omitempty"`
	Recalled  stead.Seq `json:"recalled,omitempty"`
	ToolCalls int       `json:"tool_calls,omitempty"` // that the runtime was to execute

	Budget *BudgetWait `json:"budget,omitempty"` // that is used up, and that the next model call waits for
	Over   []Overdraft `json:"over,omitempty"`   // at most one a budget

	Consents []*ConsentWait `json:"consents,omitempty"` // of tool servers, that the next model call waits for
	Settled  []Settled      `json:"settled,omitempty"`  // at most one a server

	Calls  []*Call  `json:"calls,omitempty"`  // of the last reply, and async ones that are open
	Inputs []queued `json:"inputs,omitempty"` // messages of a turn that has not started, for its first wire events
}

type queued struct {
	Seq   stead.Seq      `json:"seq"`
	Input []InputMessage `json:"input,omitempty"`
	Items []stead.Item   `json:"items,omitempty"`
	Agent *SubagentInput `json:"agent,omitempty"` // of a subagent: what its parent said
}

// ModelCall is a model call in flight.
type ModelCall struct {
	Seq    stead.Seq    `json:"seq"`             // of its model.called
	Model  string       `json:"model,omitempty"` // as the session asked for it
	At     int64        `json:"at,omitempty"`    // Unix milliseconds: when
	Hold   *Hold        `json:"hold,omitempty"`  // of budgets
	Spend  int64        `json:"spend,omitempty"` // see ModelCalled
	Upto   stead.Seq    `json:"upto,omitempty"`
	Stream []*Streaming `json:"stream,omitempty"` // by output index; nil where nothing was streamed
	Bytes  int          `json:"bytes,omitempty"`  // of streamed text in the journal, all items together
}

// Streaming is an item of which text is in the journal already, but not its end.
type Streaming struct {
	Type    stead.ItemType `json:"type"`
	Parts   []string       `json:"parts"`
	Refusal bool           `json:"refusal,omitempty"`
}

// NewView is the view of a session without events.
func NewView(key stead.SessionKey) *View { return &View{Key: key} }

// Apply folds the next event. It fails with KindInternal on a gap and on events it can't read;
// events of a kind it does not know are skipped, so that a newer journal can be read.
func (v *View) Apply(e stead.Event) error {
	if e.Seq != v.Tail+1 {
		return stead.Errorf(stead.KindInternal, "journal of session %s has a gap: event %d follows event %d", v.Key.Session, e.Seq, v.Tail)
	}
	was := v.Environment.place()
	if err := v.On(e.Thread, func() error { return v.fold(e) }); err != nil {
		return fmt.Errorf("apply event %d of session %s: %w", e.Seq, v.Key.Session, err)
	}
	if v.Environment != nil {
		v.Environment.metered(e, was)
	}
	v.Tail = e.Seq
	v.Now = max(v.Now, e.At)
	return nil
}

func (v *View) fold(e stead.Event) error {
	switch e.Kind {
	case KindSessionCreated:
		return fold(e, v.created)
	case KindSessionUpdated:
		return fold(e, v.updated)
	case KindSessionCopied:
		v.Effects, v.Asked = nil, nil
	case KindSessionPaused:
		v.Paused = true
	case KindSessionResumed:
		v.Paused = false
	case KindSessionFailed:
		return fold(e, func(e stead.Event, p Failed) {
			v.Failed, v.Learn, v.Effects = &p.Error, LearnView{}, nil
			v.onEach(func() { v.Turn, v.Compact = nil, nil })
		})
	case KindInputMessage:
		return fold(e, v.message)
	case KindInputCancel:
		return fold(e, func(_ stead.Event, p CancelInput) {
			if v.Turn != nil && v.Turn.Seq == p.Turn {
				v.Turn.Cancelling = true
			}
		})
	case KindInputToolResult:
		return fold(e, v.toolResult)
	case KindInputApproval:
		return fold(e, v.approval)
	case KindInputDelegate:
		return fold(e, v.delegated)
	case KindInputEdit:
		return fold(e, v.approvalEdit)
	case KindInputOutcome:
		return fold(e, v.outcome)
	case KindTurnStarted:
		if v.Turn != nil {
			v.Turn.StartedAt, v.Turn.Inputs = e.At, nil
		}
	case KindInputItems:
		return fold(e, v.itemsAdded)
	case KindResponseDeleted:
		return fold(e, func(_ stead.Event, p ResponseDeleted) { v.Deleted = append(v.Deleted, p.Seq) })
	case KindItemDeleted:
		return fold(e, v.itemDeleted)
	case KindTurnCompleted, KindTurnFailed, KindTurnCancelled:
		return v.turnEnded(e)
	case KindModelCalled:
		return fold(e, v.modelCalled)
	case KindModelStreamed:
		return fold(e, v.modelStreamed)
	case KindModelReplied:
		return fold(e, v.modelReplied)
	case KindModelFailed:
		return fold(e, v.modelFailed)
	case KindModelCut:
		return fold(e, v.modelCut)
	case KindContextCompacted:
		return fold(e, v.compacted)
	case KindToolCalled:
		return fold(e, v.toolCalled)
	case KindToolHeld:
		return fold(e, v.toolHeld)
	case KindToolLapsed:
		return fold(e, v.toolLapsed)
	case KindToolReturned:
		return fold(e, v.toolReturned)
	case KindToolRequired:
		return fold(e, v.toolRequired)
	case KindToolLost:
		return fold(e, v.toolLost)
	case KindToolRequested:
		return fold(e, v.requested)
	case KindMemoryCalled:
		return fold(e, v.memoryCalled)
	case KindMemoryExtracted:
		return fold(e, v.extracted)
	case KindMemoryKeeping:
		return fold(e, v.keeping)
	case KindMemoryKept:
		return fold(e, v.kept)
	case KindMemoryMounted:
		return fold(e, v.memoryMounted)
	case KindMemoryRecalled:
		return fold(e, v.memoryRecalled)
	case KindToolsListed:
		return fold(e, v.toolsListed)
	case KindRunnerRecovered:
		return fold(e, v.recovered)
	case KindSubagentCreated:
		return fold(e, v.subagentCreated)
	case KindSubagentInput:
		return fold(e, v.subagentInput)
	case KindSubagentAnswered:
		return fold(e, v.subagentAnswered)
	case KindSubagentInterrupted:
		return fold(e, v.subagentInterrupted)
	case KindSubagentClosed:
		return fold(e, v.subagentClosed)
	case KindSubagentResumed:
		return fold(e, v.subagentResumed)
	case KindBudgetReached:
		return fold(e, v.budgetReached)
	case KindInputBudget:
		return fold(e, v.budgetDecided)
	case KindConsentNeeded:
		return fold(e, v.consentNeeded)
	case KindConsentLapsed:
		return fold(e, v.consentLapsed)
	case KindInputConsent:
		return fold(e, v.consentDecided)
	case KindEffectHeld:
		return fold(e, v.effectHeld)
	case KindEffectLapsed:
		return fold(e, v.effectLapsed)
	case KindInputEffect:
		return fold(e, v.effectDecided)
	case KindTimerFired:
		return fold(e, func(_ stead.Event, p TimerFired) { v.Now = max(v.Now, p.At) })
	}
	_, err := v.foldEnvironment(e)
	return err
}

func fold[T any](e stead.Event, apply func(stead.Event, T)) error {
	p, err := Decode[T](e)
	if err != nil {
		return err
	}
	apply(e, p)
	return nil
}

func (v *View) created(e stead.Event, p Created) {
	v.Created = p
	v.CreatedAt, v.LastActive = e.At, e.At
	v.Labelled = p.Labels
	v.wrote(p.Principal)
	if p.Origin != nil {
		v.wrote(p.Origin.By)
		for _, by := range p.Origin.Of {
			v.wrote(by)
		}
	}
	if p.Setup != nil { // else an environment that was made before it is attached now, or there is none
		v.Environment = newEnvironment(p.Setup)
	}
}

func (v *View) updated(e stead.Event, p Updated) {
	c := &v.Created
	if p.Tools != nil { // what is remembered, and where, may be another thing by now
		v.dropEffects(func(w *EffectWait) bool { return w.beside() })
	}
	if p.Model != nil || p.Effort != nil || p.ServiceTier != nil || p.Tools != nil {
		v.staleEffects()
	}
	if p.Metadata != nil {
		c.Metadata = maps.Clone(*p.Metadata)
		if v.Said {
			v.Labelled = v.Labelled.And(stead.LabelsOf(*p.Metadata))
		}
	}
	if p.Model != nil {
		v.wrote(p.By)
		c.Agent.Spec.Model = *p.Model
	}
	if p.Effort != nil {
		c.Agent.Spec.Reasoning.Effort = p.Effort.Value
	}
	if p.ServiceTier != nil {
		c.Agent.Spec.ServiceTier = *p.ServiceTier
	}
	if p.Tools != nil {
		v.redefine(e, *p.Tools)
		v.wrote(p.By)
	}
	if p.Apart != "" {
		c.Agent = c.Agent.Apart(p.Apart)
	}
	if p.SpendLimitCents != nil {
		c.SpendLimitCents = p.SpendLimitCents
		if *p.SpendLimitCents == 0 {
			c.SpendLimitCents = nil
		}
	}
	if p.CacheTTL != nil {
		c.CacheTTL = *p.CacheTTL
	}
	if p.Review != nil {
		c.Review = *p.Review
	}
}

func (v *View) message(e stead.Event, p Message) {
	if v.Failed != nil {
		return // it came in the moment in which the session failed for good
	}
	v.LastActive = e.At
	v.say(p.Labels)
	v.wrote(p.By)
	for _, m := range p.Input {
		v.attached(m.Content)
	}
	if v.Turn == nil {
		v.Turn = &TurnView{Seq: e.Seq, CreatedAt: e.At}
		v.CompactFailures = 0
		v.Asked = nil // what this turn does not answer is not made
		v.respond(e, p)
		if v.Environment != nil && v.Environment.Status == EnvironmentIsFailed {
			v.Environment.Status = EnvironmentPending // what was wrong may be right by now
		}
	}
	v.Turn.Fresh = true
	v.Turn.Unread++
	if v.Turn.StartedAt == 0 {
		v.Turn.Inputs = append(v.Turn.Inputs, queued{Seq: e.Seq, Input: p.Input, Items: p.Items})
	}
}

// turnEnded ends the turn of a thread. What is done once a turn is done after the root's, of which those of subagents are a part.
func (v *View) turnEnded(e stead.Event) error {
	turn := v.Turn
	v.handBack(e.Kind)
	if v.focus == 0 {
		if v.Environment != nil {
			v.Environment.turnEnded(e.Kind, turn)
		}
		v.learns()
	} else if err := v.subagentEnded(e); err != nil {
		return err
	}
	v.Turn, v.LastActive = nil, e.At
	v.dropEffects(func(w *EffectWait) bool { return w.Turn != 0 && w.Thread == v.focus })
	for _, s := range v.Subagents {
		if s.Parent == v.focus {
			s.Ended = nil // there is nobody to be told any more
		}
	}
	v.needed(e.At)
	return nil
}

// Status is the session's status on the wire.
func (v *View) Status() string {
	root := v.At(0)
	switch {
	case v.Failed != nil:
		return StatusFailed
	case root.Turn == nil && root.awaited():
		return StatusRequiresAction
	case root.Turn == nil:
		return StatusIdle
	case root.stuck():
		return StatusRequiresAction
	}
	return StatusInProgress
}

// stuck: nothing runs or can run in any thread, and somebody must act.
func (v *View) stuck() bool {
	acts, runs := false, false
	v.each(func(u *View) bool {
		switch {
		case u.Turn == nil:
		case u.blocked():
			acts = true
		case !u.awaitsSubagents():
			runs = true
		}
		return !runs
	})
	return acts && !runs
}

// InFlight reports whether an intent has no outcome yet: after a replay, that is work cut off.
func (v *View) InFlight() bool {
	return v.Learn.Busy() || v.Environment.held() || v.find((*View).flies) != nil
}

// flies is InFlight for a thread.
func (v *View) flies() bool {
	if v.Compact != nil {
		return true
	}
	if v.Turn == nil {
		return false
	}
	if v.Turn.Model != nil || v.Turn.Recall != 0 {
		return true
	}
	for _, c := range v.Turn.Calls {
		if c.State == CallRunning {
			return true
		}
	}
	return false
}

// blocked: nothing runs or can run, and somebody must act.
func (v *View) blocked() bool {
	t := v.Turn
	if t.Model != nil || t.Recall != 0 || t.Cancelling || t.Failure != nil || t.StartedAt == 0 {
		return false
	}
	waiting := v.awaitsServers() || t.Budget != nil || len(t.Consents) > 0 || v.awaited()
	holds := waiting
	for _, c := range t.Calls {
		switch c.State {
		case CallReady:
			if c.Tool.Subagent.waits() {
				continue
			}
			if t.Budget == nil && !v.unconnected(c) && !t.awaitsConsent(c) && !v.awaitsEnvironment(c) && !v.awaitsEffect(c) {
				return false
			}
			waiting = true
			holds = holds || !c.Tool.Async
		case CallRunning:
			switch {
			case v.unconnected(c):
				waiting = true
				holds = holds || !c.Tool.Async
			case !c.Tool.Environment || !v.codeWaits():
				return false
			}
		case CallWaiting, CallApproval, CallUnknown:
			if t.handsBack(c) {
				continue // the response is about to end with it
			}
			waiting = true
			holds = holds || !c.Tool.Async
		}
	}
	return waiting && (holds || !t.Fresh)
}

// TurnID derives the id of the turn that event seq made.
func TurnID(session stead.SessionID, seq stead.Seq) string {
	return stead.DerivedID("turn", session, seq, -1)
}
