package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/approval"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/erasure"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/cedar"
	"github.com/stead-dev/stead/internal/retention"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/seal"
)

// auditLabel is the place for which the key of checkpoints is derived from the node's: nodes that
// share a database share that, so that they sign alike.
func auditLabel() seal.Label { return seal.Label{Kind: "audit", ID: "checkpoints"} }

// auditing is what records decisions and shows them.
type auditing struct {
	log     *audit.Log
	gate    *audit.Authorizer // the decider that everybody asks
	service *audit.Service
	signer  audit.Signer
	// strangers are those who were turned away at the door.
	strangers *audit.Strangers
	// refusals are those of who was stopped.
	refusals *audit.Refusals
}

func retentionRules(rules []config.Retention) (out []retention.Rule) {
	for _, r := range rules {
		out = append(out, retention.Rule{Project: stead.ProjectID(r.Project), Sessions: config.Days(r.Sessions), Files: config.Days(r.Files), Memories: config.Days(r.Memories), Audit: config.Days(r.Audit)})
	}
	return out
}

// openErasures makes the service that erases, and goes on with what was begun for as long as the node runs; and deletes what was
// kept for long enough.
func (n *node) openErasures(run *runner.Runner, store database, audited *auditing, services configured, desk *approval.Desk, purges *erasure.Purges) (*erasure.Service, *retention.Service) {
	s := erasure.New(erasure.Config{
		Node: n.id, Lives: store.Lives, Sessions: run, Documents: store, Policy: audited.gate, Signer: audited.signer, Record: audited.log.Append, Now: time.Now, Log: n.log, Files: services.files.DeleteOf,
		Memories: func(ctx context.Context, p stead.Principal, user string, begun []string, c erasure.Counting) error {
			count := memoryCounting(c)
			if err := services.memory.Counted(ctx, p.Project, memoryRefs(begun), count); err != nil {
				return err
			}
			if err := services.memory.Erase(ctx, p, memory.Filter{Scopes: []memory.Scope{{Type: memory.ScopeUser, ID: user}}}, &count); err != nil {
				return err
			}
			return services.memory.Erase(ctx, p, memory.Filter{WrittenBy: user}, &count) // in scopes that others share
		},
		Erasable: func(ctx context.Context, p stead.Principal, name string) error {
			return services.memory.MayErase(ctx, p, memory.ErasingOf(name))
		},
		Entries: func(ctx context.Context, p stead.Principal, name string, begun, made []string, b erasure.Book) error {
			return services.memory.EraseNow(ctx, p, memory.ErasingOf(name), memoryRefs(begun), memoryRefs(made), memory.Book{
				Means:    func(refs []memory.Ref) error { return b.Means(memoryNames(refs)) },
				Went:     func(gone []memory.Ref) error { return b.Went(memoryNames(gone)) },
				Counting: memoryCounting(b.Counting),
			})
		},
		Because: memory.Because,
		Unshow: func(ctx context.Context, ask erasure.Unshowing) (erasure.Unshown, error) {
			return unshown(ctx, run, services.memory, ask)
		},
		Credentials: services.vaults.Forget, Sources: services.sources.ForgetMaker, Questions: desk.Blank, Purges: purges,
		Texts: func(ctx context.Context, project stead.ProjectID, of audit.TextQuery) (int, error) {
			return audit.Forget(ctx, store, project, of, nil)
		},
	})
	kept := retention.New(retention.Config{
		Rules: retentionRules(n.cfg.Retention), Heads: store.Heads, Logs: store, Documents: store, Files: services.files.DeleteBefore, Memories: services.memory.ForgetBefore,
		Record: audited.log.Append, Policy: audited.gate, Now: time.Now, Log: n.log,
		Erase: func(ctx context.Context, p stead.Principal, id stead.SessionID, before int64) error {
			_, err := s.SessionBefore(ctx, p, id, before)
			return err
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	running.Go(func() { kept.Run(ctx) })
	running.Go(func() {
		services.memory.RunUnshow(ctx, func(err error) {
			n.log.Warn("what is forgotten could not be taken out of a session that was shown it; it is tried again", "err", err)
		})
	})
	n.onStop(func(context.Context) error {
		cancel()
		running.Wait()
		return nil
	})
	return s, kept
}

func memoryCounting(c erasure.Counting) memory.Counting {
	return memory.Counting{Makes: func(refs []memory.Ref) error { return c.Makes(memoryNames(refs)) }, Made: c.Made}
}

// memoryNames names memories as certificates do: STORE/ENTRY.
func memoryNames(refs []memory.Ref) []string {
	out := make([]string, len(refs))
	for i, r := range refs {
		out[i] = r.Store + "/" + r.ID
	}
	return out
}

// memoryRefs is the inverse of memoryNames.
func memoryRefs(names []string) []memory.Ref {
	out := make([]memory.Ref, len(names))
	for i, name := range names {
		out[i].Store, out[i].ID, _ = strings.Cut(name, "/")
	}
	return out
}

// newSigner makes what signs checkpoints and certificates, of the key that seals; it vouches for the other ones.
func newSigner(keys *seal.Keys) (audit.Signer, error) {
	return audit.NewSigner(keys.Derive(auditLabel()), keys.Others(auditLabel())...)
}

// openAudit puts the audit log between everybody and the decider, and records what is in force.
func (n *node) openAudit(ctx context.Context, store audit.Store, keys *seal.Keys, first policy.Authorizer, next inForce) (*auditing, error) {
	signer, err := newSigner(keys)
	if err != nil {
		return nil, err
	}
	n.seals.signer, n.seals.configKey = signer, keys.Derive(configLabel())
	a := &auditing{log: audit.NewLog(store), signer: signer}
	a.gate = audit.NewAuthorizer(first, a.log, audit.Level(cmp.Or(n.cfg.Audit.Decisions, config.AuditAll)), time.Now, n.log)
	a.gate.Recording(audit.Reads(n.cfg.Audit.Reads))
	a.service = audit.NewService(audit.Config{Store: store, Policy: a.gate, Signer: signer, Now: time.Now, Log: n.log})
	n.onStop(a.service.Start()) // when the rest has stopped: the last checkpoint covers all of it
	n.onStop(a.log.Close)
	a.strangers = audit.NewStrangers(a.log, time.Now, n.log)
	n.onStop(a.strangers.Close)
	a.refusals = audit.NewRefusals(a.log, time.Now, n.log)
	n.onStop(a.refusals.Close)
	n.audit = a.log
	record := func(ctx context.Context) error { return n.recordStart(ctx, next) }
	return a, n.orWhenThereIsRoom(ctx, record)
}

// unsaid removes from beside the audit log what repeats what was said in a session.
func unsaid(store audit.Store) func(ctx context.Context, key stead.SessionKey, said []string) (int, error) {
	return func(ctx context.Context, key stead.SessionKey, said []string) (int, error) {
		return audit.Forget(ctx, store, key.Project, audit.TextQuery{Session: key.Session}, audit.Repeats(said))
	}
}

// auditConnection records what an environment was allowed to connect to, or not, before anything is sent.
func (n *node) auditConnection(ctx context.Context, k stead.SessionKey, r egress.Record) error {
	decision, reason := audit.Allow, ""
	said, _ := errors.AsType[quoting](r.Cause)
	if !r.Allowed {
		decision, reason = audit.Deny, r.Rule+": "+r.Reason
	}
	to := r.To()
	detail := r.Kind + " " + to
	if r.Method != "" {
		detail = r.Method + " " + to + r.Path
	}
	if r.Repeated > 0 {
		detail = fmt.Sprintf("%s, refused %d more times", detail, r.Repeated)
	}
	return n.audit.Append(ctx, audit.Record{
		At: r.Time.UnixMilli(), Project: k.Project, Principal: audit.Principal{Kind: stead.PrincipalAgent, ID: string(k.Session)}, Session: k.Session,
		Action: audit.ActConnect, Resource: to, Decision: decision, By: "network", Reason: reason, Quotes: said.of, About: said.about, Detail: detail,
	})
}

// shownPolicies shows the policies in force to those that the node's decider lets see them.
type shownPolicies struct {
	gate     policy.Authorizer
	policies *cedar.Authorizer
}

func (s shownPolicies) allow(ctx context.Context, p stead.Principal) error {
	_, err := policy.Check(ctx, s.gate, policy.Request{Principal: p, Effect: policy.PolicyRead})
	return err
}

// Rules implements server.Policies.
func (s shownPolicies) Rules(ctx context.Context, p stead.Principal) ([]policy.Rule, error) {
	if err := s.allow(ctx, p); err != nil {
		return nil, err
	}
	return s.policies.Rules(ctx, p)
}

// Schema implements server.Policies.
func (s shownPolicies) Schema(ctx context.Context, p stead.Principal) (string, error) {
	if err := s.allow(ctx, p); err != nil {
		return "", err
	}
	return s.policies.Schema(ctx, p)
}

// recordForgotten notes that what was derived from a session was forgotten.
func (n *node) recordForgotten(ctx context.Context, p stead.Principal, session string, what memory.Forgotten) error {
	return n.audit.Append(ctx, audit.Record{
		At: time.Now().UnixMilli(), Project: p.Project, Principal: audit.Principal{Kind: p.Kind, ID: p.ID, Role: p.Role},
		Session: stead.SessionID(session), Action: audit.ActForget, Resource: session, Decision: audit.Allow, By: "deletion",
		Detail: fmt.Sprintf("%d memories removed, %d lost a source", what.Removed, what.Changed),
	})
}
