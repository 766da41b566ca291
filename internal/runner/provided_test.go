package runner_test

import (
	"context"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
)

// TestProvidedToolsShareBudgets: how far budgets are used up is looked up by the first decision that wants to know; those about other tools of the request are
// told, up to the first that is refused.
func TestProvidedToolsShareBudgets(t *testing.T) {
	var asked []policy.Request
	cfg := benchConfig(nil)
	cfg.Policy = authorizerFunc(func(req policy.Request) policy.Decision {
		asked = append(asked, req)
		d := policy.Decision{Allow: req.Resource != "provider/c", By: "policy", Reason: "no", Budgets: req.Budgets}
		if req.Resource == "shop" {
			d.Budgets = &policy.Budgets{Used: 7}
		}
		return d
	})
	offers := []policy.Offer{
		{Resource: "provider/a", Provider: true}, {Resource: "shop", Server: "shop", Destination: "shop.example:443", Provider: true},
		{Resource: "provider/b", Provider: true}, {Resource: "provider/c", Provider: true}, {Resource: "provider/d", Provider: true},
	}
	which, err := runner.New(cfg).Provided(context.Background(), stead.Principal{Project: "default", Kind: stead.PrincipalUser, ID: "ada"}, "m", nil, offers)
	if stead.KindOf(err) != stead.KindForbidden || which != offers[3] || len(asked) != 4 {
		t.Fatalf("refused %+v, %v, of %d that were asked about", which, err, len(asked))
	}
	for i, req := range asked {
		if known := req.Budgets != nil && req.Budgets.Used == 7; known != (i > 1) || !req.Unforeseen || req.Resource != offers[i].Resource || req.Destination != offers[i].Destination {
			t.Errorf("%d: asked %+v, budgets %+v", i, req, req.Budgets)
		}
	}
}
