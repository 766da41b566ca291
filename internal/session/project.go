package session

import (
	"fmt"
	"strings"

	"github.com/stead-dev/stead"
)

// Projector turns journal events into the wire's stream. It is a deterministic function of the
// journal: every watcher of a session sees the same events with the same cursors, live or replayed.
//
// Cursor {Seq, Part, Ahead}: all of event Seq was delivered, then Part wire events of the next one,
// then Ahead bytes of text that was shown live before it was journaled. Text is journaled in the
// order in which it was shown, so skipping Ahead bytes of the next deltas gives each byte once.
// Text of subagents is shown as it is journaled, and counts for nothing of that.
type Projector struct {
	view  *View
	texts Texts
	part  int // wire events of the next journal event to leave out
	ahead int // bytes of text shown already
}

// NewProjector starts after a cursor; v must be the view at cursor.Seq, and is the projector's from
// then on.
func NewProjector(v *View, after stead.Cursor, texts Texts) *Projector {
	return &Projector{view: v, texts: texts, part: after.Part, ahead: after.Ahead}
}

// Tail is the last journal event that was projected.
func (p *Projector) Tail() stead.Seq { return p.view.Tail }

// Step projects the next journal event.
func (p *Projector) Step(e stead.Event) ([]StreamEvent, error) {
	streaming := p.streaming()
	out, err := p.project(e)
	if err != nil {
		return nil, err
	}
	if streaming != 0 && streaming != p.streaming() && e.Kind != KindModelReplied {
		p.ahead = 0 // the call was cut off: what was shown beyond the journal never gets there
	}
	events := make([]StreamEvent, 0, len(out))
	for i, body := range out {
		if p.part > 0 {
			p.part--
			continue
		}
		if d, ok := body.(streamed); ok && e.Thread == 0 && !p.fresh(d) {
			continue
		}
		at := stead.Cursor{Seq: e.Seq - 1, Part: i + 1, Ahead: p.ahead}
		if i == len(out)-1 {
			at = stead.Cursor{Seq: e.Seq, Ahead: p.ahead}
		}
		id := at.String()
		if _, text := body.(streamed); !text {
			id = fmt.Sprintf("%d.%d", e.Seq, i) // its place, whatever text was ahead of it
		}
		events = append(events, p.event(at, id, body))
	}
	p.part = 0
	if p.streaming() == 0 {
		p.ahead = 0
	}
	return events, nil
}

// streaming is the model call whose text may be shown, 0 for none.
func (p *Projector) streaming() stead.Seq {
	if p.view.Turn == nil || p.view.Turn.Model == nil {
		return 0
	}
	return p.view.Turn.Model.Seq
}

// fresh cuts what was shown already off a delta, and reports whether anything is left.
func (p *Projector) fresh(d streamed) bool {
	text := d.text()
	if p.ahead >= len(*text) {
		p.ahead -= len(*text)
		return false
	}
	*text = (*text)[p.ahead:]
	p.ahead = 0
	return true
}

// Live projects text that is not in the journal yet: segments is all text of the model call named
// by its Seq, from the call's begin. Only items that the journal knows are shown, so that a crash
// leaves no item behind that nobody closes.
func (p *Projector) Live(call stead.Seq, segments []Segment) []StreamEvent {
	t := p.view.Turn
	if t == nil || t.Model == nil || t.Model.Seq != call {
		return nil
	}
	var events []StreamEvent
	skip := t.Model.Bytes + p.ahead
	for _, s := range segments {
		if skip >= len(s.Text) {
			skip -= len(s.Text)
			continue
		}
		if s.Index >= len(t.Model.Stream) || t.Model.Stream[s.Index] == nil || s.Part >= max(1, len(t.Model.Stream[s.Index].Parts)) {
			break
		}
		text := s.Text[skip:]
		skip = 0
		p.ahead += len(text)
		body := p.deltaOf(t, p.streamID(call, s.Type, s.Index), s, t.Outputs+s.Index, text)
		at := stead.Cursor{Seq: p.view.Tail, Ahead: p.ahead}
		events = append(events, p.event(at, at.String(), body))
	}
	return events
}

func (p *Projector) event(at stead.Cursor, id string, b body) StreamEvent {
	b.head().EventID = "evt_" + strings.TrimPrefix(string(p.view.Key.Session), stead.SessionPrefix) + "_" + id
	return StreamEvent{Cursor: at, Type: b.head().Type, Body: b}
}

// project applies the event and says what the wire shows of it.
func (p *Projector) project(e stead.Event) ([]body, error) {
	v := p.view
	root := v.glance()
	others := p.glances(e)
	var out []body
	err := v.On(e.Thread, func() (err error) {
		before := root
		if e.Thread != 0 {
			before = v.glance()
		}
		out, err = p.onThread(e, before)
		return err
	})
	if err != nil {
		return nil, err
	}
	if v.Tail < e.Seq { // of a thread that is not there
		if err := v.Apply(e); err != nil {
			return nil, err
		}
	}
	for _, o := range others {
		_ = v.On(o.thread, func() error {
			out = p.aftermath(out, e, o.glance)
			return nil
		})
	}
	return p.transition(out, e, root), nil
}

// ofThread is a glance at a thread.
type ofThread struct {
	thread stead.Seq
	glance glance
}

// glances are those of the subagents with turns, where an event of the session's may touch them.
func (p *Projector) glances(e stead.Event) (out []ofThread) {
	if e.Thread != 0 {
		return nil
	}
	p.view.onEach(func() {
		if v := p.view; v.focus != 0 && v.Turn != nil {
			out = append(out, ofThread{v.focus, v.glance()})
		}
	})
	return out
}

// aftermath shows what an event of the session's did to a subagent's turn.
func (p *Projector) aftermath(out []body, e stead.Event, before glance) []body {
	if before.model != nil && (p.view.Turn == nil || p.view.Turn.Model != before.model) {
		out = p.cut(out, before)
	}
	out = p.settledCalls(out, e, before)
	if p.view.Turn == nil {
		out = p.ended(out, e, before)
	}
	return out
}

// onThread applies the event on the thread that the view is looked at from.
func (p *Projector) onThread(e stead.Event, before glance) ([]body, error) {
	v := p.view
	var reply *ModelReplied
	var items []stead.Item
	if e.Kind == KindModelReplied {
		r, err := Decode[ModelReplied](e)
		if err != nil {
			return nil, err
		}
		reply, items = &r, v.whole(r)
	}
	if err := v.Apply(e); err != nil {
		return nil, err
	}
	var out []body
	var err error
	switch e.Kind {
	case KindSessionCreated:
		out = p.session(out, "agent.session.created")
	case KindInputMessage:
		out, err = p.message(out, e, before)
	case KindSubagentCreated, KindSubagentClosed, KindSubagentResumed:
		out, err = p.subagent(out, e)
	case KindSubagentInput:
		out, err = p.subagentInput(out, e, before)
	case KindSubagentAnswered:
		out, err = p.answered(out, e)
	case KindTurnStarted:
		out = p.started(out, before)
	case KindModelStreamed:
		out, err = p.streamed(out, e, before)
	case KindToolCalled:
		out, err = p.revived(out, e)
	case KindToolRequired:
		out, err = p.required(out, e)
	case KindToolRequested:
		if t := v.Turn; t != nil {
			out = p.called(out, t, e.Seq, 0, before.outputs)
		}
	case KindToolStreamed:
		out, err = p.output(out, e)
	case KindMemoryRecalled:
		out, err = p.recalledItem(out, e, before)
	case KindToolsListed:
		out, err = p.listed(out, e, before)
	case KindModelReplied:
		if before.model != nil && before.model.Seq == reply.Call {
			out = p.replied(out, before, *reply, items)
		}
	}
	if err != nil {
		return nil, err
	}
	if e.Kind != KindModelReplied && before.model != nil && (v.Turn == nil || v.Turn.Model != before.model) {
		out = p.cut(out, before)
	}
	if before.turn != nil && before.turn.StartedAt == 0 && v.Turn == nil {
		// The turn ended while it waited to begin: its messages were not shown yet.
		for _, q := range before.turn.Inputs {
			out = p.userMessages(out, before.turn, q)
		}
	}
	out = p.environment(out, e, before)
	out = p.settledCalls(out, e, before)
	return p.ended(out, e, before), nil
}

// glance keeps of a view what the projection of the next event compares with.
type glance struct {
	status  string
	turn    *TurnView // a copy without its slices' future
	model   *ModelCall
	parts   []int // of each item of the model call: how many parts had text
	calls   []*Call
	open    map[*Call]bool
	outputs int

	environment string // its status
	problem     *EnvironmentError
	resets      int
}

func (v *View) glance() glance {
	g := glance{status: v.Status()}
	if v.Environment != nil {
		g.environment, g.problem, g.resets = v.Environment.Status, v.Environment.Problem(), v.Environment.Resets
	}
	if v.Turn == nil {
		return g
	}
	t := *v.Turn
	g.turn, g.model, g.outputs = &t, t.Model, t.Outputs
	if t.Model != nil {
		for _, s := range t.Model.Stream {
			n := 0
			if s != nil {
				n = len(s.Parts)
			}
			g.parts = append(g.parts, n)
		}
	}
	g.calls, g.open = append([]*Call(nil), t.Calls...), map[*Call]bool{}
	for _, c := range t.Calls {
		if c.State != CallDone {
			g.open[c] = true
		}
	}
	return g
}

func (p *Projector) turnID(t *TurnView) string { return TurnID(p.view.Key.Session, t.Seq) }

func (p *Projector) session(out []body, kind string) []body {
	return append(out, &sessionEvent{eventHead: eventHead{Type: kind}, Session: p.view.Session()})
}

func (p *Projector) message(out []body, e stead.Event, before glance) ([]body, error) {
	m, err := Decode[Message](e)
	if err != nil {
		return nil, err
	}
	t := p.view.Turn
	if t == nil {
		return out, nil // the session has failed
	}
	if before.turn == nil {
		turn, _ := p.view.CurrentTurn()
		out = append(out, &turnEvent{eventHead{Type: "agent.session.turn.created"}, p.view.Key.Session, turn, turn.ID})
	}
	if t.StartedAt > 0 {
		out = p.userMessages(out, t, queued{Seq: e.Seq, Input: m.Input, Items: m.Items})
	}
	return out, nil
}

func (p *Projector) userMessages(out []body, t *TurnView, q queued) []body {
	if q.Agent != nil {
		out = append(out, p.added(t, q.Agent.item(p.view.Key.Session, p.turnID(t), q.Seq, p.texts), nil))
	}
	for i, m := range q.Input {
		out = append(out, p.added(t, userMessage(p.view.Key.Session, p.turnID(t), q.Seq, i, m, p.texts), nil))
	}
	for i, it := range q.Items {
		if item := givenItem(p.view.Key.Session, p.turnID(t), q.Seq, i, it, p.texts); item != nil {
			out = append(out, p.added(t, item, nil))
		}
	}
	return out
}

func (p *Projector) started(out []body, before glance) []body {
	turn, ok := p.view.CurrentTurn()
	if !ok {
		return out
	}
	out = append(out, &turnEvent{eventHead{Type: "agent.session.turn.in_progress"}, p.view.Key.Session, turn, turn.ID})
	if p.view.focus == 0 {
		out = p.session(out, "agent.session.in_progress")
	}
	for _, q := range before.turn.Inputs {
		out = p.userMessages(out, p.view.Turn, q)
	}
	return out
}

func (p *Projector) settledCalls(out []body, e stead.Event, before glance) []body {
	s := p.view.Key.Session
	n := 0
	for _, c := range before.calls {
		if !before.open[c] || (p.view.Turn != nil && c.State != CallDone) {
			continue
		}
		turn := p.turnID(before.turn)
		if before.turn.asks(c) {
			continue // the question was shown, and that is all of it here
		}
		if before.turn.questioned(c) && c.Attempts == 0 { // it was answered, and not made
			begun := *c
			begun.Status, begun.Error = stead.ItemInProgress, ""
			out = append(out, p.added(before.turn, callItemOf(s, turn, &begun, p.texts), &c.Output0))
		}
		if before.turn.handsBack(c) && e.Kind == KindTurnCompleted {
			c.State, c.Status = CallDone, stead.ItemCompleted
			out = append(out, p.done(before.turn, callItemOf(s, turn, c, p.texts), c.Output0))
			continue
		}
		if c.Function() && (c.State == CallApproval || c.State == CallReady) {
			continue // the turn ended before the application was asked for it
		}
		if c.State != CallDone { // the turn ended over it
			c.State, c.Status, c.Error = CallDone, stead.ItemIncomplete, c.cancelled()
		}
		out = append(out, p.done(before.turn, callItemOf(s, turn, c, p.texts), c.Output0))
		if c.Type == stead.ItemFunctionCall {
			out = append(out, p.added(before.turn, outputItem(outputID(s, e.Seq, n), turn, c, p.texts), nil))
			n++
		}
	}
	return out
}

// functionPrefix begins the ids of function calls, outputPrefix those of their outputs, commandPrefix those of commands.
const (
	functionPrefix = "fc"
	outputPrefix   = "fco"
	commandPrefix  = "cmd"
)

func outputID(s stead.SessionID, seq stead.Seq, n int) string {
	return stead.DerivedID(outputPrefix, s, seq, n)
}

func (p *Projector) ended(out []body, e stead.Event, before glance) []body {
	status, kind := "", ""
	switch e.Kind {
	case KindTurnCompleted:
		status, kind = TurnComplete, "agent.session.turn.completed"
	case KindTurnFailed, KindSessionFailed:
		status, kind = TurnFail, "agent.session.turn.failed"
	case KindTurnCancelled:
		status, kind = TurnCancel, "agent.session.turn.cancelled"
	}
	if kind == "" {
		return out
	}
	if before.turn != nil {
		var failure *TurnError
		if end, err := Decode[TurnEnded](e); err == nil {
			failure = end.Error
		}
		turn := p.view.turnObject(before.turn, status, e.At, failure)
		out = append(out, &turnEndedEvent{eventHead{Type: kind}, p.view.Key.Session, turn, turn.ID, turn.Usage})
	}
	if p.view.focus != 0 {
		return out // the session's turn goes on
	}
	if p.view.Failed != nil {
		return p.session(out, "agent.session.failed")
	}
	return p.session(out, "agent.session.idle")
}

// transition shows that the session began or ceased to wait for somebody, inside a turn or beside turns, or waits for another answer.
func (p *Projector) transition(out []body, e stead.Event, before glance) []body {
	after := p.view.Status()
	switch {
	case before.status == after && (e.Kind != KindEffectHeld || after != StatusRequiresAction):
		return out
	case before.turn == nil && p.view.Turn == nil: // beside turns
		if after == StatusIdle && before.status == StatusRequiresAction {
			return p.session(out, "agent.session.idle")
		} else if after == StatusRequiresAction && e.Kind == KindEffectHeld {
			return p.session(out, "agent.session.requires_action")
		}
		return out
	case before.turn == nil || p.view.Turn == nil || before.turn.StartedAt == 0:
		return out
	}
	if after == StatusRequiresAction {
		return p.session(out, "agent.session.requires_action")
	}
	return p.session(out, "agent.session.in_progress")
}
