// Package trial tests policies on cases that people write.
//
// Shape: one YAML document:
//
//	policies: ../policies      # a directory, from the file; "" leaves it to the command
//	default: allow             # or deny
//	cases:
//	  - name: a small refund is made
//	    principal: user:ada    # kind:id
//	    role: developer
//	    agent: agent_support   # acts in the principal's name; "" for a call of its own
//	    behind: [{principal: service:bot, role: developer}]   # others who told the agent something
//	    effect: tool.call
//	    resource: shop/refund
//	    arguments: {amount: 40}
//	    labels: {env: prod}
//	    class: unknown         # pure, idempotent or unknown
//	    origin: agent          # of a tool call: operator, agent, application, runtime, environment or provider; "": operator, and application of function/NAME
//	    destination: api.example.com:443   # of a tool call, or a credential
//	    model: frontier        # of session.create
//	    spend: {cents: 120, limit: 500}
//	    at: 2026-11-26T12:00:00Z
//	    expect: allow          # deny or approval
//	    by: [refunds]          # optional: exactly these policies decide
//	    shadow: deny           # optional: what policies on trial would decide
//
// Limits: MaxCases cases, MaxFileBytes a file.
//
// Errors: KindInvalid names the line of a mistake; a key that is not known is one. So does it name the field of a case that no request
// is like: a tool without its server, a role that there is not, a time that is none.
package trial

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Limits of a file of cases.
const (
	MaxFileBytes = 4 << 20
	MaxCases     = 10_000
)

// File is a file of cases.
type File struct {
	Policies string `yaml:"policies"`
	Default  string `yaml:"default"`
	Cases    []Case `yaml:"cases"`
}

// Case is a request and what is expected of it.
type Case struct {
	Name      string            `yaml:"name"`
	Project   string            `yaml:"project"` // "": default
	Principal string            `yaml:"principal"`
	Role      string            `yaml:"role"`
	Agent     string            `yaml:"agent"`
	Behind    []Behind          `yaml:"behind"`
	Subagents []string          `yaml:"subagents"` // from the one that the agent made to the one that does it
	Session   string            `yaml:"session"`
	Effect    string            `yaml:"effect"`
	Resource  string            `yaml:"resource"`
	Arguments any               `yaml:"arguments"`
	Labels    map[string]string `yaml:"labels"`
	Class     string            `yaml:"class"`
	Origin    string            `yaml:"origin"`
	To        string            `yaml:"destination"`
	Model     string            `yaml:"model"`
	Spend     *Spend            `yaml:"spend"`
	Budgets   *Budgets          `yaml:"budgets"`
	Entry     *Entry            `yaml:"entry"`
	Document  *Document         `yaml:"document"`
	Connect   *Connection       `yaml:"connection"`
	At        string            `yaml:"at"` // RFC 3339

	Expect policy.Outcome `yaml:"expect"`
	By     []string       `yaml:"by"`
	Shadow policy.Outcome `yaml:"shadow"`
}

// Behind is somebody else who told the agent of a case something.
type Behind struct {
	Principal string `yaml:"principal"` // kind:id
	Role      string `yaml:"role"`
}

// Spend is what a case's session has cost, in US cents.
type Spend struct {
	Cents int64 `yaml:"cents"`
	Limit int64 `yaml:"limit"` // 0: none
}

// Budgets is how far the budgets about a case are used up, in per cent.
type Budgets struct {
	Used      int64  `yaml:"used"`
	Exhausted bool   `yaml:"exhausted"`
	Tightest  string `yaml:"tightest"`
	Session   int64  `yaml:"session"`
}

// Connection is what a case about network.connect is about to send; its host is the resource.
type Connection struct {
	Port   uint16 `yaml:"port"` // 0: 443
	Kind   string `yaml:"kind"` // "": request where there is a method, else tunnel
	Method string `yaml:"method"`
	Path   string `yaml:"path"`
}

// Entry is what entries of a memory store are that a case is about.
type Entry struct {
	Kind   string   `yaml:"kind"`
	Scope  string   `yaml:"scope"` // "": project
	ID     string   `yaml:"scope_id"`
	Labels []string `yaml:"labels"`
}

// Document is what documents of a source are that a case is about.
type Document struct {
	Source string   `yaml:"source"`
	Kind   string   `yaml:"kind"` // "": directory
	Labels []string `yaml:"labels"`
}

// microPerCent is how many micro-cents make a cent.
const microPerCent = 1_000_000

// Parse reads a file of cases. roles are those that there are.
func Parse(data []byte, roles []string) (File, error) {
	var f File
	if len(data) > MaxFileBytes {
		return f, stead.Errorf(stead.KindTooLarge, "the cases are larger than the limit of %d bytes", MaxFileBytes)
	}
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&f); err != nil && !errors.Is(err, io.EOF) { // an empty file has no cases
		return f, stead.Invalid("cases", "%s", strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	if len(f.Cases) == 0 || len(f.Cases) > MaxCases {
		return f, stead.Invalid("cases", "there are %d cases: there must be between 1 and %d", len(f.Cases), MaxCases)
	}
	if f.Default != "" && f.Default != string(policy.Allowed) && f.Default != string(policy.Denied) {
		return f, stead.Invalid("default", "default is allow or deny, not %q", f.Default)
	}
	for i, c := range f.Cases {
		_, err := c.Request()
		if err = cmp.Or(err, c.check(roles)); err != nil {
			return f, fmt.Errorf("case %d (%s): %w", i+1, c.Name, err)
		}
	}
	return f, nil
}

// Request is what the case asks.
func (c Case) Request() (policy.Request, error) {
	project := cmp.Or(stead.ProjectID(c.Project), stead.DefaultProject)
	who, err := principal("principal", project, c.Principal, c.Role)
	if err != nil {
		return policy.Request{}, err
	}
	behind := []stead.Principal{who}
	for i, b := range c.Behind {
		other, err := principal(fmt.Sprintf("behind[%d].principal", i), project, b.Principal, b.Role)
		if err != nil {
			return policy.Request{}, err
		}
		behind = append(behind, other)
	}
	if len(c.Subagents) > 0 && c.Agent == "" {
		return policy.Request{}, stead.Invalid("subagents", "subagents are an agent's: say whose in agent")
	}
	if len(c.Behind) > 0 && c.Agent == "" {
		return policy.Request{}, stead.Invalid("behind", "behind is for what an agent does: say which in agent")
	}
	if !slices.Contains(policy.Effects(), policy.Effect(c.Effect)) {
		return policy.Request{}, stead.Invalid("effect", "there is no effect %q", c.Effect)
	}
	for name, o := range map[string]policy.Outcome{"expect": c.Expect, "shadow": c.Shadow} {
		if !slices.Contains([]policy.Outcome{policy.Allowed, policy.Denied, policy.Approval}, o) && (o != "" || name == "expect") {
			return policy.Request{}, stead.Invalid(name, "%s is allow, deny or approval, not %q", name, o)
		}
	}
	req := policy.Request{
		Principal: who, Behind: behind, Subagents: c.Subagents,
		Agent: stead.AgentID(c.Agent), Acting: c.Agent != "", Effect: policy.Effect(c.Effect), Resource: c.Resource,
		Labels: stead.LabelsOf(c.Labels), Class: c.Class, Model: c.Model,
	}
	if req.At, err = c.when(); err != nil {
		return policy.Request{}, err
	}
	if req.Destination = strings.ToLower(c.To); c.isExchange() {
		req.Destination = c.To
	}
	if req.Effect == policy.ToolCall {
		by := "operator"
		if strings.HasPrefix(req.Resource, policy.FunctionServer+"/") {
			by, req.Class = "application", cmp.Or(c.Class, "unknown")
		}
		if strings.HasPrefix(req.Resource, policy.ProviderServer+"/") {
			by, req.Class, req.Unforeseen = "provider", cmp.Or(c.Class, "unknown"), c.Arguments == nil
		}
		req.Origin = cmp.Or(c.Origin, by)
	}
	if c.Session != "" {
		req.Session = stead.SessionKey{Project: project, Session: stead.SessionID(c.Session)}
	}
	if c.Spend != nil {
		req.Spend = &policy.Spend{Cost: c.Spend.Cents * microPerCent, Limit: c.Spend.Limit * microPerCent}
	}
	if b := c.Budgets; b != nil {
		req.Budgets = &policy.Budgets{Used: b.Used, Exhausted: b.Exhausted, Tightest: b.Tightest, Session: b.Session}
	}
	if c.Entry != nil {
		req.Entry = &policy.Entry{Kind: cmp.Or(c.Entry.Kind, "fact"), ScopeType: cmp.Or(c.Entry.Scope, "project"), ScopeID: c.Entry.ID, Labels: c.Entry.Labels}
	}
	if of := c.Document; of != nil {
		req.Document = &policy.Document{Source: of.Source, Kind: cmp.Or(of.Kind, "directory"), Labels: of.Labels}
	}
	if to := c.Connect; to != nil {
		kind := "tunnel"
		if to.Method != "" {
			kind = "request"
		}
		req.Connection = &policy.Connection{Port: cmp.Or(to.Port, 443), Kind: cmp.Or(to.Kind, kind), Method: to.Method, Path: to.Path}
	}
	if c.Arguments != nil {
		raw, err := json.Marshal(c.Arguments)
		if err != nil {
			return policy.Request{}, stead.Invalid("arguments", "the arguments are not JSON: %s", err)
		}
		req.Arguments = raw
	}
	return req, nil
}

func principal(at string, project stead.ProjectID, who, role string) (stead.Principal, error) {
	kind, id, ok := strings.Cut(who, ":")
	known := []stead.PrincipalKind{stead.PrincipalUser, stead.PrincipalService, stead.PrincipalAgent}
	if !ok || id == "" || !slices.Contains(known, stead.PrincipalKind(kind)) {
		return stead.Principal{}, stead.Invalid(at, "%s is user:ID, service:ID or agent:ID, not %q", at, who)
	}
	return stead.Principal{Project: project, Kind: stead.PrincipalKind(kind), ID: id, Role: stead.Role(role)}, nil
}

// Run asks about the case. The error says how the answer differs from what is expected.
func (c Case) Run(ctx context.Context, a policy.Authorizer) error {
	req, err := c.Request()
	if err != nil {
		return err
	}
	d, err := a.Decide(ctx, req)
	if err != nil {
		return err
	}
	shadow := policy.Outcome("")
	if d.Shadow != nil {
		shadow = d.Shadow.Outcome
	}
	by := slices.Sorted(slices.Values(c.By))
	switch {
	case d.Outcome() != c.Expect:
		return fmt.Errorf("it is %s, not %s%s", d.Outcome(), c.Expect, why(d))
	case c.By != nil && !slices.Equal(d.Policies, by):
		return fmt.Errorf("policies %q decide, not %q", d.Policies, by)
	case c.Shadow != "" && shadow == "":
		return errors.New("no policy on trial has anything to say")
	case c.Shadow != "" && shadow != c.Shadow:
		return fmt.Errorf("on trial it is %s, not %s", shadow, c.Shadow)
	}
	return nil
}

func why(d policy.Decision) string {
	if d.Reason == "" {
		return ""
	}
	return " (" + d.Reason + ")"
}
