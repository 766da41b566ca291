package config

import (
	"fmt"
	"slices"
	"time"
)

// MaxPools is the most pools of a configuration.
const MaxPools = 256

// Pool is reserved throughput of a provider, or of some of its models:
//
//	capacity:
//	  - {name: ptu-eu, provider: azure-eu, models: [gpt-x], tokens_per_minute: 300000, concurrent: 40, weights: {support: 3}}
//
// Zero limits nothing. Calls wait for their turn, at most wait_seconds, in a queue of at most so many.
type Pool struct {
	Name              string         `yaml:"name"`
	Provider          string         `yaml:"provider"`
	Models            []string       `yaml:"models"` // as the provider knows them; none: all that no other pool has
	TokensPerMinute   int64          `yaml:"tokens_per_minute"`
	RequestsPerMinute int64          `yaml:"requests_per_minute"`
	Concurrent        int            `yaml:"concurrent"`
	Queue             *int           `yaml:"queue"`        // calls; 0: none waits
	WaitSeconds       int            `yaml:"wait_seconds"` // of one call
	Weights           map[string]int `yaml:"weights"`      // project → its share, where that is not 1
	// Spill: what finds no place goes to the model's next route, if it has one; null is yes.
	Spill *bool `yaml:"spill"`
}

// The limits of a Pool's fields.
const (
	maxRate        = 1_000_000_000_000
	maxConcurrent  = 1_000_000
	maxQueue       = 100_000
	maxWaitSeconds = int(time.Hour / time.Second)
	maxWeight      = 1_000
)

func (c *Config) checkCapacity() error {
	if len(c.Capacity) > MaxPools {
		return invalid("capacity", "Remove some.", "%d pools are more than the limit of %d", len(c.Capacity), MaxPools)
	}
	names, held := map[string]bool{}, map[[2]string]string{} // provider and model → the pool that has it
	for i, p := range c.Capacity {
		at := fmt.Sprintf("capacity[%d]", i)
		switch {
		case p.Name == "":
			return invalid(at+".name", "Write name: NAME, which errors and reports use.", "%s has no name", at)
		case names[p.Name]:
			return invalid(at+".name", "Give each its own name.", "%s: the pool %s is there twice", at, p.Name)
		case !slices.ContainsFunc(c.Providers, func(x Provider) bool { return x.Name == p.Provider }):
			return invalid(at+".provider", "Add it under providers.", "%s: no provider is named %q", at, p.Provider)
		case p.TokensPerMinute == 0 && p.RequestsPerMinute == 0 && p.Concurrent == 0:
			return invalid(at, "Write tokens_per_minute, requests_per_minute or concurrent.", "%s: the pool %s limits nothing", at, p.Name)
		}
		names[p.Name] = true
		if err := p.checkNumbers(at); err != nil {
			return err
		}
		models := p.Models
		if len(models) == 0 {
			models = []string{""}
		}
		for _, m := range models {
			key := [2]string{p.Provider, m}
			if other := held[key]; other != "" {
				return invalid(at+".models", "Name each model in one pool.", "%s: the pool %s has %s of %s already", at, other, oneOrAll(m), p.Provider)
			}
			held[key] = p.Name
		}
	}
	return nil
}

func oneOrAll(model string) string {
	if model == "" {
		return "all models"
	}
	return model
}

func (p Pool) checkNumbers(at string) error {
	queue := 0
	if p.Queue != nil {
		queue = *p.Queue
	}
	for _, f := range []struct {
		name    string
		n, most int64
	}{
		{"tokens_per_minute", p.TokensPerMinute, maxRate},
		{"requests_per_minute", p.RequestsPerMinute, maxRate},
		{"concurrent", int64(p.Concurrent), maxConcurrent},
		{"queue", int64(queue), maxQueue},
		{"wait_seconds", int64(p.WaitSeconds), int64(maxWaitSeconds)},
	} {
		if f.n < 0 || f.n > f.most {
			return invalid(at+"."+f.name, "Leave it out for the default.", "%s.%s is %d: it must be between 0 and %d", at, f.name, f.n, f.most)
		}
	}
	for project, w := range p.Weights {
		if w < 1 || w > maxWeight {
			return invalid(at+".weights", "A project that is not named has 1.", "%s: the weight of project %s is %d: it must be between 1 and %d", at, project, w, maxWeight)
		}
	}
	return nil
}
