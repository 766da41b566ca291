package cedar

import (
	"encoding/binary"
	"iter"

	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	expast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// The index finds the policies that may match a request without looking at the others: by action, and then by one fact that a policy
// can't match without (keysOf), of its several that under which the fewest others stand. It may find too many, which costs time, and
// never too few, which would cost more than that.

// shelf holds the policies of one action, or of several for which they are the same.
type shelf struct {
	// What is looked into is decided by heads alone, so that arguments in which something can be read in two ways are refused
	// whatever else a policy says.
	heads    map[types.EntityUID]*uses // of the policies whose head names a resource or, if it does not, a principal
	headless *uses                     // of the others; nil: there are none

	things     map[types.EntityUID]*pile
	attributes []onAttribute
	tags       []onTags
	rest       pile // that stand under nothing
}

// onAttribute are the policies that stand under a value of an attribute, or under a member of one that is a set.
type onAttribute struct {
	of      types.String
	is, has map[types.Value]*pile
}

// onTags are those that stand under a tag of the entity that an attribute is.
type onTags struct {
	of types.String
	by map[types.String]*onTag
}

type onTag struct {
	has pile
	is  map[types.Value]*pile
}

// pile is policies by what a match of theirs means.
type pile struct {
	forbid, permit             []*rule // in force
	shadowForbid, shadowPermit []*rule
	looks                      uses // of all of them
	repeats                    bool // some of them stand in other piles, too
}

func (p *pile) add(r *rule, repeats bool) {
	to := p.of(r)
	*to = append(*to, r)
	p.looks.add(r.looks)
	p.repeats = p.repeats || repeats
}

// of is where a policy belongs.
func (p *pile) of(r *rule) *[]*rule {
	switch {
	case r.Mode == "shadow" && r.Effect == "permit":
		return &p.shadowPermit
	case r.Mode == "shadow":
		return &p.shadowForbid
	case r.Effect == "permit":
		return &p.permit
	}
	return &p.forbid
}

func (p *pile) empty() bool {
	return len(p.forbid)+len(p.permit)+len(p.shadowForbid)+len(p.shadowPermit) == 0
}

// shelve makes the index. Actions of which nothing is known in schemes are found by heads alone.
func shelve(rules []*rule, actions map[types.EntityUID]types.Entity, schemes map[types.EntityUID]*scheme) map[types.EntityUID]*shelf {
	index := map[types.EntityUID]*shelf{}
	type alike struct {
		scheme *scheme
		rules  string // their places
	}
	made := map[alike]*shelf{}
	for i, r := range rules {
		r.place = i
	}
	for uid := range actions {
		var of []*rule
		var places []byte
		for i, r := range rules {
			if speaksOf((*expast.Policy)(r.policy.AST()).Action, uid, actions) {
				of, places = append(of, r), binary.AppendUvarint(places, uint64(i))
			}
		}
		like := alike{schemes[uid], string(places)}
		if made[like] == nil {
			made[like] = newShelf(of, like.scheme)
		}
		index[uid] = made[like]
	}
	return index
}

func newShelf(rules []*rule, s *scheme) *shelf {
	if s == nil {
		s = &scheme{}
	}
	sh := &shelf{heads: map[types.EntityUID]*uses{}, things: map[types.EntityUID]*pile{}}
	needed, common := make([][]anyOf, len(rules)), map[key]int{}
	for i, r := range rules {
		head := (*expast.Policy)(r.policy.AST())
		sh.head(head, r.looks)
		needed[i] = keysOf(head, s)
		for _, l := range needed[i] {
			for _, k := range l {
				common[k]++
			}
		}
	}
	for i, r := range rules {
		best, least := anyOf(nil), 0
		for _, l := range needed[i] {
			n := 0
			for _, k := range l {
				n += common[k]
			}
			if best == nil || n < least || n == least && l.rank() < best.rank() {
				best, least = l, n
			}
		}
		if best == nil {
			sh.rest.add(r, false)
		}
		for _, k := range best {
			sh.pile(k).add(r, len(best) > 1)
		}
	}
	return sh
}

// head counts in what a policy looks into, by what its head names: the resource rather than the principal.
func (sh *shelf) head(p *expast.Policy, looks uses) {
	name, isNamed := headNames(p)
	if !isNamed {
		if sh.headless == nil {
			sh.headless = &uses{}
		}
		sh.headless.add(looks)
		return
	}
	if sh.heads[name] == nil {
		sh.heads[name] = &uses{}
	}
	sh.heads[name].add(looks)
}

// headNames is the one thing that the head of a policy is about.
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

// pile is that of a key, which may be new.
func (sh *shelf) pile(k key) *pile {
	switch k.kind {
	case isAbout:
		return in(sh.things, k.thing)
	case valueIs:
		return in(sh.attribute(k.of).is, k.value)
	case setHas:
		return in(sh.attribute(k.of).has, k.value)
	}
	t := sh.tag(k.of, k.tag)
	if k.kind == hasTag {
		return &t.has
	}
	return in(t.is, k.value)
}

func in[K comparable](m map[K]*pile, k K) *pile {
	if m[k] == nil {
		m[k] = &pile{}
	}
	return m[k]
}

func (sh *shelf) attribute(of types.String) *onAttribute {
	for i := range sh.attributes {
		if sh.attributes[i].of == of {
			return &sh.attributes[i]
		}
	}
	sh.attributes = append(sh.attributes, onAttribute{of, map[types.Value]*pile{}, map[types.Value]*pile{}})
	return &sh.attributes[len(sh.attributes)-1]
}

func (sh *shelf) tag(of, name types.String) *onTag {
	at := -1
	for i := range sh.tags {
		if sh.tags[i].of == of {
			at = i
		}
	}
	if at < 0 {
		at = len(sh.tags)
		sh.tags = append(sh.tags, onTags{of, map[types.String]*onTag{}})
	}
	by := sh.tags[at].by
	if by[name] == nil {
		by[name] = &onTag{is: map[types.Value]*pile{}}
	}
	return by[name]
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

// list makes policies iterable for Cedar. Their ids there are their places.
type list struct{ rules []*rule }

// All implements cedar.PolicyIterator.
func (l *list) All() iter.Seq2[cedargo.PolicyID, *cedargo.Policy] {
	return func(yield func(cedargo.PolicyID, *cedargo.Policy) bool) {
		for _, r := range l.rules {
			if !yield(cedargo.PolicyID(r.ID), r.policy) {
				return
			}
		}
	}
}
