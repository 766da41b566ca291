package cedar

import (
	"slices"
	"strconv"

	"github.com/cedar-policy/cedar-go/types"
	expast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
)

// Which conditions can't fail. A policy that fails is a no, and may be left unasked only where it would have said that it does not
// match: so what the index believes of a condition is believed of those alone whose value is a value, whatever the request.

// scheme is what is known of the context of an action's requests.
type scheme struct{ context resolved.RecordType }

// tested are the attributes and tags that were found to be there, as places writes them.
type tested []string

func (t tested) and(more tested) tested { return slices.Concat(t, more) }

func (t tested) has(place string) bool { return place != "" && slices.Contains(t, place) }

// total is the type of what can't fail, given what was tested before; nil: it may fail, or nobody knows. It says what was tested, too,
// where it is a condition that holds, and where it is one that does not.
func (s *scheme) total(n expast.IsNode, given tested) (t resolved.IsType, holds, fails tested) {
	switch v := n.(type) {
	case expast.NodeTypeAnd:
		return s.both(v.BinaryNode, given, true)
	case expast.NodeTypeOr:
		return s.both(v.BinaryNode, given, false)
	case expast.NodeTypeNot:
		t, holds, fails = s.total(v.Arg, given)
		return onlyBool(t), fails, holds
	case expast.NodeTypeHas:
		switch of, _, _ := s.total(v.Arg, given); of.(type) {
		case resolved.RecordType, resolved.EntityType:
			return resolved.BoolType{}, tested{place(v.Arg, "has", v.Value)}, nil
		}
	case expast.NodeTypeHasTag:
		if s.is(v.Left, given, isEntity) && s.is(v.Right, given, isString) {
			if name, ok := text(v.Right); ok {
				holds = tested{place(v.Left, "tag", name)}
			}
			return resolved.BoolType{}, holds, nil
		}
	case expast.NodeTypeIfThenElse:
		of, holds, fails := s.total(v.If, given)
		then, _, _ := s.total(v.Then, given.and(holds))
		other, _, _ := s.total(v.Else, given.and(fails))
		if onlyBool(of) != nil && onlyBool(then) != nil {
			return onlyBool(other), nil, nil
		}
	default:
		return s.plain(n, given), nil, nil
	}
	return nil, nil, nil
}

// both is total of a conjunction, or of a disjunction.
func (s *scheme) both(n expast.BinaryNode, given tested, and bool) (t resolved.IsType, holds, fails tested) {
	left, lh, lf := s.total(n.Left, given)
	if !and {
		lh, lf = lf, lh
	}
	right, rh, rf := s.total(n.Right, given.and(lh)) // asked only where the left one leaves it open
	if !and {
		rh, rf = rf, rh
	}
	if onlyBool(left) == nil || onlyBool(right) == nil {
		return nil, nil, nil
	}
	if holds = lh.and(rh); and {
		return resolved.BoolType{}, holds, nil
	}
	return resolved.BoolType{}, nil, holds
}

// plain is total of what tests nothing.
func (s *scheme) plain(n expast.IsNode, given tested) resolved.IsType {
	boolean := func(ok bool) resolved.IsType {
		if ok {
			return resolved.BoolType{}
		}
		return nil
	}
	if l, r, _, ok := comparison(n); ok {
		_, method := n.(expast.NodeTypeExtensionCall)
		return boolean(s.ordered(l, r, given, method))
	}
	if v, ok := number(n); ok {
		return typeOfValue(v)
	}
	switch v := n.(type) {
	case expast.NodeValue:
		return typeOfValue(v.Value)
	case expast.NodeTypeVariable:
		if v.Name == "context" {
			return s.context
		}
		return resolved.EntityType("")
	case expast.NodeTypeAccess:
		return s.attribute(v, given)
	case expast.NodeTypeGetTag:
		return s.tag(v, given)
	case expast.NodeTypeSet:
		for _, e := range v.Elements {
			if !s.is(e, given, isAny) {
				return nil
			}
		}
		return resolved.SetType{}
	case expast.NodeTypeEquals:
		return boolean(s.are(v.BinaryNode, given, isAny, isAny))
	case expast.NodeTypeNotEquals:
		return boolean(s.are(v.BinaryNode, given, isAny, isAny))
	case expast.NodeTypeContains:
		return boolean(s.are(v.BinaryNode, given, isSet, isAny))
	case expast.NodeTypeContainsAll:
		return boolean(s.are(v.BinaryNode, given, isSet, isSet))
	case expast.NodeTypeContainsAny:
		return boolean(s.are(v.BinaryNode, given, isSet, isSet))
	case expast.NodeTypeIsEmpty:
		return boolean(s.is(v.Arg, given, isSet))
	case expast.NodeTypeLike:
		return boolean(s.is(v.Arg, given, isString))
	case expast.NodeTypeIs:
		return boolean(s.is(v.Left, given, isEntity))
	case expast.NodeTypeIsIn:
		return boolean(s.is(v.Left, given, isEntity) && len(entities(v.Entity)) > 0)
	case expast.NodeTypeIn:
		return boolean(s.is(v.Left, given, isEntity) && len(entities(v.Right)) > 0)
	}
	return nil // sums and products overflow
}

// attribute is the type of an attribute that is there.
func (s *scheme) attribute(v expast.NodeTypeAccess, given tested) resolved.IsType {
	of, _, _ := s.total(v.Arg, given)
	record, ok := of.(resolved.RecordType)
	if !ok {
		return nil // an entity that is not there has none
	}
	a, ok := record[v.Value]
	if !ok || a.Optional && !given.has(place(v.Arg, "has", v.Value)) {
		return nil
	}
	return a.Type
}

// tag is the type of a tag that is there: of which type it is, is known of the published ones alone.
func (s *scheme) tag(v expast.NodeTypeGetTag, given tested) resolved.IsType {
	name, ok := text(v.Right)
	of, _, _ := s.total(v.Left, given)
	entity, isOne := of.(resolved.EntityType)
	if !ok || !isOne || !given.has(place(v.Left, "tag", name)) {
		return nil
	}
	switch types.EntityType(entity) {
	case typeLabels, typeArguments:
		return resolved.StringType{}
	case typeNumbers:
		return resolved.ExtensionType("decimal")
	}
	return nil
}

// ordered reports whether two things can be compared: numbers or times, and decimals by methods alone.
func (s *scheme) ordered(left, right expast.IsNode, given tested, method bool) bool {
	ok := func(t resolved.IsType) bool { return isLong(t) || isTime(t) }
	if method {
		ok = isDecimal
	}
	l, _, _ := s.total(left, given)
	r, _, _ := s.total(right, given)
	return l != nil && r != nil && ok(l) && ok(r) && isLong(l) == isLong(r)
}

func (s *scheme) is(n expast.IsNode, given tested, ok func(resolved.IsType) bool) bool {
	t, _, _ := s.total(n, given)
	return t != nil && ok(t)
}

func (s *scheme) are(n expast.BinaryNode, given tested, left, right func(resolved.IsType) bool) bool {
	return s.is(n.Left, given, left) && s.is(n.Right, given, right)
}

func isAny(resolved.IsType) bool    { return true }
func isLong(t resolved.IsType) bool { return t == resolved.IsType(resolved.LongType{}) }
func isDecimal(t resolved.IsType) bool {
	return t == resolved.IsType(resolved.ExtensionType("decimal"))
}
func isTime(t resolved.IsType) bool   { return t == resolved.IsType(resolved.ExtensionType("datetime")) }
func isString(t resolved.IsType) bool { return t == resolved.IsType(resolved.StringType{}) }
func isEntity(t resolved.IsType) bool { _, ok := t.(resolved.EntityType); return ok }
func isSet(t resolved.IsType) bool    { _, ok := t.(resolved.SetType); return ok }

func onlyBool(t resolved.IsType) resolved.IsType {
	if _, ok := t.(resolved.BoolType); ok {
		return t
	}
	return nil
}

// typeOfValue is that of a literal.
func typeOfValue(v types.Value) resolved.IsType {
	switch v.(type) {
	case types.Boolean:
		return resolved.BoolType{}
	case types.Long:
		return resolved.LongType{}
	case types.String:
		return resolved.StringType{}
	case types.EntityUID:
		return resolved.EntityType("")
	case types.Decimal:
		return resolved.ExtensionType("decimal")
	case types.Datetime:
		return resolved.ExtensionType("datetime")
	}
	return nil
}

// text is a text that is written out.
func text(n expast.IsNode) (types.String, bool) {
	v, ok := n.(expast.NodeValue)
	if !ok {
		return "", false
	}
	s, ok := v.Value.(types.String)
	return s, ok
}

// entities are the entities that are written out: one, or a set of some.
func entities(n expast.IsNode) []types.EntityUID {
	switch v := n.(type) {
	case expast.NodeValue:
		if uid, ok := v.Value.(types.EntityUID); ok {
			return []types.EntityUID{uid}
		}
	case expast.NodeTypeSet:
		var out []types.EntityUID
		for _, e := range v.Elements {
			one, ok := e.(expast.NodeValue)
			if !ok {
				return nil
			}
			uid, ok := one.Value.(types.EntityUID)
			if !ok {
				return nil
			}
			out = append(out, uid)
		}
		return out
	}
	return nil
}

// place names what is asked for in a place; what is no chain of attributes has no name: "".
func place(of expast.IsNode, how string, name types.String) string {
	switch v := of.(type) {
	case expast.NodeTypeVariable:
		return string(v.Name) + " " + how + " " + strconv.Quote(string(name))
	case expast.NodeTypeAccess:
		if inner := place(v.Arg, "of", v.Value); inner != "" {
			return inner + " " + how + " " + strconv.Quote(string(name))
		}
	}
	return ""
}
