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
	sh := s.index[q.action]
	if any || sh == nil {
		return sh == nil || !sh.ahead.any
	}
	f.byHeads(sh, q.about)
	if !f.asked {
		return true
	}
	if sh.ahead.open(q.about) {
		return false
	}
	f.find(sh, q, len(s.rules))
	return len(f.forbid)+len(f.permit) == 0
}

// ahead is what is known of the policies in force of one action before all of a request is.
type ahead struct {
	any bool // there are such policies
	// Those that read what is not known, by what their heads name; headless: a head that names nothing.
	named    map[types.EntityUID]struct{}
	headless bool
}

func (a *ahead) add(head *expast.Policy, r *rule) {
	if r.Mode != policy.Enforce {
		return
	}
	a.any = true
	if r.looks.context&unforeseen == 0 {
		return
	}
	name, isNamed := headNames(head)
	if !isNamed {
		a.headless = true
		return
	}
	if a.named == nil {
		a.named = map[types.EntityUID]struct{}{}
	}
	a.named[name] = struct{}{}
}

// open reports whether one of them is about what a request is about, by its head, and reads what is not known.
func (a *ahead) open(about []types.EntityUID) bool {
	if a.headless {
		return true
	}
	for _, uid := range about {
		if _, ok := a.named[uid]; ok {
			return true
		}
	}
	return false
}
