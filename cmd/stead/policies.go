package main

import (
	"cmp"
	"context"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/approval"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/cedar"
	"github.com/stead-dev/stead/internal/policy/policyset"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/budget"
)

// policySet loads the policies of a configuration; nil where it has none.
func policySet(cfg *config.Config) (*cedar.Set, error) {
	p := cfg.Policies
	if !p.Any() {
		return nil, nil
	}
	var sources []cedar.Source
	for _, name := range p.Builtin {
		source, err := cedar.Builtin(name)
		if err != nil {
			return nil, err
		}
		sources = append(sources, source)
	}
	if p.Directory != "" {
		found, err := cedar.ReadDir(p.Directory)
		if err != nil {
			return nil, err
		}
		sources = append(sources, found...)
	}
	if p.Inline != "" {
		sources = append(sources, cedar.Source{Name: "inline", Text: []byte(p.Inline)})
	}
	return cedar.Load(sources, cedar.Options{Deny: p.Deny(), Approvers: identity.Approvers()})
}

// openDesk makes what keeps requests that wait for an approval. It does nothing by itself until Sweep is called, which is when record
// can be: what was due while no node ran is recorded at once.
func (n *node) openDesk(store document.Store, record func(context.Context, audit.Record) error) *approval.Desk {
	return approval.NewDesk(approval.Config{Documents: store, Record: record, Now: time.Now, Log: n.log})
}

// openPolicies makes the decider of this node: roles, then policies, which it returns too, then what projects uploaded.
func (n *node) openPolicies(store document.Store) (*cedar.Authorizer, *cedar.Set, error) {
	set, err := policySet(n.cfg)
	if err != nil {
		return nil, nil, err
	}
	n.uploaded = policyset.NewLive(store, identity.Approvers(), time.Now, n.log)
	n.policies = cedar.New(identity.Authorizer{}, time.Now, n.log).With(n.uploaded.Project)
	n.policies.Replace(set)
	n.doubt(set)
	return n.policies, set, nil
}

// doubt logs which of the policies in force never match by what they name.
func (n *node) doubt(set *cedar.Set) {
	if set == nil {
		return
	}
	for _, d := range set.Doubts(identity.Roles()) {
		n.log.Warn("a policy names what there can't be, and may never match", "policy", d.Policy, "file", d.Source, "line", d.Line, "problem", d.Problem)
	}
}

// budgetsFor finds how far the budgets are used up that a request is about, for policies that look at them. What somebody sends to a session is charged to whom
// that serves.
func budgetsFor(budgets *budget.Service, run func() *runner.Runner) cedar.Budgets {
	return func(ctx context.Context, req policy.Request) (*policy.Budgets, error) {
		who := usage.Subject{Project: req.Principal.Project, Agent: cmp.Or(req.Base, req.Agent), Session: req.Session.Session, User: cmp.Or(req.Serves, req.Principal.ID)}
		if who.Session != "" && !req.Acting {
			var err error
			if who, err = run().Charged(ctx, req.Session); stead.KindOf(err) == stead.KindNotFound {
				return &policy.Budgets{}, nil // whoever may not is not told that it is not there
			} else if err != nil {
				return nil, err
			}
		}
		state, err := budgets.State(ctx, who, req.At)
		if err != nil {
			return nil, err
		}
		return &state, nil
	}
}

// policySets is the service of what projects upload.
func (n *node) policySets(store document.Store, gate policy.Authorizer) *policyset.Service {
	return policyset.NewService(policyset.Config{Documents: store, Policy: gate, Live: n.uploaded, Approvers: identity.Approvers(), Now: time.Now})
}

// stillReads asks whether somebody may read a session as before, and records it when they may not: a stream is asked about often.
func stillReads(quiet, recorded policy.Authorizer) func(context.Context, stead.Principal, stead.SessionID) error {
	return func(ctx context.Context, p stead.Principal, id stead.SessionID) error {
		req := policy.Request{Principal: p, Session: stead.SessionKey{Project: p.Project, Session: id}, Effect: policy.SessionRead}
		if d, err := quiet.Decide(ctx, req); err != nil || d.Allow {
			return err
		}
		_, err := policy.Check(ctx, recorded, req)
		return err
	}
}

// watchedDesk is the desk as the API has it; who reads its questions, in which people's texts stand, is recorded as who reads sessions is.
type watchedDesk struct {
	*approval.Service
	log *audit.Authorizer
}

// List implements server.Approvals. A page that the questions do not fill goes on with those of sessions, which is recorded as their reading.
func (d watchedDesk) List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) (page []*approval.Question, more bool, err error) {
	if page, more, err = d.Service.List(ctx, p, after, desc, limit); err == nil && more {
		err = d.log.Look(ctx, p, "", "")
	}
	return page, more, err
}

// Get implements server.Approvals.
func (d watchedDesk) Get(ctx context.Context, p stead.Principal, id string) (*approval.Question, error) {
	q, err := d.Service.Get(ctx, p, id)
	if err != nil {
		return nil, err
	}
	return q, d.log.Look(ctx, p, q.Session, id)
}
