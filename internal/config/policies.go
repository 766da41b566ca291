package config

// Policies are those of the Cedar language that decide behind what roles allow.
type Policies struct {
	Builtin   []string `yaml:"builtin"`   // names of those that come with Stead: "untrusted"
	Directory string   `yaml:"directory"` // of files *.cedar, from the working directory; "": none
	Inline    string   `yaml:"inline"`    // more of them, in the configuration itself
	Default   string   `yaml:"default"`   // of what no policy speaks of: allow or deny; "": allow
}

// Deny reports whether what no policy speaks of is refused.
func (p Policies) Deny() bool { return p.Default == "deny" }

// Any reports whether policies decide at all.
func (p Policies) Any() bool {
	return len(p.Builtin) > 0 || p.Directory != "" || p.Inline != "" || p.Default != ""
}

func (c *Config) checkPolicies() error {
	switch c.Policies.Default {
	case "", "allow", "deny":
		return nil
	}
	return invalid("policies.default", "It is allow or deny.", "policies.default is %q", c.Policies.Default)
}
