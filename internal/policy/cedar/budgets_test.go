package cedar_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/cedar"
)

// TestBudgetsAreLookedAtForWhoReadsThem: once a decision, for policies whose heads are about it alone; where they can't be read nothing is
// decided, and what was decided keeps what was there.
func TestBudgetsAreLookedAtForWhoReadsThem(t *testing.T) {
	set, err := cedar.Load([]cedar.Source{{Name: "p", Text: []byte(`
		@id("large") forbid(principal, action == Action::"model.call", resource == Model::"large") when { context has budgets && context.budgets.used >= 80 };
		@id("none-left") forbid(principal, action == Action::"tool.call", resource) when { context has budgets && context.budgets.exhausted };
		@id("own") forbid(principal, action == Action::"model.call", resource == Model::"mine") when { context has budgets && context.budgets.session > 50 };
		@id("named") forbid(principal, action == Action::"session.write", resource) when { context has budgets && context.budgets has tightest && context.budgets.tightest == "budget_1" };
	`)}}, cedar.Options{})
	if err != nil {
		t.Fatal(err)
	}
	looks, state, failing := 0, policy.Budgets{}, error(nil)
	a := cedar.New(policy.AllowLocal{}, func() time.Time { return noon }, slog.New(slog.DiscardHandler)).Budgeted(func(context.Context, policy.Request) (*policy.Budgets, error) {
		looks++
		b := state
		return &b, failing
	})
	a.Replace(set)
	who := stead.Principal{Project: "default", Kind: stead.PrincipalUser, ID: "ada"}
	for i, c := range []struct {
		effect policy.Effect
		of     string
		state  policy.Budgets
		spend  *policy.Spend
		given  *policy.Budgets
		want   policy.Outcome
		looks  int
	}{
		{effect: policy.ModelCall, of: "large", state: policy.Budgets{Used: 79}, want: policy.Allowed, looks: 1},
		{effect: policy.ModelCall, of: "large", state: policy.Budgets{Used: 80}, want: policy.Denied, looks: 1},
		{effect: policy.ModelCall, of: "small", state: policy.Budgets{Used: 100}, want: policy.Allowed},
		{effect: policy.ModelCall, of: "large", given: &policy.Budgets{Used: 90}, want: policy.Denied},
		{effect: policy.ToolCall, of: "shop/order", state: policy.Budgets{Used: 100, Exhausted: true}, want: policy.Denied, looks: 1},
		{effect: policy.ModelCall, of: "mine", state: policy.Budgets{Session: 10}, spend: &policy.Spend{Cost: 51, Limit: 100}, want: policy.Denied, looks: 1},
		{effect: policy.ModelCall, of: "mine", state: policy.Budgets{Session: 10}, spend: &policy.Spend{Cost: 51}, want: policy.Allowed, looks: 1},
		{effect: policy.SessionWrite, state: policy.Budgets{Tightest: "budget_1"}, want: policy.Denied, looks: 1},
		{effect: policy.SessionWrite, want: policy.Allowed, looks: 1},
		{effect: policy.SessionRead, want: policy.Allowed},
	} {
		looks, state = 0, c.state
		req := policy.Request{Principal: who, Effect: c.effect, Resource: c.of, Spend: c.spend, Budgets: c.given}
		d, err := a.Decide(t.Context(), req)
		if err != nil || d.Outcome() != c.want || looks != c.looks {
			t.Errorf("%d: %+v, %v, looked %d times", i, d, err, looks)
		}
		if known := c.looks > 0 || c.given != nil; known != (d.Budgets != nil) {
			t.Errorf("%d: the decision has %+v", i, d.Budgets)
		}
	}
	failing = errors.New("the database is away")
	if d, err := a.Decide(t.Context(), policy.Request{Principal: who, Effect: policy.ModelCall, Resource: "large"}); d.Allow || stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("without them: %+v, %v", d, err)
	}
	// All who are behind it are asked about the same, which is looked up once.
	failing, looks, state = nil, 0, policy.Budgets{Used: 80}
	joint := policy.NewJointly(a)
	bob := stead.Principal{Project: "default", Kind: stead.PrincipalUser, ID: "bob"}
	d, err := joint.Decide(t.Context(), policy.Request{Principal: who, Acting: true, Agent: "agent_1", Behind: []stead.Principal{who, bob}, Effect: policy.ToolCall, Resource: "shop/order"})
	if err != nil || !d.Allow || looks != 1 || d.Budgets == nil || d.Budgets.Used != 80 {
		t.Errorf("jointly: %+v, %v, looked %d times", d, err, looks)
	}
}

// TestPerCent: rounded down, and 100 is all.
func TestPerCent(t *testing.T) {
	const most = int64(1) << 62
	for _, c := range [][3]int64{{0, 5, 0}, {100, 29, 29}, {100, -1, 0}, {3, 2, 66}, {1000, 999, 99}, {1000, 1000, 100}, {5, 9, 100}, {most, most - 1, 99}, {most, most / 2, 50}} {
		if got := policy.PerCent(c[0], c[1]); got != c[2] {
			t.Errorf("%d of %d are %d per cent, want %d", c[1], c[0], got, c[2])
		}
	}
}
