package killswitch_test

import (
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/killswitch"
	"github.com/stead-dev/stead/internal/policy"
)

// What is stopped does not go on under another name.
func TestASwitchReachesOtherNames(t *testing.T) {
	call := func(resource, host string) policy.Request {
		return policy.Request{Principal: operator, Effect: policy.ToolCall, Resource: resource, Destination: host}
	}
	for name, c := range map[string]struct {
		set           killswitch.Switch
		stopped, free []policy.Request
	}{
		"a model by what it is": {killswitch.Switch{Scope: killswitch.Model, Of: "upstream"},
			[]policy.Request{{Principal: operator, Effect: policy.ModelCall, Resource: "alias"}}, []policy.Request{{Principal: operator, Effect: policy.ModelCall, Resource: "another"}}},
		"the operator's server by another label": {killswitch.Switch{Scope: killswitch.Tool, Of: "crm"},
			[]policy.Request{call("x/look", "crm.example:443"), call("crm/look", "")}, []policy.Request{call("x/look", "crm.example:8443"), call("x/look", "crm2.example:443"), call("stdio/look", "")}},
		"one tool of it": {killswitch.Switch{Scope: killswitch.Tool, Of: "crm/delete"},
			[]policy.Request{call("x/delete", "crm.example:443")}, []policy.Request{call("x/look", "crm.example:443"), call("x/delete", "else.example:443")}},
		"a server without an address": {killswitch.Switch{Scope: killswitch.Tool, Of: "stdio"},
			[]policy.Request{call("stdio/look", "")}, []policy.Request{call("stdio2/look", ""), call("environment/shell", "")}},
		"a host": {killswitch.Switch{Scope: killswitch.Tool, Of: "host:CRM.example."},
			[]policy.Request{call("x/look", "crm.example:443"), call("y/look", "crm.example.:8443"), call("crm/look", ""), {Principal: operator, Effect: policy.NetworkConnect, Resource: "crm.example", Destination: "crm.example:443"}},
			[]policy.Request{call("x/look", "a.crm.example:443"), call("x/look", ""), {Principal: operator, Effect: policy.NetworkConnect, Resource: "other.example", Destination: "other.example:443"}}},
		"a host's port": {killswitch.Switch{Scope: killswitch.Tool, Of: "host:crm.example:443"},
			[]policy.Request{call("x/look", "crm.example:443")}, []policy.Request{call("x/look", "crm.example:8443")}},
		"an address": {killswitch.Switch{Scope: killswitch.Tool, Of: "host:[2001:db8::1]"},
			[]policy.Request{call("x/look", "[2001:db8::1]:443")}, []policy.Request{call("x/look", "[2001:db8::2]:443")}},
	} {
		s := killswitch.New(documenttest.NewMemory(), time.Now).By(killswitch.Reach{
			Model:  func(asked, of string) bool { return asked == "alias" && of == "upstream" },
			Server: func(label string) string { return map[string]string{"crm": "crm.example:443"}[label] },
		})
		c.set.Reason = "r"
		if _, err := killswitch.NewService(s, policy.AllowLocal{}, nil).Set(t.Context(), operator, c.set, "", ""); err != nil {
			t.Fatal(err)
		}
		gate := killswitch.NewAuthorizer(s, policy.AllowLocal{})
		for want, all := range map[bool][]policy.Request{false: c.stopped, true: c.free} {
			for _, req := range all {
				if d, err := gate.Decide(t.Context(), req); err != nil || d.Allow != want {
					t.Errorf("%s: %s %s at %q is allowed: %v, %v", name, req.Effect, req.Resource, req.Destination, d.Allow, err)
				}
			}
		}
	}
}
