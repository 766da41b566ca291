package cedar_test

import (
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// TestPoliciesSeeWhereCallsGoAndWhoIsBehindThem: who declared a tool, its address, where it has one, and all who stand behind a call.
func TestPoliciesSeeWhereCallsGoAndWhoIsBehindThem(t *testing.T) {
	a := authorizer(load(t, false, `@id("own") forbid(principal, action == Action::"tool.call", resource) when { context.origin == "agent" } unless { context has destination && context.destination == "good.example:443" };
@id("alone") forbid(principal, action == Action::"tool.call", resource == Tool::"shop/refund") unless { ["user:ada"].containsAll(context.behind) };`), policy.AllowLocal{})
	ada := stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "ada", Role: "owner"}
	for name, c := range map[string]struct {
		resource, origin, to string
		behind               []stead.Principal
		want                 bool
	}{
		"the operator's":             {"crm/x", "operator", "", nil, true},
		"an agent's, of good repute": {"crm/x", "agent", "good.example:443", nil, true},
		"an agent's":                 {"crm/x", "agent", "evil.example:443", nil, false},
		"a process of an agent's":    {"crm/x", "agent", "", nil, false},
		"hers alone":                 {"shop/refund", "operator", "", []stead.Principal{ada}, true},
		"another is behind it":       {"shop/refund", "operator", "", []stead.Principal{ada, {Project: "p", Kind: stead.PrincipalService, ID: "dev"}}, false},
		"a token that another made":  {"shop/refund", "operator", "", []stead.Principal{{Project: "p", Kind: stead.PrincipalUser, ID: "ada", Maker: "service:dev"}}, false},
	} {
		d, err := a.Decide(t.Context(), policy.Request{Principal: ada, Behind: c.behind, Acting: true, Agent: "agent_1", Effect: policy.ToolCall, Resource: c.resource, Origin: c.origin, Destination: c.to, Arguments: []byte("{}"), Class: "unknown"})
		if err != nil || d.Allow != c.want {
			t.Errorf("%s: %+v %v", name, d, err)
		}
	}
}
