// Package erasure removes all that there is of a session or of a user, or what one item of a session says, and issues a certificate of
// what that was.
//
// Shape: Request {session, item or user} → Erasure (a document) → Certificate (signed)
//
//	running ─▶ each session: count it, delete it, and why people answered in it ─▶ memories ─▶ credentials ─▶ reasons ─▶ files ─▶ sessions that were shown any of it: redact that ─▶ nothing is left ─▶ purge ─▶ certificate ─▶ completed
//	        ─▶ an item, in its session and in copies: redact it ─▶ nothing of it is left ─▶ purge ─▶ certificate ─▶ completed
//
// Every step is written down before the next one begins, and can be made again: whichever node finds an erasure that
// nobody works on goes on with it (Sweep). The certificate is made when nothing is left, and not before; it is in the
// audit log, as a digest, before anybody is shown it.
//
// Units and limits: times are Unix milliseconds; MaxListed, holdFor, WaitForTurn.
//
// Delivery: at least once. What was deleted in the step that a crash cut off is counted, but for files and reasons of that step, and for memories
// of a session, which may be counted too low. Memories that are erased by themselves, or as those of a scope, are all listed.
//
// Errors: KindNotFound, KindForbidden as those who are asked say; KindConflict for a session with a turn in progress,
// where it was asked for by itself.
package erasure

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/approval"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/file"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

const (
	// Prefix begins the id of an erasure.
	Prefix = "erasure_"
	kind   = document.Kind("erasure")
	// holdFor is how long an erasure is its node's since its last step; then another goes on, and before that where the node is dead.
	holdFor = 5 * time.Minute
	// WaitForTurn is how long a turn that was cancelled may take to end.
	WaitForTurn = 30 * time.Second
	// lookEvery is how often a node looks for erasures that nobody works on.
	lookEvery  = 5 * time.Second
	turnPoll   = 50 * time.Millisecond
	sweepLimit = 64
)

// The kinds of subject.
const (
	OfSession = "session"
	OfUser    = "user"
	OfItem    = "item"
	OfMemory  = "memory" // one entry
	OfScope   = "scope"  // of memories
)

// Subject is whose data goes.
type Subject struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

// The states of an erasure.
const (
	Running   = "running"
	Completed = "completed"
	// Held is what State says of one that is Running, and has nothing left to do but what policies refuse.
	Held = "held"
)

// Erasure is one, as it stands.
type Erasure struct {
	ID        string            `json:"-"`
	Status    string            `json:"status"`
	Principal stead.Principal   `json:"principal"`
	Problem   string            `json:"problem,omitempty"` // why the last try did not get further; for people
	So        Certificate       `json:"so"`                // what is erased so far
	Current   *session.Holdings `json:"current,omitempty"` // of the session that is being deleted
	// Redaction is of the item that is being redacted, in one session.
	Redaction *session.Redaction `json:"redaction,omitempty"`
	// Waiting are those that are done but for texts that are too young to be removed.
	Waiting []session.Redaction `json:"waiting,omitempty"`
	Queue   []stead.SessionID   `json:"queue,omitempty"`
	// Emptied is when nothing was left but bytes in the database's files, in Unix milliseconds.
	Emptied int64 `json:"emptied,omitempty"`
	// Node works on it, or did.
	Node        stead.NodeID `json:"node,omitempty"`
	Certificate string       `json:"certificate,omitempty"` // once completed
	SHA256      string       `json:"sha256,omitempty"`

	// Asked: it is a deletion, for which no turn is cancelled: what is in use stays, and the erasure goes instead.
	Asked bool `json:"asked,omitempty"`
	// Before: nor is a session deleted that somebody used since, in Unix milliseconds; 0: whenever.
	Before int64 `json:"before,omitempty"`
	// Meant are memories ("STORE/ENTRY") that are being forgotten: which of them went stands in So when that is known.
	Meant []string `json:"meant,omitempty"`
	// Made are memories that are being forgotten beside those, or of a user: how many of them went is counted when that is known.
	Made []string `json:"made,omitempty"`
	// Gone are the sessions that were erased and that the certificate has no place for (of a user those about which nothing was taken out of questions
	// yet); of an item, those where it was redacted.
	Gone []stead.SessionID `json:"gone,omitempty"`
	// Counted: what was taken out of sessions that were shown it is in So.
	Counted bool `json:"counted,omitempty"`
	// Held: all that is left of it stands in sessions that policies keep.
	Held bool `json:"held,omitempty"`
	// Approved is what was approved of the request: what is done behind it, or on another node, is done under that.
	Approved approval.Grants `json:"approved,omitempty"`

	version int64
	created int64
	saved   time.Time // when another node was told last that it is this one's
	marked  bool      // it waits for a purge, and a mark says so
	// later is when it is gone on with: it waits for sessions that are in use, or that a policy keeps; 0: it does not
	later   time.Duration
	awaited bool // somebody waits for its end
}

// State is what people are told of how it stands.
func (e Erasure) State() string {
	if e.Status == Running && e.Held {
		return Held
	}
	return e.Status
}

// Sessions is what the service needs of sessions.
type Sessions interface {
	List(ctx context.Context, p stead.Principal, q session.ListQuery) (session.Page[session.Session], error)
	Get(ctx context.Context, p stead.Principal, id stead.SessionID) (session.Session, error)
	Send(ctx context.Context, p stead.Principal, id stead.SessionID, req session.SendRequest) error
	Erase(ctx context.Context, p stead.Principal, id stead.SessionID) (session.Erased, error)
	Holdings(ctx context.Context, p stead.Principal, id stead.SessionID) (session.Holdings, error)
	Scour(ctx context.Context, p stead.Principal, id stead.SessionID) (session.Erased, error)
	Redacting(ctx context.Context, p stead.Principal, id stead.SessionID, item string) (session.Redaction, error)
	Redact(ctx context.Context, p stead.Principal, plan session.Redaction) (session.Redaction, session.Erased, error)
}

// Config is what a Service stands on.
type Config struct {
	Sessions  Sessions
	Documents document.Store
	Policy    policy.Authorizer
	Signer    audit.Signer
	// Record stores an audit record.
	Record func(ctx context.Context, r audit.Record) error
	// Memories forgets those of a user, and begun is what an earlier try had begun with and did not tell the end of; nil: there are none.
	Memories func(ctx context.Context, p stead.Principal, user string, begun []string, c Counting) error
	// Erasable says why an entry or a scope, as memory.Erasing has its name, may not be erased; Entries forgets it, behind what an earlier try
	// had begun with and did not tell the end of: of what was meant, and of what was made of that. nil: there are none.
	Erasable func(ctx context.Context, p stead.Principal, name string) error
	Entries  func(ctx context.Context, p stead.Principal, name string, begun, made []string, b Book) error
	// Credentials removes tokens that a user consented to; nil: there are none.
	Credentials func(ctx context.Context, project stead.ProjectID, user string) (int, error)
	// Sources takes a user's name off those that they made, and says off how many; nil: there are none.
	Sources func(ctx context.Context, project stead.ProjectID, user string) (int, error)
	// Texts removes what people wrote into the project's audit records, and says how much; nil: there is none.
	Texts func(ctx context.Context, project stead.ProjectID, of audit.TextQuery) (int, error)
	// Questions takes what was shown of requests out of the questions about them: those that of says yes to; nil: there are none.
	Questions func(ctx context.Context, project stead.ProjectID, of func(id stead.SessionID, user string) bool) error
	// Because makes what is forgotten under a context forgotten for an erasure. Unshow takes it out of the journals of sessions that were shown
	// it, of most of them at most, as far as that can be done now; it may be called again. nil: nobody is shown anything.
	Because func(ctx context.Context, erasure string) context.Context
	Unshow  func(ctx context.Context, ask Unshowing) (Unshown, error)
	// Purges takes the bytes of what was deleted out of the database's files before it is certified; nil: nobody does.
	Purges *Purges
	// Files deletes those that a user uploaded.
	Files func(ctx context.Context, p stead.Principal, user string) ([]file.File, error)
	// Node is this one, and Lives says whether another one does; nil: nobody knows.
	Node  stead.NodeID
	Lives func(ctx context.Context, node stead.NodeID) (bool, error)
	Now   func() time.Time
	Log   *slog.Logger
}

// Book is told of memories ("STORE/ENTRY") that are about to go, and then which of them went; and of what was made of them.
type Book struct {
	Means func(ids []string) error
	Went  func(ids []string) error
	Counting
}

// Counting is told of memories ("STORE/ENTRY") that are about to go, and then how many of them went.
type Counting struct {
	Makes func(ids []string) error
	Made  func(n int) error
}

// Service erases. It is safe for concurrent use, by several nodes too.
type Service struct {
	cfg  Config
	kick chan struct{} // something was begun here
	owed chan struct{} // a purge is
}

// New makes a Service.
func New(c Config) *Service { return &Service{c, make(chan struct{}, 1), make(chan struct{}, 1)} }

// Run goes on with what was begun, here or on a node that died, until ctx ends; and purges beside that, which may take long.
func (s *Service) Run(ctx context.Context) {
	var purging sync.WaitGroup
	purging.Go(func() {
		for ctx.Err() == nil {
			if err := s.Purge(ctx); err != nil && ctx.Err() == nil {
				s.cfg.Log.Debug("purges", "err", err)
			}
			sleep(ctx, s.owed, s.pause())
		}
	})
	for ctx.Err() == nil {
		n, err := s.Sweep(ctx)
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Debug("erasures", "err", err)
		}
		if n < sweepLimit { // else there may be more
			sleep(ctx, s.kick, lookEvery)
		}
	}
	purging.Wait()
}

// sleep waits until it is woken.
func sleep(ctx context.Context, woken <-chan struct{}, most time.Duration) {
	select {
	case <-ctx.Done():
	case <-woken:
	case <-time.After(most):
	}
}

// wake has somebody look at once.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pause is how long there is no purge to make, unless something is emptied here.
func (s *Service) pause() time.Duration {
	if s.cfg.Purges == nil {
		return lookEvery
	}
	if wait := s.cfg.Purges.wait(); wait > 0 {
		return min(wait, lookEvery)
	}
	return lookEvery
}

// Session erases one session and says which memories went with it. What it can't begin with, such as a turn in progress,
// leaves nothing.
func (s *Service) Session(ctx context.Context, p stead.Principal, id stead.SessionID) (Erasure, error) {
	return s.SessionBefore(ctx, p, id, 0)
}

// SessionBefore is Session for one that nobody used since a time (Unix milliseconds): KindConflict where somebody did.
func (s *Service) SessionBefore(ctx context.Context, p stead.Principal, id stead.SessionID, before int64) (Erasure, error) {
	h, err := s.cfg.Sessions.Holdings(ctx, p, id)
	if err != nil {
		return Erasure{}, err
	}
	e := s.conceive(ctx, p, Subject{OfSession, string(id)})
	e.Current, e.Asked, e.Before = &h, true, before
	if err := s.create(ctx, &e, "", ""); err != nil {
		return e, err
	}
	e.awaited = true
	err = s.run(ctx, &e)
	if _, waits := errors.AsType[*waiting](err); waits {
		return e, nil // the session is gone; what others were shown of it follows
	}
	if refused, ok := errors.AsType[*refusal](err); ok {
		_ = s.withdraw(context.WithoutCancel(ctx), &e) // else Sweep finds it, is refused again, and withdraws it
		return e, refused.err
	}
	return e, err
}

// withdraw ends an erasure that deleted nothing.
func (s *Service) withdraw(ctx context.Context, e *Erasure) error {
	return s.cfg.Documents.DeleteDocument(ctx, s.key(e.Principal.Project, e.ID), 0)
}

// refusal is that what was asked for is not begun.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }

// Request is an erasure that is asked for.
type Request struct {
	Subject     Subject
	Forks       bool
	Answers     bool   // with what agents said in sessions since they were shown it
	Key, Digest string // of the request; "": none
}

// Begin writes down what is to be erased: it goes on by itself, on whichever node. Turns that are in progress are cancelled.
func (s *Service) Begin(ctx context.Context, p stead.Principal, req Request) (Erasure, error) {
	e := s.conceive(ctx, p, req.Subject)
	e.So.Forks = req.Forks && (req.Subject.Kind == OfSession || req.Subject.Kind == OfItem)
	if e.So.Answers = req.Answers; req.Answers {
		if err := s.allowAnswers(ctx, p, req.Subject); err != nil {
			return e, err
		}
	}
	if req.Subject.ID == "" {
		return e, stead.Invalid("subject", "say which session, which of its items, which user, which memory or which scope")
	}
	var err error
	switch req.Subject.Kind {
	case OfItem:
		err = s.beginItem(ctx, p, &e)
	case OfUser:
		err = s.allowUser(ctx, p, req.Subject.ID)
	case OfMemory, OfScope:
		err = s.allowMemory(ctx, p, req.Subject.ID)
	default:
		err = s.beginSession(ctx, p, &e)
	}
	if err != nil {
		return e, err
	}
	if err := s.create(ctx, &e, req.Key, req.Digest); err != nil {
		return e, err
	}
	wake(s.kick)
	return e, nil
}

func (s *Service) beginSession(ctx context.Context, p stead.Principal, e *Erasure) error {
	id := stead.SessionID(e.So.Subject.ID)
	if _, err := s.cfg.Sessions.Holdings(ctx, p, id); err != nil {
		return err
	}
	e.Queue = []stead.SessionID{id}
	return s.allowSession(ctx, p, id, "")
}

// allowSession makes the record of who asked, and from where.
func (s *Service) allowSession(ctx context.Context, p stead.Principal, id stead.SessionID, resource string) error {
	of := stead.SessionKey{Project: p.Project, Session: id}
	_, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Session: of, Effect: policy.SessionDelete, Resource: resource})
	return err
}

// allowUser asks for the right to delete sessions, and to write to what else a user has.
func (s *Service) allowUser(ctx context.Context, p stead.Principal, user string) error {
	if p.Session != "" || p.Bound && p.ID != user {
		return stead.Errorf(stead.KindForbidden, "only what is one's own may be erased")
	}
	for _, effect := range []policy.Effect{policy.SessionDelete, policy.MemoryWrite, policy.FileWrite} {
		if _, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Effect: effect, Resource: "user:" + user}); err != nil {
			return err
		}
	}
	return nil
}

// allowAnswers asks for the right to delete sessions: what agents said in those of others goes.
func (s *Service) allowAnswers(ctx context.Context, p stead.Principal, of Subject) error {
	if of.Kind == OfItem {
		return stead.Invalid("answers", "answers is for what sessions were shown of memories, not for an item")
	}
	if p.Session != "" || p.Bound {
		return stead.Errorf(stead.KindForbidden, "only what is one's own may be erased: answers is for those who may delete the sessions of others")
	}
	_, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Effect: policy.SessionDelete, Resource: of.Kind + ":" + of.ID})
	return err
}

// allowMemory is asked of memory, which makes the record of who asked.
func (s *Service) allowMemory(ctx context.Context, p stead.Principal, name string) error {
	if s.cfg.Erasable == nil {
		return stead.Errorf(stead.KindNotImplemented, "this server keeps no memories")
	}
	if p.Session != "" {
		return stead.Errorf(stead.KindForbidden, "a token of a session erases no memories")
	}
	return s.cfg.Erasable(ctx, p, name)
}

func (s *Service) conceive(ctx context.Context, p stead.Principal, of Subject) Erasure {
	id, now := document.NewID(Prefix), s.cfg.Now().UnixMilli()
	return Erasure{ID: id, Status: Running, Principal: p, created: now, So: Certificate{
		ID: id, Project: p.Project, Subject: of, By: audit.Principal{Kind: p.Kind, ID: p.ID, Role: p.Role, Key: audit.CallOf(ctx).Key},
		RequestedAt: now, Sessions: []session.Holdings{},
	}}
}

func (s *Service) key(project stead.ProjectID, id string) document.Key {
	return document.Key{Project: project, Kind: kind, ID: id}
}

// allowRead: those who read the audit log, and who asked for it.
func (s *Service) allowRead(ctx context.Context, p stead.Principal, e *Erasure) error {
	if e != nil && p.Session == "" && e.Principal.Kind == p.Kind && e.Principal.ID == p.ID {
		return nil
	}
	_, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Effect: policy.AuditRead})
	return err
}

// Get returns an erasure.
func (s *Service) Get(ctx context.Context, p stead.Principal, id string) (Erasure, error) {
	d, err := s.cfg.Documents.GetDocument(ctx, s.key(p.Project, id))
	if stead.KindOf(err) == stead.KindNotFound {
		if refused := s.allowRead(ctx, p, nil); refused != nil {
			return Erasure{}, refused
		}
		return Erasure{}, err
	}
	if err != nil {
		return Erasure{}, err
	}
	e, err := decode(d)
	if err == nil {
		err = s.allowRead(ctx, p, &e)
	}
	return e, err
}

// List returns a page, and whether there are more.
func (s *Service) List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) ([]Erasure, bool, error) {
	if err := s.allowRead(ctx, p, nil); err != nil {
		return nil, false, err
	}
	docs, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: p.Project, Kind: kind, After: after, Desc: desc, Limit: limit + 1})
	if err != nil {
		return nil, false, err
	}
	more := len(docs) > limit
	out := make([]Erasure, min(len(docs), limit))
	for i := range out {
		if out[i], err = decode(docs[i]); err != nil {
			return nil, false, err
		}
	}
	return out, more, nil
}

// Verifier is the key by which certificates can be checked.
func (s *Service) Verifier() audit.Verifier { return s.cfg.Signer.Verifier() }
