package cedar

import (
	"cmp"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	expast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Policies that can't match unless a number or a time is above a limit, or below one, stand in the order of their limits.

// limit is one, and strict where what is compared must not be equal to it.
type limit struct {
	value  types.Value // a Long, a Decimal or a Datetime
	strict bool
}

// onRange are the policies that stand under limits of one thing, upwards or downwards.
type onRange struct {
	of    operand
	above bool        // what is compared must be above the limit
	first types.Value // one of them: all are of its type
	by    map[limit]*pile
	order []limit // of by, the smallest first
}

// operand is what is read: an attribute of the context, a field of one that is a record, or a tag of one that is an entity.
type operand struct {
	of, name types.String // name is that of the field or of the tag
	way      way
}

type way uint8

const (
	anAttribute way = iota
	aField
	aTag
)

// operandOf is what is read, if it can be found again.
func operandOf(n expast.IsNode) (operand, bool) {
	if of, ok := attributeOf(n); ok {
		return operand{of: of}, true
	}
	switch v := n.(type) {
	case expast.NodeTypeAccess:
		of, ok := attributeOf(v.Arg)
		return operand{of, v.Value, aField}, ok
	case expast.NodeTypeGetTag:
		of, ok := attributeOf(v.Left)
		tag, written := text(v.Right)
		return operand{of, tag, aTag}, ok && written
	}
	return operand{}, false
}

// comparison is a condition as left < right, or as left <= right.
func comparison(n expast.IsNode) (left, right expast.IsNode, strict, ok bool) {
	switch v := n.(type) {
	case expast.NodeTypeLessThan:
		return v.Left, v.Right, true, true
	case expast.NodeTypeLessThanOrEqual:
		return v.Left, v.Right, false, true
	case expast.NodeTypeGreaterThan:
		return v.Right, v.Left, true, true
	case expast.NodeTypeGreaterThanOrEqual:
		return v.Right, v.Left, false, true
	case expast.NodeTypeExtensionCall:
		if len(v.Args) != 2 {
			return nil, nil, false, false
		}
		switch v.Name {
		case "lessThan":
			return v.Args[0], v.Args[1], true, true
		case "lessThanOrEqual":
			return v.Args[0], v.Args[1], false, true
		case "greaterThan":
			return v.Args[1], v.Args[0], true, true
		case "greaterThanOrEqual":
			return v.Args[1], v.Args[0], false, true
		}
	}
	return nil, nil, false, false
}

// compared are those of left < right, or of left <= right; want: of what must be so, else of what must not.
func compared(left, right expast.IsNode, strict, want bool) []anyOf {
	if !want { // !(a < b) is b <= a
		left, right, strict = right, left, !strict
	}
	if value, ok := number(right); ok { // below what is written out
		return ranged(left, value, strict, false)
	}
	if value, ok := number(left); ok {
		return ranged(right, value, strict, true)
	}
	return nil
}

func ranged(read expast.IsNode, value types.Value, strict, above bool) []anyOf {
	of, ok := operandOf(read)
	if !ok {
		return nil
	}
	return []anyOf{{{kind: inRange, operand: of, above: above, value: value, strict: strict}}}
}

// number is a number or a time that is written out.
func number(n expast.IsNode) (types.Value, bool) {
	switch v := n.(type) {
	case expast.NodeValue:
		long, ok := v.Value.(types.Long)
		return long, ok
	case expast.NodeTypeExtensionCall:
		if len(v.Args) != 1 {
			return nil, false
		}
		written, ok := text(v.Args[0])
		if !ok {
			return nil, false
		}
		switch v.Name {
		case "decimal":
			d, err := types.ParseDecimal(string(written))
			return d, err == nil
		case "datetime":
			d, err := types.ParseDatetime(string(written))
			return d, err == nil
		}
	}
	return nil, false
}

// compare compares two of one type; false: they are not of one.
func compare(a, b types.Value) (int, bool) {
	switch a := a.(type) {
	case types.Long:
		b, ok := b.(types.Long)
		return cmp.Compare(a, b), ok
	case types.Decimal:
		b, ok := b.(types.Decimal)
		return a.Compare(b), ok
	case types.Datetime:
		b, ok := b.(types.Datetime)
		return cmp.Compare(a.Milliseconds(), b.Milliseconds()), ok
	}
	return 0, false
}

// sort puts the limits in order.
func (on *onRange) sort() {
	on.order = on.order[:0]
	for l := range on.by {
		on.order = append(on.order, l)
	}
	slices.SortFunc(on.order, func(a, b limit) int { c, _ := compare(a.value, b.value); return c })
}

// byRange finds the policies whose limit a request passes.
func (f *found) byRange(on *onRange, q *question, rules int) {
	v, known := q.operand(on.of)
	if known && v == nil {
		return // and so what tests whether it is there says no
	}
	order := on.order
	for i := range order {
		l := order[i]
		if !on.above {
			l = order[len(order)-1-i]
		}
		c, same := compare(v, l.value)
		if !on.above {
			c = -c
		}
		if same && c < 0 {
			return // nor any that is behind
		}
		if !same || c > 0 || !l.strict {
			f.add(on.by[l], q, rules)
		}
	}
}

// passed reports whether a value may be on the right side of a key's limit.
func (k *key) passed(v types.Value) bool {
	c, same := compare(v, k.value)
	if !k.above {
		c = -c
	}
	return !same || c > 0 || c == 0 && !k.strict
}

// operand is what is read of a request; nil: it is not there. false: nobody knows.
func (q *question) operand(o operand) (types.Value, bool) {
	switch {
	case o.way == anAttribute:
		return q.attribute(o.of)
	case q.given != nil:
		return nil, false
	case o.way == aTag && o.of == "numbers":
		if v, ok := q.amounts[o.name]; ok {
			return v, true
		}
		return nil, true
	case o.way == aField && o.of == "spend":
		return q.spent(o.name)
	case o.way == aField && o.of == "budgets":
		return q.budgeted(o.name)
	}
	return nil, false
}

// budgeted is a number of the context's budgets.
func (q *question) budgeted(field types.String) (types.Value, bool) {
	b := q.req.Budgets
	switch {
	case b != nil && field == "used":
		return types.Long(b.Used), true
	case b != nil && field == "session":
		return types.Long(b.Session), true
	}
	return nil, true
}

// spent is a field of the context's spend.
func (q *question) spent(field types.String) (types.Value, bool) {
	s := q.req.Spend
	switch {
	case s != nil && field == "cents":
		return types.Long(cents(s.Cost)), true
	case s != nil && field == "limit" && s.Limit > 0:
		return types.Long(cents(s.Limit)), true
	}
	return nil, true
}
