package budget

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/usage"
)

// written is what records say of a budget.
func written(b usage.Budget) map[string]string {
	limit, err := json.Marshal(b.Limit)
	if err != nil {
		return nil // it can't be stored either
	}
	return map[string]string{"id": b.ID, "name": b.Name, "scope": string(b.Scope), "of": b.Of, "period": string(b.Period), "limit": string(limit), "on_limit": b.OnLimit.Wire()}
}

// will is what records say of a budget that is about to be changed; nil: it can't be said, and the change fails.
func (s *Service) will(ctx context.Context, p stead.Principal, id string, change func(*usage.Budget) error) map[string]string {
	d, err := s.cfg.Documents.GetDocument(ctx, keyOf(p, id))
	if err != nil {
		return nil
	}
	b, err := decode(d)
	if err != nil || change != nil && change(&b.Budget) != nil {
		return nil
	}
	b.ID = id
	return written(b.Budget)
}

func (s *Service) allow(ctx context.Context, p stead.Principal, effect policy.Effect, id string, written map[string]string) error {
	_, err := policy.Check(ctx, s.cfg.Policy, policy.Request{Principal: p, Effect: effect, Resource: id, Written: written})
	return err
}

func keyOf(p stead.Principal, id string) document.Key {
	return document.Key{Project: p.Project, Kind: kind, ID: id}
}

// Create makes a budget. The same idempotency key with the same request gives the same one again.
func (s *Service) Create(ctx context.Context, p stead.Principal, b usage.Budget, key, digest string) (Stored, error) {
	b.ID = document.NewID(Prefix)
	if err := s.allow(ctx, p, policy.BudgetWrite, "", written(b)); err != nil {
		return Stored{}, err
	}
	if err := b.Check(); err != nil {
		return Stored{}, err
	}
	s.forget(p.Project)
	all, err := s.all(ctx, p.Project)
	if err != nil {
		return Stored{}, err
	}
	if len(all) >= usage.MaxBudgets {
		e := stead.Errorf(stead.KindConflict, "the project has %d budgets; the limit is %d", len(all), usage.MaxBudgets)
		e.Hint = "Delete one, or make one for each session, agent or user by leaving out of."
		return Stored{}, e
	}
	now := s.cfg.Now().UnixMilli()
	data, err := json.Marshal(b)
	if err != nil {
		return Stored{}, stead.Wrap(stead.KindInternal, err, "encode budget")
	}
	d, err := s.cfg.Documents.CreateDocument(ctx, document.Document{Key: keyOf(p, b.ID), CreatedAt: now, UpdatedAt: now, Data: data}, key, digest)
	if err != nil {
		return Stored{}, err
	}
	return s.changed(ctx, p, d)
}

// changed makes a change known here, and returns the budget as it is now.
func (s *Service) changed(ctx context.Context, p stead.Principal, d document.Document) (Stored, error) {
	s.forget(p.Project)
	out, err := decode(d)
	if err != nil {
		return out, err
	}
	return s.used(ctx, p.Project, out)
}

// used adds what a budget has used, if it is one counter's.
func (s *Service) used(ctx context.Context, project stead.ProjectID, b Stored) (Stored, error) {
	if b.Scope != usage.ScopeProject && b.Of == "" {
		return b, nil
	}
	who := usage.Subject{Project: project, Agent: stead.AgentID(b.Of), Session: stead.SessionID(b.Of), User: b.Of}
	at := s.cfg.Now().UnixMilli()
	name, ok := b.Counter(who, at)
	if !ok {
		return b, nil
	}
	have, err := s.cfg.Store.Counters(ctx, project, []string{name})
	if err != nil {
		return b, err
	}
	c, ok := have[name]
	if !ok { // no call has asked for it yet
		if c.Spent, err = s.spent(ctx, &b.Budget, who, at, name); err != nil {
			return b, err
		}
	}
	b.Used = &c
	return b, nil
}

// Get returns a budget, of the API or of the configuration.
func (s *Service) Get(ctx context.Context, p stead.Principal, id string) (Stored, error) {
	if err := s.allow(ctx, p, policy.BudgetRead, id, nil); err != nil {
		return Stored{}, err
	}
	if b := s.fixed(id); b != nil && !hidden(p, b) {
		return s.used(ctx, p.Project, Stored{Budget: *b})
	}
	_, out, err := s.document(ctx, p, id)
	if err != nil {
		return Stored{}, err
	}
	return s.used(ctx, p.Project, out)
}

// hidden reports whether a budget is another user's, or one session's, to a principal that is bound to its own sessions: to it, it is not there.
func hidden(p stead.Principal, b *usage.Budget) bool {
	return p.Bound && b.Of != "" && (b.Scope == usage.ScopeUser && b.Of != p.ID || b.Scope == usage.ScopeSession)
}

// document reads a budget's document, if the principal may know of it.
func (s *Service) document(ctx context.Context, p stead.Principal, id string) (document.Document, Stored, error) {
	d, err := s.cfg.Documents.GetDocument(ctx, keyOf(p, id))
	if err != nil {
		return d, Stored{}, err
	}
	out, err := decode(d)
	if err == nil && hidden(p, &out.Budget) {
		err = d.NotFound()
	}
	return d, out, err
}

// fixed is a budget of the configuration; nil: there is none of the id.
func (s *Service) fixed(id string) *usage.Budget {
	all := *s.configured.Load()
	if i := slices.IndexFunc(all, func(b usage.Budget) bool { return b.ID == id }); i >= 0 {
		return &all[i]
	}
	return nil
}

// List returns a page of budgets in the order of their ids, those of the configuration last, and
// whether there are more.
func (s *Service) List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) ([]Stored, bool, error) {
	if err := s.allow(ctx, p, policy.BudgetRead, "", nil); err != nil {
		return nil, false, err
	}
	s.forget(p.Project)
	all, err := s.all(ctx, p.Project)
	if err != nil {
		return nil, false, err
	}
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b usage.Budget) int {
		if desc {
			a, b = b, a
		}
		return strings.Compare(a.ID, b.ID)
	})
	all = slices.DeleteFunc(all, func(b usage.Budget) bool {
		return hidden(p, &b) || after != "" && (b.ID == after || (b.ID < after) != desc)
	})
	out := []Stored{}
	for _, b := range all[:min(len(all), limit)] {
		one, err := s.Get(ctx, p, b.ID)
		if stead.KindOf(err) == stead.KindNotFound {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, false, err
		}
		out = append(out, one)
	}
	return out, len(all) > limit, nil
}

// maxTries is how often an update is tried again over a change that came between.
const maxTries = 5

// Update changes a budget's name, limit and what happens at it: whose it is stays, since its counters are by that.
func (s *Service) Update(ctx context.Context, p stead.Principal, id string, change func(*usage.Budget) error) (Stored, error) {
	if err := s.allow(ctx, p, policy.BudgetWrite, id, s.will(ctx, p, id, change)); err != nil {
		return Stored{}, err
	}
	if b := s.fixed(id); b != nil && !hidden(p, b) {
		return Stored{}, configured(id)
	}
	var err error
	for range maxTries {
		d, b, refused := s.document(ctx, p, id)
		if refused != nil {
			return Stored{}, refused
		}
		if err = change(&b.Budget); err == nil {
			err = b.Check()
		}
		if err != nil {
			return b, err
		}
		if d.Data, err = json.Marshal(b.Budget); err != nil {
			return b, stead.Wrap(stead.KindInternal, err, "encode budget")
		}
		d.Version++
		d.UpdatedAt = s.cfg.Now().UnixMilli()
		if d, err = s.cfg.Documents.UpdateDocument(ctx, d); err == nil {
			defer s.tell(p.Project, id)
			return s.changed(ctx, p, d)
		}
		if stead.KindOf(err) != stead.KindConflict {
			return Stored{}, err
		}
	}
	return Stored{}, err
}

// Delete removes a budget: from then on it limits nothing.
func (s *Service) Delete(ctx context.Context, p stead.Principal, id string) error {
	if err := s.allow(ctx, p, policy.BudgetWrite, id, s.will(ctx, p, id, nil)); err != nil {
		return err
	}
	if b := s.fixed(id); b != nil && !hidden(p, b) {
		return configured(id)
	}
	if p.Bound {
		if _, _, err := s.document(ctx, p, id); err != nil {
			return err
		}
	}
	defer s.tell(p.Project, id)
	defer s.forget(p.Project)
	return s.cfg.Documents.DeleteDocument(ctx, keyOf(p, id), 0)
}

func (s *Service) tell(project stead.ProjectID, id string) {
	if s.cfg.Changed != nil {
		s.cfg.Changed(project, id)
	}
}

func configured(id string) error {
	e := stead.Errorf(stead.KindConflict, "budget %s is one of the configuration", id)
	e.Hint = "Change it in stead.yaml, under budgets."
	return e
}
