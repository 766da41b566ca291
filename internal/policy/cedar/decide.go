package cedar

import (
	"slices"
	"strings"

	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/stead-dev/stead/internal/policy"
)

// matches are the policies that speak of a request, and those that failed to say whether they do.
type matches struct {
	forbid, permit []*rule
	failed         []*rule
	errors         []string // of failed, for the operator
}

// decide is the decision of sets about what others allowed already, and what went wrong in making it.
func decide(sets []*Set, version string, base policy.Decision, req policy.Request) (policy.Decision, []string) {
	if b := req.Before; b != nil && b.Allow && b.Version == version {
		return *b, nil // the same policies were asked already, and the world may have been touched since
	}
	base.Version = version
	no := policy.Decision{By: By, Version: version}
	q, err := newQuestion(req)
	defer q.release()
	if err != nil {
		no.Reason = "policies can't be asked about it"
		return no, []string{err.Error()}
	}
	if err := q.find(sets); err != nil {
		no.Reason = "its arguments can't be looked into: " + err.Error()
		return no, []string{err.Error()}
	}
	var all answer
	for i, s := range sets {
		a := s.answer(q, &q.found[i], base)
		if all = all.and(a, i == 0); all.decision.Outcome() == policy.Denied && all.trial.Outcome() == policy.Denied {
			break
		}
	}
	d := all.decision
	d.Version = version
	if all.spoke {
		d.Shadow = &policy.Trial{Outcome: all.trial.Outcome(), Policies: all.trial.Policies, Reason: all.trial.Reason}
	}
	return d, all.errors
}

// find finds what is to be asked of each set, and makes what of the request is looked into.
func (q *question) find(sets []*Set) error {
	found := q.finds(len(sets))
	for i, s := range sets {
		found[i].byHeads(s.index[q.action], q.about)
		q.heads.and(&found[i].heads)
	}
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

// answer asks the policies of the set that were found.
func (s *Set) answer(q *question, asked *found, base policy.Decision) answer {
	switch {
	case s.broken != nil && s.trial:
		return answer{base, s.settle(*s.broken, base), true, s.broken.errors}
	case s.broken != nil:
		d := s.settle(*s.broken, base)
		return answer{d, d, false, s.broken.errors}
	case !asked.asked:
		d := s.settle(matches{}, base)
		return answer{d, d, false, nil}
	}
	ways, err := readings(q.req.Labels, &asked.heads, &asked.looks)
	if err != nil {
		d := policy.Decision{By: By, Reason: "its labels can't be looked into: " + err.Error()}
		return answer{d, d, false, []string{err.Error()}}
	}
	if asked.empty() {
		d := s.settle(matches{}, base)
		return answer{d, d, false, nil}
	}
	inForce, onTrial, spoke := q.ask(&asked.pile, ways[0])
	if len(ways) > 1 {
		all, tried := []matches{inForce}, []matches{onTrial}
		for _, tags := range ways[1:] {
			m, x, one := q.ask(&asked.pile, tags)
			all, tried, spoke = append(all, m), append(tried, x), spoke || one
		}
		inForce, onTrial = s.join(all), s.join(tried)
	}
	out := answer{decision: s.settle(inForce, base), spoke: spoke, errors: onTrial.errors}
	if out.trial = out.decision; spoke {
		out.trial = s.settle(onTrial, base)
	}
	return out
}

// ask asks the candidates about one reading of the labels: those in force, and all; spoke: one on trial did.
func (q *question) ask(asked *pile, tags types.Record) (inForce, all matches, spoke bool) {
	if q.labels >= 0 {
		q.things[q.labels].entity.Tags = tags
	}
	inForce = evaluate(q, asked.forbid, asked.permit)
	onTrial := evaluate(q, asked.shadowForbid, asked.shadowPermit)
	return inForce, inForce.and(onTrial), !onTrial.none()
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

// evaluate asks Cedar. Forbids and permits are asked apart: together, Cedar names no permit once a
// forbid has matched, and a forbid that asks for approval leaves the permits to decide.
func evaluate(q *question, forbid, permit []*rule) matches {
	var m matches
	m.forbid = m.matching(q, forbid)
	m.permit = m.matching(q, permit)
	return m
}

func (m *matches) matching(q *question, rules []*rule) []*rule {
	if len(rules) == 0 {
		return nil
	}
	q.list.rules = rules
	_, said := cedargo.Authorize(&q.list, q, q.request)
	if len(said.Reasons)+len(said.Errors) == 0 {
		return nil
	}
	var out []*rule
	spoke := make(map[string]bool, len(said.Reasons))
	for _, r := range said.Reasons {
		spoke[string(r.PolicyID)] = true
	}
	failed := make(map[string]string, len(said.Errors))
	for _, e := range said.Errors {
		failed[string(e.PolicyID)] = e.Message
	}
	slices.SortFunc(rules, func(a, b *rule) int { return a.place - b.place }) // what is said does not depend on the index
	for _, r := range rules {
		if spoke[r.ID] {
			out = append(out, r)
		}
		if why, ok := failed[r.ID]; ok {
			m.failed = append(m.failed, r)
			m.errors = append(m.errors, "policy "+r.ID+": "+why)
		}
	}
	return out
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
