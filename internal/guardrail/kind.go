package guardrail

import "github.com/stead-dev/stead/internal/sensitive"

// Kinds are the names of the kinds of personal data.
func Kinds() []string {
	var out []string
	for _, k := range sensitive.Personal() {
		out = append(out, k.Name)
	}
	return out
}

// mark stands where a thing was.
func mark(kind string) string { return "[redacted " + kind + "]" }

// find looks for everything that a rule finds by its place.
func (c *rule) find(text string) []sensitive.Found {
	if c.Check.Secrets {
		return sensitive.FindSecrets(text)
	}
	all := sensitive.Find(text, c.kinds) // nothing, where the check is of patterns: a rule has one
	for _, p := range c.patterns {
		for _, s := range p.FindAllStringIndex(text, -1) {
			if s[1] > s[0] {
				all = append(all, sensitive.Found{Span: sensitive.Span{From: s[0], To: s[1]}, Kind: "pattern"})
			}
		}
	}
	return sensitive.Apart(all)
}
