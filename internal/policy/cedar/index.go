package cedar

import (
	"encoding/binary"
	"slices"

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
	ahead    ahead

	things     map[types.EntityUID]*pile
	attributes []onAttribute
	tags       []onTags
	ranges     []onRange
	rest       pile // that stand under nothing
}

// onAttribute are the policies that stand under a value of an attribute, or under a member of one that is a set.
type onAttribute struct {
	of      types.String
	is, has map[types.Value]*pile
}

// onTags are those that stand under a tag of the entity that an attribute is, or under a value of one.
type onTags struct {
	of  types.String
	has map[types.String]*pile
	is  map[tagged]*pile
}

type tagged struct{ name, value types.String }

// pile is policies that stand in one place.
type pile struct {
	entries []entry
	looks   *uses // of all of them, if they are more than fewEntries
	repeats bool  // some of them stand in other piles, too
}

// entry is a policy in the index, with what else it can't match without.
type entry struct {
	*rule
	also []anyOf
}

func (p *pile) add(e entry, repeats bool) {
	p.entries = append(p.entries, e)
	p.repeats = p.repeats || repeats
	switch {
	case len(p.entries) == fewEntries+1:
		p.looks = &uses{}
		for _, e := range p.entries {
			p.looks.add(e.looks)
		}
	case len(p.entries) > fewEntries:
		p.looks.add(e.looks)
	}
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
			made[like] = newShelf(of, like.scheme, 0)
		}
		index[uid] = made[like]
	}
	return index
}

// newShelf makes one for requests of which unseen is not known.
func newShelf(rules []*rule, s *scheme, unseen attributes) *shelf {
	if s == nil {
		s = &scheme{}
	}
	sh := &shelf{heads: map[types.EntityUID]*uses{}, things: map[types.EntityUID]*pile{}}
	needed, common := make([][]anyOf, len(rules)), map[key]int{}
	for i, r := range rules {
		head := (*expast.Policy)(r.policy.AST())
		sh.head(head, r.looks)
		sh.ahead.add(head, r)
		needed[i] = keysOf(head, s, unseen&r.looks.context)
		for _, l := range needed[i] {
			for _, k := range l {
				common[k.alike()]++
			}
		}
	}
	for i, r := range rules {
		best, least := -1, 0
		for j, l := range needed[i] {
			n := 0
			for _, k := range l {
				n += common[k.alike()]
			}
			if best < 0 || n < least || n == least && l.rank() < needed[i][best].rank() {
				best, least = j, n
			}
		}
		if best < 0 {
			sh.rest.add(entry{rule: r}, false)
			continue
		}
		under := needed[i][best]
		for _, k := range under {
			sh.pile(k).add(entry{r, slices.Delete(slices.Clone(needed[i]), best, best+1)}, len(under) > 1)
		}
	}
	for i := range sh.ranges {
		sh.ranges[i].sort()
	}
	return sh
}

// alike is what is counted together: nobody knows how many of several limits a request passes.
func (k key) alike() key {
	if k.kind == inRange {
		k.value, k.strict = nil, false
	}
	return k
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
	if k.kind == inRange {
		return in(sh.inRange(k).by, limit{k.value, k.strict})
	}
	t := sh.tag(k.of)
	if k.kind == hasTag {
		return in(t.has, k.name)
	}
	return in(t.is, tagged{k.name, k.value.(types.String)})
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

func (sh *shelf) inRange(k key) *onRange {
	for i := range sh.ranges {
		if r := &sh.ranges[i]; r.of == k.operand && r.above == k.above {
			if _, same := compare(r.first, k.value); same {
				return r
			}
		}
	}
	sh.ranges = append(sh.ranges, onRange{of: k.operand, above: k.above, first: k.value, by: map[limit]*pile{}})
	return &sh.ranges[len(sh.ranges)-1]
}

func (sh *shelf) tag(of types.String) *onTags {
	for i := range sh.tags {
		if sh.tags[i].of == of {
			return &sh.tags[i]
		}
	}
	sh.tags = append(sh.tags, onTags{of, map[types.String]*pile{}, map[tagged]*pile{}})
	return &sh.tags[len(sh.tags)-1]
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
