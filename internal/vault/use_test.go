package vault_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/vault"
)

// asked remembers what it was asked, and says no to uses while it is told to.
type asked struct {
	requests []policy.Request
	no       bool
}

func (a *asked) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	if req.Effect != policy.CredentialUse {
		return policy.Decision{Allow: true, By: "test"}, nil
	}
	a.requests = append(a.requests, req)
	return policy.Decision{Allow: !a.no, By: "test", Reason: "a test says so"}, nil
}

var inSession = stead.SessionKey{Project: "p", Session: "sess_1"}

// byAgent is a session's agent that uses something.
func byAgent(context.Context) (policy.Request, error) {
	return policy.Request{Principal: owner, Session: inSession, Agent: "agent_1", Acting: true}, nil
}

const variable = `{"type":"environment_variable","secret_name":"API_KEY","secret_value":"value-of-the-key","networking":{"type":"limited","allowed_hosts":["api.example"]}}`

func TestEachUseIsDecidedWithItsDestination(t *testing.T) {
	gate := &asked{}
	s := open(t, documenttest.NewMemory(), gate)
	v, ids := with(t, s, owner, bearer, variable)
	c, err := s.Bearer(t.Context(), inSession, []string{v}, tool.Wanted{ServerURL: "https://MCP.example:443/mcp/"}, byAgent)
	if err != nil || c == nil {
		t.Fatalf("%v, %v", c, err)
	}
	vars, err := s.Variables(t.Context(), "p", []string{v}, byAgent)
	if err != nil || len(vars) != 1 || vars[0].Variable != "API_KEY" || !slices.Equal(vars[0].Hosts, []string{"api.example:443", "api.example:8443"}) {
		t.Fatalf("%+v, %v", vars, err)
	}
	if len(gate.requests) != 0 {
		t.Errorf("to find is not to use: %+v", gate.requests)
	}
	if got, err := c.Token(t.Context(), ""); got != "token-of-the-server" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := vars[0].Value(t.Context(), "api.example:8443"); got != "value-of-the-key" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	want := []policy.Request{
		{Principal: owner, Session: inSession, Agent: "agent_1", Acting: true, Effect: policy.CredentialUse, Resource: v + "/" + ids[0], Destination: "mcp.example:443"},
		{Principal: owner, Session: inSession, Agent: "agent_1", Acting: true, Effect: policy.CredentialUse, Resource: v + "/" + ids[1], Destination: "api.example:8443"},
	}
	for i, w := range want {
		if got := gate.requests[i]; got.Resource != w.Resource || got.Destination != w.Destination || got.Session != w.Session || got.Effect != w.Effect || got.Agent != w.Agent {
			t.Errorf("asked %+v, want %+v", got, w)
		}
	}
	gate.no = true
	_, err = c.Token(t.Context(), "")
	unusable(t, "what is forbidden", err, stead.KindForbidden, "a test says so")
	if _, err := vars[0].Value(t.Context(), "api.example:443"); stead.KindOf(err) != stead.KindForbidden {
		t.Errorf("what is forbidden: %v", err)
	}
	gate.no = false
	_, err = c.Token(t.Context(), "token-of-the-server")
	unusable(t, "one that was refused", err, stead.KindForbidden, "refused")
	if err := s.DeleteCredential(t.Context(), owner, v, ids[0]); err != nil {
		t.Fatal(err)
	}
	_, err = c.Token(t.Context(), "")
	unusable(t, "one that was deleted", err, stead.KindForbidden, "deleted")
	if err := s.Delete(t.Context(), owner, v); err != nil {
		t.Fatal(err)
	}
	_, err = vars[0].Value(t.Context(), "api.example:443")
	unusable(t, "one of a deleted vault", err, stead.KindForbidden, "deleted")
}

func unusable(t *testing.T, what string, err error, kind stead.Kind, says string) {
	t.Helper()
	e, ok := err.(*stead.Error)
	if !ok || e.Kind != kind || e.Code != tool.CodeCredential || !strings.Contains(e.Message, says) {
		t.Errorf("%s: %#v", what, err)
	}
}

func TestWhichCredentialAServerGets(t *testing.T) {
	s := open(t, documenttest.NewMemory(), policy.AllowLocal{})
	one, ids := with(t, s, owner, bearer, variable)
	two, others := with(t, s, owner, bearer, strings.Replace(bearer, "/mcp\"", "/other?x=1\"", 1), strings.Replace(bearer, "https://mcp.example", "http://127.0.0.1:80", 1))
	for _, tt := range []struct {
		name   string
		vaults []string
		id     string
		url    string
		inside bool
		want   string // "-": none; "": an error
	}{
		{"the only one", []string{one}, "", "https://mcp.example/mcp", false, ids[0]},
		{"none of that URL", []string{one}, "", "https://mcp.example/else", false, "-"},
		{"none of that host", []string{one}, "", "https://mcp.example.org/mcp", false, "-"},
		{"none at that port", []string{one}, "", "https://mcp.example:8443/mcp", false, "-"},
		{"never unencrypted", []string{one}, "", "http://mcp.example/mcp", false, "-"},
		{"with its query", []string{two}, "", "https://mcp.example/other?x=1", false, others[1]},
		{"another query", []string{two}, "", "https://mcp.example/other?x=2", false, "-"},
		{"two", []string{one, two}, "", "https://mcp.example/mcp", false, ""},
		{"chosen", []string{one, two}, others[0], "https://mcp.example/mcp", false, others[0]},
		{"chosen for another URL", []string{two}, others[1], "https://mcp.example/mcp", false, ""},
		{"of a vault that is not attached", []string{one}, others[0], "https://mcp.example/mcp", false, ""},
		{"a variable is no token", []string{one}, ids[1], "https://mcp.example/mcp", false, ""},
		{"from inside", []string{one}, "", "https://mcp.example/mcp", true, ids[0]},
		{"from inside, unencrypted", []string{two}, "", "http://127.0.0.1/mcp", true, ""},
		{"unencrypted on this machine", []string{two}, "", "http://127.0.0.1/mcp", false, others[2]},
	} {
		c, err := s.Bearer(t.Context(), inSession, tt.vaults, tool.Wanted{ID: tt.id, ServerURL: tt.url, Inside: tt.inside}, byAgent)
		switch {
		case tt.want == "":
			unusable(t, tt.name, err, stead.KindInvalid, "")
		case err != nil || (c == nil) != (tt.want == "-") || c != nil && !strings.HasSuffix(c.Key(), tt.want):
			t.Errorf("%s: %v, %v", tt.name, c, err)
		}
	}
}

// TestAValueIsReadToBeHidden without a use of it: as it is now, and a counter tells of rotations.
func TestAValueIsReadToBeHidden(t *testing.T) {
	gate := &asked{no: true}
	s := open(t, documenttest.NewMemory(), gate)
	v, ids := with(t, s, owner, variable)
	vars, err := s.Variables(t.Context(), "p", []string{v}, byAgent)
	if err != nil || len(vars) != 1 {
		t.Fatalf("%+v, %v", vars, err)
	}
	hidden := func(want string) {
		t.Helper()
		if got, err := vars[0].Mask(t.Context()); got != want || err != nil {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	hidden("value-of-the-key")
	before := vars[0].Changes()
	if _, err := s.UpdateCredential(t.Context(), owner, v, ids[0], vault.Change{Rotate: func(_ *vault.Auth, secret *vault.Secret) error {
		secret.Value = "its-next-value"
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	hidden("its-next-value")
	if after := vars[0].Changes(); after <= before {
		t.Errorf("the counter was %d, and is %d after a rotation", before, after)
	}
	if err := s.DeleteCredential(t.Context(), owner, v, ids[0]); err != nil {
		t.Fatal(err)
	}
	hidden("")
	if len(gate.requests) != 0 {
		t.Errorf("to hide is not to use: %+v", gate.requests)
	}
}

func TestTwoCredentialsForOneVariable(t *testing.T) {
	s := open(t, documenttest.NewMemory(), policy.AllowLocal{})
	one, _ := with(t, s, owner, variable)
	two, _ := with(t, s, owner, variable)
	_, err := s.Variables(t.Context(), "p", []string{one, two}, byAgent)
	isKind(t, "two of one name", err, stead.KindInvalid)
}

func TestOthersAttachNoVaults(t *testing.T) {
	s := open(t, documenttest.NewMemory(), policy.AllowLocal{})
	hers, _ := with(t, s, ada, bearer)
	for who, p := range map[string]stead.Principal{"another user": bob, "another project": {Project: "q", Kind: stead.PrincipalUser, ID: "x"}} {
		isKind(t, who, s.Attach(t.Context(), p, []string{hers}), stead.KindInvalid)
	}
	if err := s.Attach(t.Context(), ada, []string{hers}); err != nil {
		t.Error(err)
	}
}
