package cedar_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/cedar"
)

// TestUnforeseen: what nobody will see the arguments of is allowed where every call of it is, and refused, for nothing can wait, where one could be
// refused or held.
func TestUnforeseen(t *testing.T) {
	call := func(resource, to string) policy.Request {
		return policy.Request{
			Principal: stead.Principal{Project: "default", Kind: stead.PrincipalUser, ID: "ada", Role: stead.RoleDeveloper}, Effect: policy.ToolCall, Resource: resource, Destination: to,
			Class: "unknown", Origin: "provider", Labels: stead.Labels{"untrusted": {"web", "provider"}, "team": {"a"}}, Unforeseen: true,
		}
	}
	search, one, any := call("provider/web_search", ""), call("shop/look", "shop.example:443"), call("shop", "shop.example:443")
	for _, c := range []struct {
		policies string
		deny     bool
		want     string // of each: y(es), n(o), u: no, since nobody sees what it is called with
	}{
		{`forbid(principal, action == Action::"model.call", resource);`, false, "yyy"},
		{`forbid(principal, action == Action::"tool.call", resource == Tool::"provider/web_search");`, false, "nyy"},
		{`forbid(principal, action == Action::"tool.call", resource in Server::"provider");`, false, "nyy"},
		{`forbid(principal, action == Action::"tool.call", resource in Server::"shop");`, false, "ynn"},
		{`forbid(principal, action == Action::"tool.call", resource == Tool::"shop/refund");`, false, "yyn"},
		{`forbid(principal, action == Action::"tool.call", resource) when { resource == Tool::"shop/refund" };`, false, "yyn"},
		{`forbid(principal, action == Action::"tool.call", resource == Tool::"shop/don't\u{a0}pay");`, false, "yyn"},
		{`forbid(principal, action == Action::"tool.call", resource) when { context.tool == "refund" };`, false, "yyu"},
		{`forbid(principal, action == Action::"tool.call", resource) when { context.server == "shop" && context.tool != "look" };`, false, "yyu"},
		{`forbid(principal, action == Action::"tool.call", resource) when { context has destination && context.destination like "*.example:443" };`, false, "ynn"},
		{`forbid(principal, action == Action::"tool.call", resource in Server::"shop") when { context.text like "*secret*" };`, false, "yuu"},
		{`forbid(principal, action == Action::"tool.call", resource) when { context.numbers.hasTag("n") && context.numbers.getTag("n").greaterThan(decimal("1.0")) };`, false, "uuu"},
		{`forbid(principal, action == Action::"tool.call", resource) when { context.labels.hasTag("untrusted") && context.labels.getTag("untrusted") != "provider" };`, false, "nnn"},
		{`forbid(principal, action == Action::"tool.call", resource) when { context.labels.hasTag("team") && context.labels.getTag("team") == "b" && context.text like "*" };`, false, "yyy"},
		{`forbid(principal, action == Action::"tool.call", resource) when { context.labels.hasTag("untrusted") } unless { resource in Server::"provider" };`, false, "ynn"},
		{`@approval("owner") forbid(principal, action == Action::"tool.call", resource in Server::"provider");`, false, "uyy"},
		{`forbid(principal == User::"bob", action, resource);`, false, "yyy"},
		{`forbid(principal, action == Action::"tool.call", resource) when { context.hour > 24 };`, false, "yyy"},
		{`permit(principal, action, resource);`, false, "yyy"},
		{`permit(principal, action, resource) when { context.labels.hasTag("team") };`, true, "yyy"},
		{`permit(principal, action == Action::"tool.call", resource in Server::"shop");`, true, "nyy"},
		{`permit(principal, action == Action::"tool.call", resource == Tool::"shop/look");`, true, "nyn"},
		{`permit(principal, action == Action::"tool.call", resource) when { context.text like "*" };`, true, "uuu"},
		{`permit(principal, action == Action::"tool.call", resource); @approval("owner") permit(principal, action == Action::"tool.call", resource);`, true, "yyy"},
		{`@approval("owner") permit(principal, action == Action::"tool.call", resource) when { context.text like "*" };`, false, "uuu"},
		{`@mode("shadow") forbid(principal, action, resource);`, false, "yyy"},
	} {
		set, err := cedar.Load([]cedar.Source{{Name: "p", Text: []byte(c.policies)}}, cedar.Options{Deny: c.deny, Approvers: approvers()})
		if err != nil {
			t.Fatalf("%s: %v", c.policies, err)
		}
		a := cedar.New(policy.AllowLocal{}, func() time.Time { return noon }, slog.New(slog.DiscardHandler))
		a.Replace(set)
		got := ""
		for _, req := range []policy.Request{search, one, any} {
			d, err := a.Decide(t.Context(), req)
			switch unseen := strings.Contains(d.Reason, "its arguments can't be looked at"); {
			case err != nil || d.Needs != nil || d.Version == "":
				t.Errorf("%s: of %s %+v, %v", c.policies, req.Resource, d, err)
			case d.Allow:
				got += "y"
			case unseen:
				got += "u"
			default:
				got += "n"
			}
			if shadow := strings.Contains(c.policies, "shadow"); (d.Shadow != nil) != shadow || shadow && d.Shadow.Outcome != policy.Denied {
				t.Errorf("%s: on trial %+v", c.policies, d.Shadow)
			}
		}
		if strings.ReplaceAll(got, "u", "n") != strings.ReplaceAll(c.want, "u", "n") || strings.Contains(c.want, "u") && got != c.want {
			t.Errorf("%s: %s, want %s", c.policies, got, c.want)
		}
	}
}

// TestUnforeseenLooksAtBudgets: what nobody sees the arguments of is decided by how far budgets are used up as well, which is looked up once, for all tools
// that policies name, and stands in the decision.
func TestUnforeseenLooksAtBudgets(t *testing.T) {
	set, err := cedar.Load([]cedar.Source{{Name: "p", Text: []byte(`
		@id("near") forbid(principal, action == Action::"tool.call", resource in Server::"shop") when { context has budgets && context.budgets.used >= 80 };
		@id("pay") forbid(principal, action == Action::"tool.call", resource == Tool::"shop/pay") when { context.hour > 24 };
		@id("refund") forbid(principal, action == Action::"tool.call", resource == Tool::"shop/refund") when { context.hour > 24 };
		@id("bank") forbid(principal, action == Action::"tool.call", resource == Tool::"bank/pay") when { context has budgets && context.budgets.exhausted };
		@id("never") forbid(principal, action == Action::"tool.call", resource == Tool::"bank/refund");
	`)}}, cedar.Options{})
	if err != nil {
		t.Fatal(err)
	}
	looks, used, failing := 0, int64(0), error(nil)
	a := cedar.New(policy.AllowLocal{}, func() time.Time { return noon }, slog.New(slog.DiscardHandler)).Budgeted(func(context.Context, policy.Request) (*policy.Budgets, error) {
		looks++
		return &policy.Budgets{Used: used}, failing
	})
	a.Replace(set)
	req := policy.Request{
		Principal: stead.Principal{Project: "default", Kind: stead.PrincipalUser, ID: "ada"}, Effect: policy.ToolCall, Class: "unknown", Origin: "agent", Unforeseen: true,
	}
	for _, c := range []struct {
		of    string
		used  int64
		allow bool
		looks int
	}{{"shop", 79, true, 1}, {"shop", 80, false, 1}, {"shop/look", 80, false, 1}, {"shop/look", 0, true, 1}, {"provider/web_search", 100, true, 0}, {"bank", 5, false, 1}, {"bank/refund", 5, false, 0}} {
		looks, used, req.Resource = 0, c.used, c.of
		d, err := a.Decide(t.Context(), req)
		if err != nil || d.Allow != c.allow || looks != c.looks || (d.Budgets != nil) != (c.looks > 0) || d.Budgets != nil && d.Budgets.Used != c.used {
			t.Errorf("%s at %d: %+v %+v, %v, looked %d times", c.of, c.used, d, d.Budgets, err, looks)
		}
	}
	req.Resource, failing = "shop", errors.New("the database is away")
	if d, err := a.Decide(t.Context(), req); d.Allow || stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("without them: %+v, %v", d, err)
	}
}
