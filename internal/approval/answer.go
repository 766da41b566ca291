package approval

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
)

// The answers.
const (
	Approve  = "approve"
	Deny     = "deny"
	Cancel   = "cancel" // as Deny: there is no turn that could be cancelled
	Delegate = "delegate"
)

// Answer is somebody's answer.
type Answer struct {
	Decision string
	Reason   string
	Digest   string           // of what was shown; "": whoever answers does not say
	To       *policy.Delegate // delegate: to whom
	Key      string           // of idempotency; "": none
}

// Service is the desk as the API has it: each call says who asks, and is decided about.
type Service struct {
	desk *Desk
	// gate records what it decides; quiet does not: who only looks is asked about without.
	gate, quiet policy.Authorizer
}

// NewService makes one.
func NewService(d *Desk, gate, quiet policy.Authorizer) *Service { return &Service{d, gate, quiet} }

// Is reports whether an id is that of a question of this package.
func Is(id string) bool { return strings.HasPrefix(id, Prefix) }

// List is a page of the questions that wait: all of them for whoever may answer, else one's own.
func (s *Service) List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) (page []*Question, more bool, err error) {
	tag, err := s.sees(ctx, p)
	if err != nil {
		return nil, false, err
	}
	now := s.desk.cfg.Now().UnixMilli()
	for {
		docs, err := s.desk.cfg.Documents.ListDocuments(ctx, document.Query{Project: p.Project, Kind: kind, After: after, Desc: desc, Limit: stead.MaxPageSize, Tag: tag})
		if err != nil {
			return nil, false, err
		}
		for _, doc := range docs {
			after = doc.ID
			q, err := decode(doc)
			if err != nil {
				return nil, false, err
			}
			if q.Status(now) != Open {
				continue
			}
			if len(page) == limit {
				return page, true, nil
			}
			page = append(page, q)
		}
		if len(docs) < stead.MaxPageSize {
			return page, false, nil
		}
	}
}

// sees is the tag of the questions that somebody sees; "": all.
func (s *Service) sees(ctx context.Context, p stead.Principal) (string, error) {
	d, err := s.quiet.Decide(ctx, policy.Request{Principal: p, Effect: policy.ApprovalGive})
	if err != nil {
		return "", err
	}
	if d.Allow && !p.Bound && p.Session == "" {
		return "", nil
	}
	return owner(p), nil
}

// Get is one question, also when it is over.
func (s *Service) Get(ctx context.Context, p stead.Principal, id string) (*Question, error) {
	tag, err := s.sees(ctx, p)
	if err != nil {
		return nil, err
	}
	q, err := s.desk.load(ctx, p.Project, id)
	if err == nil && tag != "" && owner(q.By) != tag {
		return nil, stead.NotFound("request for approval", id)
	}
	return q, err
}

// Now is when it is, for Question.Status.
func (s *Service) Now() int64 { return s.desk.cfg.Now().UnixMilli() }

// CodeDigest is the code of an answer to something else than what the question shows.
const CodeDigest = "approval_digest_mismatch"

// Answer takes an answer. KindInvalid for a question that is over; KindConflict for another digest, or a second approval.
func (s *Service) Answer(ctx context.Context, p stead.Principal, id string, a Answer) error {
	if _, err := policy.Check(ctx, s.gate, policy.Request{Principal: p, Effect: policy.ApprovalGive, Resource: id}); err != nil {
		return err
	}
	d := s.desk
	turn := &d.turn[place(id)]
	turn.Lock()
	defer turn.Unlock()
	for range maxTries {
		q, err := d.load(ctx, p.Project, id)
		if err != nil {
			return err
		}
		if q.taken(p, a) {
			return nil
		}
		if err := d.check(q, p, a); err != nil {
			return err
		}
		if err := d.record(ctx, q, p, a); err != nil {
			return err
		}
		err = d.store(ctx, q, q.take(p, a, d.cfg.Now().UnixMilli()))
		if stead.KindOf(err) != stead.KindConflict {
			return err
		}
	}
	return stead.Errorf(stead.KindUnavailable, "request %s is being answered by others; try again", id)
}

func place(id string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(id)) //nolint:errcheck // a hash does not fail
	return h.Sum32() % turns
}

// check says why an answer can't be taken; nil: it can.
func (d *Desk) check(q *Question, p stead.Principal, a Answer) error {
	if s := q.Status(d.cfg.Now().UnixMilli()); s != Open {
		return stead.Invalid("id", "request %s does not wait for an answer any more: it is %s", q.ID, s)
	}
	if have := q.Digest(); a.Digest != "" && a.Digest != have {
		e := stead.Errorf(stead.KindConflict, "request %s asks about something else than what you answer: its digest is %s, not %.80s", q.ID, have, a.Digest)
		e.Code, e.Param, e.Hint = CodeDigest, "digest", "Look at the request again, and answer what it shows."
		return e
	}
	if (a.Decision == Delegate) != (a.To != nil) {
		return stead.Invalid("to", "delegate says to whom, and no other decision does")
	}
	switch a.Decision {
	case Approve:
		return q.asked().MayApprove(p)
	case Delegate:
		return q.asked().MayDelegate(p, *a.To)
	}
	return nil
}

// taken reports whether this very answer was taken before: it comes again with its key.
func (q *Question) taken(p stead.Principal, a Answer) bool {
	if a.Key == "" {
		return false
	}
	key := hash([]byte(a.Key))
	mine := func(g Given) bool { return g.Key == key && g.By.Kind == p.Kind && g.By.ID == p.ID }
	switch a.Decision {
	case Approve:
		return slices.ContainsFunc(q.Approved, mine)
	case Deny, Cancel:
		return q.Denial != nil && mine(*q.Denial)
	}
	return false
}

// take changes the question as an answer says, and returns what that was.
func (q *Question) take(p stead.Principal, a Answer, now int64) string {
	given := Given{By: p, At: now, Reason: a.Reason}
	if a.Key != "" {
		given.Key = hash([]byte(a.Key))
	}
	switch a.Decision {
	case Delegate:
		q.Delegated = &policy.Delegation{To: *a.To, By: p}
		return "handed on"
	case Approve:
		q.Approved, q.Delegated = append(q.Approved, given), nil
		if q.Needs.Missing(q.givers(), q.By) == 0 {
			q.Enough = now
		}
		return "approved"
	}
	q.Denial = &given
	return "denied"
}

// record puts an answer into the audit log.
func (d *Desk) record(ctx context.Context, q *Question, p stead.Principal, a Answer) error {
	call := audit.CallOf(ctx)
	r := audit.Record{
		At: d.cfg.Now().UnixMilli(), Project: p.Project, Session: q.Session, Principal: audit.Principal{Kind: p.Kind, ID: p.ID, Role: p.Role, Key: call.Key},
		Action: audit.ActAnswer, Resource: q.ID, Decision: audit.Allow, By: By, Reason: a.Reason, Policies: q.Policies, Version: q.Version, Request: call.Request, From: call.From,
		Detail: fmt.Sprintf("%s %s %s, effect %s", a.Decision, q.Effect, q.Resource, q.Digest()),
	}
	if a.To != nil {
		r.Detail = fmt.Sprintf("%s to %s: %s %s, effect %s", a.Decision, a.To, q.Effect, q.Resource, q.Digest())
	}
	if a.Decision == Deny || a.Decision == Cancel {
		r.Decision = audit.Deny
	}
	return d.cfg.Record(ctx, r)
}
