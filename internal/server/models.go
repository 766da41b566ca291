package server

import (
	"cmp"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/router"
)

// wireModel is OpenAI's model, and behind its four fields ours. A model that the project may not use is
// none here.
type wireModel struct {
	ID              string        `json:"id"`
	Object          string        `json:"object"` // "model"
	Created         int64         `json:"created"`
	OwnedBy         string        `json:"owned_by"`
	ContextWindow   *int          `json:"context_window"`
	MaxOutputTokens *int          `json:"max_output_tokens"`
	Lifecycle       string        `json:"lifecycle"` // preview, active or deprecated
	Successor       *string       `json:"successor"` // of a deprecated one
	Base            *string       `json:"base"`
	Adapter         *string       `json:"adapter"`
	Deployment      *string       `json:"deployment"`
	Owner           *string       `json:"owner"`
	Purpose         *string       `json:"purpose"`
	Restricted      bool          `json:"restricted"` // there is somebody who may not use it
	Price           *wirePrice    `json:"price"`
	Versions        []wireVersion `json:"versions"`
}

// wirePrice is in micro-cents per million tokens.
type wirePrice struct {
	Input       int64 `json:"input"`
	CachedInput int64 `json:"cached_input"`
	CacheWrite  int64 `json:"cache_write"`
	Output      int64 `json:"output"`
	Reasoning   int64 `json:"reasoning"`
}

// wireVersion is one of the places that a model's name stands for.
type wireVersion struct {
	Version    *string    `json:"version"`
	Provider   string     `json:"provider"`
	Model      string     `json:"model"`
	Region     *string    `json:"region"`
	Tier       *string    `json:"tier"`
	Adapter    *string    `json:"adapter"`
	Deployment *string    `json:"deployment"`
	Weight     int        `json:"weight"`
	Priority   int        `json:"priority"`
	Price      *wirePrice `json:"price"`
}

func wireModelOf(i model.Info) wireModel {
	c := &i.Card
	m := wireModel{
		ID: i.Name, Object: "model", OwnedBy: cmp.Or(c.Owner, i.Provider), Lifecycle: string(cmp.Or(c.Lifecycle, model.Active)),
		Successor: known(c.Successor), Base: known(c.Base), Adapter: known(c.Adapter), Deployment: known(c.Deployment), Owner: known(c.Owner), Purpose: known(c.Purpose),
		Restricted: c.Restricted(), Price: wirePriceOf(i.Price), Versions: []wireVersion{},
	}
	if i.ContextWindow > 0 {
		m.ContextWindow = &i.ContextWindow
	}
	if i.MaxOutputTokens > 0 {
		m.MaxOutputTokens = &i.MaxOutputTokens
	}
	for _, v := range c.Versions {
		m.Versions = append(m.Versions, wireVersion{
			known(v.Version), v.Provider, v.Model, known(v.Region), known(v.Tier), known(v.Adapter), known(v.Deployment), v.Weight, v.Priority, wirePriceOf(v.Price),
		})
	}
	return m
}

func wirePriceOf(p *model.Price) *wirePrice {
	if p == nil {
		return nil
	}
	return &wirePrice{p.Input, p.CachedInput, cmp.Or(p.CacheWrite, p.Input), p.Output, cmp.Or(p.Reasoning, p.Output)}
}

// listModels is not paged, as in the contract.
func (s *server) listModels(w http.ResponseWriter, _ *http.Request, p stead.Principal) error {
	data := []wireModel{}
	for _, info := range s.Models.List(p.Project) {
		data = append(data, wireModelOf(info))
	}
	return s.write(w, listOf(data, false, func(m wireModel) string { return m.ID }))
}

func (s *server) getModel(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	info, err := s.shownModel(r.PathValue("id"), p)
	if err != nil {
		return err
	}
	s.warn(w, p, info)
	return s.write(w, wireModelOf(info))
}

// shownModel finds a model that the caller's project may know of, also one that is for certain agents.
func (s *server) shownModel(name string, p stead.Principal) (model.Info, error) {
	for _, info := range s.Models.List(p.Project) {
		if info.Name == name {
			return info, nil
		}
	}
	info, _, err := s.Models.Resolve(name, model.Caller{Project: p.Project, User: p.ID})
	return info, err
}

// warn tells a client that its model is deprecated, by a header of RFC 7234, 5.5, and the operator
// once a project by the log.
func (s *server) warn(w http.ResponseWriter, p stead.Principal, info model.Info) {
	notice := info.Card.Notice(info.Name)
	if notice == "" {
		return
	}
	w.Header().Set("Warning", `299 stead `+strconv.QuoteToASCII(notice))
	if _, known := s.warned.LoadOrStore([2]string{string(p.Project), info.Name}, true); !known {
		s.Log.Warn("a deprecated model is in use", "model", info.Name, "successor", info.Card.Successor, "project", p.Project, "user", p.ID)
	}
}

// warnOf is warn for a model that a session was made with.
func (s *server) warnOf(w http.ResponseWriter, p stead.Principal, name string, agent stead.AgentID) {
	if info, _, err := s.Models.Resolve(name, model.Caller{Stateful: true, Project: p.Project, User: p.ID, Agent: agent}); err == nil {
		s.warn(w, p, info)
	}
}

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
	Breaker  string `json:"breaker"`                  // of this node: closed, open, half_open
	HedgeMS  int64  `json:"hedge_after_ms,omitempty"` // the call begins here as well when the first route has said nothing for so long
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
		out[i] = wireRoute{"route", c.Place, c.Route.Provider, c.Route.Upstream, c.Route.Region, c.Route.Tier, c.Route.Priority, max(c.Route.Weight, 1), c.Why, c.Breaker, c.Hedge.Milliseconds()}
	}
	return s.write(w, listOf(out, false, func(x wireRoute) string { return x.Provider + "/" + x.Model }))
}

// explained is the call that is asked about: the caller's own project's.
func explained(q url.Values, p stead.Principal) (model.Caller, error) {
	call := model.Caller{Project: p.Project, User: p.ID, Agent: stead.AgentID(q.Get("agent_id")), Session: stead.SessionID(q.Get("session_id")), Labels: stead.Labels{}}
	switch q.Get("calls") {
	case "", router.CallsStateless:
	case router.CallsStateful:
		call.Stateful = true
	default:
		return call, stead.Invalid("calls", "calls must be stateless or stateful")
	}
	for name, values := range q {
		if key, ok := strings.CutPrefix(name, "label["); ok && strings.HasSuffix(key, "]") {
			call.Labels[strings.TrimSuffix(key, "]")] = values
		}
	}
	return call, nil
}
