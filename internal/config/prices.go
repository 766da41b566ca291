package config

import "time"

// Prices is one edition of the price book. The newest that is valid counts; models that it does not
// name cost what models[].price says.
type Prices struct {
	Version   string      `yaml:"version"`    // as records name it
	ValidFrom string      `yaml:"valid_from"` // a day of UTC, 2026-11-01, or a time of RFC 3339
	Entries   []PriceLine `yaml:"entries"`
	Tools     []ToolPrice `yaml:"tools"`
	// Environments is what hosted environments cost.
	Environments EnvironmentPrice `yaml:"environments"`

	From time.Time `yaml:"-"` // ValidFrom, read
}

// PriceLine prices a model, in US dollars per million tokens.
type PriceLine struct {
	Provider string  `yaml:"provider"` // "": any
	Model    string  `yaml:"model"`    // as agents ask for it, or as the provider names it; "": any
	Tier     string  `yaml:"tier"`     // service tier; "": any
	Input    Dollars `yaml:"input"`
	// CachedInput may be 0; nil, where the line has none: as input.
	CachedInput *Dollars `yaml:"cached_input"`
	CacheWrite  Dollars  `yaml:"cache_write"` // 0: as input
	Output      Dollars  `yaml:"output"`
	Reasoning   Dollars  `yaml:"reasoning"` // of output that is reasoning; 0: as output
}

// ToolPrice prices a tool, in US dollars a call.
type ToolPrice struct {
	Name string  `yaml:"name"` // "server/tool", "server/*", a tool of the environment's own, or "*"
	Call Dollars `yaml:"call"`
}

// EnvironmentPrice prices hosted environments, in US dollars. A gigabyte is 10^9 bytes.
type EnvironmentPrice struct {
	Hour   Dollars `yaml:"hour"`            // in which it is resident
	Month  Dollars `yaml:"gigabyte_month"`  // stored for 30 days
	Egress Dollars `yaml:"egress_gigabyte"` // that leaves or enters it
}

// Limits of the price book.
const (
	MaxEditions   = 64
	MaxPriceLines = 4096
	maxVersion    = 64 // characters
)

func (c *Config) checkPrices() error {
	if len(c.Prices) > MaxEditions {
		return invalid("prices", "Remove editions of which no call is priced any more: what they cost is on record.", "there are %d editions, the limit is %d", len(c.Prices), MaxEditions)
	}
	seen := map[string]bool{}
	for i := range c.Prices {
		p := &c.Prices[i]
		if p.Version == "" || len(p.Version) > maxVersion || seen[p.Version] {
			return invalid("prices.version", "Records name it, so each edition has one of its own.", "prices[%d] has the version %q", i, p.Version)
		}
		seen[p.Version] = true
		var err error
		if p.From, err = time.Parse(time.DateOnly, p.ValidFrom); err != nil {
			p.From, err = time.Parse(time.RFC3339, p.ValidFrom)
		}
		if err != nil {
			return invalid("prices.valid_from", "Write a day of UTC, as 2026-11-01, or a time, as 2026-11-01T00:00:00Z.", "prices %s is valid from %q", p.Version, p.ValidFrom)
		}
		if len(p.Tools) > MaxPriceLines {
			return invalid("prices.tools", "Write server/* for all tools of a server.", "prices %s has %d tools, the limit is %d", p.Version, len(p.Tools), MaxPriceLines)
		}
		for _, t := range p.Tools {
			if t.Name == "" || t.Call < 0 {
				return invalid("prices.tools", "Each has a name and a price of a call.", "prices %s has the tool %q", p.Version, t.Name)
			}
		}
		if e := p.Environments; min(e.Hour, e.Month, e.Egress) < 0 {
			return invalid("prices.environments", "", "prices %s has a price of environments below 0", p.Version)
		}
		if len(p.Entries) > MaxPriceLines {
			return invalid("prices.entries", "", "prices %s has %d entries, the limit is %d", p.Version, len(p.Entries), MaxPriceLines)
		}
	}
	return nil
}
