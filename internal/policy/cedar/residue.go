package cedar

import (
	"iter"
	"slices"

	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	expast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Most policies that read what is not known are left open by it wherever they get there: `&&` with a search in arguments is neither true nor false. Of
// these, what stands in front of it is a policy by itself, which is compiled once: where it matches the policy is open, where it fails so does the
// policy. The rest (what is unseen stands in an `||`, in an `if`, in a sum) is evaluated in part, each time.

// residue is what a policy says before it reads one of unseen; nil: it can't be told so.
func residue(r *rule, unseen attributes) *cedargo.Policy {
	tree := *(*expast.Policy)(r.policy.AST())
	var front []expast.ConditionType
	opens := false
	for _, c := range tree.Conditions {
		body, open, ok := frontOf(c.Body, c.Condition == expast.ConditionWhen, unseen)
		if !ok {
			return nil
		}
		opens = opens || open
		if body != nil {
			front = append(front, expast.ConditionType{Condition: c.Condition, Body: body})
		}
	}
	if !opens {
		return nil
	}
	// It forbids, whatever the policy does: those that match are named, where permits beside forbids are not.
	tree.Effect, tree.Conditions, tree.Annotations = expast.EffectForbid, front, nil
	return cedargo.NewPolicyFromAST((*ast.Policy)(&tree))
}

// frontOf is what of a condition, which must be want, is evaluated before it is open; nil: nothing. What stands behind that changes nothing any more.
func frontOf(n expast.IsNode, want bool, unseen attributes) (front expast.IsNode, open, ok bool) {
	switch v := n.(type) {
	case expast.NodeTypeAnd:
		if want {
			return frontOfTwo(v.BinaryNode, want, unseen, func(b expast.BinaryNode) expast.IsNode { return expast.NodeTypeAnd{BinaryNode: b} })
		}
	case expast.NodeTypeOr:
		if !want {
			return frontOfTwo(v.BinaryNode, want, unseen, func(b expast.BinaryNode) expast.IsNode { return expast.NodeTypeOr{BinaryNode: b} })
		}
	case expast.NodeTypeNot:
		if front, open, ok = frontOf(v.Arg, !want, unseen); front != nil {
			front = expast.NodeTypeNot{UnaryNode: expast.UnaryNode{Arg: front}}
		}
		return front, open, ok
	}
	if readBy(n)&unseen == 0 {
		return n, false, true
	}
	return nil, true, opaque(n)
}

func frontOfTwo(b expast.BinaryNode, want bool, unseen attributes, join func(expast.BinaryNode) expast.IsNode) (front expast.IsNode, open, ok bool) {
	left, open, ok := frontOf(b.Left, want, unseen)
	if open || !ok {
		return left, open, ok
	}
	right, open, ok := frontOf(b.Right, want, unseen)
	if right == nil {
		return left, open, ok
	}
	return join(expast.BinaryNode{Left: left, Right: right}), open, ok
}

// opaque reports whether a condition that reads something unseen is open whatever the rest of it is: it evaluates all of its parts, and none of these can fail.
func opaque(n expast.IsNode) bool {
	ok := true
	expast.Inspect(expast.NewNode(n), func(n expast.IsNode) bool {
		switch v := n.(type) {
		case expast.NodeTypeAccess, expast.NodeTypeGetTag, expast.NodeTypeHasTag, expast.NodeTypeLike, expast.NodeTypeEquals, expast.NodeTypeNotEquals, expast.NodeTypeLessThan,
			expast.NodeTypeLessThanOrEqual, expast.NodeTypeGreaterThan, expast.NodeTypeGreaterThanOrEqual, expast.NodeTypeContains, expast.NodeTypeContainsAll, expast.NodeTypeContainsAny,
			expast.NodeTypeSet, expast.NodeTypeVariable, expast.NodeValue:
		case expast.NodeTypeExtensionCall:
			ok = ok && neverFails(v)
		default:
			ok = false
		}
		return ok
	})
	return ok && readBy(n) != atAll
}

// neverFails reports whether a function of Cedar's has a value for whatever it may be given by a policy that was checked.
func neverFails(v expast.NodeTypeExtensionCall) bool {
	switch v.Name {
	case "lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual":
		return true
	}
	return !slices.ContainsFunc(v.Args, func(n expast.IsNode) bool { _, written := n.(expast.NodeValue); return !written }) && slices.Contains([]string{"decimal", "datetime", "duration", "ip"}, string(v.Name))
}

// readBy are the attributes of the context that a condition reads; all, where it does more with it than to name them.
func readBy(n expast.IsNode) (read attributes) {
	bare := 0
	of := func(arg expast.IsNode, name string) {
		if v, ok := arg.(expast.NodeTypeVariable); ok && v.Name == "context" {
			if named[name] != 0 {
				bare--
			}
			read |= named[name]
		}
	}
	expast.Inspect(expast.NewNode(n), func(n expast.IsNode) bool {
		switch v := n.(type) {
		case expast.NodeTypeVariable:
			if v.Name == "context" {
				bare++
			}
		case expast.NodeTypeAccess:
			of(v.Arg, string(v.Value))
		case expast.NodeTypeHas:
			of(v.Arg, string(v.Value))
		}
		return true
	})
	if bare > 0 {
		return atAll
	}
	return read
}

// residues makes those of policies iterable for Cedar.
type residues struct {
	rules []*rule
	of    map[string]*cedargo.Policy // by the keys of rules
}

// All implements cedar.PolicyIterator.
func (l residues) All() iter.Seq2[cedargo.PolicyID, *cedargo.Policy] {
	return func(yield func(cedargo.PolicyID, *cedargo.Policy) bool) {
		for _, r := range l.rules {
			if p := l.of[r.key]; p != nil && !yield(cedargo.PolicyID(r.key), p) {
				return
			}
		}
	}
}
