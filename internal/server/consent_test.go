package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/consent"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/session"
)

// linked is a Consents of which only links are asked.
type linked struct{ Consents }

func (linked) Link(project stead.ProjectID, id string) string {
	return "https://stead.example" + consent.PagePath + "?ticket=" + string(project) + "." + id
}

// waitsFor is an event of a session that waits.
type waitsFor struct {
	Type    string          `json:"type"`
	EventID string          `json:"event_id"`
	Session session.Session `json:"session"`
}

func (w *waitsFor) Actions() []session.RequiredAction { return w.Session.RequiredActions }

// Only whom a session serves sees the link of a consent: anybody else who reads the session could say yes for an account of their
// own, and the agent would work there.
func TestWhoSeesTheLinkOfAConsent(t *testing.T) {
	ada := stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "ada"}
	waiting := func() []session.RequiredAction { // its own for each answer, as sessions make them
		return []session.RequiredAction{{Type: session.ActionConsent, TurnID: "turn_1", RequestID: "req_1", Request: &session.ActionRequest{
			Type: session.ActionConsent, Message: "Open the page.", Arguments: json.RawMessage(`{"server_url":"https://tools.example/mcp","issuer":"https://login.example","scope":""}`),
			ServerLabel: "tools", ExpiresAt: 1, OnExpiry: session.DecisionDeny, Consent: "consent_1", For: &ada,
		}}}
	}
	for _, who := range []struct {
		name string
		p    stead.Principal
		sees bool
	}{
		{"the user, by a key", ada, true},
		{"the user, by a token of the session", stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "ada", Session: "sess_1", Scope: identity.ScopeRead, Maker: "user:ada"}, true},
		{"another user, by a token of the session", stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "ada", Session: "sess_1", Scope: identity.ScopeRead, Maker: "user:eve"}, false},
		{"a service of the same name, by a token of the session", stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "ada", Session: "sess_1", Scope: identity.ScopeRead, Maker: "service:ada"}, false},
		{"nobody knows who, by a token of the session", stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "ada", Session: "sess_1", Scope: identity.ScopeRead}, false},
		{"another user", stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "eve"}, false},
		{"a service of the same name", stead.Principal{Project: "p", Kind: stead.PrincipalService, ID: "ada"}, false},
		{"the same name in another project", stead.Principal{Project: "q", Kind: stead.PrincipalUser, ID: "ada"}, false},
	} {
		f := filled()
		d := open(t, f, func(c *Config) {
			c.Consents = linked{}
			c.Authenticate = func(*http.Request) (identity.Caller, error) { return identity.Caller{Principal: who.p}, nil }
		})
		for _, path := range []string{"/v1/agents/sessions/sess_1", "/v1/agents/sessions", "/v1/approvals", "/v1/agents/sessions/sess_1/events?after=0"} {
			f.sessions[0].RequiredActions = waiting()
			f.inbox = []session.Approval{{Object: "approval", ID: "req_1", SessionID: "sess_1", CreatedAt: 1, Action: waiting()[0]}}
			f.stream = func(_ context.Context, _ *stead.Cursor, ready func(), yield func(session.StreamEvent) error) error {
				ready()
				return yield(session.StreamEvent{Type: "agent.session.requires_action", Body: &waitsFor{"agent.session.requires_action", "e", f.sessions[0]}})
			}
			res, body := d.call("GET", path, "")
			if who.p.Session != "" && res.StatusCode == http.StatusForbidden {
				continue // that route is not for session tokens
			}
			if res.StatusCode != http.StatusOK || !strings.Contains(body, "oauth_consent") {
				t.Fatalf("%s, %s: %d %s", who.name, path, res.StatusCode, body)
			}
			if sees := strings.Contains(body, `"url":"https://stead.example/v1/oauth/consent?ticket=p.consent_1"`); sees != who.sees || sees != strings.Contains(body, "ticket=") {
				t.Errorf("%s sees the link at %s: %v", who.name, path, sees)
			}
		}
	}
}
