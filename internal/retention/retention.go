// Package retention deletes what has been kept for as long as its project wants.
//
// Shape: Rule {project, how long sessions, files, memories and audit records are kept} → Run, once an Every, on one node
//
//	sessions   idle, or failed, since then: erased, each to a certificate (package erasure)
//	files      uploaded before then
//	memories   not changed since then
//	audit      records before a checkpoint that old: pruned, so that what follows can still be verified
//
// Units: times are Unix milliseconds. A time of 0 keeps for ever.
//
// Delivery: a pass that fails is made again an Every later; each deletion stands by itself, and is in the audit log.
package retention

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

const (
	// Every is how often each project is looked at.
	Every = time.Hour
	// firstAfter is when a node that starts looks first.
	firstAfter = time.Minute
	// page is how many sessions or logs are looked at at once.
	page = 100
	kind = document.Kind("retention")
)

// Rule says how long a project keeps things; 0: for ever.
type Rule struct {
	Project                          stead.ProjectID // "": every project that no other rule names
	Sessions, Files, Memories, Audit time.Duration
}

// Config is what a Service stands on.
type Config struct {
	Rules     []Rule
	Heads     func(ctx context.Context, project stead.ProjectID, q journal.Query) ([]journal.Head, error)
	Logs      audit.Store // the projects that there are have audit logs
	Documents document.Store
	// Erase deletes a session, with a certificate, unless somebody used it since before (Unix milliseconds): KindConflict.
	Erase func(ctx context.Context, p stead.Principal, id stead.SessionID, before int64) error
	// Files and Memories delete those from before a time, and say how many.
	Files, Memories func(ctx context.Context, p stead.Principal, before int64) (int, error)
	// Record stores an audit record.
	Record func(ctx context.Context, r audit.Record) error
	Policy policy.Authorizer
	Now    func() time.Time
	Log    *slog.Logger
}

// Service deletes. It is safe for concurrent use, by several nodes too.
type Service struct{ cfg Config }

// New makes a Service.
func New(c Config) *Service { return &Service{c} }

// Run looks at every project, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	if len(s.cfg.Rules) == 0 {
		return
	}
	for wait := firstAfter; ; wait = Every / 4 { // a node that died may have been about to
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if err := s.Pass(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("not all that is kept for too long could be deleted; it is tried again", "err", err)
		}
	}
}

// Pass looks once at every project that is due.
func (s *Service) Pass(ctx context.Context) error {
	var errs []error
	seen := map[stead.ProjectID]bool{}
	look := func(project stead.ProjectID) {
		rule, ok := s.rule(project)
		if !ok || seen[project] {
			return
		}
		seen[project] = true
		mine, err := s.claim(ctx, project)
		if err == nil && mine {
			err = s.project(ctx, project, rule)
		}
		errs = append(errs, err)
	}
	for _, r := range s.cfg.Rules { // those that are named, whether anything of them is on record or not
		if r.Project != "" {
			look(r.Project)
		}
	}
	for after := stead.ProjectID(""); ; {
		logs, err := s.cfg.Logs.AuditLogs(ctx, after, page)
		if err != nil {
			return err
		}
		for _, l := range logs {
			after = l.Project
			look(after)
		}
		if len(logs) < page {
			return errors.Join(errs...)
		}
	}
}

// Rule is what holds for the caller's project; the zero Rule keeps everything.
func (s *Service) Rule(ctx context.Context, p stead.Principal) (Rule, error) {
	_, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Effect: policy.PolicyRead})
	r, _ := s.rule(p.Project)
	r.Project = p.Project
	return r, err
}

func (s *Service) rule(project stead.ProjectID) (Rule, bool) {
	found, ok := Rule{}, false
	for _, r := range s.cfg.Rules {
		if r.Project == project {
			return r, true
		}
		if r.Project == "" {
			found, ok = r, true
		}
	}
	return found, ok
}

// claim makes a project this node's until the next pass: who changes the document has it.
func (s *Service) claim(ctx context.Context, project stead.ProjectID) (bool, error) {
	now := s.cfg.Now()
	d := document.Document{
		Key: document.Key{Project: project, Kind: kind, ID: "pass"}, CreatedAt: now.UnixMilli(), UpdatedAt: now.UnixMilli(), Data: json.RawMessage(`{}`),
	}
	had, err := s.cfg.Documents.GetDocument(ctx, d.Key)
	switch {
	case stead.KindOf(err) == stead.KindNotFound:
		d.Version = 1
		_, err = s.cfg.Documents.CreateDocument(ctx, d, "", "")
	case err != nil:
		return false, err
	case now.UnixMilli() < had.UpdatedAt+Every.Milliseconds():
		return false, nil
	default:
		d.Version = had.Version + 1
		_, err = s.cfg.Documents.UpdateDocument(ctx, d)
	}
	if stead.KindOf(err) == stead.KindConflict {
		return false, nil
	}
	return err == nil, err
}

func (s *Service) project(ctx context.Context, project stead.ProjectID, r Rule) error {
	p := stead.Principal{Project: project, Kind: stead.PrincipalNode, ID: "retention"}
	before := func(keep time.Duration) int64 { return s.cfg.Now().Add(-keep).UnixMilli() }
	var errs []error
	if r.Sessions > 0 {
		errs = append(errs, s.sessions(ctx, p, before(r.Sessions)))
	}
	for _, x := range []struct {
		keep time.Duration
		do   func(context.Context, stead.Principal, int64) (int, error)
		what string
	}{{r.Files, s.cfg.Files, "files"}, {r.Memories, s.cfg.Memories, "memories"}} {
		if x.keep == 0 {
			continue
		}
		n, err := x.do(ctx, p, before(x.keep))
		if n > 0 {
			s.cfg.Log.Info("kept for long enough", "project", project, x.what, n)
			errs = append(errs, s.record(ctx, p, x.what, fmt.Sprintf("%d %s from before %s", n, x.what, time.UnixMilli(before(x.keep)).UTC().Format(time.RFC3339))))
		}
		errs = append(errs, err)
	}
	if r.Audit > 0 {
		errs = append(errs, s.prune(ctx, p, before(r.Audit)))
	}
	return errors.Join(errs...)
}

func (s *Service) record(ctx context.Context, p stead.Principal, what, detail string) error {
	return s.cfg.Record(ctx, audit.Record{
		At: s.cfg.Now().UnixMilli(), Project: p.Project, Principal: audit.Principal{Kind: p.Kind, ID: p.ID},
		Action: audit.ActRetention, Resource: what, Decision: audit.Allow, By: "retention", Detail: detail,
	})
}

// sessions erases those that rest since before a time. Ids are in the order of creation: it ends with the first that was made later.
func (s *Service) sessions(ctx context.Context, p stead.Principal, before int64) error {
	var errs []error
	kept := 0
	defer func() {
		if kept > 0 {
			s.cfg.Log.Info("policies keep sessions beyond their time", "project", p.Project, "sessions", kept)
		}
	}()
	for q := (journal.Query{Limit: page}); ; {
		heads, err := s.cfg.Heads(ctx, p.Project, q)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for _, h := range heads {
			q.After = h.Key.Session
			rests := h.Listing.Status == session.StatusIdle || h.Listing.Status == session.StatusFailed
			if !rests || h.CreatedAt >= before || h.Listing.LastActive >= before {
				continue
			}
			switch err := s.cfg.Erase(ctx, p, h.Key.Session, before); stead.KindOf(err) {
			case stead.KindForbidden: // a hold, which is in the audit log; it is asked again next time
				kept++
			case stead.KindNotFound, stead.KindConflict: // somebody else was faster, or it is in use again
			default:
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil {
					errs = append(errs, fmt.Errorf("session %s: %w", h.Key.Session, err))
				}
			}
		}
		if len(heads) < q.Limit {
			return errors.Join(errs...)
		}
	}
}

// prune removes the records before the newest checkpoint that is old enough. That is recorded first.
func (s *Service) prune(ctx context.Context, p stead.Principal, before int64) error {
	to, err := audit.Prunable(ctx, s.cfg.Logs, p.Project, before)
	if err != nil || to == nil {
		return err
	}
	detail := fmt.Sprintf("records up to %d, of the tree %s", to.Size, to.Root())
	if err := s.record(ctx, p, "audit", detail); err != nil {
		return err
	}
	return s.cfg.Logs.PruneAudit(ctx, p.Project, *to)
}
