package chaos

import (
	"context"
	"net/http"
)

// checkUsage: the usage records are those that the journals make, and what a budget has spent is what
// they say, but for calls whose settlement a kill took: those are held until a sweep.
func (w *world) checkUsage(ctx context.Context) {
	w.t.Helper()
	type row struct {
		Calls int64 `json:"calls"`
	}
	var v struct {
		OK       bool `json:"ok"`
		Sessions int  `json:"sessions"`
		Count    int  `json:"difference_count"`
		Totals   []struct {
			Kind  string `json:"kind"`
			Store row    `json:"store"`
		} `json:"totals"`
		Differences []any `json:"differences"`
	}
	if err := w.client.Do(ctx, http.MethodPost, "/v1/usage/verify", "", struct{}{}, &v); err != nil {
		w.t.Fatal(err)
	}
	if !v.OK || v.Sessions == 0 {
		w.t.Errorf("the usage records of %d sessions differ from their journals in %d places: %v", v.Sessions, v.Count, v.Differences)
	}
	var b struct {
		Used row `json:"used"`
		Held row `json:"held"`
	}
	if err := w.client.Do(ctx, http.MethodGet, "/v1/budgets/config_all", "", nil, &b); err != nil {
		w.t.Fatal(err)
	}
	for _, t := range v.Totals {
		if t.Kind != "model_call" {
			continue
		}
		w.t.Logf("%d model calls are on record; the budget says %d, and holds %d", t.Store.Calls, b.Used.Calls, b.Held.Calls)
		if t.Store.Calls == 0 || b.Used.Calls > t.Store.Calls || t.Store.Calls > b.Used.Calls+b.Held.Calls {
			w.t.Errorf("%d model calls are on record; the budget says %d, and holds %d", t.Store.Calls, b.Used.Calls, b.Held.Calls)
		}
	}
}
