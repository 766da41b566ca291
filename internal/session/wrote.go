package session

import (
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// What an agent does follows from what it was told, by whomever: all that was said stays in its context, or in a summary of that. So
// those who told it something, gave it tools or files, or made the session stand behind each later call of it, and where an approval
// must be given by others (policy.Needs.Separate), theirs does not count. Whoever denies a call with a reason has told it nothing to do,
// as whoever sends a paper back for correction did not write it; but what it does then is not its user's wish alone any more, so that what is
// that one's own is not used (Reasoned).

// maxWrote bounds how many are told apart; beyond, anybody stands for all of them.
const maxWrote = 1000

// toldBehind says to people who they are.
const toldBehind = "whom the session belongs to, who told its agent something, gave it tools or files, or changed the call"

// wrote notes who told the agent something.
func (v *View) wrote(by stead.Principal) { v.Wrote = noted(v.Wrote, by) }

// reasoned notes who denied something, and told the agent why.
func (v *View) reasoned(by stead.Principal, why string) {
	if why != "" {
		v.Reasoned = noted(v.Reasoned, by)
	}
}

func noted(all []stead.Principal, by stead.Principal) []stead.Principal {
	by.Session, by.Scope = "", "" // they are in no journal
	if by.ID == "" || len(all) > maxWrote || slices.Contains(all, by) {
		return all
	}
	if len(all) == maxWrote {
		by = policy.Anybody()
	}
	return append(slices.Clip(all), by)
}

func (v *View) uploaded(e stead.Event, p FileInput) {
	v.wrote(p.By)
	v.Environment.uploaded(e, p)
}

// behind are those who stand behind something: who had told the agent something when it was asked about, and others, who changed it.
func (v *View) behind(wrote int, others ...stead.Principal) []stead.Principal {
	return append(append([]stead.Principal{v.Created.Principal}, v.Wrote[:min(wrote, len(v.Wrote))]...), others...)
}

// Behind are those who stand behind what the agent does now: it does what all of them may.
func (v *View) Behind() []stead.Principal {
	if slices.Contains(v.Wrote, v.Created.Principal) {
		return slices.Clip(v.Wrote)
	}
	return v.behind(len(v.Wrote))
}

// changed are those who changed the arguments of a call that is open, or told the agent why something was denied.
func (v *View) changed() []stead.Principal {
	out := slices.Clone(v.Reasoned)
	v.each(func(u *View) bool {
		if u.Turn == nil {
			return true
		}
		for _, c := range u.Turn.Calls {
			if c.State != CallDone {
				out = append(out, c.EditedBy...)
			}
		}
		return true
	})
	return out
}

// Changed are those who changed what a call does: its own arguments, and no other's, or by what the agent was told of what was denied.
func (v *View) Changed(c *Call) []stead.Principal {
	return append(slices.Clip(v.Reasoned), c.EditedBy...)
}

// Alone reports whether nobody but whom the session serves stands behind what its agent does now, so that what is that one's own may be
// used.
func (v *View) Alone() bool { return v.alone(v.changed()) }

// AloneIn is Alone of one call.
func (v *View) AloneIn(c *Call) bool { return v.alone(v.Changed(c)) }

func (v *View) alone(changed []stead.Principal) bool {
	return v.Created.Principal.Alone(v.Behind()) && v.Created.Principal.Alone(changed)
}

// Lacks is how many approvals a call lacks yet that policies hold.
func (v *View) Lacks(c *Call, n *policy.Needs) int {
	return n.Missing(c.Approved, v.behind(c.Wrote, c.EditedBy...)...)
}

// EffectLacks is Lacks for another effect.
func (v *View) EffectLacks(w *EffectWait, n *policy.Needs) int {
	return n.Missing(w.Approved, v.behind(w.Wrote)...)
}
