// Package budget keeps budgets, and decides by them whether a call may be made, or an environment go on.
//
// Shape: budgets of the configuration and of the API (documents) → those that are about a call →
// one reservation in usage.Ledger → settled by what the call used
//
//	GET, POST, DELETE ─▶ Service ─▶ document.Store
//	runner, doors ─Reserve, Settle─▶ Service ─▶ usage.Ledger
//	                                 Sweep: what a crash left held
//
// Fail closed: no call is made whose reservation is not durable. A budget is never overshot by more
// than one reservation, however many nodes call at once. A counter begins with what the records of
// its period say, so a budget that is made late counts what was used before it; calls that are under
// way at that moment it does not know.
//
// Freshness: a change is known at the node that made it at once, at others within RefreshEvery.
//
// Errors: KindInvalid names the field; KindNotFound; KindConflict for budgets of the configuration,
// which the API can't change; KindLimited above usage.MaxBudgets.
package budget

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/usage"
)

const kind document.Kind = "budget"

// Prefix begins the id of a budget of the API, PrefixConfig that of one of the configuration.
const (
	Prefix       = "budget_"
	PrefixConfig = "config_"
)

// RefreshEvery is how long a node believes the budgets that it has read.
const RefreshEvery = 2 * time.Second

// Store is what of a database the service needs.
type Store interface {
	journal.Usage
	journal.Directory
	usage.Ledger
}

// Config is what the service needs.
type Config struct {
	Store     Store
	Documents document.Store
	Policy    policy.Authorizer
	Fixed     []usage.Budget // of the configuration, until Replace: every project has them
	Now       func() time.Time
	// CallLife is the longest that a stateless call takes: what one holds an hour longer is of a node that died.
	CallLife time.Duration
	// Changed hears of each budget that was changed or deleted; nil: nobody does.
	Changed func(project stead.ProjectID, id string)
}

// Service keeps budgets. It is safe for concurrent use.
type Service struct {
	cfg Config

	configured atomic.Pointer[[]usage.Budget]

	mu    sync.Mutex
	known map[stead.ProjectID]known
}

// known are the budgets of a project as they were read.
type known struct {
	all []usage.Budget
	at  time.Time
}

// New makes a service.
func New(c Config) *Service {
	s := &Service{cfg: c, known: map[stead.ProjectID]known{}}
	s.configured.Store(&c.Fixed)
	return s
}

// Replace takes other budgets of the configuration. What one of the same name has used counts on; turns that wait for one
// that has changed are told, in every project.
func (s *Service) Replace(ctx context.Context, fixed []usage.Budget) error {
	before := *s.configured.Swap(&fixed)
	s.mu.Lock()
	clear(s.known)
	s.mu.Unlock()
	var changed []string
	for _, b := range before {
		if !slices.Contains(fixed, b) {
			changed = append(changed, b.ID)
		}
	}
	if len(changed) == 0 || s.cfg.Changed == nil {
		return nil
	}
	projects, err := s.cfg.Store.UsageProjects(ctx)
	if err != nil {
		return err
	}
	for _, project := range projects {
		for _, id := range changed {
			s.tell(project, id)
		}
	}
	return nil
}

// all returns a project's budgets.
func (s *Service) all(ctx context.Context, project stead.ProjectID) ([]usage.Budget, error) {
	now := s.cfg.Now()
	s.mu.Lock()
	k, ok := s.known[project]
	s.mu.Unlock()
	if ok && now.Sub(k.at) < RefreshEvery {
		return k.all, nil
	}
	k = known{all: append([]usage.Budget(nil), *s.configured.Load()...), at: now}
	q := document.Query{Project: project, Kind: kind, Limit: stead.MaxPageSize}
	for {
		docs, err := s.cfg.Documents.ListDocuments(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, d := range docs {
			stored, err := decode(d)
			if err != nil {
				return nil, err
			}
			k.all = append(k.all, stored.Budget)
			q.After = d.ID
		}
		if len(docs) < q.Limit {
			break
		}
	}
	s.mu.Lock()
	s.known[project] = k
	s.mu.Unlock()
	return k.all, nil
}

func (s *Service) forget(project stead.ProjectID) {
	s.mu.Lock()
	delete(s.known, project)
	s.mu.Unlock()
}

// Stored is a budget with what is known of its document.
type Stored struct {
	usage.Budget
	CreatedAt, UpdatedAt int64 // Unix milliseconds; 0 of one of the configuration
	// Used is what it has used in the present period, if it has but one counter.
	Used *usage.Counter
}

func decode(d document.Document) (Stored, error) {
	out := Stored{CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt}
	if err := json.Unmarshal(d.Data, &out.Budget); err != nil {
		return out, stead.Wrap(stead.KindInternal, err, "budget %s can't be read", d.ID)
	}
	out.ID = d.ID
	return out, nil
}
