package guardrail

import (
	"bytes"
	"slices"

	"github.com/stead-dev/stead/internal/sensitive"
)

// BuiltinSecrets names the rule that is in force unless the configuration says otherwise: what has the form of a secret is masked in whatever
// tools return, before it is stored and before a model reads it.
const BuiltinSecrets = "secrets"

// Builtins are the names of the rules that come with Stead.
func Builtins() []string { return []string{BuiltinSecrets} }

// Builtin is a rule that comes with Stead. They stand behind the operator's, which see texts as they came.
func Builtin(name string) (Rule, bool) {
	if name != BuiltinSecrets {
		return Rule{}, false
	}
	return Rule{Name: "stead-secrets", On: []Point{ToolResult}, Check: Check{Secrets: true}, Action: Redact, Builtin: true}, true
}

// Builtin reports whether rules that come with Stead are among the checks.
func (c *Checks) Builtin() bool { return c != nil && len(c.set.own) < len(c.set.rules) }

// Own are the checks without the rules that come with Stead; nil where there are no others.
func (c *Checks) Own() *Checks {
	if c == nil || len(c.set.own) == 0 {
		return nil
	}
	return &Checks{guard: c.guard, set: &Set{rules: c.set.own, own: c.set.own, version: c.set.version}, of: c.of}
}

// Lines reports whether all that rules do to what a tool returns can be done line by line, as it comes: they mask secrets.
func (c *Checks) Lines(tool string) bool {
	return c != nil && !slices.ContainsFunc(c.set.rules, func(r *rule) bool {
		return slices.Contains(r.On, ToolResult) && r.Scope.holds(ToolResult, c.ofTool(tool)) && !(r.Check.Secrets && r.Action == Redact)
	})
}

// keyBegins and keyEnds stand around a private key, the one secret that goes over lines.
const keyBegins, keyEnds = "-----BEGIN ", "-----END "

// WholeLines is how much of a text that goes on can be shown once it is masked: lines that have ended, up to a key that has not.
func WholeLines(text []byte) int {
	n := bytes.LastIndexAny(text, "\r\n") + 1
	if at := bytes.LastIndex(text[:n], []byte(keyBegins)); at >= 0 && !bytes.Contains(text[at:n], []byte(keyEnds)) {
		return bytes.LastIndexAny(text[:at], "\r\n") + 1
	}
	return n
}

// MaskSecrets replaces what has the form of a secret.
func MaskSecrets(text string) string {
	return sensitive.Replace(text, sensitive.FindSecrets(text), mark)
}
