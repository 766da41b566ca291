package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// Model is what a person is shown of a model that can be asked for.
type Model struct {
	ID              string          `json:"id"`
	OwnedBy         string          `json:"owned_by"`
	ContextWindow   int             `json:"context_window"`
	MaxOutputTokens int             `json:"max_output_tokens"`
	Lifecycle       string          `json:"lifecycle"`
	Successor       string          `json:"successor"`
	Base            string          `json:"base"`
	Adapter         string          `json:"adapter"`
	Deployment      string          `json:"deployment"`
	Owner           string          `json:"owner"`
	Purpose         string          `json:"purpose"`
	Restricted      bool            `json:"restricted"`
	Price           *ModelPrice     `json:"price"`
	Versions        []ModelVersion  `json:"versions"`
	Raw             json.RawMessage `json:"-"`
}

// ModelPrice is in micro-cents per million tokens.
type ModelPrice struct {
	Input       int64 `json:"input"`
	CachedInput int64 `json:"cached_input"`
	Output      int64 `json:"output"`
}

// ModelVersion is one of the places that a model's name stands for.
type ModelVersion struct {
	Version    string      `json:"version"`
	Provider   string      `json:"provider"`
	Model      string      `json:"model"`
	Region     string      `json:"region"`
	Adapter    string      `json:"adapter"`
	Deployment string      `json:"deployment"`
	Weight     int         `json:"weight"`
	Priority   int         `json:"priority"`
	Price      *ModelPrice `json:"price"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *Model) UnmarshalJSON(b []byte) error {
	type bare Model
	return keep(b, (*bare)(m), &m.Raw)
}

// Models lists the models that can be asked for by name.
func (c *Client) Models(ctx context.Context) ([]Model, error) {
	return list(ctx, c, "/v1/models", nil, 0, func(m Model) string { return m.ID })
}

// Model returns one model; its name may hold slashes.
func (c *Client) Model(ctx context.Context, name string) (Model, error) {
	var m Model
	return m, c.call(ctx, http.MethodGet, "/v1/models/"+url.PathEscape(name), nil, nil, &m)
}

// ModelFigures are what one version of a model has done.
type ModelFigures struct {
	Model      string           `json:"model"`
	Route      string           `json:"route"`
	Version    string           `json:"version"`
	Weight     *int             `json:"weight"`
	Breaker    string           `json:"breaker"`
	Calls      int64            `json:"calls"`
	Failures   int64            `json:"failures"`
	Errors     map[string]int64 `json:"errors"`
	FailedOver int64            `json:"failed_over"`
	GivenUp    int64            `json:"given_up"`
	Input      int64            `json:"input_tokens"`
	Output     int64            `json:"output_tokens"`
	Cost       int64            `json:"cost_microcents"`
	First      *ModelTiming     `json:"first_token_ms"`
	Total      *ModelTiming     `json:"total_ms"`
	Truncated  int64            `json:"truncated"`
	Filtered   int64            `json:"filtered"`
	Refused    int64            `json:"refused"`
	Scores     int64            `json:"scores"`
	Score      *float64         `json:"score"`
	Raw        json.RawMessage  `json:"-"`
}

// ModelTiming is in milliseconds.
type ModelTiming struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (f *ModelFigures) UnmarshalJSON(b []byte) error {
	type bare ModelFigures
	return keep(b, (*bare)(f), &f.Raw)
}

// ModelFigures says what each version of a model has done, of all when it is ""; from and to are as in
// the API, "" for no bound.
func (c *Client) ModelFigures(ctx context.Context, model, from, to string) ([]ModelFigures, error) {
	q := url.Values{}
	for name, value := range map[string]string{"model": model, "from": from, "to": to} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return list(ctx, c, "/v1/model_figures", q, 0, func(f ModelFigures) string { return f.Model + " " + f.Route })
}

// Route is a route that was considered for a call.
type Route struct {
	Place    int             `json:"place"` // from 1: the order in which it is tried; 0: left out
	Provider string          `json:"provider"`
	Model    string          `json:"model"`
	Region   string          `json:"region"`
	Why      string          `json:"why"`
	Breaker  string          `json:"breaker"`
	HedgeMS  int64           `json:"hedge_after_ms,omitempty"`
	Raw      json.RawMessage `json:"-"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Route) UnmarshalJSON(b []byte) error {
	type bare Route
	return keep(b, (*bare)(r), &r.Raw)
}

// RouteQuery is the call that Routes asks about.
type RouteQuery struct {
	Model, Calls, Project, Agent, Session string
	Labels                                map[string]string
}

// Routes says which routes a call would take, in their order, and why.
func (c *Client) Routes(ctx context.Context, q RouteQuery) ([]Route, error) {
	v := url.Values{"model": {q.Model}, "calls": {q.Calls}}
	for name, value := range map[string]string{"agent_id": q.Agent, "session_id": q.Session} {
		if value != "" {
			v.Set(name, value)
		}
	}
	for key, value := range q.Labels {
		v.Set("label["+key+"]", value)
	}
	return list(ctx, c, "/v1/routes", v, 0, func(r Route) string { return r.Provider + "/" + r.Model })
}
