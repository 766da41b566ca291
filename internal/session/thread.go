package session

import (
	"slices"

	"github.com/stead-dev/stead"
)

// A session's journal has a thread of the root agent, and one of each subagent. An event says which it is of. It is folded on its thread:
// Turn, Context and the rest of Thread are that one's then, and all else of a view is the session's. So the same code folds, decides and
// shows each of them, and nothing of it knows how many there are.
//
//	View.Thread ── of the root, unless somebody looks from a subagent's: On (folds, and the holder), each (readers)

// Thread is what a session has of each agent that works in it.
type Thread struct {
	Turn    *TurnView  `json:"turn,omitempty"`    // the turn that has not ended
	Last    stead.Seq  `json:"last,omitempty"`    // of the input that made the turn that ended last
	Compact *ModelCall `json:"compact,omitempty"` // a summary being made
	// CompactFailures counts failed summaries in a row, so that a broken one does not run for ever.
	CompactFailures int `json:"compact_failures,omitempty"`
}

// Focus is the thread that the view is looked at from; 0: the root's.
func (v *View) Focus() stead.Seq { return v.focus }

// turnTo looks from a thread. False: there is no such thread, and the view is looked at from the root's.
func (v *View) turnTo(thread stead.Seq) bool {
	if v.focus == thread {
		return true
	}
	if s := v.Subagent(v.focus); s != nil { // its place has the root's meanwhile
		v.Thread, s.Thread, v.focus = s.Thread, v.Thread, 0
	}
	if thread == 0 {
		return true
	}
	s := v.Subagent(thread)
	if s == nil {
		return false
	}
	v.Thread, s.Thread, v.focus = s.Thread, v.Thread, thread
	return true
}

// On does something with the view looked at from a thread, and looks from where it did again. What is on a thread that is not there is not
// done. The view must be the caller's own.
func (v *View) On(thread stead.Seq, do func() error) error {
	was := v.focus
	defer v.turnTo(was)
	if !v.turnTo(thread) {
		return nil
	}
	return do()
}

// onEach does something from each thread, the root's first.
func (v *View) onEach(do func()) {
	was := v.focus
	defer v.turnTo(was)
	v.turnTo(0)
	do()
	for _, s := range v.Subagents {
		v.turnTo(s.ID)
		do()
	}
}

// each shows the view from each thread, the root's first, until look says no. The view itself is not touched: many may read it at once.
func (v *View) each(look func(*View) bool) {
	if len(v.Subagents) == 0 {
		look(v)
		return
	}
	u := v.readable()
	u.turnTo(0)
	if !look(u) {
		return
	}
	for _, s := range u.Subagents {
		if u.turnTo(s.ID); !look(u) {
			return
		}
	}
}

// At is the view looked at from a thread, for reading; nil: there is no such thread.
func (v *View) At(thread stead.Seq) *View {
	if v.focus == thread {
		return v
	}
	u := v.readable()
	if !u.turnTo(thread) {
		return nil
	}
	return u
}

// readable is a view that can be looked at from elsewhere while others read this one.
func (v *View) readable() *View {
	u := *v
	u.Subagents = slices.Clone(v.Subagents)
	for i, s := range u.Subagents {
		own := *s
		u.Subagents[i] = &own
	}
	return &u
}

// find looks for the thread of which something holds, the root first; nil: it holds of none.
func (v *View) find(holds func(*View) bool) (found *View) {
	v.each(func(u *View) bool {
		if holds(u) {
			found = u
		}
		return found == nil
	})
	return found
}

// thread is one of the threads; nil: it is not there.
func (v *View) thread(id stead.Seq) *Thread {
	switch {
	case id == v.focus:
		return &v.Thread
	case id == 0:
		return &v.Subagent(v.focus).Thread
	}
	if s := v.Subagent(id); s != nil {
		return &s.Thread
	}
	return nil
}

// eachTurn shows the turns that run, of all threads.
func (v *View) eachTurn(look func(*TurnView)) {
	if t := v.thread(0).Turn; t != nil {
		look(t)
	}
	for _, s := range v.Subagents {
		if t := v.thread(s.ID).Turn; t != nil {
			look(t)
		}
	}
}

// OfCallID is the view from the thread whose turn has a call; nil: none has.
func (v *View) OfCallID(id string) *View {
	return v.find(func(u *View) bool { return u.CallByID(id) != nil })
}

// AwaitingConsent is the view from the thread whose turn waits for a consent; nil: none does.
func (v *View) AwaitingConsent(id string) *View {
	return v.find(func(u *View) bool { return u.Turn.Consent(id) != nil })
}

// AwaitBudget are the threads whose turns wait for a budget, and the events that ask.
func (v *View) AwaitBudget(id string) map[stead.Seq]stead.Seq {
	out := map[stead.Seq]stead.Seq{}
	v.each(func(u *View) bool {
		if t := u.Turn; t != nil && t.Budget != nil && t.Budget.Budget == id {
			out[u.focus] = t.Budget.Asked
		}
		return true
	})
	return out
}

// Compacts reports whether a summary is being made in any thread.
func (v *View) Compacts() bool {
	return v.find(func(u *View) bool { return u.Compact != nil }) != nil
}

// OfRequest is the view from the thread in which a question is asked; nil: nobody asks it.
func (v *View) OfRequest(id string) *View {
	return v.find(func(u *View) bool {
		t := u.Turn
		return u.CallByRequest(id) != nil || u.ConsentByRequest(id) != nil || t != nil && t.Budget != nil && t.Budget.RequestID(u.Key.Session) == id ||
			slices.ContainsFunc(u.Effects, func(w *EffectWait) bool { return w.Thread == u.focus && w.Open() && w.RequestID(u.Key.Session) == id })
	})
}

// On is View.On, with the context that the thread's model sees.
func (s *State) On(thread stead.Seq, do func() error) error {
	was := s.focus
	defer s.turnTo(was)
	if !s.turnTo(thread) {
		return nil
	}
	return do()
}

func (s *State) turnTo(thread stead.Seq) bool {
	if s.focus == thread {
		return true
	}
	if c := s.Contexts[s.focus]; c != nil {
		s.Context, *c = *c, s.Context
	}
	ok := s.View.turnTo(thread)
	if c := s.Contexts[s.focus]; c != nil {
		s.Context, *c = *c, s.Context
	}
	return ok
}

// HasCall reports whether a call of any thread's context has the id already.
func (s *State) HasCall(id string) bool {
	if s.Context.HasCall(id) {
		return true
	}
	for _, c := range s.Contexts {
		if c.HasCall(id) {
			return true
		}
	}
	return false
}

// WorksBelow reports whether a subagent stands below the thread, and has a turn.
func (v *View) WorksBelow(s *Subagent) bool {
	return s.ID != v.focus && v.thread(s.ID).Turn != nil && (v.focus == 0 || v.within(s, v.focus))
}
