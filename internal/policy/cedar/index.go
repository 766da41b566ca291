package cedar

import (
	"iter"
	"maps"
	"slices"

	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	expast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// The index finds the policies that may match a request without looking at the others: by action,
// then by the one resource or the one principal that a policy's head names, if it names one. It may
// find too many, which costs time, and never too few, which would cost more than that.

// shelf holds the policies of one action. Each stands once in it.
type shelf struct {
	named map[types.EntityUID]*pile // by the resource or principal that the head names
	rest  pile
}

// pile is policies by what a match of theirs means.
type pile struct {
	forbid, permit             []*rule // in force
	shadowForbid, shadowPermit []*rule
	looks                      uses // of all of them
}

func (p *pile) add(r *rule) {
	to := &p.forbid
	switch {
	case r.Mode == "shadow" && r.Effect == "permit":
		to = &p.shadowPermit
	case r.Mode == "shadow":
		to = &p.shadowForbid
	case r.Effect == "permit":
		to = &p.permit
	}
	*to = append(*to, r)
	p.looks.add(r.looks)
}

func (p *pile) empty() bool {
	return len(p.forbid)+len(p.permit)+len(p.shadowForbid)+len(p.shadowPermit) == 0
}

func shelve(rules []*rule, actions map[types.EntityUID]types.Entity) map[types.EntityUID]*shelf {
	index := map[types.EntityUID]*shelf{}
	for uid := range actions {
		index[uid] = &shelf{named: map[types.EntityUID]*pile{}}
	}
	for _, r := range rules {
		head := (*expast.Policy)(r.policy.AST())
		name, isNamed := headNames(head)
		for uid, s := range index {
			if !speaksOf(head.Action, uid, actions) {
				continue
			}
			to := &s.rest
			if isNamed {
				if s.named[name] == nil {
					s.named[name] = &pile{}
				}
				to = s.named[name]
			}
			to.add(r)
		}
	}
	return index
}

// headNames is the one thing that the head of a policy is about: the resource rather than the principal.
func headNames(p *expast.Policy) (types.EntityUID, bool) {
	for _, scope := range []expast.IsScopeNode{p.Resource, p.Principal} {
		switch s := scope.(type) {
		case expast.ScopeTypeEq:
			return s.Entity, true
		case expast.ScopeTypeIn:
			return s.Entity, true
		case expast.ScopeTypeIsIn:
			return s.Entity, true
		}
	}
	return types.EntityUID{}, false
}

func speaksOf(scope expast.IsActionScopeNode, action types.EntityUID, actions map[types.EntityUID]types.Entity) bool {
	switch s := scope.(type) {
	case expast.ScopeTypeEq:
		return s.Entity == action
	case expast.ScopeTypeIn:
		return isIn(action, s.Entity, actions)
	case expast.ScopeTypeInSet:
		for _, e := range s.Entities {
			if isIn(action, e, actions) {
				return true
			}
		}
		return false
	}
	return true
}

func isIn(action, group types.EntityUID, actions map[types.EntityUID]types.Entity) bool {
	if action == group {
		return true
	}
	for parent := range actions[action].Parents.All() {
		if isIn(parent, group, actions) {
			return true
		}
	}
	return false
}

// candidates are the policies that may match a request which is about these things: principal,
// resource and everything that they are in.
func (s *Set) candidates(action types.EntityUID, about []types.EntityUID) pile {
	sh := s.index[action]
	if sh == nil {
		return pile{}
	}
	out := sh.rest // shared with the index: joined makes a slice of its own
	for i, uid := range about {
		p := sh.named[uid]
		if p == nil || contains(about[:i], uid) {
			continue
		}
		out.forbid, out.permit = joined(out.forbid, p.forbid), joined(out.permit, p.permit)
		out.shadowForbid, out.shadowPermit = joined(out.shadowForbid, p.shadowForbid), joined(out.shadowPermit, p.shadowPermit)
		out.looks = out.looks.and(p.looks)
	}
	return out
}

// joined is both, in a slice of its own where neither is empty.
func joined[T any](a, b []T) []T {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	return slices.Concat(a, b)
}

func contains(list []types.EntityUID, uid types.EntityUID) bool {
	for _, x := range list {
		if x == uid {
			return true
		}
	}
	return false
}

// add counts in what one more policy looks into, while the index is made.
func (u *uses) add(more uses) {
	u.context, u.anyTag = u.context|more.context, u.anyTag || more.anyTag
	if len(more.tags) > 0 && len(u.tags) == 0 {
		u.tags = []names{{}}
	}
	for _, m := range more.tags {
		maps.Copy(u.tags[0], m)
	}
}

// and is what both look into. It changes neither.
func (u uses) and(more uses) uses {
	return uses{context: u.context | more.context, anyTag: u.anyTag || more.anyTag, tags: joined(u.tags, more.tags)}
}

// tag reports whether a tag of this name may be looked into.
func (u uses) tag(name string) bool {
	if u.anyTag {
		return true
	}
	for _, m := range u.tags {
		if _, ok := m[name]; ok {
			return true
		}
	}
	return false
}

// list makes policies iterable for Cedar. Their ids there are their places.
type list []*rule

// All implements cedar.PolicyIterator.
func (l list) All() iter.Seq2[cedargo.PolicyID, *cedargo.Policy] {
	return func(yield func(cedargo.PolicyID, *cedargo.Policy) bool) {
		for _, r := range l {
			if !yield(cedargo.PolicyID(r.ID), r.policy) {
				return
			}
		}
	}
}
