package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Model is a name that agents ask for: where it runs, and what is known of it.
//
//	models:
//	  - name: support
//	    routes:
//	      - {provider: cloud-a, model: ft-7, version: "7", weight: 95}
//	      - {provider: cloud-a, model: ft-8, version: "8", weight: 5}     # a canary
//	    base: gpt-x
//	    owner: support-team
//	    projects: [support]
type Model struct {
	Name            string  `yaml:"name"`
	Routes          []Route `yaml:"routes"`
	ContextWindow   int     `yaml:"context_window"`    // tokens; 0: the adapter's guess
	MaxOutputTokens int     `yaml:"max_output_tokens"` // 0: unknown
	Price           *Price  `yaml:"price"`             // of routes without their own
	Hedge           Hedge   `yaml:"hedge"`             // of routes without their own

	Base       string   `yaml:"base"` // the model or family that it was made of
	Adapter    string   `yaml:"adapter"`
	Deployment string   `yaml:"deployment"`
	Owner      string   `yaml:"owner"`
	Purpose    string   `yaml:"purpose"`
	Lifecycle  string   `yaml:"lifecycle"` // preview, active or deprecated; "": active
	Successor  string   `yaml:"successor"` // of a deprecated one: a name of models or provider/model
	Projects   []string `yaml:"projects"`  // that may use it; none: all
	Agents     []string `yaml:"agents"`    // that may use it, by id; none: all, and calls of no agent
}

// Hedge begins a call on the next route as well when the first has said nothing for so long.
type Hedge struct {
	AfterMs int `yaml:"after_ms"` // 0: never
}

// After is the time.
func (h Hedge) After() time.Duration { return time.Duration(h.AfterMs) * time.Millisecond }

func (h Hedge) check(at string) error {
	if most := int(MaxHedge.Milliseconds()); h.AfterMs < 0 || h.AfterMs > most {
		return invalid(at+".hedge.after_ms", "Leave it out to hedge no calls.", "%s.hedge.after_ms is %d: it must be between 0 and %d", at, h.AfterMs, most)
	}
	return nil
}

// Price is in US dollars per million tokens.
type Price struct {
	Input float64 `yaml:"input"`
	// CachedInput may be 0; nil, where the price has none: as input.
	CachedInput *float64 `yaml:"cached_input"`
	CacheWrite  float64  `yaml:"cache_write"` // 0: as input
	Output      float64  `yaml:"output"`
	Reasoning   float64  `yaml:"reasoning"` // of output that is reasoning; 0: as output
}

func (p *Price) negative() bool {
	return p.Input < 0 || p.CachedInput != nil && *p.CachedInput < 0 || p.CacheWrite < 0 || p.Output < 0 || p.Reasoning < 0
}

// MicroCents turns US dollars into the unit of package stead, rounded to the nearest.
func MicroCents(dollars float64) int64 {
	const perDollar = 100 * 1_000_000
	return int64(dollars*perDollar + 0.5)
}

// Limits of what the registry holds.
const (
	// MaxWords is the longest text about a model, in bytes.
	MaxWords = 512
	// MaxAllowed is the most projects, and the most agents, that a model names.
	MaxAllowed = 1024
	// MaxHedge is the longest that a hedge waits.
	MaxHedge = 10 * time.Minute
)

// lifecycles are the stages of a model.
func lifecycles() []string { return []string{"", "preview", "active", "deprecated"} }

func (c *Config) checkModels() error {
	if len(c.Models) > MaxModels {
		return invalid("models", "Remove some; \"provider/model\" works without an entry.", "%d models are more than the limit of %d", len(c.Models), MaxModels)
	}
	seen := map[string]bool{} // names
	for i, m := range c.Models {
		at := fmt.Sprintf("models[%d]", i)
		switch {
		case m.Name == "":
			return invalid(at+".name", "Write name: NAME, which agents ask for.", "%s has no name", at)
		case seen[m.Name]:
			return invalid(at+".name", "Give each its own name.", "%s: the model %s is there twice", at, m.Name)
		case m.ContextWindow < 0 || m.MaxOutputTokens < 0:
			return invalid(at, "Leave them out where they are not known.", "%s: context_window and max_output_tokens can't be negative", at)
		case m.Price != nil && m.Price.negative():
			return invalid(at+".price", "Write US dollars per million tokens, for example {input: 1, output: 10}.", "%s: a price can't be negative", at)
		}
		if err := m.checkCard(at); err != nil {
			return err
		}
		if err := c.checkRoutes(at, m); err != nil {
			return err
		}
		seen[m.Name] = true
	}
	for i, m := range c.Models {
		if provider, _, whole := strings.Cut(m.Successor, "/"); m.Successor == "" || seen[m.Successor] || whole && c.hasProvider(provider) {
			continue
		}
		return invalid(fmt.Sprintf("models[%d].successor", i), "Name one of models, or provider/model.", "models[%d]: the successor of %s is %q, which is not configured", i, m.Name, m.Successor)
	}
	return nil
}

func (c *Config) hasProvider(name string) bool {
	return slices.ContainsFunc(c.Providers, func(p Provider) bool { return p.Name == name })
}

// checkCard checks what a model says of itself.
func (m *Model) checkCard(at string) error {
	words := [][2]string{{"base", m.Base}, {"adapter", m.Adapter}, {"deployment", m.Deployment}, {"owner", m.Owner}, {"purpose", m.Purpose}, {"successor", m.Successor}}
	if err := checkWords(at, words); err != nil {
		return err
	}
	if err := m.Hedge.check(at); err != nil {
		return err
	}
	deprecated := m.Lifecycle == "deprecated"
	switch {
	case !slices.Contains(lifecycles(), m.Lifecycle):
		return invalid(at+".lifecycle", "It is preview, active or deprecated.", "%s.lifecycle is %.40q", at, m.Lifecycle)
	case m.Successor != "" && !deprecated:
		return invalid(at+".successor", "Write lifecycle: deprecated, or remove it.", "%s: a model that is not deprecated has no successor", at)
	case m.Successor == "" && deprecated:
		return invalid(at+".successor", "Write successor: NAME, what to use instead.", "%s: the model %s is deprecated and names no successor", at, m.Name)
	case deprecated && m.Successor == m.Name:
		return invalid(at+".successor", "Name another model.", "%s: the model %s is its own successor", at, m.Name)
	}
	for _, list := range []struct {
		key   string
		names []string
	}{{"projects", m.Projects}, {"agents", m.Agents}} {
		if err := checkAllowed(at, list.key, list.names); err != nil {
			return err
		}
	}
	return nil
}

// checkAllowed checks who may use something: none are all.
func checkAllowed(at, key string, names []string) error {
	switch {
	case len(names) > MaxAllowed:
		return invalid(at+"."+key, "Leave it out to let all use it.", "%s.%s has %d entries, the limit is %d", at, key, len(names), MaxAllowed)
	case slices.Contains(names, ""):
		return invalid(at+"."+key, "Leave it out to let all use it.", "%s.%s has an empty name", at, key)
	}
	return nil
}

// checkWords bounds texts of people, by their keys.
func checkWords(at string, words [][2]string) error {
	for _, w := range words {
		if len(w[1]) > MaxWords {
			return invalid(at+"."+w[0], "Shorten it.", "%s.%s has %d bytes, the limit is %d", at, w[0], len(w[1]), MaxWords)
		}
	}
	return nil
}
