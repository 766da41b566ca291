package cedar

import (
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// matches are the policies that speak of a request, and those that failed to say whether they do.
type matches struct {
	forbid, permit []*rule
	failed         []*rule
	errors         []string // of failed, for the operator
}

// decide is the decision of sets about what others allowed already, and what went wrong in making it. look finds how far budgets are used up; its
// error is the one that is returned.
func decide(sets []*Set, version string, base policy.Decision, req policy.Request, look func() (*policy.Budgets, error)) (policy.Decision, []string, error) {
	if b := req.Before; b != nil && b.Allow && b.Version == version {
		return *b, nil, nil // the same policies were asked already, and the world may have been touched since
	}
	base.Version = version
	if req.Unforeseen && req.Effect == policy.ToolCall {
		return decideUnseen(sets, version, base, req, look)
	}
	no := policy.Decision{By: By, Version: version}
	q, err := newQuestion(req)
	defer q.release()
	if err != nil {
		no.Reason = "policies can't be asked about it"
		return no, []string{err.Error()}, nil
	}
	if err := q.byHeads(sets, look); err != nil {
		return no, nil, err
	}
	if err := q.find(sets); err != nil {
		no.Reason = "its arguments can't be looked into: " + err.Error()
		return no, []string{err.Error()}, nil
	}
	q.askTogether()
	var all answer
	for i, s := range sets {
		if req.Principal.Kind == stead.PrincipalNode {
			s = s.open()
		}
		a := s.answer(q, i, base)
		if all = all.and(a, i == 0); all.decision.Outcome() == policy.Denied && all.trial.Outcome() == policy.Denied {
			break
		}
	}
	d := all.decision
	d.Version = version
	if q.heads.context&atBudgets != 0 {
		d.Budgets = q.req.Budgets
	}
	if all.spoke {
		d.Shadow = &policy.Trial{Outcome: all.trial.Outcome(), Policies: all.trial.Policies, Reason: all.trial.Reason}
	}
	return d, all.errors, nil
}

// byHeads finds the policies whose heads speak of the request, and looks at budgets where one of them reads those.
func (q *question) byHeads(sets []*Set, look func() (*policy.Budgets, error)) (err error) {
	found := q.finds(len(sets))
	for i, s := range sets {
		found[i].byHeads(s.index[q.action], q.about)
		q.heads.and(&found[i].heads)
	}
	if look == nil || q.heads.context&atBudgets == 0 || q.req.Budgets != nil || attributesOf()[q.req.Effect]&atBudgets == 0 {
		return nil
	}
	if q.req.Budgets, err = look(); q.req.Budgets != nil {
		q.has |= atBudgets
	}
	return err
}

// find finds what is to be asked of each set, and makes what of the request is looked into.
func (q *question) find(sets []*Set) error {
	found := q.found
	if q.heads.context&q.has&atLooked != 0 {
		if err := flatten(q.req.Arguments, &q.heads.arguments, q.texts, q.amounts); err != nil {
			return err
		}
	}
	none := true
	for i, s := range sets {
		if f := &found[i]; f.asked {
			f.find(s.index[q.action], q, len(s.rules))
			q.looks.and(&f.looks)
			none = none && f.empty()
		}
	}
	if none {
		return nil
	}
	return q.fill(&q.looks, sets[0].actions)
}

// answer is what one set says, or several do.
type answer struct {
	decision, trial policy.Decision // without the policies on trial, and with them
	spoke           bool            // one on trial did
	errors          []string
}

// answer is what the policies of the set say that were found: the set is the nth that is asked.
func (s *Set) answer(q *question, nth int, base policy.Decision) answer {
	asked := &q.found[nth]
	switch {
	case s.broken != nil && s.trial:
		return answer{base, s.settle(*s.broken, base), true, s.broken.errors}
	case s.broken != nil:
		d := s.settle(*s.broken, base)
		return answer{d, d, false, s.broken.errors}
	case !asked.asked:
		d := s.settle(matches{}, base)
		return answer{d, d, false, nil}
	case q.together:
		inForce, all, spoke := asked.said(q.said)
		return s.outcome(base, inForce, all, spoke)
	}
	ways, err := readings(q.req.Labels, &asked.heads, &asked.looks)
	if err != nil {
		d := policy.Decision{By: By, Reason: "its labels can't be looked into: " + err.Error()}
		return answer{d, d, false, []string{err.Error()}}
	}
	var all, tried []matches
	spoke := false
	for _, tags := range ways {
		m, x, one := asked.said(q.ask(q.found[nth:nth+1], tags))
		all, tried, spoke = append(all, m), append(tried, x), spoke || one
	}
	if len(ways) == 1 {
		return s.outcome(base, all[0], tried[0], spoke)
	}
	return s.outcome(base, s.join(all), s.join(tried), spoke)
}

// outcome is what follows from what the policies in force said, and all; spoke: one on trial did.
func (s *Set) outcome(base policy.Decision, inForce, all matches, spoke bool) answer {
	out := answer{decision: s.settle(inForce, base), spoke: spoke, errors: all.errors}
	if out.trial = out.decision; spoke {
		out.trial = s.settle(all, base)
	}
	return out
}

// and is what both say; first: there is nothing yet.
func (a answer) and(b answer, first bool) answer {
	if first {
		return b
	}
	return answer{both(a.decision, b.decision), both(a.trial, b.trial), a.spoke || b.spoke, append(a.errors, b.errors...)}
}

// both is the decision that keeps two: the first no that nobody can lift, else all approvals that either needs.
func both(a, b policy.Decision) policy.Decision {
	out := a
	switch x, y := a.Outcome(), b.Outcome(); {
	case x == policy.Denied:
		return a
	case y == policy.Denied:
		return b
	case x == policy.Allowed && y == policy.Approval:
		return b
	case x == policy.Approval && y == policy.Allowed:
		return a
	case x == policy.Approval:
		out.Needs = a.Needs.And(b.Needs)
		out.Reason = a.Reason + "; " + b.Reason
	case len(a.Policies) == 0:
		return b
	}
	if len(b.Policies) > 0 {
		out.Policies = slices.Concat(a.Policies, b.Policies)
		slices.Sort(out.Policies)
	}
	return out
}

const noPermit = "no policy permits it"

// open is the set for the server itself, which no permit is written for: what it does may be forbidden, not left out.
func (s *Set) open() *Set {
	out := *s
	out.deny = false
	return &out
}

// settle turns matches into a decision.
func (s *Set) settle(m matches, base policy.Decision) policy.Decision {
	no := policy.Decision{By: By}
	if len(m.failed) > 0 {
		no.Policies, no.Reason = ids(m.failed), "policy "+m.failed[0].ID+" could not be evaluated"
		return no
	}
	hard, asks := apart(m.forbid)
	if len(hard) > 0 {
		no.Policies, no.Reason = ids(hard), because(hard, "forbids it")
		return no
	}
	plain, onApproval := apart(m.permit)
	if len(plain) == 0 {
		asks = append(asks, onApproval...)
		if len(onApproval) == 0 && s.deny {
			no.Reason = noPermit
			return no
		}
	}
	switch {
	case len(asks) > 0:
		no.Policies, no.Reason, no.Needs = ids(asks), because(asks, "asks for approval"), strictest(asks)
		return no
	case len(plain) > 0:
		return policy.Decision{Allow: true, By: By, Policies: ids(plain), Reason: base.Reason}
	}
	return base
}

// apart parts rules into those that decide and those that leave it to a person.
func apart(rules []*rule) (plain, asks []*rule) {
	for _, r := range rules {
		if r.needs != nil {
			asks = append(asks, r)
		} else {
			plain = append(plain, r)
		}
	}
	return plain, asks
}

func ids(rules []*rule) []string {
	out := make([]string, len(rules))
	for i, r := range rules {
		out[i] = r.ID
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// because says why in the words of the policies that have some.
func because(rules []*rule, verb string) string {
	var said []string
	for _, r := range rules {
		if r.Reason != "" && !slices.Contains(said, r.Reason) {
			said = append(said, r.Reason)
		}
	}
	text := "policy " + ids(rules)[0] + " " + verb
	if len(said) > 0 {
		text += ": " + strings.Join(said, "; ")
	}
	return text
}

// strictest is what satisfies all of them.
func strictest(rules []*rule) *policy.Needs {
	var out *policy.Needs
	for _, r := range rules {
		out = out.And(r.needs)
	}
	return out
}
