package cedar

import (
	"iter"

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
	out, own := sh.rest, false // shared with the index until something is added
	for i, uid := range about {
		p := sh.named[uid]
		if p == nil || contains(about[:i], uid) {
			continue
		}
		if !own {
			out, own = out.copy(), true
		}
		out.forbid, out.permit = append(out.forbid, p.forbid...), append(out.permit, p.permit...)
		out.shadowForbid, out.shadowPermit = append(out.shadowForbid, p.shadowForbid...), append(out.shadowPermit, p.shadowPermit...)
	}
	return out
}

func (p *pile) copy() pile {
	own := func(r []*rule) []*rule { return append([]*rule(nil), r...) }
	return pile{own(p.forbid), own(p.permit), own(p.shadowForbid), own(p.shadowPermit)}
}

func contains(list []types.EntityUID, uid types.EntityUID) bool {
	for _, x := range list {
		if x == uid {
			return true
		}
	}
	return false
}

// looks says what the policies of a pile look into.
func (p *pile) looks() uses {
	var u uses
	for _, list := range [][]*rule{p.forbid, p.permit, p.shadowForbid, p.shadowPermit} {
		for _, r := range list {
			u.arguments, u.text = u.arguments || r.looks.arguments, u.text || r.looks.text
			u.tags, u.anyTag = append(u.tags, r.looks.tags...), u.anyTag || r.looks.anyTag
		}
	}
	return u
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
