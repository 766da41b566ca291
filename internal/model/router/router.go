// Package router decides where a model's calls go, and tries the next route when one fails.
//
// Shape: a name has routes; for each call they are put in order, and the reasons with them.
//
//	Alias{routes} ─Plan(caller, key)─▶ [taken 1st, 2nd, …, left out: why] ─▶ 1st ─error?─▶ 2nd ─▶ …
//
// A route is left out when its conditions do not fit the call, when it would leave the regions
// that residency rules name for its project or its labels, or while its breaker is open. Of the others those with the lowest
// priority number come first; among equals a draw by weight decides, which is the same for one session
// each time: prompt caches stay warm. Nothing in Plan reads a clock or draws a number.
//
// The next route is tried only before the first delta was handed out, and only for failures of the
// route: a rate limit, overload, a server's error, a lost connection, a timeout, refused credentials,
// a used-up quota, an unknown model. A request that is wrong is wrong everywhere.
//
// Hedging, off unless Hedge says it: when the first route has said no word after that time, the call begins
// on the next one as well; the first word wins and the other attempt is given up (race.go). Forwarded
// calls have their first word with the first byte of the answer's body.
//
// Breakers: BreakAfter failures in a row open a route's breaker for OpenFor, or as long as the upstream
// asked to wait; then one call tries it, and the others wait until that one has told. When every route
// that fits is open, the one that opens first is tried all the same.
//
// A call that may have effects at its provider (model.Forward.Effects) is never on two routes at once, and
// is not tried again where it has perhaps been done: after a server's error, a lost connection, a timeout.
//
// Units and limits: MaxAttempts routes a call; of all calls of an alias at most ExtraShare in a window
// of ExtraWindow may be second attempts, hedges among them, beyond ExtraFree of them, so that an outage is not multiplied.
//
// Errors: *model.Error of the last route that was tried, which Route names; CodeNotFound when no route
// fits the call, with the reasons.
package router

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// The limits of routing.
const (
	// MaxAttempts is the most routes that one call tries.
	MaxAttempts = 4
	// BreakAfter failures in a row open a breaker, for OpenFor.
	BreakAfter = 5
	OpenFor    = 15 * time.Second
	// MaxOpen is the longest that an upstream's wish keeps a breaker open.
	MaxOpen = 10 * time.Minute
	// ExtraShare of an alias's calls in ExtraWindow may be second attempts, beyond ExtraFree.
	ExtraShare  = 0.2
	ExtraWindow = time.Minute
	ExtraFree   = 10
)

// Route is one place where a model runs.
type Route struct {
	Provider string
	Upstream string // the model as the provider knows it
	Model    model.Model
	Region   string
	Tier     string // service tier to ask for; "": the caller's
	Weight   int    // among routes of one priority; 0: 1
	Priority int    // lower first
	When     Condition
	Price    *model.Price // nil: the alias's
	// FirstWord is how long the route may take to say anything before the next one is tried; 0: as long as
	// the caller waits.
	FirstWord time.Duration
	// Hedge is how long the route may say nothing before the call begins on the next one as well; 0: the
	// alias's.
	Hedge time.Duration
	// Version, Adapter and Deployment are the operator's words for what runs there; "": none.
	Version, Adapter, Deployment string
}

// Name is the route in words: "provider/model".
func (r Route) Name() string { return r.Provider + "/" + r.Upstream }

// Condition says for which calls a route is. Empty fields fit every call.
type Condition struct {
	Calls    string // CallsStateless or CallsStateful
	Projects []stead.ProjectID
	Agents   []stead.AgentID
	Labels   map[string]string // the newest that the call has
}

// Kinds of call in a Condition.
const (
	CallsStateless = "stateless"
	CallsStateful  = "stateful"
)

// Residency keeps calls in regions: those of a project, or with labels, or both. Of several rules that
// a call is under, each must be kept.
type Residency struct {
	Project stead.ProjectID   // "": any
	Labels  map[string]string // that the call has, all of them, however old; none: any
	Regions []string
}

// State is what routes of one node share: their breakers. It outlives a change of the configuration.
type State struct {
	now func() time.Time

	mu       sync.Mutex
	serial   uint64
	breakers map[string]*breaker // route's name → its breaker
	extra    map[string]*budget  // alias → its second attempts
}

// NewState makes it; now nil is time.Now.
func NewState(now func() time.Time) *State {
	if now == nil {
		now = time.Now
	}
	return &State{now: now, breakers: map[string]*breaker{}, extra: map[string]*budget{}}
}

// key is what draws for a call that has nothing in common with others: each its own.
func (s *State) key(shared string) string {
	if shared != "" {
		return shared
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	return "call " + strconv.FormatUint(s.serial, 10)
}

// Alias is a name with its routes. It implements model.Model, model.Forwarder and model.Embedder.
type Alias struct {
	Name      string
	Notice    string // what errors say besides: that the name is deprecated, for example
	Routes    []Route
	Residency []Residency
	Hedge     time.Duration // of routes that say nothing of it; 0: calls are on one route at a time
	State     *State
}

// leaves says which rule a call would break in a region; "" for none. A route without a region is in
// none.
func (a *Alias) leaves(call model.Caller, region string) string {
	for _, r := range a.Residency {
		if r.about(call) && !slices.Contains(r.Regions, region) {
			return fmt.Sprintf("%s in %s, and its region is %q", r.whose(), strings.Join(r.Regions, ", "), region)
		}
	}
	return ""
}

// about reports whether a call is under the rule.
func (r Residency) about(call model.Caller) bool {
	if r.Project != "" && r.Project != call.Project {
		return false
	}
	for k, v := range r.Labels {
		if !call.Labels.Has(k, v) {
			return false
		}
	}
	return true
}

func (r Residency) whose() string {
	if len(r.Labels) == 0 {
		return "project " + string(r.Project) + " stays"
	}
	var labels []string
	for _, k := range slices.Sorted(maps.Keys(r.Labels)) {
		labels = append(labels, k+"="+r.Labels[k])
	}
	words := "what is labelled " + strings.Join(labels, ", ") + " stays"
	if r.Project != "" {
		words = "in project " + string(r.Project) + ", " + words
	}
	return words
}

// fits says why a condition does not fit a call; "" when it does.
func (c Condition) fits(call model.Caller) string {
	switch {
	case c.Calls == CallsStateless && call.Stateful:
		return "it is for stateless calls"
	case c.Calls == CallsStateful && !call.Stateful:
		return "it is for turns of sessions"
	case len(c.Projects) > 0 && !slices.Contains(c.Projects, call.Project):
		return "it is not for project " + string(call.Project)
	case len(c.Agents) > 0 && !slices.Contains(c.Agents, call.Agent):
		return "it is not for this agent"
	}
	for k, v := range c.Labels {
		if newest := call.Labels.Newest(k); newest != v || !call.Labels.Has(k, v) {
			return "the call is not labelled " + k + "=" + v
		}
	}
	return ""
}
