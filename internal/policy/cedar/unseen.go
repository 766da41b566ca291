package cedar

import (
	"maps"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
	expast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"

	"github.com/stead-dev/stead/internal/policy"
)

// A tool that a model's provider runs is decided before it is offered, once, for whatever it is called with. Policies are evaluated as far as they can
// be: of those that are left open by arguments, a forbid counts as one that matches, and a permit as one that may not.

// unseen is said of a refusal that is none of what is known.
const unseen = "the provider runs this tool, so that its arguments can't be looked at and nobody can be asked before it does"

// decideUnseen is decide for such a request. Where any tool of a server may be called, it is about each that policies name, and about one that none does.
func decideUnseen(sets []*Set, version string, base policy.Decision, req policy.Request, look func() (*policy.Budgets, error)) (policy.Decision, []string, error) {
	resources := []string{req.Resource}
	if !strings.Contains(req.Resource, "/") {
		resources = append(resources, toolsNamed(sets, req.Resource)...)
	}
	var all answer
	for i, resource := range resources {
		req.Resource = resource
		a, err := decideOneUnseen(sets, base, req, look)
		if err != nil {
			return policy.Decision{By: By, Version: version}, nil, err
		}
		all = all.and(a, i == 0)
	}
	d := all.decision
	d.Version = version
	if all.spoke {
		d.Shadow = &policy.Trial{Outcome: all.trial.Outcome(), Policies: all.trial.Policies, Reason: all.trial.Reason}
	}
	return d, all.errors, nil
}

// decideOneUnseen is what all sets say of one tool.
func decideOneUnseen(sets []*Set, base policy.Decision, req policy.Request, look func() (*policy.Budgets, error)) (all answer, err error) {
	q, err := newQuestion(req)
	defer q.release()
	if err != nil {
		d := policy.Decision{By: By, Reason: "policies can't be asked about it"}
		return answer{decision: d, trial: d, errors: []string{err.Error()}}, nil
	}
	if err := q.byHeads(sets, look); err != nil {
		return answer{}, err
	}
	known := q.heads
	known.context &^= atLooked
	if err := q.fill(&known, sets[0].actions); err != nil {
		return answer{}, err
	}
	with := maps.Clone(q.context)
	for one, others := (q.heads.context & q.has & atLooked).next(); one != 0; one, others = others.next() {
		with[one.name()] = eval.Variable(one.name())
	}
	if !strings.Contains(req.Resource, "/") {
		with[atTool.name()] = eval.Variable(atTool.name())
	}
	env := eval.Env{Principal: q.principal, Action: q.action, Resource: q.resource, Context: types.NewRecord(with), Entities: q}
	for i, s := range sets {
		all = all.and(s.guess(q, i, env, base), i == 0)
	}
	return all, nil
}

// guess is answer by what is known.
func (s *Set) guess(q *question, nth int, env eval.Env, base policy.Decision) answer {
	if s.broken != nil {
		return s.answer(q, nth, base)
	}
	ways, err := readings(q.req.Labels, &q.heads, &q.heads)
	if err != nil {
		d := policy.Decision{By: By, Reason: "its labels can't be looked into: " + err.Error()}
		return answer{d, d, false, []string{err.Error()}}
	}
	var inForce, all []matches
	open := map[*rule]bool{} // what is left open
	for _, tags := range ways {
		if q.labels >= 0 {
			q.things[q.labels].entity.Tags = tags
		}
		m, trial := s.mayMatch(env, open)
		inForce, all = append(inForce, m), append(all, m.and(trial))
	}
	spoke := slices.ContainsFunc(s.rules, func(r *rule) bool { return r.Mode == policy.Shadow && open[r] })
	m, x := s.join(inForce), s.join(all)
	spoke = spoke || len(x.forbid)+len(x.permit)+len(x.failed) > len(m.forbid)+len(m.permit)+len(m.failed)
	out := s.outcome(base, m, x, spoke)
	out.decision, out.trial = unwaited(out.decision, open), unwaited(out.trial, open)
	return out
}

// mayMatch are the policies that match, or may: those in force and those on trial. What is open is noted.
func (s *Set) mayMatch(env eval.Env, open map[*rule]bool) (inForce, trial matches) {
	for _, r := range s.rules {
		left, keep := eval.PartialPolicy(env, (*expast.Policy)(r.policy.AST()))
		if !keep {
			continue
		}
		m := &inForce
		if r.Mode == policy.Shadow {
			m = &trial
		}
		if err := failure(left); err != nil {
			m.failed, m.errors = append(m.failed, r), append(m.errors, "policy "+r.ID+": "+err.Error())
			continue
		}
		sure := len(left.Conditions) == 0
		if !sure {
			open[r] = true
		}
		switch {
		case r.Effect == "forbid":
			m.forbid = append(m.forbid, r)
		case sure || r.needs != nil:
			m.permit = append(m.permit, r)
		}
	}
	return inForce, trial
}

// failure is the error that a policy's evaluation ends with; nil: it does not, as far as it is known.
func failure(left *expast.Policy) error {
	for _, c := range left.Conditions {
		if err, failed := eval.ToPartialError(c.Body); failed {
			return err
		}
	}
	return nil
}

// unwaited is a decision that nothing waits for, and that says why it is what it is.
func unwaited(d policy.Decision, open map[*rule]bool) policy.Decision {
	if d.Allow {
		return d
	}
	some := d.Needs != nil
	for r := range open {
		some = some || d.Reason == noPermit || slices.Contains(d.Policies, r.ID)
	}
	if d.Needs = nil; some {
		d.Reason += "; " + unseen
	}
	return d
}

// toolsNamed are the tools of a server that policies name, as resources.
func toolsNamed(sets []*Set, server string) (out []string) {
	const begin = string(typeTool) + "::"
	for _, s := range sets {
		for _, r := range s.rules {
			for _, rest := range strings.Split(string(r.policy.MarshalCedar()), begin+`"`)[1:] {
				var named types.EntityUID
				if named.UnmarshalCedar([]byte(begin+quoted(`"`+rest))) != nil {
					continue // it is none: the end of a text, and what is behind it
				}
				if resource := string(named.ID); strings.HasPrefix(resource, server+"/") && !slices.Contains(out, resource) {
					out = append(out, resource)
				}
			}
		}
	}
	return out
}
