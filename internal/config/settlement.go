package config

// Settlement are the rules of the settlement statement. A record counts under the first rule that it
// matches; what a rule's shares leave goes to Rest.
type Settlement struct {
	Rest  string           `yaml:"rest"` // party; "": operator
	Rules []SettlementRule `yaml:"rules"`
}

// SettlementRule is one of them.
type SettlementRule struct {
	Name   string            `yaml:"name"`
	Match  map[string]string `yaml:"match"` // dimension → value; none: everything
	Shares []SettlementShare `yaml:"shares"`
}

// SettlementShare is what a party gets: a part of what the records cost, or a fixed amount for each
// unit of what was used.
type SettlementShare struct {
	Party             string `yaml:"party"`        // "{provider}" and the like stand for a record's value
	BasisPoints       int64  `yaml:"basis_points"` // 100 are a percent
	Unit              string `yaml:"unit"`         // "calls", "output_tokens", …
	MicroCentsPerUnit int64  `yaml:"microcents_per_unit"`
}

// MaxSettlementRules is the most rules, and shares of a rule.
const MaxSettlementRules = 256

const wholeBasisPoints = 10_000

func (c *Config) checkSettlement() error {
	s := &c.Settlement
	if len(s.Rules) > MaxSettlementRules {
		return invalid("settlement.rules", "", "there are %d rules, the limit is %d", len(s.Rules), MaxSettlementRules)
	}
	seen := map[string]bool{}
	for i, r := range s.Rules {
		if !namePattern().MatchString(r.Name) || seen[r.Name] {
			return invalid("settlement.rules.name", "Names are small letters, digits, - and _, each once.", "settlement.rules[%d] has the name %q", i, r.Name)
		}
		seen[r.Name] = true
		if len(r.Shares) > MaxSettlementRules {
			return invalid("settlement.rules.shares", "", "rule %s has %d shares, the limit is %d", r.Name, len(r.Shares), MaxSettlementRules)
		}
		sum := int64(0)
		for _, sh := range r.Shares {
			fixed := sh.Unit != "" || sh.MicroCentsPerUnit != 0
			if sh.Party == "" || sh.BasisPoints < 0 || sh.BasisPoints > wholeBasisPoints || sh.MicroCentsPerUnit < 0 ||
				fixed == (sh.BasisPoints != 0) || fixed && (sh.Unit == "" || sh.MicroCentsPerUnit == 0) {
				return invalid("settlement.rules.shares", "A share is a party with basis_points, or with unit and microcents_per_unit.", "rule %s has a share that is none", r.Name)
			}
			sum += sh.BasisPoints
		}
		if sum > wholeBasisPoints {
			return invalid("settlement.rules.shares", "10000 basis points are the whole.", "the shares of rule %s are %d basis points", r.Name, sum)
		}
	}
	return nil
}

// RestParty gets what the shares leave.
func (s *Settlement) RestParty() string {
	if s.Rest == "" {
		return "operator"
	}
	return s.Rest
}
