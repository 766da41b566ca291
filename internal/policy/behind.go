package policy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// Jointly asks about what an agent does for each who stands behind it: whom its session serves, and everybody who told it something
// there. It is done if all of them may do it. Whoever writes into another's session has its agent do nothing that they may not do
// themselves, and nothing that the other may not.
type Jointly struct{ next Authorizer }

// NewJointly puts it before an authorizer, which is asked about one principal at a time.
func NewJointly(next Authorizer) Jointly { return Jointly{next} }

// byJointly is the name of this decider in decisions.
const byJointly = "behind"

// Decide implements Authorizer.
func (j Jointly) Decide(ctx context.Context, req Request) (Decision, error) {
	if !req.Acting || len(req.Behind) == 1 && req.Behind[0] == req.Principal {
		return j.next.Decide(ctx, req)
	}
	switch {
	case req.Behind == nil && req.Session.Session != "":
		return Decision{By: byJointly, Reason: "it was not said who told the agent what it does"}, nil
	case slices.Contains(req.Behind, Anybody()):
		return Decision{By: byJointly, Reason: "more people told the agent something than are told apart: a new session, or a copy of this one up to an earlier item, acts again"}, nil
	}
	out, err := j.next.Decide(ctx, req)
	for _, other := range req.Others() {
		if err != nil || out.Outcome() == Denied {
			break
		}
		ask := req
		ask.Principal, ask.Serves = other, cmp.Or(req.Serves, req.Principal.ID)
		ask.Budgets = cmp.Or(out.Budgets, req.Budgets) // all are asked about the same
		var d Decision
		if d, err = j.next.Decide(ctx, ask); err != nil {
			d.For = name(other)
			return d, err
		}
		out = out.with(d, other)
	}
	if req.Before != nil && req.Before.Allow {
		out.Micros = req.Before.Micros // it was kept
	}
	return out, err
}

// Others are those who stand behind what an agent does, beside Principal: each with each role once, as policies are asked about them. Whoever made the
// session token that something was said with is behind that too. What was said where nobody had a role counts as whom the session serves.
func (r Request) Others() []stead.Principal {
	var out []stead.Principal
	add := func(p stead.Principal) {
		p = stead.Principal{Project: r.Principal.Project, Kind: p.Kind, ID: p.ID, Role: p.Role, Bound: p.Bound}
		if p.Role == "" {
			p.Role = r.Principal.Role
		}
		same := func(o stead.Principal) bool { return o.Kind == p.Kind && o.ID == p.ID && o.Role == p.Role }
		if p.ID != "" && !same(r.Principal) && !slices.ContainsFunc(out, same) {
			out = append(out, p)
		}
	}
	for _, b := range r.Behind {
		add(b)
		if maker, ok := b.MadeBy(); ok {
			add(maker)
		}
	}
	return out
}

// Alone reports whether nobody but Principal stands behind it, so that what is that one's own may be used. Of what an agent does, it must be said who does.
func (r Request) Alone() bool {
	return !r.Acting || r.Behind != nil && r.Principal.Alone(r.Behind) && r.Principal.Alone(r.Changed)
}

// NotAlone is the error of using what is Principal's own (what: in words) where others stand behind it; nil: nobody does.
func (r Request) NotAlone(what string) *stead.Error {
	if r.Alone() {
		return nil
	}
	who := name(r.Principal)
	return stead.Errorf(stead.KindForbidden, "%s is for what %s alone causes, and %s told the agent something, or changed a call, too: use a session of %s's own, or a copy of this one up to an item before that",
		what, who, cmp.Or(Names(r.Principal.Beside(append(slices.Clip(r.Behind), r.Changed...))), "somebody"), who)
}

// Names names some of those who stand behind something, for people.
func Names(all []stead.Principal) string {
	const most = 3
	var out []string
	for _, p := range all[:min(len(all), most)] {
		out = append(out, string(p.Kind)+" "+p.ID)
	}
	if more := len(all) - most; more > 0 {
		out = append(out, fmt.Sprintf("%d others", more))
	}
	return strings.Join(out, ", ")
}

func name(p stead.Principal) string { return string(p.Kind) + ":" + p.ID }

// with is what allows it for all whom d was made for, and for one more.
func (d Decision) with(o Decision, who stead.Principal) Decision {
	out := d.both(o, who)
	out.Budgets = cmp.Or(d.Budgets, o.Budgets)
	out.Micros = d.Micros + o.Micros
	if d.Shadow != nil || o.Shadow != nil {
		out.Shadow = strictest(d.tried(), o.tried())
	}
	return out
}

// both is the decision that keeps two: a no, else all approvals that either needs.
func (d Decision) both(o Decision, who stead.Principal) Decision {
	o.For, o.Reason = name(who), "for "+name(who)+": "+o.Reason
	switch x, y := d.Outcome(), o.Outcome(); {
	case y == Denied || x == Allowed && y == Approval:
		return o
	case x == Allowed:
		d.Policies = union(d.Policies, o.Policies)
		return d
	case y == Allowed:
		return d
	}
	needs := d.Needs.And(o.Needs)
	if len(needs.Roles) == 0 {
		o.Needs, o.Quotes, o.Reason = nil, "", "nobody can approve it for all who told the agent something: it takes "+d.Needs.Who()+", and "+o.Needs.Who()+" for "+name(who)
		return o
	}
	d.Needs, d.For, d.Policies = needs, name(who), union(d.Policies, o.Policies)
	d.Reason, d.Quotes, d.About = d.Reason+"; "+o.Reason, cmp.Or(d.Quotes, o.Quotes), cmp.Or(d.About, o.About)
	return d
}

// tried is what would be decided with the policies on trial.
func (d Decision) tried() *Trial {
	if d.Shadow != nil {
		return d.Shadow
	}
	return &Trial{Outcome: d.Outcome(), Policies: d.Policies, Reason: d.Reason}
}

// strictest is the one of two that allows less.
func strictest(a, b *Trial) *Trial {
	rank := map[Outcome]int{Allowed: 0, Approval: 1, Denied: 2}
	if rank[b.Outcome] > rank[a.Outcome] {
		return b
	}
	return a
}

func union(a, b []string) []string {
	if len(b) == 0 {
		return a
	}
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}
