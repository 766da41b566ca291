package approval

import (
	"context"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
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
	Decision string           `json:"decision"`
	Reason   string           `json:"reason,omitempty"`
	Digest   string           `json:"-"`             // of what was shown; "": whoever answers does not say
	To       *policy.Delegate `json:"to,omitempty"`  // delegate: to whom
	Key      string           `json:"key,omitempty"` // of idempotency, and as it is kept its SHA-256; "": none
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

// Answer takes an answer, of somebody who sees the question. KindInvalid for a question that is over; KindConflict for another digest, or a second approval.
func (s *Service) Answer(ctx context.Context, p stead.Principal, id string, a Answer) error {
	if _, err := policy.Check(ctx, s.gate, policy.Request{Principal: p, Effect: policy.ApprovalGive, Resource: id}); err != nil {
		return err
	}
	tag, err := s.sees(ctx, p)
	if err != nil {
		return err
	}
	if a.Key != "" {
		a.Key = hash([]byte(a.Key))
	}
	d := s.desk
	turn := &d.turn[place(id)]
	turn.Lock()
	defer turn.Unlock()
	for range maxTries {
		q, err := d.load(ctx, p.Project, id)
		if err == nil && tag != "" && owner(q.By) != tag {
			err = stead.NotFound("request for approval", id)
		}
		if err != nil {
			return err
		}
		if q.Pending != nil { // somebody else's step comes first
			if err := d.behind(ctx, q); err != nil {
				return err
			}
			continue
		}
		if q.taken(p, a) {
			return nil
		}
		if err := d.check(q, p, a); err != nil {
			return err
		}
		err = d.step(ctx, q, d.pending(ctx, q, stepAnswer, p, a))
		if stead.KindOf(err) != stead.KindConflict {
			return err
		}
	}
	return stead.Errorf(stead.KindUnavailable, "request %s is being answered by others; try again", id)
}

// behind waits for a pending step, or finishes it when nobody does.
func (d *Desk) behind(ctx context.Context, q *Question) error {
	if d.cfg.Now().UnixMilli() >= q.due() {
		return d.finish(ctx, q)
	}
	const look = 10 * time.Millisecond
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(look):
		return nil
	}
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
	mine := func(g Given) bool { return g.Key == a.Key && g.By.Kind == p.Kind && g.By.ID == p.ID }
	switch a.Decision {
	case Approve:
		return slices.ContainsFunc(q.Approved, mine)
	case Deny, Cancel:
		return q.Denial != nil && mine(*q.Denial)
	}
	return false
}
