package config

import (
	"fmt"
	"slices"
	"time"
)

// Commitment is what was promised to a provider, or for one of its pools, in each period:
//
//	commitments:
//	  - {name: openai-2026, provider: openai, start: 2026-01-01, period: year, usd: 120000}
//	  - {name: ptu, pool: ptu-eu, start: 2026-11-01, period: month, tokens: 5000000000, shortfall_usd_per_million: 2}
//
// Money that is not used is owed; of tokens, what the contract says.
type Commitment struct {
	Name      string  `yaml:"name"`
	Provider  string  `yaml:"provider"`
	Pool      string  `yaml:"pool"`    // of capacity, instead of provider
	Start     string  `yaml:"start"`   // a day of UTC
	Period    string  `yaml:"period"`  // month, quarter or year
	Periods   int     `yaml:"periods"` // how many there are; 0: they go on
	USD       Dollars `yaml:"usd"`
	Tokens    int64   `yaml:"tokens"` // input and output
	Shortfall Dollars `yaml:"shortfall_usd_per_million"`
}

// Limits of commitments.
const (
	MaxCommitments = 256
	maxPeriods     = 1200
	// maxStartDay is the last day that every month has.
	maxStartDay = 28
)

// Begins is the day of Start; an error is what checkCommitments says.
func (c *Commitment) Begins() (time.Time, error) { return time.Parse(time.DateOnly, c.Start) }

// Months is the length of a period; 0: it is none.
func (c *Commitment) Months() int {
	return map[string]int{"month": 1, "quarter": 3, "year": 12}[c.Period]
}

func (c *Config) checkCommitments() error {
	if len(c.Commitments) > MaxCommitments {
		return invalid("commitments", "Remove some.", "%d commitments are more than the limit of %d", len(c.Commitments), MaxCommitments)
	}
	seen := map[string]bool{}
	for i := range c.Commitments {
		m, at := &c.Commitments[i], fmt.Sprintf("commitments[%d]", i)
		begins, err := m.Begins()
		switch {
		case !namePattern().MatchString(m.Name) || seen[m.Name]:
			return invalid(at+".name", "Names are small letters, digits, - and _, each once.", "%s has the name %q", at, m.Name)
		case (m.Provider == "") == (m.Pool == ""):
			return invalid(at+".provider", "Write provider: NAME, or pool: NAME.", "commitment %s is to a provider or for a pool", m.Name)
		case m.Provider != "" && !slices.ContainsFunc(c.Providers, func(p Provider) bool { return p.Name == m.Provider }):
			return invalid(at+".provider", "Add it under providers.", "commitment %s: no provider is named %q", m.Name, m.Provider)
		case m.Pool != "" && !slices.ContainsFunc(c.Capacity, func(p Pool) bool { return p.Name == m.Pool }):
			return invalid(at+".pool", "Add it under capacity.", "commitment %s: no pool is named %q", m.Name, m.Pool)
		case err != nil || begins.Day() > maxStartDay:
			return invalid(at+".start", "Write a day as 2026-11-01, the 28th at the latest.", "commitment %s starts at %q", m.Name, m.Start)
		case m.Months() == 0:
			return invalid(at+".period", "It is month, quarter or year.", "commitment %s has the period %q", m.Name, m.Period)
		case m.Periods < 0 || m.Periods > maxPeriods:
			return invalid(at+".periods", "Leave it out if they go on.", "commitment %s has %d periods, the limit is %d", m.Name, m.Periods, maxPeriods)
		case (m.USD == 0) == (m.Tokens == 0) || m.Tokens < 0:
			return invalid(at+".usd", "Write usd, or tokens.", "commitment %s is of money or of tokens", m.Name)
		case m.Shortfall != 0 && m.Tokens == 0:
			return invalid(at+".shortfall_usd_per_million", "Leave it out: money that is not used is owed.", "commitment %s is of money", m.Name)
		}
		seen[m.Name] = true
	}
	return nil
}
