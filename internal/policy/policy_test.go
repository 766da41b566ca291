package policy_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

type decider func() (policy.Decision, error)

func (d decider) Decide(context.Context, policy.Request) (policy.Decision, error) { return d() }

func TestOnlyAYesAllows(t *testing.T) {
	for name, tc := range map[string]struct {
		decide decider
		allow  bool
	}{
		"yes":             {func() (policy.Decision, error) { return policy.Decision{Allow: true}, nil }, true},
		"no":              {func() (policy.Decision, error) { return policy.Decision{Reason: "closed"}, nil }, false},
		"nothing":         {func() (policy.Decision, error) { return policy.Decision{}, nil }, false},
		"error":           {func() (policy.Decision, error) { return policy.Decision{}, errors.New("down") }, false},
		"yes with an err": {func() (policy.Decision, error) { return policy.Decision{Allow: true}, errors.New("down") }, false},
	} {
		d, err := policy.Check(t.Context(), tc.decide, policy.Request{Effect: policy.ToolCall})
		if allowed := err == nil && d.Allow; allowed != tc.allow {
			t.Errorf("%s: decision %+v, error %v", name, d, err)
		}
		if !tc.allow && (stead.KindOf(err) != stead.KindForbidden || d.Allow) {
			t.Errorf("%s: a denial must be forbidden and carry no yes: %+v, %v", name, d, err)
		}
	}
}

func TestLocalKeepsToItsProject(t *testing.T) {
	me := stead.LocalPrincipal()
	for name, tc := range map[string]struct {
		who     stead.Principal
		session stead.SessionKey
		allow   bool
	}{
		"own project":  {me, stead.SessionKey{Project: me.Project, Session: "sess_1"}, true},
		"no session":   {me, stead.SessionKey{}, true},
		"other":        {me, stead.SessionKey{Project: "other", Session: "sess_1"}, false},
		"no principal": {stead.Principal{}, stead.SessionKey{}, false},
	} {
		d, err := policy.AllowLocal{}.Decide(t.Context(), policy.Request{Principal: tc.who, Session: tc.session, Effect: policy.SessionRead})
		if err != nil || d.Allow != tc.allow {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

// TestEveryEffectIsListed: what is not in Effects is in no schema, and a server with policies refuses it.
func TestEveryEffectIsListed(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "effect.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Effect" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if found++; !slices.Contains(policy.Effects(), policy.Effect(value)) {
				t.Errorf("%s is not in Effects, and so in no schema", value)
			}
		}
		return true
	})
	if found != len(policy.Effects()) || found == 0 {
		t.Errorf("%d effects are named, %d listed", found, len(policy.Effects()))
	}
}
