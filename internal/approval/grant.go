package approval

import (
	"context"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Some requests are answered before all that they ask for is done: it is done behind them, or goes on elsewhere when the node dies. Whoever
// writes such a thing down writes down with it what was approved of it, and does it under that. Policies are asked each time: what
// became forbidden stays undone, and where they want more by now than was given, that is not done either.

// Grant is an approval that was used up by a request, for what it left to be done.
type Grant struct {
	ID     string            `json:"id"`
	Effect policy.Effect     `json:"effect"`
	Needs  policy.Needs      `json:"needs"`
	By     []stead.Principal `json:"by,omitempty"` // who gave it; none: nobody answered in time
}

// Grants are those of one request. They hold for its principal, and for nothing but what it asked for.
type Grants []Grant

// Granted is what was approved of the request that ctx is in, so far.
func Granted(ctx context.Context) Grants {
	act := actOf(ctx)
	if act == nil {
		return grantsOf(ctx)
	}
	act.mu.Lock()
	defer act.mu.Unlock()
	var out Grants
	for _, q := range act.used {
		out = append(out, q.granted())
	}
	slices.SortFunc(out, func(a, b Grant) int { return strings.Compare(a.ID, b.ID) })
	return out
}

type grantsKey struct{}

// Under is ctx in which that is done.
func Under(ctx context.Context, g Grants) context.Context {
	if len(g) == 0 {
		return ctx
	}
	return context.WithValue(ctx, grantsKey{}, g)
}

func grantsOf(ctx context.Context) Grants {
	g, _ := ctx.Value(grantsKey{}).(Grants)
	return g
}

func (q *Question) granted() Grant {
	g := Grant{ID: q.ID, Effect: q.Effect, Needs: q.Needs}
	if q.Enough > 0 {
		g.By = q.givers()
	}
	return g
}

// covers is the approval by which an effect is done; "": there is none.
func (all Grants) covers(req policy.Request, needs *policy.Needs) string {
	for _, g := range all {
		if g.Effect == req.Effect && g.suffices(needs, append([]stead.Principal{req.Principal}, req.Behind...)...) {
			return g.ID
		}
	}
	return ""
}

func (g Grant) suffices(needs *policy.Needs, behind ...stead.Principal) bool {
	if len(g.By) == 0 {
		return needs.Default == policy.DefaultAllow && same(&g.Needs, needs)
	}
	return needs.Missing(g.By, behind...) == 0
}
