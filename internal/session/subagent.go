package session

import (
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Subagents are made, spoken to and ended by calls of their parent, which is the root agent or another subagent. What such a call does is
// done in the journal and nowhere else: intent and outcome are one append.
//
//	create    subagent.created     subagent.input on its thread   tool.returned
//	send                           subagent.input on its thread   tool.returned
//	interrupt subagent.interrupted                                tool.returned
//	close     subagent.closed                                     tool.returned
//	resume    subagent.resumed                                    tool.returned
//	wait                                                          tool.returned, once it is over
//
// When its turn has ended, subagent.answered tells the parent. A parent's turn does not complete before.

// Kinds of the events of subagents. All but subagent.input stand on the parent's thread.
const (
	KindSubagentCreated     = "subagent.created"
	KindSubagentInput       = "subagent.input"
	KindSubagentAnswered    = "subagent.answered"
	KindSubagentInterrupted = "subagent.interrupted"
	KindSubagentClosed      = "subagent.closed"
	KindSubagentResumed     = "subagent.resumed"
)

// SubagentCreated makes a subagent; its Seq names it, and its thread.
type SubagentCreated struct {
	CallID   string          `json:"call_id"`
	Name     string          `json:"name"`
	Task     []stead.Content `json:"task"` // the first input
	Decision policy.Decision `json:"decision"`
}

// SubagentInput is what a parent says to its subagent, on whose thread it stands. Without a running turn it makes one.
type SubagentInput struct {
	CallID    string          `json:"call_id"`
	Call      stead.Seq       `json:"call"`            // with Index, the place of that call: of the model.called
	Index     int             `json:"index,omitempty"` // in its reply
	Content   []stead.Content `json:"content"`
	Sender    string          `json:"sender"` // as the wire names agents
	Recipient string          `json:"recipient"`
}

// SubagentAnswered tells a parent how a turn of its subagent has ended.
type SubagentAnswered struct {
	Subagent  stead.Seq       `json:"subagent"`
	Turn      stead.Seq       `json:"turn"`
	Status    string          `json:"status"`            // TurnComplete, TurnFail or TurnCancel
	Content   []stead.Content `json:"content,omitempty"` // what it said last
	Call      stead.Seq       `json:"call,omitempty"`    // with Index, the place of that message; 0: there is none
	Index     int             `json:"index,omitempty"`
	Error     *TurnError      `json:"error,omitempty"`
	Sender    string          `json:"sender"`
	Name      string          `json:"name"`
	Recipient string          `json:"recipient"`
}

// SubagentChanged is the payload of subagent.interrupted, subagent.closed and subagent.resumed.
type SubagentChanged struct {
	CallID   string    `json:"call_id"`
	Subagent stead.Seq `json:"subagent"`
}

// Subagent is a further thread of a session.
type Subagent struct {
	ID       stead.Seq       `json:"id"`               // of its subagent.created
	Parent   stead.Seq       `json:"parent,omitempty"` // thread
	Name     string          `json:"name"`
	Task     []stead.Content `json:"task"`
	OpenedAt int64           `json:"opened_at"`           // Unix milliseconds
	ClosedAt int64           `json:"closed_at,omitempty"` // Unix milliseconds; 0: it is not
	Closed   stead.Seq       `json:"closed,omitempty"`    // the event that closed it, or one above it
	Thread                   // while somebody looks from it, the root's: see View.On
	// Ended is how its turn ended, of which its parent was not told yet; nil: there is nothing to tell.
	Ended *SubagentEnd `json:"ended,omitempty"`
	// Outcome is how its last turn ended; "": none has.
	Outcome string `json:"outcome,omitempty"`
}

// SubagentEnd is the end of a subagent's turn.
type SubagentEnd struct {
	Turn   stead.Seq  `json:"turn"`
	Status string     `json:"status"`
	Error  *TurnError `json:"error,omitempty"`
}

// subagentPrefix begins the ids of subagents.
const subagentPrefix = "subagent"

// SubagentID derives the id of a subagent.
func SubagentID(s stead.SessionID, thread stead.Seq) string {
	return stead.DerivedID(subagentPrefix, s, thread, -1)
}

// ParseSubagentID is the inverse; false for everything else.
func ParseSubagentID(s stead.SessionID, id string) (stead.Seq, bool) {
	prefix, seq, index, ok := stead.ParseDerivedID(s, id)
	return seq, ok && prefix == subagentPrefix && index < 0
}

// hereID is the id of an agent in this session, which may be a copy of the one that the id is of: there subagents stand at the same places.
func hereID(s stead.SessionID, id string) string {
	if of, ok := stead.SessionOf(id); ok && of != s {
		if seq, ok := ParseSubagentID(of, id); ok {
			return SubagentID(s, seq)
		}
	}
	return id
}

// Subagent is one of the session's; nil: it is not there.
func (v *View) Subagent(id stead.Seq) *Subagent {
	for _, s := range v.Subagents {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// AgentOf is how the wire names the agent of a thread.
func (v *View) AgentOf(thread stead.Seq) string {
	if thread == 0 {
		return string(v.Created.Agent.ID)
	}
	return SubagentID(v.Key.Session, thread)
}

// Depth is how many subagents stand above a thread, itself counted; 0: it is the root's.
func (v *View) Depth(thread stead.Seq) int {
	n := 0
	for s := v.Subagent(thread); s != nil; s = v.Subagent(s.Parent) {
		n++
	}
	return n
}

// Chain names the subagents from the one that the root agent made to that of the thread that is looked at; nil: it is the root's.
func (v *View) Chain() (out []string) {
	for s := v.Subagent(v.focus); s != nil; s = v.Subagent(s.Parent) {
		out = append(out, v.AgentOf(s.ID))
	}
	slices.Reverse(out)
	return out
}

// works reports whether a subagent has a turn, or one that its parent was not told the end of.
func (v *View) works(s *Subagent) bool { return v.thread(s.ID).Turn != nil || s.Ended != nil }

// Working counts the subagents that have a turn.
func (v *View) Working() (n int) {
	for _, s := range v.Subagents {
		if v.thread(s.ID).Turn != nil {
			n++
		}
	}
	return n
}

// subagentsWork reports whether a subagent of the thread's agent does.
func (v *View) subagentsWork() bool {
	return slices.ContainsFunc(v.Subagents, func(s *Subagent) bool { return s.Parent == v.focus && v.works(s) })
}

// awaitsSubagents: the turn can only go on once subagents have answered.
func (v *View) awaitsSubagents() bool {
	t := v.Turn
	if t.Model != nil || t.Recall != 0 || t.Cancelling || t.Failure != nil || t.StartedAt == 0 || !v.subagentsWork() {
		return false
	}
	waits := !t.Fresh
	for _, c := range t.Calls {
		switch {
		case c.State == CallDone:
		case c.State == CallReady && c.Tool.Subagent.waits():
			waits = true
		case c.State == CallReady, c.State == CallRunning:
			return false
		}
	}
	return waits
}

func (v *View) subagentCreated(e stead.Event, p SubagentCreated) {
	v.Subagents = append(slices.Clip(v.Subagents), &Subagent{ID: e.Seq, Parent: v.focus, Name: p.Name, Task: p.Task, OpenedAt: e.At})
}

func (v *View) subagentInput(e stead.Event, p SubagentInput) {
	if v.Failed != nil {
		return
	}
	if v.Turn == nil {
		v.Turn = &TurnView{Seq: e.Seq, CreatedAt: e.At}
		v.CompactFailures = 0
	}
	v.Turn.Fresh = true
	v.Turn.Unread++
	if v.Turn.StartedAt == 0 {
		v.Turn.Inputs = append(v.Turn.Inputs, queued{Seq: e.Seq, Agent: &p})
	}
}

// subagentEnded notes what its parent is to be told.
func (v *View) subagentEnded(e stead.Event) error {
	s := v.Subagent(v.focus)
	if v.Turn == nil {
		return nil
	}
	p, err := Decode[TurnEnded](e)
	if err != nil {
		return err
	}
	s.Ended = &SubagentEnd{Turn: v.Turn.Seq, Status: endStatus(e.Kind), Error: p.Error}
	s.Outcome = s.Ended.Status
	return nil
}

// endStatus is the status of a turn that an event ends.
func endStatus(kind string) string {
	switch kind {
	case KindTurnFailed, KindSessionFailed:
		return TurnFail
	case KindTurnCancelled:
		return TurnCancel
	}
	return TurnComplete
}

func (v *View) subagentAnswered(_ stead.Event, p SubagentAnswered) {
	if s := v.Subagent(p.Subagent); s != nil && s.Ended != nil && s.Ended.Turn == p.Turn {
		s.Ended = nil
	}
	if v.Turn != nil {
		v.Turn.Fresh = true
	}
}

func (v *View) subagentInterrupted(_ stead.Event, p SubagentChanged) {
	if s := v.Subagent(p.Subagent); s != nil {
		v.cancelSubagent(s)
	}
}

func (v *View) cancelSubagent(s *Subagent) {
	if t := v.thread(s.ID).Turn; t != nil {
		t.Cancelling = true
	}
}

// subagentClosed closes a subagent and those below it.
func (v *View) subagentClosed(e stead.Event, p SubagentChanged) {
	for _, s := range v.Subagents {
		if s.ClosedAt == 0 && v.within(s, p.Subagent) {
			s.ClosedAt, s.Closed = e.At, e.Seq
			v.cancelSubagent(s)
		}
	}
}

// within reports whether a subagent is that of a thread, or stands below it.
func (v *View) within(s *Subagent, thread stead.Seq) bool {
	for ; s != nil; s = v.Subagent(s.Parent) {
		if s.ID == thread {
			return true
		}
	}
	return false
}

func (v *View) subagentResumed(_ stead.Event, p SubagentChanged) {
	if s := v.Subagent(p.Subagent); s != nil {
		s.ClosedAt, s.Closed = 0, 0
	}
}
