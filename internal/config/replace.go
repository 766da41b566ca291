package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Replaces checks that a server that runs by was may go on by c. A section that was there is there, if empty; there are
// providers and models, where there were some; and no name of a model, for which there was a real one, leads to the
// simulator. Whoever does mean that starts the server anew. KindInvalid otherwise.
func (c *Config) Replaces(was *Config) error {
	var gone []string
	for _, s := range was.Sections {
		if slices.Contains(Reloaded(), s) && !slices.Contains(c.Sections, s) {
			gone = append(gone, s)
		}
	}
	switch {
	case len(c.Providers) == 0 && len(was.Providers) > 0:
		return invalid("providers", "Restart the server to run without.", "the configuration has no providers, and had %d", len(was.Providers))
	case len(c.Models) == 0 && len(was.Models) > 0:
		return invalid("models", "Restart the server to run without.", "the configuration has no models, and had %d", len(was.Models))
	case len(gone) > 0:
		return invalid(gone[0], fmt.Sprintf("Write it empty (%s: []; policies, settlement, client_certificates, oauth and semantic: {}) to take it away. To change the file, write another one and rename it.", gone[0]),
			"the configuration has no %s, which was there when it was last read: it may be cut off", strings.Join(gone, " and no "))
	}
	return c.keepReal(was)
}

// keepReal refuses that the simulator stands in for a real model.
func (c *Config) keepReal(was *Config) error {
	const hint = "Restart the server, or use another name."
	for _, p := range was.Providers {
		if p.API != APISim && c.simulator(p.Name) {
			return invalid("providers", hint, "the provider %s was a real one, and would be the simulator", p.Name)
		}
	}
	for name := range was.names() {
		if !was.simulated(name) && c.simulated(name) {
			return invalid("models", hint, "the model %s was a real one, and the simulator would answer for it", name)
		}
	}
	return nil
}

// names are the models that agents may ask for by a name of their own.
func (c *Config) names() map[string]bool {
	out := map[string]bool{}
	for _, m := range c.Models {
		out[m.Name] = true
	}
	if len(c.Models) > 0 {
		out["default"] = true
	}
	return out
}

// simulated reports whether the simulator may answer a call by a name.
func (c *Config) simulated(name string) bool {
	i := slices.IndexFunc(c.Models, func(m Model) bool { return m.Name == name })
	if i < 0 && name == "default" {
		i = 0 // what stands first is the default
	}
	if i < 0 || i >= len(c.Models) {
		return false
	}
	return slices.ContainsFunc(c.Models[i].Routes, func(r Route) bool { return c.simulator(r.Provider) })
}

func (c *Config) simulator(provider string) bool {
	return slices.ContainsFunc(c.Providers, func(p Provider) bool { return p.Name == provider && p.API == APISim })
}

// Reloaded are the sections that a server takes while it runs.
func Reloaded() []string {
	return []string{"providers", "models", "residency", "capacity", "prices", "budgets", "settlement", "commitments", "policies", "guardrails", "builtin_guardrails", "client_certificates", "semantic", "mcp_servers", "oauth", "seal_key", "seal_kms"}
}

// Loss is what one section had and has no more.
type Loss struct {
	Section string
	Names   []string // sorted
}

// maxNamed bounds how many names a Loss says.
const maxNamed = 20

// String is "3: a, b, c".
func (l Loss) String() string {
	named := l.Names[:min(len(l.Names), maxNamed)]
	more := ""
	if len(named) < len(l.Names) {
		more = ", …"
	}
	return fmt.Sprintf("%d: %s%s", len(l.Names), strings.Join(named, ", "), more)
}

// Lost is what was had and c does not have, by name.
func (c *Config) Lost(was *Config) []Loss {
	var out []Loss
	for _, s := range Reloaded() {
		has := map[string]bool{}
		for _, name := range c.named(s) {
			has[name] = true
		}
		gone := map[string]bool{}
		for _, name := range was.named(s) {
			if !has[name] {
				gone[name] = true
			}
		}
		if len(gone) > 0 {
			out = append(out, Loss{s, slices.Sorted(maps.Keys(gone))})
		}
	}
	return out
}

// named are what a section holds, by the names that people know it by. Policies have theirs in files of their own.
func (c *Config) named(section string) []string {
	switch section {
	case "providers":
		return names(c.Providers, func(p Provider) string { return p.Name })
	case "models":
		return names(c.Models, func(m Model) string { return m.Name })
	case "residency":
		return names(c.Residency, Residency.String)
	case "capacity":
		return names(c.Capacity, func(p Pool) string { return p.Name })
	case "prices":
		return names(c.Prices, func(p Prices) string { return p.Version })
	case "budgets":
		return names(c.Budgets, func(b Budget) string { return b.Name })
	case "settlement":
		return names(c.Settlement.Rules, func(r SettlementRule) string { return r.Name })
	case "guardrails":
		return names(c.Guardrails, func(g Guardrail) string { return g.Name })
	case "client_certificates":
		return names(c.ClientCertificates.Allow, ClientCertificate.name)
	case "semantic":
		return names(c.Semantic.Models, func(m SemanticModel) string { return m.File })
	case "mcp_servers":
		return names(c.Servers, func(s Server) string { return s.Label })
	case "oauth":
		return names(c.OAuth.Clients, func(o OAuthClient) string { return o.Issuer })
	case "commitments":
		return names(c.Commitments, func(m Commitment) string { return m.Name })
	}
	return nil
}

func names[T any](all []T, of func(T) string) []string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = of(v)
	}
	return out
}

// String is a rule in words: "project x, data=health in eu, ch".
func (r Residency) String() string {
	var who []string
	if r.Project != "" {
		who = append(who, "project "+r.Project)
	}
	for _, k := range slices.Sorted(maps.Keys(r.Labels)) {
		who = append(who, k+"="+r.Labels[k])
	}
	return strings.Join(who, ", ") + " in " + strings.Join(r.Regions, ", ")
}
