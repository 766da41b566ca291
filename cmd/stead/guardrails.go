package main

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/guardrail/judge"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/killswitch"
	"github.com/stead-dev/stead/internal/model/catalog"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/server"
	"github.com/stead-dev/stead/internal/tool/schema"
)

// guardrailSet compiles the guardrails of a configuration.
func guardrailSet(cfg *config.Config) (*guardrail.Set, error) {
	from := cfg.Guardrails
	rules := make([]guardrail.Rule, len(from))
	for i, g := range from {
		r, err := guardrailRule(g)
		if err != nil {
			return nil, err
		}
		rules[i] = r
	}
	builtin := cfg.BuiltinGuardrails
	if builtin == nil {
		builtin = guardrail.Builtins()
	}
	for _, name := range builtin {
		r, ok := guardrail.Builtin(name)
		if !ok {
			return nil, stead.Invalid("builtin_guardrails", "builtin_guardrails: there is none called %q; there is %s", name, strings.Join(guardrail.Builtins(), ", "))
		}
		rules = append(rules, r)
	}
	return guardrail.Compile(rules, guardrailSchema)
}

// checkJudges refuses guardrails whose judge's model there is not: they would block whatever they look at.
func checkJudges(cfg *config.Config, models *catalog.Catalog) error {
	for _, g := range cfg.Guardrails {
		if j := g.Check.Judge; j != nil && !models.Leads(j.Model) {
			return stead.Invalid("guardrails.check.judge.model", "guardrail %q: judge.model is %q, which is no model here: name an entry of models, or PROVIDER/MODEL", g.Name, j.Model)
		}
	}
	return nil
}

// guardrailSchema compiles a schema with the library that tools' schemas are checked by.
func guardrailSchema(raw json.RawMessage) (func([]byte) error, error) {
	s, err := schema.Compile(raw)
	if err != nil {
		return nil, err
	}
	return func(value []byte) error { return s.Check(value) }, nil
}

func guardrailRule(g config.Guardrail) (guardrail.Rule, error) {
	r := guardrail.Rule{
		Name: g.Name, Action: guardrail.Action(g.Action), Reason: g.Reason,
		Check: guardrail.Check{PII: g.Check.PII, Secrets: g.Check.Secrets, Patterns: g.Check.Patterns},
		Scope: guardrail.Scope{Projects: g.Scope.Projects, Agents: g.Scope.Agents, Models: g.Scope.Models, Tools: g.Scope.Tools},
	}
	for _, p := range g.On {
		r.On = append(r.On, guardrail.Point(p))
	}
	if l := g.Check.Length; l != nil {
		r.Check.Length = &guardrail.Length{Min: l.Min, Max: l.Max}
	}
	if g.Check.JSONSchema != nil {
		raw, err := json.Marshal(g.Check.JSONSchema)
		if err != nil {
			return r, stead.Wrap(stead.KindInvalid, err, "guardrail %s: its json_schema is none", g.Name)
		}
		r.Check.Schema = raw
	}
	if j := g.Check.Judge; j != nil {
		r.Check.Judge = &guardrail.JudgeBy{Model: j.Model, Criteria: j.Criteria, Within: time.Duration(j.Seconds) * time.Second}
	}
	if r.Action != guardrail.Ask && g.Approval == nil {
		return r, nil
	}
	a := config.GuardrailApproval{}
	if g.Approval != nil {
		a = *g.Approval
	}
	roles, ok := identity.Approvers()[cmp.Or(a.Role, string(identity.Approver))]
	if !ok {
		return r, stead.Invalid("guardrails.approval.role", "guardrail %s: role is approver or owner, not %q", g.Name, a.Role)
	}
	r.Needs = &policy.Needs{Roles: roles, Count: a.Count, ExpiresMS: int64(a.ExpiresSeconds) * time.Second.Milliseconds(), Separate: a.Separate}
	return r, nil
}

// openGuardrails makes the guard of this node.
func (n *node) openGuardrails(set *guardrail.Set, meter statelessMeter, authorizer policy.Authorizer, switches *killswitch.Switches) {
	asks := judge.New(n.models, func(c judge.Call) { meter.Metered(judgedCall(c)) }, time.Now)
	n.guardrails = guardrail.New(governedJudge{asks, authorizer, switches}, n.auditGuardrail)
	n.guardrails.Replace(set)
}

// governedJudge calls a judge's model where policies and kill switches let whoever the text is checked for call it; else there is no ruling, and the text is blocked.
type governedJudge struct {
	next       guardrail.Judge
	authorizer policy.Authorizer
	switches   *killswitch.Switches
}

// Judge implements guardrail.Judge. Nobody is asked for an approval of it: the text would wait.
func (j governedJudge) Judge(ctx context.Context, q guardrail.Question) (guardrail.Ruling, error) {
	by := q.Of.Principal
	by.Project = q.Of.Project
	ask := policy.Request{Principal: by, Agent: q.Of.Agent, Effect: policy.ModelCall, Resource: q.By.Model, Labels: q.Of.Labels, Model: q.Of.Model, Optional: true}
	if _, err := policy.Check(ctx, j.authorizer, ask); err != nil {
		return guardrail.Ruling{}, err
	}
	watched, done := j.switches.Watch(ctx, ask)
	defer done()
	return j.next.Judge(watched, q)
}

// guardrailDialect is how a judge's calls are told from those of doors.
const guardrailDialect = "guardrail"

// judgedCall is a judge's call as the meter of calls without a journal knows them.
func judgedCall(c judge.Call) server.Metered {
	m := server.Metered{
		Caller: c.Caller, Dialect: guardrailDialect, Model: c.Model, Info: c.Info, Route: c.Route, Usage: c.Usage, Guess: c.Guess, Whole: c.Whole, Sent: c.Sent,
		Finish: c.Finish, Began: c.Began, First: c.First, Took: c.Took, Outcome: server.OutcomeDone,
	}
	if c.Err != nil {
		m.Outcome = server.OutcomeGone
	}
	return m
}

// auditGuardrail records what a guardrail did to a text, before anybody has the text.
func (n *node) auditGuardrail(ctx context.Context, of guardrail.Subject, f guardrail.Finding, version string) error {
	decision := audit.Allow
	switch f.Action {
	case guardrail.Block:
		decision = audit.Deny
	case guardrail.Ask:
		decision = audit.RequireApproval
	}
	call := audit.CallOf(ctx)
	return n.audit.Append(ctx, audit.Record{
		At: time.Now().UnixMilli(), Project: of.Project, Principal: audit.Principal{Kind: of.Principal.Kind, ID: of.Principal.ID, Role: of.Principal.Role, Key: call.Key},
		Session: of.Session, Action: audit.ActGuardrail, Resource: f.Guardrail, Decision: decision, By: "guardrail", Reason: f.Reason, Version: version,
		Request: call.Request, From: call.From, Detail: string(f.Action) + " " + f.Summary(),
	})
}
