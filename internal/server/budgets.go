package server

import (
	"context"
	"math"
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/budget"
)

// Budgets keeps what calls and environments may use: see package budget, which implements it.
type Budgets interface {
	Create(ctx context.Context, p stead.Principal, b usage.Budget, key, digest string) (budget.Stored, error)
	Get(ctx context.Context, p stead.Principal, id string) (budget.Stored, error)
	List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) ([]budget.Stored, bool, error)
	Update(ctx context.Context, p stead.Principal, id string, change func(*usage.Budget) error) (budget.Stored, error)
	Delete(ctx context.Context, p stead.Principal, id string) error
}

// wireAmount is a limit (null: none) or what was used (never null).
type wireAmount struct {
	CostMicroCents *int64 `json:"cost_microcents"`
	Tokens         *int64 `json:"tokens"`
	Calls          *int64 `json:"calls"`
	DurationMS     *int64 `json:"duration_ms"`
}

type wireBudget struct {
	ID        string      `json:"id"`
	Object    string      `json:"object"` // "budget"
	Name      *string     `json:"name"`
	Scope     string      `json:"scope"`
	Of        *string     `json:"of"` // null: all of the project, or each one of the scope has its own
	Period    string      `json:"period"`
	Limit     wireAmount  `json:"limit"`
	OnLimit   string      `json:"on_limit"` // "fail", "wait"
	Used      *wireAmount `json:"used"`     // in the present period; null: it is many counters
	Held      *wireAmount `json:"held"`     // by calls under way
	CreatedAt *int64      `json:"created_at"`
	UpdatedAt *int64      `json:"updated_at"` // null: it is one of the configuration
}

func wireBudgetOf(b budget.Stored) wireBudget {
	out := wireBudget{
		ID: b.ID, Object: "budget", Name: known(b.Name), Scope: string(b.Scope), Of: known(b.Of), Period: string(b.Period), OnLimit: b.OnLimit.Wire(),
		Limit:     wireAmount{above0(b.Limit.Cost), above0(b.Limit.Tokens), above0(b.Limit.Calls), above0(b.Limit.Millis)},
		CreatedAt: seconds(b.CreatedAt), UpdatedAt: seconds(b.UpdatedAt),
	}
	if c := b.Used; c != nil {
		out.Used, out.Held = wireUsed(c.Spent), wireUsed(c.Held)
	}
	return out
}

func above0(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}

func wireUsed(a usage.Amount) *wireAmount {
	return &wireAmount{&a.Cost, &a.Tokens, &a.Calls, &a.Millis}
}

func (s *server) createBudget(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a budget", "scope", "of", "period", "name", "limit", "on_limit"); err != nil {
		return err
	}
	scope, err := param.Need(req.Enum("scope", string(usage.ScopeProject), string(usage.ScopeAgent), string(usage.ScopeSession), string(usage.ScopeUser)))("scope")
	if err != nil {
		return err
	}
	period, ok, err := req.Enum("period", string(usage.PeriodTotal), string(usage.PeriodDay), string(usage.PeriodMonth))
	if err != nil {
		return err
	}
	if !ok {
		period = string(usage.PeriodTotal)
	}
	b := usage.Budget{Scope: usage.Scope(scope), Period: usage.Period(period)}
	if b.Of, _, err = req.String("of"); err != nil {
		return err
	}
	if err := changeBudget(req.Object, &b); err != nil {
		return err
	}
	made, err := s.Budgets.Create(r.Context(), p, b, req.key, req.digest)
	if err != nil {
		return err
	}
	return s.write(w, wireBudgetOf(made))
}

// changeBudget takes over the fields that an update may change. null removes a limit.
func changeBudget(o param.Object, b *usage.Budget) error {
	if name, ok, err := o.String("name"); err != nil {
		return err
	} else if ok || o.Null("name") {
		b.Name = name
	}
	if on, ok, err := o.Enum("on_limit", usage.WireFail, string(usage.LimitWaits)); err != nil {
		return err
	} else if ok {
		b.OnLimit = usage.OnLimitOf(on)
	}
	limit, ok, err := o.Object("limit")
	if err != nil || !ok {
		return err
	}
	return readAmount(limit, "the limit of a budget", &b.Limit)
}

// readAmount takes over the fields that there are, and refuses others: a limit that nobody knows would limit nothing.
// null is none. what names the amount for people.
func readAmount(o param.Object, what string, a *usage.Amount) error {
	if err := o.Only(what, "cost_microcents", "tokens", "calls", "duration_ms"); err != nil {
		return err
	}
	for name, into := range map[string]*int64{"cost_microcents": &a.Cost, "tokens": &a.Tokens, "calls": &a.Calls, "duration_ms": &a.Millis} {
		n, ok, err := o.Int(name, 1, math.MaxInt64/4)
		if err != nil {
			return err
		}
		if ok || o.Null(name) {
			*into = n
		}
	}
	return nil
}

// extraOf reads how much more than was used an approval lets a turn use; nil: nothing is said.
func extraOf(o param.Object) (*session.Spend, error) {
	extra, ok, err := o.Object("extra")
	if err != nil || !ok {
		return nil, err
	}
	var a usage.Amount
	if err := readAmount(extra, "extra", &a); err != nil {
		return nil, err
	}
	if a == (usage.Amount{}) {
		return nil, stead.Invalid(o.Path("extra"), "extra needs cost_microcents, tokens, calls or duration_ms, above 0")
	}
	spend := session.Spend(a)
	return &spend, nil
}

func (s *server) listBudgets(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := page(r.URL.Query())
	if err != nil {
		return err
	}
	found, more, err := s.Budgets.List(r.Context(), p, q.After, q.Desc, q.Limit)
	if err != nil {
		return err
	}
	data := make([]wireBudget, len(found))
	for i, b := range found {
		data[i] = wireBudgetOf(b)
	}
	return s.write(w, listOf(data, more, func(b wireBudget) string { return b.ID }))
}

func (s *server) getBudget(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	b, err := s.Budgets.Get(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.write(w, wireBudgetOf(b))
}

func (s *server) updateBudget(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	for _, fixed := range []string{"scope", "of", "period"} {
		if req.Has(fixed) {
			return stead.Invalid(fixed, "%s can't be changed: it says what the budget counts. Make another one", fixed)
		}
	}
	if err := req.Only("an update of a budget", "name", "limit", "on_limit"); err != nil {
		return err
	}
	b, err := s.Budgets.Update(r.Context(), p, r.PathValue("id"), func(b *usage.Budget) error { return changeBudget(req.Object, b) })
	if err != nil {
		return err
	}
	return s.write(w, wireBudgetOf(b))
}

func (s *server) deleteBudget(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("id")
	if err := s.Budgets.Delete(r.Context(), p, id); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "budget.deleted"})
}
