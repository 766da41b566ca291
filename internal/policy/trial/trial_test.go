package trial

import (
	"errors"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

var roles = []string{"owner", "developer"}

// A case that is like no request is refused: else it passes for a reason that its author does not know.
func TestCasesThatNoRequestIsLike(t *testing.T) {
	const call = `effect: tool.call, resource: shop/refund, `
	for _, test := range []struct{ said, field, says string }{
		{`effect: tool.call, resource: refund`, "resource", "SERVER/TOOL, as in shop/refund"},
		{`effect: tool.call, resource: shop/`, "resource", "SERVER/TOOL"},
		{`effect: tool.call`, "resource", "SERVER/TOOL"},
		{`effect: credential.use, resource: cred_1`, "resource", "VAULT/CREDENTIAL"},
		{`effect: model.call`, "resource", "the model's name"},
		{`effect: network.connect, resource: "https://api.example.com"`, "resource", "a host in small letters"},
		{`effect: network.connect, resource: API.example.com`, "resource", "a host in small letters"},
		{`effect: session.write, resource: sess_1`, "session", "session.write is about"},
		{call + `role: king`, "role", `no role "king": the roles are owner, developer`},
		{call + `agent: a, behind: [{principal: "user:b", role: queen}]`, "role", `no role "queen"`},
		{call + `class: pur`, "class", `pure, idempotent, unknown, not "pur"`},
		{call + `origin: martian`, "origin", `not "martian"`},
		{call + `destination: "http://x/"`, "destination", "HOST:PORT"},
		{call + `destination: api.example.com`, "destination", "HOST:PORT"},
		{call + `arguments: 5`, "arguments", "a mapping"},
		{call + `arguments: [1]`, "arguments", "a mapping"},
		{call + `at: tomorrow`, "at", `not "tomorrow"`},
		{call + `at: 2026-13-40T00:00:00Z`, "at", "2026-13-40"},
		{call + `spend: {cents: -5}`, "spend", "0 or more"},
		{call + `budgets: {used: 101}`, "budgets", "from 0 to 100"},
	} {
		_, err := Parse([]byte(`cases: [{name: x, principal: "user:a", `+test.said+`, expect: allow}]`), roles)
		var e *stead.Error
		if !errors.As(err, &e) || e.Kind != stead.KindInvalid || e.Param != test.field || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v; want %q to say %q", test.said, err, test.field, test.says)
		}
	}
}

func TestCasesThatAreRight(t *testing.T) {
	for _, said := range []string{
		`effect: tool.call, resource: shop/refund, role: owner, class: pure, origin: agent, destination: "api.example.com:443", arguments: {amount: 5}`,
		`effect: tool.call, resource: provider/web_search, destination: "[::1]:8080"`,
		`effect: network.connect, resource: api.example.com, connection: {port: 443}`,
		`effect: session.write, session: sess_1`,
		`effect: session.control`,
		`effect: session.read`, // of a list
		`effect: session.delete, resource: "user:ada"`,
		`effect: approval.give, resource: apr_1`,
		`effect: credential.use, resource: workload/exchange, session: sess_1, destination: "https://sts.Example.com"`,
		`effect: session.create, resource: agent_1, model: large`,
	} {
		if _, err := Parse([]byte(`cases: [{name: x, principal: "user:a", `+said+`, expect: allow}]`), roles); err != nil {
			t.Errorf("%s: %v", said, err)
		}
	}
}

// Times are what they say, and in UTC where they say no zone.
func TestCasesHaveTheirTime(t *testing.T) {
	for said, want := range map[string]int64{"": 1, "2026-11-28T12:00:00Z": 1795867200000, "2026-11-28T13:00:00+01:00": 1795867200000, "2026-11-28 12:00:00": 1795867200000, "2026-11-28": 1795824000000} {
		f, err := Parse([]byte(`cases: [{name: x, principal: "user:a", effect: tool.call, resource: shop/refund, expect: allow, at: `+said+`}]`), roles)
		if err != nil {
			t.Fatal(err)
		}
		req, err := f.Cases[0].Request()
		if err != nil || req.At != want {
			t.Errorf("%q is %d, %v; want %d", said, req.At, err, want)
		}
	}
}

func TestAnEmptyFileHasNoCases(t *testing.T) {
	if _, err := Parse(nil, roles); err == nil || !strings.Contains(err.Error(), "there are 0 cases") {
		t.Error(err)
	}
}
