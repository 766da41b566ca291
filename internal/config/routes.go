package config

import (
	"fmt"
	"slices"
	"strings"
)

// Route is one place where a model runs:
//
//	routes:
//	  - {provider: cloud-a, model: gpt-x, when: {calls: stateless}}
//	  - {provider: cloud-b, model: claude-y, region: eu, weight: 9, when: {calls: stateful, labels: {team: red}}}
type Route struct {
	Provider string `yaml:"provider"`
	Model    string `yaml:"model"`    // as the provider knows it
	Region   string `yaml:"region"`   // ""; the provider's
	Tier     string `yaml:"tier"`     // service tier to ask for; "": the caller's
	Weight   int    `yaml:"weight"`   // among routes of one priority; 0: 1
	Priority int    `yaml:"priority"` // lower first
	When     When   `yaml:"when"`
	// FirstSeconds is how long it may take to say its first word before the next route is tried; 0: as
	// long as limits.model_idle_seconds.
	FirstSeconds int    `yaml:"first_seconds"`
	Price        *Price `yaml:"price"` // nil: the model's
	Hedge        Hedge  `yaml:"hedge"` // 0: the model's

	Version    string `yaml:"version"` // a word for what runs there: figures are told apart by it
	Adapter    string `yaml:"adapter"`
	Deployment string `yaml:"deployment"`
}

// When says for which calls a route is; what is left out fits all.
type When struct {
	Calls    string            `yaml:"calls"` // stateless or stateful
	Projects []string          `yaml:"projects"`
	Agents   []string          `yaml:"agents"`
	Labels   map[string]string `yaml:"labels"` // a session's metadata
}

// Residency keeps calls in regions, whatever model they ask for: those of a project, or with labels,
// or both. A route without a region is in none.
//
//	residency:
//	  - {project: x, regions: [eu]}
//	  - {labels: {data: health}, regions: [eu, ch]}
type Residency struct {
	Project string            `yaml:"project"`
	Labels  map[string]string `yaml:"labels"` // as in When
	Regions []string          `yaml:"regions"`
}

// The limits of routes.
const (
	MaxRoutes    = 32 // of one model
	MaxResidency = 1024
	maxShare     = 1_000_000
	maxUrgency   = 1_000
)

func (c *Config) checkRoutes(at string, m Model) error {
	if len(m.Routes) == 0 {
		return invalid(at+".routes", "Write routes: [{provider: NAME, model: NAME}].", "%s: the model %s has no route", at, m.Name)
	}
	if len(m.Routes) > MaxRoutes {
		return invalid(at+".routes", "Remove some.", "%s: the model %s has %d routes, the limit is %d", at, m.Name, len(m.Routes), MaxRoutes)
	}
	for i, r := range m.Routes {
		here := fmt.Sprintf("%s.routes[%d]", at, i)
		if err := checkWords(here, [][2]string{{"version", r.Version}, {"adapter", r.Adapter}, {"deployment", r.Deployment}}); err != nil {
			return err
		}
		if err := r.Hedge.check(here); err != nil {
			return err
		}
		switch {
		case !c.hasProvider(r.Provider):
			return invalid(at+".routes", "Add it under providers.", "%s: no provider is named %q", at, r.Provider)
		case r.Model == "":
			return invalid(at+".routes", "Write routes: [{provider: NAME, model: NAME}].", "%s: the route to %s names no model", at, r.Provider)
		case r.Weight < 0 || r.Weight > maxShare:
			return invalid(here+".weight", "Leave it out for 1.", "%s.weight is %d: it must be between 0 and %d", here, r.Weight, maxShare)
		case r.FirstSeconds < 0 || r.FirstSeconds > int(MaxLimit.Seconds()):
			return invalid(here+".first_seconds", "It counts whole seconds.", "%s.first_seconds is %d: it must be between 0 and %d", here, r.FirstSeconds, int(MaxLimit.Seconds()))
		case r.Priority < 0 || r.Priority > maxUrgency:
			return invalid(here+".priority", "Lower ones come first.", "%s.priority is %d: it must be between 0 and %d", here, r.Priority, maxUrgency)
		case r.When.Calls != "" && r.When.Calls != "stateless" && r.When.Calls != "stateful":
			return invalid(here+".when.calls", "They are stateless or stateful; leave it out for both.", "%s.when.calls is %q", here, r.When.Calls)
		case r.Price != nil && r.Price.negative():
			return invalid(here+".price", "Write US dollars per million tokens, for example {input: 1, output: 10}.", "%s: a price can't be negative", here)
		}
	}
	return nil
}

func (c *Config) checkResidency() error {
	if len(c.Residency) > MaxResidency {
		return invalid("residency", "Use labels for what projects have in common.", "%d rules are more than the limit of %d", len(c.Residency), MaxResidency)
	}
	seen, known := map[string]bool{}, c.regions()
	for i, r := range c.Residency {
		at := fmt.Sprintf("residency[%d]", i)
		switch {
		case r.Project == "" && len(r.Labels) == 0:
			return invalid(at+".project", "Write project: NAME, or labels: {KEY: VALUE}.", "%s names no project and no labels", at)
		case len(r.Labels) == 0 && seen[r.Project]:
			return invalid(at+".project", "Put its regions into one rule.", "%s: the project %s is there twice", at, r.Project)
		case len(r.Regions) == 0 || slices.ContainsFunc(r.Regions, func(s string) bool { return strings.TrimSpace(s) == "" }):
			return invalid(at+".regions", "Write regions: [NAME], as routes and providers name them.", "%s: the project %s has no region", at, r.Project)
		}
		for _, region := range r.Regions {
			if !known[region] { // misspelt, it would silently end every call
				return invalid(at+".regions", "Write region: "+region+" at a provider or a route.", "%s: no provider and no route is in the region %q", at, region)
			}
		}
		if len(r.Labels) == 0 {
			seen[r.Project] = true
		}
	}
	return nil
}

// regions are those of providers and routes.
func (c *Config) regions() map[string]bool {
	known := map[string]bool{}
	for _, p := range c.Providers {
		known[p.Region] = true
	}
	for _, m := range c.Models {
		for _, r := range m.Routes {
			known[r.Region] = true
		}
	}
	return known
}
