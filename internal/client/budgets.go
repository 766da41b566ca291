package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// Amount is a limit, or what was used. nil is none, and of a limit: not limited.
type Amount struct {
	Cost   *int64 `json:"cost_microcents,omitempty"`
	Tokens *int64 `json:"tokens,omitempty"`
	Calls  *int64 `json:"calls,omitempty"`
	Millis *int64 `json:"duration_ms,omitempty"`
}

// Budget is a budget with what was used of it.
type Budget struct {
	Raw     json.RawMessage `json:"-"`
	ID      string          `json:"id"`
	Name    *string         `json:"name"`
	Scope   string          `json:"scope"`
	Of      *string         `json:"of"`
	Period  string          `json:"period"`
	Limit   Amount          `json:"limit"`
	OnLimit string          `json:"on_limit"`
	Used    *Amount         `json:"used"` // in the present period; nil: each one of the scope has its own
	Held    *Amount         `json:"held"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *Budget) UnmarshalJSON(data []byte) error {
	type bare Budget
	return keep(data, (*bare)(b), &b.Raw)
}

// BudgetParams make a budget, or change one: then Scope, Of and Period are empty.
type BudgetParams struct {
	Name    string `json:"name,omitempty"`
	Scope   string `json:"scope,omitempty"`
	Of      string `json:"of,omitempty"`
	Period  string `json:"period,omitempty"`
	OnLimit string `json:"on_limit,omitempty"`
	Limit   Amount `json:"limit"`
}

const budgetsPath = "/v1/budgets"

// Budgets lists the budgets, those of the configuration as well.
func (c *Client) Budgets(ctx context.Context) ([]Budget, error) {
	return list(ctx, c, budgetsPath, url.Values{"order": {"asc"}}, 0, func(b Budget) string { return b.ID })
}

// CreateBudget makes a budget.
func (c *Client) CreateBudget(ctx context.Context, p BudgetParams) (b Budget, err error) {
	return b, c.call(ctx, http.MethodPost, budgetsPath, nil, p, &b)
}

// UpdateBudget changes what of the params is not empty.
func (c *Client) UpdateBudget(ctx context.Context, id string, p BudgetParams) (b Budget, err error) {
	return b, c.call(ctx, http.MethodPost, budgetsPath+"/"+url.PathEscape(id), nil, p, &b)
}

// DeleteBudget removes a budget.
func (c *Client) DeleteBudget(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, budgetsPath+"/"+url.PathEscape(id), nil, nil, nil)
}
