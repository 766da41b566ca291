package session

import (
	"slices"

	"github.com/stead-dev/stead"
)

// What comes next in a session with subagents: the root's thread is asked, then each of theirs, and calls about subagents are acted upon.

// InThread is a command of a subagent's thread.
type InThread struct {
	Thread  stead.Seq
	Command Command
}

// ActOnSubagent does what a call about subagents asks for, after asking policies where it makes one.
type ActOnSubagent struct{ Call *Call }

// AnswerTool ends a call that the journal itself answers.
type AnswerTool struct {
	Call   *Call
	Output string
}

// TellParent tells an agent how the turn of its subagent has ended.
type TellParent struct{ Subagent *Subagent }

func (InThread) command()      {}
func (ActOnSubagent) command() {}
func (AnswerTool) command()    {}
func (TellParent) command()    {}

// nextThreads is Next in a session with subagents. Of a thread that another one is about to change nothing is said: it would be about the thread as it
// was before that, and end its turn over a message that comes in this moment.
func (s *State) nextThreads(w Window) []Command {
	room := stead.MaxParallelTools - s.running()
	out := fit(s.childrenFirst(s.heldBack(s.next(w))), &room)
	reached := s.reached(out)
	for _, sub := range s.Subagents {
		if endsThread(out, sub.ID) || slices.Contains(reached, sub.ID) {
			continue // what it would do else is not begun
		}
		_ = s.On(sub.ID, func() error {
			cmds := fit(s.childrenFirst(s.heldBack(s.nextTurn(w))), &room)
			reached = append(reached, s.reached(cmds)...)
			for _, c := range cmds {
				switch c.(type) {
				case InThread, WaitUntil:
					out = append(out, c)
				default:
					out = append(out, InThread{sub.ID, c})
				}
			}
			return nil
		})
	}
	return out
}

// reached are the threads that commands of the thread act on, and those below them.
func (s *State) reached(cmds []Command) (out []stead.Seq) {
	for _, c := range cmds {
		act, ok := c.(ActOnSubagent)
		if !ok {
			continue
		}
		target := s.own(act.Call.SubagentArgs().AgentID)
		for _, sub := range s.Subagents {
			if target != nil && s.within(sub, target.ID) {
				out = append(out, sub.ID)
			}
		}
	}
	return out
}

// running counts the tool calls of all threads that run.
func (v *View) running() (n int) {
	v.each(func(u *View) bool {
		if u.Turn != nil {
			for _, c := range u.Turn.Calls {
				if c.State == CallRunning {
					n++
				}
			}
		}
		return true
	})
	return n
}

// fit leaves out calls for which the session has no room: their turn comes.
func fit(cmds []Command, room *int) []Command {
	return slices.DeleteFunc(cmds, func(c Command) bool {
		if _, ok := c.(CallTool); !ok {
			return false
		}
		*room--
		return *room < 0
	})
}

// endsThread reports whether a command ends the turn of a thread.
func endsThread(cmds []Command, thread stead.Seq) bool {
	return slices.ContainsFunc(cmds, func(c Command) bool {
		in, ok := c.(InThread)
		return ok && in.Thread == thread && ends(in.Command)
	})
}

func ends(c Command) bool {
	_, ok := c.(EndTurn)
	return ok
}

// childrenFirst cancels the turns of an agent's subagents before its own ends, the deepest first.
func (s *State) childrenFirst(cmds []Command) []Command {
	if !slices.ContainsFunc(cmds, ends) {
		return cmds
	}
	var out []Command
	for _, sub := range slices.Backward(s.Subagents) { // who is below another was made after it
		if s.WorksBelow(sub) {
			out = append(out, InThread{sub.ID, EndTurn{Kind: KindTurnCancelled}})
		}
	}
	if len(out) > 0 {
		return out
	}
	return cmds
}

// orphaned: the turn of its parent has ended otherwise than Next says it ends.
func (v *View) orphaned() bool {
	s := v.Subagent(v.focus)
	return s != nil && v.thread(s.Parent).Turn == nil
}

// tells are the ends of turns of which the thread's agent was not told.
func (s *State) tells() (out []Command) {
	for _, sub := range s.Subagents {
		if sub.Parent == s.focus && sub.Ended != nil {
			out = append(out, TellParent{sub})
		}
	}
	return out
}

// nextAbout says what is to be done about a call that is about subagents; nil: it waits.
func (s *State) nextAbout(c *Call) Command {
	if why := s.RefuseSubagent(c); why != "" {
		return RefuseTool{c, why}
	}
	switch {
	case s.BehindCancel(c):
		return nil
	case !c.Tool.Subagent.waits():
		return ActOnSubagent{c}
	}
	over := c.Until > 0 && s.Now >= c.Until || s.Turn.Unread > 0 // somebody has said something: the agent reads it first
	done, all := 0, c.SubagentArgs()
	for _, id := range all.AgentIDs {
		if !s.works(s.own(id)) {
			done++
		}
	}
	if done == len(all.AgentIDs) || all.Any && done > 0 || over {
		return AnswerTool{c, s.standing(all.AgentIDs, over)}
	}
	return nil
}

// own is a subagent of the thread's agent; nil: it is none.
func (v *View) own(id string) *Subagent {
	seq, ok := ParseSubagentID(v.Key.Session, hereID(v.Key.Session, id))
	if !ok {
		return nil
	}
	if s := v.Subagent(seq); s != nil && s.Parent == v.focus {
		return s
	}
	return nil
}

// standing is what a wait tells the model. What subagents said comes as messages.
func (v *View) standing(ids []string, over bool) string {
	type agent struct {
		ID     string `json:"agent_id"`
		Name   string `json:"name"`
		Status string `json:"status"`
	}
	out := struct {
		Agents []agent `json:"agents"`
		Note   string  `json:"note,omitempty"`
	}{}
	if over {
		out.Note = "The wait ended before all of them had answered: its time is over, or there is a new message for you."
	}
	for _, id := range ids {
		s := v.own(id)
		status := s.Outcome
		switch {
		case v.works(s):
			status = "working"
		case s.ClosedAt > 0:
			status = "closed"
		}
		out.Agents = append(out.Agents, agent{id, s.Name, status})
	}
	return string(mustJSON(out))
}
