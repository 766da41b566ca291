package cedar

import (
	"slices"
	"strings"

	cedargo "github.com/cedar-policy/cedar-go"

	"github.com/stead-dev/stead/internal/policy"
)

// matches are the policies that speak of a request, and those that failed to say whether they do.
type matches struct {
	forbid, permit []*rule
	failed         []*rule
	errors         []string // of failed, for the operator
}

// decide is the set's decision about what others allowed already, and what went wrong in making it.
func (s *Set) decide(base policy.Decision, req policy.Request) (policy.Decision, []string) {
	if b := req.Before; b != nil && b.Allow && b.Version == s.version {
		return *b, nil // the same policies were asked already, and the world may have been touched since
	}
	base.Version = s.version
	q, err := newQuestion(req)
	if err != nil {
		return policy.Decision{By: By, Reason: "policies can't be asked about it", Version: s.version}, []string{err.Error()}
	}
	asked := s.candidates(q.action, q.about)
	if asked.empty() {
		if s.deny {
			return policy.Decision{By: By, Reason: noPermit, Version: s.version}, nil
		}
		return base, nil
	}
	if err := q.fill(req, asked.looks, s.actions); err != nil {
		return policy.Decision{By: By, Reason: "its arguments can't be looked into: " + err.Error(), Version: s.version}, []string{err.Error()}
	}
	ways, err := readings(req.Labels, asked.looks)
	if err != nil {
		return policy.Decision{By: By, Reason: "its labels can't be looked into: " + err.Error(), Version: s.version}, []string{err.Error()}
	}
	var inForce, onTrial []matches
	spoke := false // a policy on trial did
	for _, tags := range ways {
		q.entities[q.labels].Tags = tags
		m, x := evaluate(q, asked.forbid, asked.permit), evaluate(q, asked.shadowForbid, asked.shadowPermit)
		inForce, onTrial = append(inForce, m), append(onTrial, m.and(x))
		spoke = spoke || !x.none()
	}
	d := s.settle(s.join(inForce), base)
	all := s.join(onTrial)
	if spoke {
		t := s.settle(all, base)
		d.Shadow = &policy.Trial{Outcome: t.Outcome(), Policies: t.Policies, Reason: t.Reason}
	}
	return d, all.errors
}

const noPermit = "no policy permits it"

// settle turns matches into a decision.
func (s *Set) settle(m matches, base policy.Decision) policy.Decision {
	no := policy.Decision{By: By, Version: s.version}
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
		return policy.Decision{Allow: true, By: By, Policies: ids(plain), Reason: base.Reason, Version: s.version}
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
	_, said := cedargo.Authorize(list(rules), q, q.request)
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
