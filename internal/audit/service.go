package audit

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

const (
	// CheckpointEvery is how often logs that have grown are signed.
	CheckpointEvery = time.Minute
	// chainEvery is how often what came with the appends of sessions gets its places.
	chainEvery = 250 * time.Millisecond
	// signAtOnce is how many projects are asked for at once.
	signAtOnce = 100
)

// Config is what the service needs.
type Config struct {
	Store  Store
	Policy policy.Authorizer
	Signer Signer
	Now    func() time.Time
	Log    *slog.Logger
}

// Service shows logs and signs them. It is safe for concurrent use.
type Service struct{ cfg Config }

// NewService makes the service.
func NewService(cfg Config) *Service { return &Service{cfg} }

// Filter selects records; the zero Filter takes all.
type Filter struct {
	From, To  int64 // Unix milliseconds: at or after, before; 0: no bound
	Action    string
	Decision  Decision
	Principal string // its id
	Resource  string
}

func (f Filter) takes(r *Record) bool {
	return (f.From == 0 || r.At >= f.From) && (f.To == 0 || r.At < f.To) &&
		(f.Action == "" || f.Action == r.Action) && (f.Decision == "" || f.Decision == r.Decision) &&
		(f.Principal == "" || f.Principal == r.Principal.ID) && (f.Resource == "" || f.Resource == r.Resource)
}

// ListQuery selects a page of records.
type ListQuery struct {
	Filter
	After int64 // place to go on after; 0: from the end that Desc says
	Desc  bool
	Limit int
}

// List returns a page of the records of the caller's project, with what people wrote into them as far as it is there, and whether
// there are more. Filters look at record after record, between the times that they give.
func (s *Service) List(ctx context.Context, p stead.Principal, q ListQuery) ([]Row, bool, error) {
	if err := s.allow(ctx, p); err != nil {
		return nil, false, err
	}
	if err := s.cfg.Store.ChainAudit(ctx); err != nil {
		return nil, false, err
	}
	out, more, err := s.list(ctx, p, q)
	if err == nil {
		err = Fill(ctx, s.cfg.Store, p.Project, out)
	}
	return out, more, err
}

func (s *Service) list(ctx context.Context, p stead.Principal, q ListQuery) ([]Row, bool, error) {
	var out []Row
	page := Query{Project: p.Project, After: q.After, Desc: q.Desc, Limit: MaxRows}
	if q.Filter == (Filter{}) {
		page.Limit = q.Limit + 1
	}
	first, last, err := s.between(ctx, p.Project, q.Filter)
	if err != nil {
		return nil, false, err
	}
	if q.Desc && (page.After == 0 || page.After > last) {
		page.After = last
	} else if !q.Desc {
		page.After = max(page.After, first-1)
	}
	for {
		rows, err := s.cfg.Store.AuditRows(ctx, page)
		if err != nil {
			return nil, false, err
		}
		for _, row := range rows {
			if row.Seq < first || row.Seq >= last {
				return out, false, nil
			}
			r, err := Decode(row.Data)
			if err != nil {
				return nil, false, err
			}
			if q.takes(&r) {
				out = append(out, row)
			}
			if len(out) > q.Limit {
				return out[:q.Limit], true, nil
			}
		}
		if len(rows) < page.Limit {
			return out, false, nil
		}
		page.After = rows[len(rows)-1].Seq
	}
}

// maxDisorder is how much earlier than one before it a record may be: as far as the clocks of nodes differ, and long waits for
// a store.
const maxDisorder = 24 * time.Hour

// between is from which place on, and before which, the records are that a filter's times leave. Times nearly rise, so that
// they are found by halves.
func (s *Service) between(ctx context.Context, project stead.ProjectID, f Filter) (first, last int64, err error) {
	first, last = 1, math.MaxInt64
	if f.From == 0 && f.To == 0 {
		return first, last, nil
	}
	tree, err := s.cfg.Store.AuditTree(ctx, project)
	if err != nil {
		return first, last, err
	}
	if f.From > 0 {
		if first, err = s.since(ctx, project, tree.Size, f.From-maxDisorder.Milliseconds()); err != nil {
			return first, last, err
		}
	}
	if f.To > 0 {
		last, err = s.since(ctx, project, tree.Size, f.To+maxDisorder.Milliseconds())
	}
	return first, last, err
}

// since is the place of a record that is at a time or later, and before which none is more than maxDisorder later; behind the
// last one if there is none.
func (s *Service) since(ctx context.Context, project stead.ProjectID, size, at int64) (int64, error) {
	low, high := int64(1), size+1
	for low < high {
		mid := low + (high-low)/2
		rows, err := s.cfg.Store.AuditRows(ctx, Query{Project: project, After: mid - 1, Limit: 1})
		if err != nil {
			return 0, err
		}
		if len(rows) == 0 || rows[0].Seq >= high { // those from here on were removed, or are not there yet
			high = mid
			continue
		}
		r, err := Decode(rows[0].Data)
		if err != nil {
			return 0, err
		}
		if r.At >= at {
			high = mid
		} else {
			low = rows[0].Seq + 1
		}
	}
	return low, nil
}

func (s *Service) allow(ctx context.Context, p stead.Principal) error {
	_, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Effect: policy.AuditRead})
	return err
}

// Checkpoints returns a page of the checkpoints of the caller's project, the smallest first, and
// whether there are more. It signs the log first if it has grown, so that the last one covers every
// record that was there when it was asked.
func (s *Service) Checkpoints(ctx context.Context, p stead.Principal, after int64, limit int) ([]Note, bool, error) {
	if err := s.allow(ctx, p); err != nil {
		return nil, false, err
	}
	if err := s.cfg.Store.ChainAudit(ctx); err != nil {
		return nil, false, err
	}
	if err := s.sign(ctx, p.Project); err != nil {
		return nil, false, err
	}
	notes, err := s.cfg.Store.AuditNotes(ctx, p.Project, after, limit+1)
	return notes[:min(len(notes), limit)], len(notes) > limit, err
}

// Base is the tree of the records of the caller's project that were removed.
func (s *Service) Base(ctx context.Context, p stead.Principal) (Tree, error) {
	if err := s.allow(ctx, p); err != nil {
		return Tree{}, err
	}
	return s.cfg.Store.AuditBase(ctx, p.Project)
}

// Verifier is the key by which the signatures of this node can be checked.
func (s *Service) Verifier() Verifier { return s.cfg.Signer.Verifier() }

func (s *Service) sign(ctx context.Context, project stead.ProjectID) error {
	t, err := s.cfg.Store.AuditTree(ctx, project)
	if err != nil || t.Size == 0 {
		return err
	}
	had, err := s.cfg.Store.AuditNotes(ctx, project, t.Size-1, 1)
	if err != nil || len(had) > 0 {
		return err
	}
	c := Checkpoint{Project: project, Size: t.Size, Root: t.Root(), At: s.cfg.Now().UnixMilli()}
	return s.cfg.Store.AddAuditNote(ctx, project, Note{Size: c.Size, Text: s.cfg.Signer.Sign(c)})
}

// SignAll makes a checkpoint of every log that has grown since its last.
func (s *Service) SignAll(ctx context.Context) error {
	if err := s.cfg.Store.ChainAudit(ctx); err != nil {
		return err
	}
	for {
		projects, err := s.cfg.Store.UnsignedAudit(ctx, signAtOnce)
		if err != nil {
			return err
		}
		for _, p := range projects {
			if err := s.sign(ctx, p); err != nil {
				return err
			}
		}
		if len(projects) < signAtOnce {
			return nil
		}
	}
}

// Start signs every CheckpointEvery, and gives places to what came with appends, until the function that it returns is
// called, which signs once more.
func (s *Service) Start() (stop func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(CheckpointEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := s.SignAll(ctx); err != nil && ctx.Err() == nil {
				s.cfg.Log.Warn("audit logs could not be signed; it is tried again", "err", err)
			}
		}
	})
	done.Go(func() { s.chain(ctx) })
	return func(ctx context.Context) error {
		cancel()
		done.Wait()
		return s.SignAll(ctx)
	}
}

func (s *Service) chain(ctx context.Context) {
	tick := time.NewTicker(chainEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.cfg.Store.ChainAudit(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			s.cfg.Log.Warn("audit records of sessions could not be put into their logs; it is tried again", "err", err)
		}
		failing = err != nil
	}
}
