package session

import (
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// What comes next while effects wait: what of it is held back, and what is asked about anew.

// staleEffects: calls of models would be others by now.
func (v *View) staleEffects() {
	for _, w := range v.Effects {
		if w.Effect == policy.ModelCall {
			w.Stale = true
		}
	}
}

// awaitsEnvironment reports whether a call waits for the environment, about which somebody is asked.
func (v *View) awaitsEnvironment(c *Call) bool {
	return c.Tool.Environment && slices.ContainsFunc(v.Effects, func(w *EffectWait) bool { return w.Open() && environmental(w.Effect) })
}

func environmental(e policy.Effect) bool {
	return e == policy.EnvironmentPrepare || e == policy.EnvironmentOpen
}

// concerns reports whether a command is to do what somebody is asked about.
func (w *EffectWait) concerns(c Command) bool {
	switch c := c.(type) {
	case CallModel:
		return w.Within == WithinTools || w.Effect == policy.ModelCall && w.Purpose == PurposeStep
	case CompactContext:
		return w.Effect == policy.ModelCall && w.Purpose == PurposeCompact
	case ExtractMemories:
		return w.Purpose == PurposeRemember
	case RecallMemory:
		return w.Purpose == PurposeRecall || w.Within == WithinRecall
	case KeepMemories:
		return w.Purpose == PurposeItems && c.Items || w.Purpose == PurposeFound && !c.Items
	case CallTool:
		return w.Within == withinCall(c.Call)
	case EnvironmentAction:
		return environmental(w.Effect) && w.Effect == policy.EnvironmentEffect(string(c.Action)) && !c.Store
	}
	return false
}

// heldBack takes out what waits for an answer, and says what becomes of questions whose time is over.
func (s *State) heldBack(cmds []Command) []Command {
	if len(s.Effects) == 0 {
		return cmds
	}
	var out []Command
	for _, w := range s.Effects {
		switch {
		case w.Thread != s.focus:
		case w.Expired(s.Now):
			out = append(out, LapseEffect{w})
		case w.Open() && w.Until > 0:
			out = append(out, WaitUntil{w.Until})
		}
	}
	if slices.ContainsFunc(out, func(c Command) bool { _, lapses := c.(LapseEffect); return lapses }) {
		return out // then it is asked again what comes next
	}
	for _, c := range cmds {
		waits := false
		for _, w := range s.Effects {
			if w.Thread != s.focus || !w.concerns(c) {
				continue
			}
			waits = waits || w.Open() && !s.moved(w) || w.Postponed && !s.EnvironmentNeeded()
			if w.Passed {
				c = w.asShown(c)
			}
		}
		if !waits {
			out = append(out, c)
		}
	}
	return out
}

// asShown is a command that does no more than what was shown.
func (w *EffectWait) asShown(c Command) Command {
	switch c := c.(type) {
	case KeepMemories:
		c.Turns = w.Turns
		return c
	case ExtractMemories:
		c.Turns = w.Turns
		return c
	}
	return c
}

// EnvironmentNeeded reports whether something can only go on in the session's environment.
func (s *State) EnvironmentNeeded() bool { return s.commandWaits() }

// moved reports whether what is asked about would be about more by now: a call of the model, or what is looked up for it.
func (s *State) moved(w *EffectWait) bool {
	if (w.Effect != policy.ModelCall || w.Purpose != PurposeStep) && w.Purpose != PurposeRecall {
		return false
	}
	var was struct {
		Input struct {
			Upto stead.Seq `json:"upto"`
		} `json:"input"`
	}
	return json.Unmarshal(w.Shown, &was) == nil && was.Input.Upto != s.Context.Last()
}

// Last is the place of the newest item that the model gets; 0: there is none.
func (c *Context) Last() stead.Seq {
	last := stead.Seq(0)
	for _, list := range [][]*Entry{c.Entries, c.Held} {
		for _, en := range list {
			last = max(last, en.Seq)
		}
	}
	return last
}
