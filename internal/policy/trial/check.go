package trial

import (
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// What a case may say of a tool call.
var (
	classes = []string{"pure", "idempotent", "unknown"}
	origins = []string{"operator", "agent", "application", "runtime", "environment", "provider"}
)

// times are how a case may say when it is; one without a zone is in UTC.
var times = []string{time.RFC3339, "2006-01-02 15:04:05", time.DateOnly}

// ofSession are the effects that are of a session each time. session.read is asked about lists, too, session.delete about users who are erased, and
// approval.give about requests of the API: those have none.
var ofSession = []policy.Effect{policy.SessionWrite, policy.SessionTokenRead, policy.SessionTokenWrite}

// exchanged is the credential that is a token for an audience, which is its destination and any text.
const exchanged = "workload/exchange"

// check refuses what no request has. A case that asks about what nothing is called, or is of a role that nobody has, would be decided
// like any other, and pass for a reason that its author does not know.
func (c Case) check(roles []string) error {
	for _, check := range []func() error{func() error { return c.checkRoles(roles) }, c.checkResource, c.checkCall, c.checkFigures} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c Case) checkRoles(roles []string) error {
	said := []string{c.Role}
	for _, b := range c.Behind {
		said = append(said, b.Role)
	}
	for _, role := range said {
		if role != "" && !slices.Contains(roles, role) {
			return stead.Invalid("role", "there is no role %q: the roles are %s", role, strings.Join(roles, ", "))
		}
	}
	return nil
}

// checkResource holds what is asked about against the form that the effect's resources have.
func (c Case) checkResource() error {
	first, second, two := strings.Cut(c.Resource, "/")
	switch effect := policy.Effect(c.Effect); {
	case effect == policy.ToolCall && (!two || first == "" || second == ""):
		return stead.Invalid("resource", "resource of a tool.call is SERVER/TOOL, as in shop/refund, not %q", c.Resource)
	case effect == policy.CredentialUse && (!two || first == "" || second == ""):
		return stead.Invalid("resource", "resource of a credential.use is VAULT/CREDENTIAL, not %q", c.Resource)
	case effect == policy.ModelCall && c.Resource == "":
		return stead.Invalid("resource", "resource of a model.call is the model's name, and it is missing")
	case effect == policy.NetworkConnect && (c.Resource == "" || strings.ContainsAny(c.Resource, "/ ") || strings.ToLower(c.Resource) != c.Resource):
		return stead.Invalid("resource", "resource of a network.connect is a host in small letters, as in api.example.com, not %q; the port is connection: {port: …}", c.Resource)
	case slices.Contains(ofSession, effect) && c.Session == "":
		return stead.Invalid("session", "session is what a %s is about, and it is missing", effect)
	}
	return nil
}

// checkCall holds what is said of a tool call against what a call may have.
func (c Case) checkCall() error {
	if c.Class != "" && !slices.Contains(classes, c.Class) {
		return stead.Invalid("class", "class is one of %s, not %q", strings.Join(classes, ", "), c.Class)
	}
	if c.Origin != "" && !slices.Contains(origins, c.Origin) {
		return stead.Invalid("origin", "origin is one of %s, not %q", strings.Join(origins, ", "), c.Origin)
	}
	if c.To != "" && !c.isExchange() && !isHostPort(c.To) {
		return stead.Invalid("destination", "destination is HOST:PORT, as in api.example.com:443, not %q", c.To)
	}
	if _, is := c.Arguments.(map[string]any); c.Arguments != nil && !is {
		return stead.Invalid("arguments", "arguments are a mapping of names to values, as tools have them")
	}
	return nil
}

func (c Case) isExchange() bool {
	return policy.Effect(c.Effect) == policy.CredentialUse && c.Resource == exchanged
}

func isHostPort(text string) bool {
	host, port, ok := cutLast(text, ':')
	return ok && host != "" && port != "" && !strings.ContainsAny(text, "/ ") && strings.Trim(port, "0123456789") == ""
}

func cutLast(text string, at byte) (before, after string, found bool) {
	i := strings.LastIndexByte(text, at)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+1:], true
}

func (c Case) checkFigures() error {
	if s := c.Spend; s != nil && min(s.Cents, s.Limit) < 0 {
		return stead.Invalid("spend", "cents and limit of spend are 0 or more")
	}
	if b := c.Budgets; b != nil && (min(b.Used, b.Session) < 0 || max(b.Used, b.Session) > 100) {
		return stead.Invalid("budgets", "used and session are per cent, from 0 to 100")
	}
	_, err := c.when()
	return err
}

// when is the time of the case; one that says none is at the beginning of time.
func (c Case) when() (int64, error) {
	if c.At == "" {
		return 1, nil
	}
	for _, form := range times {
		if t, err := time.Parse(form, c.At); err == nil {
			return t.UnixMilli(), nil
		}
	}
	return 0, stead.Invalid("at", "at is a time as in 2026-11-26T12:00:00Z, not %q", c.At)
}
