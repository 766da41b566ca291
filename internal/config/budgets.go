package config

import (
	"regexp"
	"slices"
	"sync"
)

// Budget limits what calls and environments may use. Each project has the budgets of the configuration.
type Budget struct {
	Name   string      `yaml:"name"`
	Scope  string      `yaml:"scope"`  // project, agent, session or user
	Of     string      `yaml:"of"`     // whose, by id; "": each one of the scope has its own
	Period string      `yaml:"period"` // total, day or month; "": total
	Limit  BudgetLimit `yaml:"limit"`
	// OnLimit says what becomes of a turn at the limit: "fail".
	OnLimit string `yaml:"on_limit"`
}

// BudgetLimit are the limits; what is 0 has none.
type BudgetLimit struct {
	USD     Dollars `yaml:"usd"`
	Tokens  int64   `yaml:"tokens"` // input and output
	Calls   int64   `yaml:"calls"`
	Seconds int64   `yaml:"seconds"`
}

// MaxBudgets is the most budgets of a configuration.
const MaxBudgets = 64

// namePattern is what names in the configuration that become ids look like.
var namePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`) })

func (c *Config) checkBudgets() error {
	if len(c.Budgets) > MaxBudgets {
		return invalid("budgets", "Leave out of: then each agent, session or user has one.", "there are %d budgets, the limit is %d", len(c.Budgets), MaxBudgets)
	}
	seen := map[string]bool{}
	for i := range c.Budgets {
		b := &c.Budgets[i]
		if !namePattern().MatchString(b.Name) || seen[b.Name] {
			return invalid("budgets.name", "Names are small letters, digits, - and _, each once.", "budgets[%d] has the name %q", i, b.Name)
		}
		seen[b.Name] = true
		if b.Period == "" {
			b.Period = "total"
		}
		l := b.Limit
		switch {
		case !slices.Contains([]string{"project", "agent", "session", "user"}, b.Scope):
			return invalid("budgets.scope", "It is project, agent, session or user.", "budget %s has the scope %q", b.Name, b.Scope)
		case !slices.Contains([]string{"total", "day", "month"}, b.Period):
			return invalid("budgets.period", "It is total, day or month.", "budget %s has the period %q", b.Name, b.Period)
		case b.Scope == "project" && b.Of != "":
			return invalid("budgets.of", "Leave of out.", "budget %s is of the project, and so of nobody else", b.Name)
		case !slices.Contains([]string{"", "fail", "wait"}, b.OnLimit):
			return invalid("budgets.on_limit", "It is fail or wait.", "budget %s has on_limit %q", b.Name, b.OnLimit)
		case l.USD < 0 || l.Tokens < 0 || l.Calls < 0 || l.Seconds < 0 || l == BudgetLimit{}:
			return invalid("budgets.limit", "Give usd, tokens, calls or seconds, above 0.", "budget %s has no limit", b.Name)
		}
	}
	return nil
}
