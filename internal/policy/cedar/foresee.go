package cedar

import (
	"context"

	"github.com/cedar-policy/cedar-go/types"
	expast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// unforeseen are the attributes that are not known before an effect is about to happen.
const unforeseen = atLooked | atNow | atHour | atWeekday | atBudgets

// Foresee implements policy.Foreseer: no policy in force can match, whatever is not known yet. Policies on trial have nobody wait for them.
func (a *Authorizer) Foresee(ctx context.Context, req policy.Request) bool {
	if !policy.Foresee(ctx, a.first, req) {
		return false
	}
	if req.Principal.Kind == stead.PrincipalNode && req.Effect != policy.SessionDelete {
		return true
	}
	sets, _, err := a.asked(ctx, req)
	if err != nil {
		return false
	}
	if len(sets) == 0 {
		return true
	}
	if req.At == 0 {
		req.At = a.now().UnixMilli()
	}
	q, err := newQuestion(req)
	defer q.release()
	if err != nil {
		return false
	}
	found := q.finds(len(sets))
	for i, s := range sets {
		if !s.silent(q, &found[i], req.Resource == "") {
			return false
		}
	}
	return true
}

// silent reports whether no policy of the set that is in force can match; any: whatever the request is about.
func (s *Set) silent(q *question, f *found, any bool) bool {
	if s.trial {
		return true
	}
	if s.broken != nil || s.deny {
		return false
	}
	if any {
		return len(s.about(q.action)) == 0
	}
	f.byHeads(s.index[q.action], q.about)
	if !f.asked {
		return true
	}
	if f.heads.context&unforeseen != 0 {
		for _, r := range s.about(q.action) {
			if r.looks.context&unforeseen == 0 {
				continue
			}
			if name, isNamed := headNames((*expast.Policy)(r.policy.AST())); !isNamed || contains(q.about, name) {
				return false
			}
		}
	}
	f.find(s.index[q.action], q, len(s.rules))
	return len(f.forbid)+len(f.permit) == 0
}

// about are the policies in force whose heads speak of an action.
func (s *Set) about(action types.EntityUID) (out []*rule) {
	for _, r := range s.rules {
		if r.Mode == policy.Enforce && speaksOf((*expast.Policy)(r.policy.AST()).Action, action, s.actions) {
			out = append(out, r)
		}
	}
	return out
}
