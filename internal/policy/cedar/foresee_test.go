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

// TestForesee: what no policy can refuse nobody is asked about, whatever its arguments turn out to be; anything that might is asked.
func TestForesee(t *testing.T) {
	call := policy.Request{Principal: stead.Principal{Project: "default", Kind: stead.PrincipalUser, ID: "ada"}, Effect: policy.ToolCall, Resource: "function/look", Class: "unknown", Origin: "application"}
	untrusted, anything := call, call
	untrusted.Labels, anything.Resource = stead.Labels{"untrusted": {"function"}}, ""
	for text, want := range map[string][3]bool{ // of the call, of an untrusted one, of any tool
		``: {true, true, true},
		`forbid(principal, action == Action::"model.call", resource);`:                                                                                                                     {true, true, true},
		`forbid(principal, action == Action::"tool.call", resource == Tool::"function/wire");`:                                                                                             {true, true, false},
		`forbid(principal, action == Action::"tool.call", resource == Tool::"shop/refund") when { context.text like "*" };`:                                                                {true, true, false},
		`forbid(principal, action == Action::"tool.call", resource == Tool::"function/look");`:                                                                                             {false, false, false},
		`forbid(principal, action == Action::"tool.call", resource in Server::"function");`:                                                                                                {false, false, false},
		`forbid(principal, action == Action::"tool.call", resource) when { context.labels.hasTag("untrusted") };`:                                                                          {true, false, false},
		`forbid(principal, action in [Action::"tool.call", Action::"subagent.create"], resource) when { context.numbers.hasTag("n") };`:                                                    {false, false, false},
		`forbid(principal, action == Action::"tool.call", resource) when { context.hour > 18 };`:                                                                                           {false, false, false},
		`forbid(principal == User::"bob", action, resource);`:                                                                                                                              {true, true, false},
		`permit(principal, action, resource);`:                                                                                                                                             {false, false, false},
		`@mode("shadow") forbid(principal, action, resource);`:                                                                                                                             {true, true, true},
		`@mode("shadow") forbid(principal, action == Action::"tool.call", resource) when { context.text like "*" };`:                                                                       {true, true, true},
		`forbid(principal, action == Action::"tool.call", resource == Tool::"shop/x"); @mode("shadow") forbid(principal, action, resource) when { context.now < datetime("2020-01-01") };`: {true, true, false},
	} {
		set, err := cedar.Load([]cedar.Source{{Name: "p", Text: []byte(text)}}, cedar.Options{Approvers: nil})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		a := cedar.New(policy.AllowLocal{}, func() time.Time { return noon }, slog.New(slog.DiscardHandler))
		a.Replace(set)
		for i, req := range []policy.Request{call, untrusted, anything} {
			if got := a.Foresee(t.Context(), req); got != want[i] {
				t.Errorf("%s: foreseen of the request %d is %t", text, i, got)
			}
		}
		// Whatever is foreseen is so: with arguments that policies look for, and with none.
		for _, arguments := range []string{`{"n":1000}`, `{}`, `{"n":1,"n":2}`} {
			for _, req := range []policy.Request{call, untrusted} {
				req.Arguments = []byte(arguments)
				if strings.Contains(text, "shadow") && arguments == `{"n":1,"n":2}` {
					continue // which policies on trial can't be asked about either
				}
				d, err := a.Decide(t.Context(), req)
				if foreseen := a.Foresee(t.Context(), req); foreseen && (err != nil || !d.Allow) {
					t.Errorf("%s: foreseen, and then %+v, %v", text, d, err)
				}
			}
		}
	}
	deny, err := cedar.Load([]cedar.Source{{Name: "p", Text: []byte(`permit(principal, action == Action::"model.call", resource);`)}}, cedar.Options{Deny: true})
	if err != nil {
		t.Fatal(err)
	}
	a := cedar.New(policy.AllowLocal{}, func() time.Time { return noon }, slog.New(slog.DiscardHandler))
	a.Replace(deny)
	if a.Foresee(t.Context(), call) {
		t.Error("what no policy permits is foreseen to be allowed")
	}
	if none := cedar.New(policy.AllowLocal{}, func() time.Time { return noon }, slog.New(slog.DiscardHandler)); !none.Foresee(t.Context(), anything) {
		t.Error("without policies it is not foreseen")
	}
	broken := cedar.New(policy.AllowLocal{}, func() time.Time { return noon }, slog.New(slog.DiscardHandler)).With(func(context.Context, stead.ProjectID) (*cedar.Project, error) { return nil, errors.New("away") })
	if broken.Foresee(t.Context(), call) {
		t.Error("what can't be read is foreseen")
	}
}
