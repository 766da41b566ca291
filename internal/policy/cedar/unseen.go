package cedar

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	expast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"

	"github.com/stead-dev/stead/internal/policy"
)

// A tool that a model's provider runs is decided before it is offered, once, for whatever it is called with. Policies are evaluated as far as they can
// be: of those that are left open by arguments, a forbid counts as one that matches, and a permit as one that may not.
//
// The index leaves those that could match (offered). Of these, what reads nothing unseen is asked as ever; of the others what was made of them (residue)
// or, where nothing could be, they are evaluated in part.

// unseen is said of a refusal that is none of what is known.
const unseen = "the provider runs this tool, so that its arguments can't be looked at and nobody can be asked before it does"

// offered is what is known of a set's policies for such requests, once and for all.
type offered struct {
	one, any ready               // about one tool, and about any of a server, of which the name is not known either
	named    map[string][]string // server → its tools that policies name, as resources, in the order in which they do
}

// ready are the policies about tool calls of which something is not known.
type ready struct {
	*shelf
	left map[string]*cedargo.Policy // the key of a rule that reads it → its residue
}

func makeReady(about []*rule, s *scheme, unknown attributes) ready {
	out := ready{newShelf(about, s, unknown), map[string]*cedargo.Policy{}}
	for _, r := range about {
		if r.looks.context&unknown == 0 {
			continue
		}
		if p := residue(r, unknown); p != nil {
			out.left[r.key] = p
		}
	}
	return out
}

func offer(rules []*rule, actions map[types.EntityUID]types.Entity, schemes map[types.EntityUID]*scheme) offered {
	call := uid(typeAction, string(policy.ToolCall))
	var about []*rule
	for _, r := range rules {
		if speaksOf((*expast.Policy)(r.policy.AST()).Action, call, actions) {
			about = append(about, r)
		}
	}
	out := offered{one: makeReady(about, schemes[call], atLooked), any: makeReady(about, schemes[call], atLooked|atTool), named: map[string][]string{}}
	for _, r := range rules {
		for _, resource := range r.tools {
			server, _, _ := strings.Cut(resource, "/")
			if !slices.Contains(out.named[server], resource) {
				out.named[server] = append(out.named[server], resource)
			}
		}
	}
	return out
}

// toolsIn are the tools of servers that a policy, as Cedar writes it, names.
func toolsIn(text string) (out []string) {
	const begin = string(typeTool) + "::"
	for _, rest := range strings.Split(text, begin+`"`)[1:] {
		var named types.EntityUID
		if named.UnmarshalCedar([]byte(begin+quoted(`"`+rest))) != nil {
			continue // it is none: the end of a text, and what is behind it
		}
		if resource := string(named.ID); strings.Contains(resource, "/") {
			out = append(out, resource)
		}
	}
	return out
}

// decideUnseen is decide for such a request. Where any tool of a server may be called, it is about each that policies name, and about one that none does.
func decideUnseen(sets []*Set, version string, base policy.Decision, req policy.Request, look func() (*policy.Budgets, error)) (policy.Decision, []string, error) {
	resources := []string{req.Resource}
	if anyTool(&req) {
		resources = append(resources, toolsNamed(sets, req.Resource)...)
	}
	if look != nil {
		look = sync.OnceValues(look)
	}
	var all answer
	var budgets *policy.Budgets
	for i, resource := range resources {
		req.Resource = resource
		a, err := decideOneUnseen(sets, base, req, look)
		if err != nil {
			return policy.Decision{By: By, Version: version}, nil, err
		}
		budgets = cmp.Or(budgets, a.decision.Budgets)
		all = all.and(a, i == 0)
	}
	d := all.decision
	d.Version, d.Budgets = version, budgets
	if all.spoke {
		d.Shadow = &policy.Trial{Outcome: all.trial.Outcome(), Policies: all.trial.Policies, Reason: all.trial.Reason}
	}
	return d, all.errors, nil
}

// anyTool reports whether a request is about any tool of a server.
func anyTool(req *policy.Request) bool { return !strings.Contains(req.Resource, "/") }

// toolsNamed are the tools of a server that policies name, as resources.
func toolsNamed(sets []*Set, server string) (out []string) {
	has := map[string]bool{}
	for _, s := range sets {
		for _, resource := range s.offers.named[server] {
			if !has[resource] {
				has[resource] = true
				out = append(out, resource)
			}
		}
	}
	return out
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
	g := guess{q: q, unknown: atLooked}
	if anyTool(&req) {
		g.unknown |= atTool
	}
	for i, s := range sets {
		if f := &q.found[i]; f.asked {
			f.find(s.offers.of(g.unknown).shelf, q, len(s.rules))
			q.looks.and(&f.looks)
		}
	}
	known := q.looks
	known.context &^= atLooked
	if err := q.fill(&known, sets[0].actions); err != nil {
		return answer{}, err
	}
	for i, s := range sets {
		all = all.and(g.of(s, i, base), i == 0)
	}
	if q.heads.context&atBudgets != 0 {
		all.decision.Budgets = q.req.Budgets
	}
	return all, nil
}

// of are those for what is not known.
func (o *offered) of(unknown attributes) *ready {
	if unknown&atTool != 0 {
		return &o.any
	}
	return &o.one
}

// guess answers a question by what is known.
type guess struct {
	q       *question
	unknown attributes
	env     *eval.Env // with what is not known as variables; nil: nobody has needed it
}

// of is what one set says, the nth.
func (g *guess) of(s *Set, nth int, base policy.Decision) answer {
	q, f := g.q, &g.q.found[nth]
	if s.broken != nil || !f.asked {
		return s.answer(q, nth, base)
	}
	ways, err := readings(q.req.Labels, &q.heads, &q.looks)
	if err != nil {
		d := policy.Decision{By: By, Reason: "its labels can't be looked into: " + err.Error()}
		return answer{d, d, false, []string{err.Error()}}
	}
	rules, left := f.apart(g.unknown), s.offers.of(g.unknown).left
	var inForce, all []matches
	open := map[*rule]bool{} // what is left open
	for _, tags := range ways {
		said := q.ask(q.found[nth:nth+1], tags)
		opened := verdicts(nil).with(cedargo.Authorize(residues{rules, left}, q, q.request))
		m, trial := g.mayMatch(rules, said, func(r *rule) (v verdict, sure, spoke bool) {
			if left[r.key] == nil {
				return g.partly(r)
			}
			v, spoke = opened[r.key]
			return v, false, spoke
		}, open)
		inForce, all = append(inForce, m), append(all, m.and(trial))
	}
	spoke := slices.ContainsFunc(rules, func(r *rule) bool { return r.Mode == policy.Shadow && open[r] })
	m, x := s.join(inForce), s.join(all)
	spoke = spoke || len(x.forbid)+len(x.permit)+len(x.failed) > len(m.forbid)+len(m.permit)+len(m.failed)
	out := s.outcome(base, m, x, spoke)
	out.decision, out.trial = unwaited(out.decision, open), unwaited(out.trial, open)
	return out
}

// apart leaves those that can be asked as ever, and returns all that were found, in the order in which they were read.
func (f *found) apart(unknown attributes) (all []*rule) {
	for _, l := range []*[]*rule{&f.forbid, &f.permit, &f.shadowForbid, &f.shadowPermit} {
		all = append(all, *l...)
		*l = slices.DeleteFunc(*l, func(r *rule) bool { return r.looks.context&unknown != 0 })
	}
	slices.SortFunc(all, func(a, b *rule) int { return a.place - b.place })
	return all
}

// mayMatch are the policies that match, or may: those in force and those on trial. said is what those said that were asked, partly what others do. What is open
// is noted.
func (g *guess) mayMatch(rules []*rule, said verdicts, partly func(*rule) (v verdict, sure, spoke bool), open map[*rule]bool) (inForce, trial matches) {
	for _, r := range rules {
		v, spoke := said[r.key]
		sure := true
		if r.looks.context&g.unknown != 0 {
			v, sure, spoke = partly(r)
		}
		if !spoke {
			continue
		}
		m := &inForce
		if r.Mode == policy.Shadow {
			m = &trial
		}
		if v.failed {
			m.failed, m.errors = append(m.failed, r), append(m.errors, "policy "+r.ID+": "+v.why)
			continue
		}
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

// partly evaluates a policy as far as it can be. sure: it matches whatever is not known.
func (g *guess) partly(r *rule) (v verdict, sure, spoke bool) {
	left, keep := eval.PartialPolicy(*g.environment(), (*expast.Policy)(r.policy.AST()))
	if !keep {
		return v, false, false
	}
	if err := failure(left); err != nil {
		return verdict{true, err.Error()}, false, true
	}
	return v, len(left.Conditions) == 0, true
}

func (g *guess) environment() *eval.Env {
	if g.env == nil {
		q := g.q
		with := maps.Clone(q.context)
		for one, others := (q.looks.context & q.has & g.unknown).next(); one != 0; one, others = others.next() {
			with[one.name()] = eval.Variable(one.name())
		}
		g.env = &eval.Env{Principal: q.principal, Action: q.action, Resource: q.resource, Context: types.NewRecord(with), Entities: q}
	}
	return g.env
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
