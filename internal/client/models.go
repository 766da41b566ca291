package client

import (
	"context"
	"encoding/json"
	"net/url"
)

// Model is a model that can be asked for.
type Model struct {
	ID      string          `json:"id"`
	OwnedBy string          `json:"owned_by"`
	Raw     json.RawMessage `json:"-"`
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

// Route is a route that was considered for a call.
type Route struct {
	Place    int             `json:"place"` // from 1: the order in which it is tried; 0: left out
	Provider string          `json:"provider"`
	Model    string          `json:"model"`
	Region   string          `json:"region"`
	Why      string          `json:"why"`
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
