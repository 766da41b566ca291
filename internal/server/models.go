package server

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/router"
)

// wireRoute is a route that was considered for a call.
type wireRoute struct {
	Object   string `json:"object"` // "route"
	Place    int    `json:"place"`  // from 1: the order in which it is tried; 0: left out
	Provider string `json:"provider"`
	Model    string `json:"model"`
	Region   string `json:"region,omitempty"`
	Tier     string `json:"tier,omitempty"`
	Priority int    `json:"priority"`
	Weight   int    `json:"weight"`
	Why      string `json:"why"`
}

// explainRoutes says which routes a call would take, in their order, and why. Nothing is called.
func (s *server) explainRoutes(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q := r.URL.Query()
	name := q.Get("model")
	if name == "" {
		return stead.Invalid("model", "model is required: which name is asked for?")
	}
	call, err := explained(q, p)
	if err != nil {
		return err
	}
	if s.Explain == nil {
		return stead.Errorf(stead.KindNotImplemented, "this server has no routes")
	}
	routes, err := s.Explain(name, call)
	if err != nil {
		return err
	}
	out := make([]wireRoute, len(routes))
	for i, c := range routes {
		out[i] = wireRoute{"route", c.Place, c.Route.Provider, c.Route.Upstream, c.Route.Region, c.Route.Tier, c.Route.Priority, max(c.Route.Weight, 1), c.Why}
	}
	return s.write(w, listOf(out, false, func(x wireRoute) string { return x.Provider + "/" + x.Model }))
}

// explained is the call that is asked about: the caller's own project's.
func explained(q url.Values, p stead.Principal) (model.Caller, error) {
	call := model.Caller{Project: p.Project, User: p.ID, Agent: stead.AgentID(q.Get("agent_id")), Session: stead.SessionID(q.Get("session_id")), Labels: map[string]string{}}
	switch q.Get("calls") {
	case "", router.CallsStateless:
	case router.CallsStateful:
		call.Stateful = true
	default:
		return call, stead.Invalid("calls", "calls must be stateless or stateful")
	}
	for name, values := range q {
		if key, ok := strings.CutPrefix(name, "label["); ok && strings.HasSuffix(key, "]") {
			call.Labels[strings.TrimSuffix(key, "]")] = values[len(values)-1]
		}
	}
	return call, nil
}
