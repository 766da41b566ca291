package approval

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
)

// Config is what a Desk stands on.
type Config struct {
	Documents document.Store
	// Record puts a record into the audit log: before an answer counts.
	Record func(context.Context, audit.Record) error
	Now    func() time.Time
	Log    *slog.Logger
}

// Desk keeps questions. It is safe for concurrent use.
type Desk struct {
	cfg Config
	// turn lets one answer at a time of this node be taken: others would be recorded, and then find that they came second.
	turn [turns]sync.Mutex
}

const turns = 64

// NewDesk makes a desk.
func NewDesk(c Config) *Desk { return &Desk{cfg: c} }

// question is what would be asked about a request.
func (d *Desk) question(act *Act, req policy.Request, said policy.Decision) *Question {
	now := d.cfg.Now().UnixMilli()
	q := &Question{
		ID: document.NewID(Prefix), Project: req.Principal.Project, By: req.Principal, At: now, Effect: req.Effect, Resource: req.Resource, Session: req.Session.Session, Behind: req.Behind,
		Method: act.Method, Path: act.Path, Match: act.Match, Body: hash(act.body),
		Needs: *said.Needs, Why: said.Reason, Policies: said.Policies, Version: said.Version,
	}
	var ok bool
	q.View, q.Whole, ok = view(req.Effect, act.body)
	q.blind = !ok
	q.Pinned, q.Exact = pinned(req)
	if !act.names(q.Resource) {
		q.Resource = ""
	}
	if req.Acting {
		q.Agent = req.Agent
	}
	slot := []string{q.tag(), owner(q.By), string(req.Principal.Session), string(q.Effect), q.Resource, string(q.Session), q.Method, q.Path, q.Match, q.Body}
	if req.Pinned != "" { // what was asked before there was this keeps its slot
		slot = append(slot, req.Pinned)
	}
	q.slot = digest(slot...)
	q.stand(now)
	return q
}

// stand begins the question's time.
func (q *Question) stand(now int64) {
	stands := MaxStands.Milliseconds()
	if ms := q.Needs.ExpiresMS; ms > 0 {
		stands = ms
	}
	q.At, q.Until = now, now+stands
}

// again is the same question with an id of its own.
func (q *Question) again(now int64) *Question {
	out := *q
	out.ID = document.NewID(Prefix)
	out.stand(now)
	return &out
}

// ask stores a question, unless there is one about this very request: then it returns that one.
func (d *Desk) ask(ctx context.Context, fresh *Question) (*Question, error) {
	fresh.Pending = d.pending(ctx, fresh, stepAsk, fresh.By, Answer{})
	doc, err := fresh.document(fresh.At)
	if err != nil {
		return nil, err
	}
	stored, err := d.cfg.Documents.CreateDocument(ctx, doc, fresh.slot, "")
	if err != nil {
		return nil, err
	}
	q, err := decode(stored)
	if err != nil {
		return nil, err
	}
	q.slot = fresh.slot
	if q.ID != fresh.ID {
		return q, nil
	}
	if err := d.makeRoom(ctx, q); err != nil {
		return nil, err
	}
	return q, d.finish(ctx, q)
}

// makeRoom keeps a principal's questions few: what is over goes, and when too many wait, the new one does. Whoever asks at the same time
// counts too, so that there are never more.
func (d *Desk) makeRoom(ctx context.Context, q *Question) error {
	var all []document.Document
	for after := ""; ; {
		page, err := d.cfg.Documents.ListDocuments(ctx, document.Query{Project: q.Project, Kind: kind, Tag: q.tag(), After: after, Limit: stead.MaxPageSize})
		if err != nil {
			return err
		}
		all = append(all, page...)
		if len(page) < stead.MaxPageSize {
			break
		}
		after = page[len(page)-1].ID
	}
	now, ahead := d.cfg.Now().UnixMilli(), 0
	for _, doc := range all {
		other, err := decode(doc)
		if err != nil {
			return err
		}
		if s := other.Status(now); s == Open || s == Approved {
			if other.ID < q.ID {
				ahead++
			}
		} else if len(all) > MaxOpen && !other.replayable(now) {
			if err := d.remove(ctx, other); err != nil {
				return err
			}
		}
	}
	if ahead < MaxOpen {
		return nil
	}
	if err := d.remove(ctx, q); err != nil {
		return err
	}
	return stead.Errorf(stead.KindLimited, "%d requests of %s %.80q, or of its session, wait for approval or to be sent again; the limit is %d", ahead, q.By.Kind, q.By.ID, MaxOpen)
}

func (q *Question) replayable(now int64) bool {
	return q.Use != nil && q.Use.Key != "" && now < q.Use.At+ReplayFor.Milliseconds()
}

// load finds a question; KindNotFound.
func (d *Desk) load(ctx context.Context, project stead.ProjectID, id string) (*Question, error) {
	doc, err := d.cfg.Documents.GetDocument(ctx, document.Key{Project: project, Kind: kind, ID: id})
	if stead.KindOf(err) == stead.KindNotFound {
		return nil, stead.NotFound("request for approval", id)
	}
	if err != nil {
		return nil, err
	}
	return decode(doc)
}

// store stores a question over the version that was read: KindConflict when somebody was quicker.
func (d *Desk) store(ctx context.Context, q *Question) error {
	doc, err := q.document(d.cfg.Now().UnixMilli())
	if err != nil {
		return err
	}
	if _, err := d.cfg.Documents.UpdateDocument(ctx, doc); err != nil {
		return err
	}
	q.version++
	return nil
}

// remove takes a question away, if it is as it was read.
func (d *Desk) remove(ctx context.Context, q *Question) error {
	err := d.cfg.Documents.DeleteDocument(ctx, document.Key{Project: q.Project, Kind: kind, ID: q.ID}, q.version)
	if k := stead.KindOf(err); k == stead.KindNotFound || k == stead.KindConflict {
		return nil
	}
	return err
}

// sweepEvery is how often questions are looked for whose time is over, and sweepAtOnce how many are taken together.
const (
	sweepEvery  = 2 * time.Second
	sweepAtOnce = 200
)

// Sweep looks after questions, until the function that it returns is called. Any number of nodes may.
func (d *Desk) Sweep() (stop func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			if err := d.SweepOnce(ctx); err != nil && ctx.Err() == nil {
				d.cfg.Log.Warn("requests for approval could not be swept; it is tried again", "err", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(sweepEvery):
			}
		}
	})
	return func(context.Context) error {
		cancel()
		all.Wait()
		return nil
	}
}

// SweepOnce finishes what others began, records what nobody answered in time, and removes what is over.
func (d *Desk) SweepOnce(ctx context.Context) error {
	for {
		over, err := d.cfg.Documents.ExpiredDocuments(ctx, kind, d.cfg.Now().UnixMilli(), sweepAtOnce)
		if err != nil {
			return err
		}
		var failed []error // one question keeps no other waiting
		for _, doc := range over {
			if err := d.tend(ctx, doc); err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", doc.ID, err))
			}
		}
		if len(over) < sweepAtOnce || len(failed) > 0 {
			return errors.Join(failed...)
		}
	}
}

// tend does what is due of one question.
func (d *Desk) tend(ctx context.Context, doc document.Document) error {
	q, err := decode(doc)
	if err != nil {
		return err
	}
	switch now := d.cfg.Now().UnixMilli(); {
	case q.Pending != nil:
		err = d.finish(ctx, q)
	case q.lapses(now):
		err = d.lapse(ctx, q, q.ends())
	case now >= q.goes():
		err = d.remove(ctx, q)
	}
	if k := stead.KindOf(err); k == stead.KindConflict || k == stead.KindNotFound {
		return nil // another node did
	}
	return err
}
