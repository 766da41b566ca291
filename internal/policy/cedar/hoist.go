package cedar

import (
	"cmp"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	expast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// What a policy can't match without. It is taken from the head and from the conditions of a policy, up to the first that may fail: a
// policy that needed it says "no match" in Cedar, too, and fails in nothing.

// key is a fact about a request, under which policies that need it stand in the index.
type key struct {
	operand                 // of all but isAbout
	thing   types.EntityUID // of isAbout
	value   types.Value     // a text, a number or a boolean: of tagIs, valueIs and setHas; of inRange the limit
	kind    keyKind
	above   bool // of inRange: it must be above the limit
	strict  bool // of inRange: and not at it
}

// keyKind is what a key says, the rarer before the more common.
type keyKind uint8

const (
	tagIs   keyKind = iota // a tag of the entity that an attribute is has a value
	valueIs                // an attribute has a value
	setHas                 // an attribute, a set, has a member
	inRange                // something is above or below a limit
	hasTag                 // the entity that an attribute is has a tag
	isAbout                // the principal or the resource is a thing, or is in it
)

// anyOf is facts of which a request must have one.
type anyOf []key

// maxAlternatives is how many keys one policy may stand under.
const maxAlternatives = 16

// keysOf are what a policy can't match without: one of each. Nothing is taken from what reads one of unseen, nor from what stands behind that in
// the same condition: what is found then is what partial evaluation leaves.
func keysOf(p *expast.Policy, s *scheme, unseen attributes) []anyOf {
	var out []anyOf
	for _, scope := range []expast.IsScopeNode{p.Resource, p.Principal} {
		switch s := scope.(type) {
		case expast.ScopeTypeEq:
			out = append(out, anyOf{about(s.Entity)})
		case expast.ScopeTypeIn:
			out = append(out, anyOf{about(s.Entity)})
		case expast.ScopeTypeIsIn:
			out = append(out, anyOf{about(s.Entity)})
		}
	}
	w := walker{scheme: s, out: out, unseen: unseen}
	for _, c := range p.Conditions {
		w.open = false
		if !w.walk(c.Body, c.Condition == expast.ConditionWhen) {
			break
		}
	}
	return slices.DeleteFunc(slices.Clone(w.out), func(l anyOf) bool { return implied(l, w.out) })
}

// implied reports whether a tag that must be there must have a value, too.
func implied(l anyOf, by []anyOf) bool {
	return len(l) == 1 && l[0].kind == hasTag && slices.ContainsFunc(by, func(b anyOf) bool {
		return len(b) == 1 && b[0].operand == l[0].operand && b[0].kind != hasTag
	})
}

func about(uid types.EntityUID) key { return key{kind: isAbout, thing: uid} }

// walker goes along conditions in the order in which Cedar evaluates them.
type walker struct {
	scheme *scheme
	given  tested
	out    []anyOf
	unseen attributes // that are not known
	open   bool       // the condition has read one of those
}

// walk takes a condition that must be want; false: it may fail, so that nothing behind it counts.
func (w *walker) walk(n expast.IsNode, want bool) bool {
	switch v := n.(type) {
	case expast.NodeTypeAnd:
		if want {
			return w.walk(v.Left, true) && w.walk(v.Right, true)
		}
	case expast.NodeTypeOr:
		if !want {
			return w.walk(v.Left, false) && w.walk(v.Right, false)
		}
	case expast.NodeTypeNot:
		return w.walk(v.Arg, !want)
	}
	t, holds, fails := w.scheme.total(n, w.given)
	if onlyBool(t) == nil {
		return false
	}
	if w.open = w.open || w.unseen != 0 && readBy(n)&w.unseen != 0; !w.open {
		w.out = append(w.out, w.scheme.needs(n, want)...)
	}
	if !want {
		holds = fails
	}
	w.given = w.given.and(holds)
	return true
}

// needs are the facts without which a condition that can't fail is not want.
func (s *scheme) needs(n expast.IsNode, want bool) []anyOf {
	switch v := n.(type) {
	case expast.NodeTypeAnd:
		return s.needsOf(v.BinaryNode, want, want)
	case expast.NodeTypeOr:
		return s.needsOf(v.BinaryNode, want, !want)
	case expast.NodeTypeNot:
		return s.needs(v.Arg, !want)
	case expast.NodeTypeNotEquals:
		return s.needs(expast.NodeTypeEquals(v), !want)
	case expast.NodeTypeAccess:
		if of, ok := attributeOf(n); ok {
			return []anyOf{{{kind: valueIs, operand: operand{of: of}, value: types.Boolean(want)}}}
		}
	}
	if l, r, strict, ok := comparison(n); ok {
		return compared(l, r, strict, want)
	}
	if !want {
		return nil
	}
	switch v := n.(type) {
	case expast.NodeTypeEquals:
		return append(equals(v.Left, v.Right), equals(v.Right, v.Left)...)
	case expast.NodeTypeHasTag:
		of, isOne := attributeOf(v.Left)
		if tag, ok := text(v.Right); ok && isOne {
			return []anyOf{{{kind: hasTag, operand: operand{of, tag, aTag}}}}
		}
	case expast.NodeTypeContains:
		return append(members(v.Left, []expast.IsNode{v.Right}), within(v.Right, v.Left)...)
	case expast.NodeTypeContainsAny:
		if set, ok := v.Right.(expast.NodeTypeSet); ok {
			return members(v.Left, set.Elements)
		}
	case expast.NodeTypeIn:
		return abouts(v.Left, v.Right)
	case expast.NodeTypeIsIn:
		return abouts(v.Left, v.Entity)
	}
	return nil
}

// needsOf are those of two conditions, of which both must be want, or either.
func (s *scheme) needsOf(n expast.BinaryNode, want, both bool) []anyOf {
	left, right := s.needs(n.Left, want), s.needs(n.Right, want)
	if both {
		return append(left, right...)
	}
	if len(left) == 0 || len(right) == 0 {
		return nil
	}
	either := slices.Concat(rarest(left), rarest(right))
	if len(either) > maxAlternatives {
		return nil
	}
	return []anyOf{either}
}

// rarest is the one that tells most, as far as their kinds say.
func rarest(of []anyOf) anyOf {
	return slices.MinFunc(of, func(a, b anyOf) int { return cmp.Or(cmp.Compare(a.rank(), b.rank()), len(a)-len(b)) })
}

func (l anyOf) rank() keyKind {
	return slices.MaxFunc(l, func(a, b key) int { return cmp.Compare(a.kind, b.kind) }).kind
}

// attributeOf is the attribute of the context that is read.
func attributeOf(n expast.IsNode) (types.String, bool) {
	a, ok := n.(expast.NodeTypeAccess)
	if !ok {
		return "", false
	}
	v, ok := a.Arg.(expast.NodeTypeVariable)
	return a.Value, ok && v.Name == "context"
}

// scalar is a text, a number or a boolean that is written out.
func scalar(n expast.IsNode) (types.Value, bool) {
	v, ok := n.(expast.NodeValue)
	if !ok {
		return nil, false
	}
	switch v.Value.(type) {
	case types.String, types.Long, types.Boolean:
		return v.Value, true
	}
	return nil, false
}

// equals are those of an equation, of which the left side is read and the right one is written out.
func equals(read, written expast.IsNode) []anyOf {
	if uids := entities(written); len(uids) == 1 {
		return abouts(read, written)
	}
	value, ok := scalar(written)
	if !ok {
		return nil
	}
	if of, ok := attributeOf(read); ok {
		return []anyOf{{{kind: valueIs, operand: operand{of: of}, value: value}}}
	}
	if tag, ok := read.(expast.NodeTypeGetTag); ok {
		of, isOne := attributeOf(tag.Left)
		if _, isText := value.(types.String); !isText {
			return nil
		}
		if name, ok := text(tag.Right); ok && isOne {
			return []anyOf{{{kind: tagIs, operand: operand{of, name, aTag}, value: value}}}
		}
	}
	return nil
}

// members are those of a set that is read and contains something of what is written out.
func members(read expast.IsNode, written []expast.IsNode) []anyOf {
	of, ok := attributeOf(read)
	if !ok || len(written) == 0 || len(written) > maxAlternatives {
		return nil
	}
	var out anyOf
	for _, w := range written {
		value, ok := scalar(w)
		if !ok {
			return nil
		}
		out = append(out, key{kind: setHas, operand: operand{of: of}, value: value})
	}
	return []anyOf{out}
}

// within are those of something that is read and is in a set that is written out.
func within(read, written expast.IsNode) []anyOf {
	set, ok := written.(expast.NodeTypeSet)
	if !ok || len(set.Elements) == 0 || len(set.Elements) > maxAlternatives {
		return nil
	}
	var out anyOf
	for _, e := range set.Elements {
		one := equals(read, e)
		if len(one) != 1 {
			return nil
		}
		out = append(out, one[0]...)
	}
	return []anyOf{out}
}

// abouts are those of the principal or the resource that is something, or is in something.
func abouts(read, written expast.IsNode) []anyOf {
	v, ok := read.(expast.NodeTypeVariable)
	uids := entities(written)
	if !ok || v.Name != "principal" && v.Name != "resource" || len(uids) == 0 || len(uids) > maxAlternatives {
		return nil
	}
	var out anyOf
	for _, uid := range uids {
		out = append(out, about(uid))
	}
	return []anyOf{out}
}
