package guardrail

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/sensitive"
)

// Set is rules that may be asked.
type Set struct {
	rules   []*rule
	own     []*rule // those that don't come with Stead
	version string
}

// rule is a compiled Rule.
type rule struct {
	Rule
	patterns []*regexp.Regexp
	schema   func(value []byte) error // nil unless Check.Schema
	kinds    []sensitive.Kind         // of Check.PII
}

// SchemaCompiler makes of a JSON Schema what says whether a value fits, in words.
type SchemaCompiler func(schema json.RawMessage) (func(value []byte) error, error)

// Compile makes a set of rules. Names are each once. schema is asked for rules with a schema.
func Compile(rules []Rule, schema SchemaCompiler) (*Set, error) {
	if len(rules) > MaxRules {
		return nil, stead.Invalid("guardrails", "there are %d guardrails, the limit is %d", len(rules), MaxRules)
	}
	s := &Set{}
	seen := map[string]bool{}
	for i, r := range rules {
		c, err := compile(r, schema)
		if err == nil && (r.Name == "" || seen[r.Name]) {
			err = wrong("name", "names are small letters, digits, - and _, each once")
		}
		if err != nil {
			return nil, &stead.Error{Kind: stead.KindInvalid, Param: fmt.Sprintf("guardrails[%d]%s", i, err.field), Message: fmt.Sprintf("guardrail %q: %s", r.Name, err.text)}
		}
		seen[r.Name] = true
		s.rules = append(s.rules, c)
		if !c.Builtin {
			s.own = append(s.own, c)
		}
	}
	written, err := json.Marshal(rules)
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "the guardrails can't be written")
	}
	sum := sha256.Sum256(written)
	s.version = hex.EncodeToString(sum[:])
	return s, nil
}

// Version is the digest of all rules; "" of none. s may be nil.
func (s *Set) Version() string {
	if s == nil || len(s.rules) == 0 {
		return ""
	}
	return s.version
}

// Names are those of the rules, in their order. s may be nil.
func (s *Set) Names() []string {
	if s == nil {
		return nil
	}
	out := make([]string, len(s.rules))
	for i, r := range s.rules {
		out[i] = r.Name
	}
	return out
}

// flaw is what is wrong with a rule.
type flaw struct{ field, text string }

func wrong(field, format string, args ...any) *flaw {
	return &flaw{"." + field, fmt.Sprintf(format, args...)}
}

func compile(r Rule, schema SchemaCompiler) (*rule, *flaw) {
	c := &rule{Rule: r}
	if len(r.On) == 0 {
		return nil, wrong("on", "on says where it checks: input, output, tool_call, tool_result")
	}
	for _, p := range r.On {
		if !slices.Contains(Points(), p) {
			return nil, wrong("on", "%q is none of input, output, tool_call and tool_result", p)
		}
		if r.Action == Ask && p != ToolCall {
			return nil, wrong("action", "ask is for tool_call alone, which can wait for a person; %s can't", p)
		}
		if len(r.Scope.Tools) > 0 && p != ToolCall && p != ToolResult {
			return nil, wrong("scope", "tools are of tool_call and tool_result, and not of %s", p)
		}
	}
	switch r.Action {
	case Block, Redact, Ask:
	default:
		return nil, wrong("action", "action is block, redact or ask, not %q", r.Action)
	}
	if r.Needs != nil && r.Action != Ask {
		return nil, wrong("approval", "approval is for action: ask")
	}
	return c, c.compileCheck(schema)
}

// compileCheck prepares the one check of a rule.
func (c *rule) compileCheck(schema SchemaCompiler) *flaw {
	k := c.Check
	n := 0
	for _, has := range []bool{len(k.PII) > 0, k.Secrets, len(k.Patterns) > 0, k.Length != nil, len(k.Schema) > 0, k.Judge != nil} {
		if has {
			n++
		}
	}
	if n != 1 {
		return wrong("check", "it needs exactly one check: pii, secrets, patterns, length, json_schema or judge; it has %d", n)
	}
	if c.Action == Redact && (k.Length != nil || len(k.Schema) > 0 || k.Judge != nil) {
		return wrong("action", "redact needs a check that finds places: pii, secrets or patterns")
	}
	switch {
	case len(k.PII) > 0:
		return c.compilePII()
	case len(k.Patterns) > 0:
		return c.compilePatterns()
	case k.Length != nil:
		if k.Length.Min < 0 || k.Length.Max < 0 || k.Length.Max > 0 && k.Length.Max < k.Length.Min || *k.Length == (Length{}) {
			return wrong("check.length", "length needs min or max, in characters, and max is not below min")
		}
	case len(k.Schema) > 0:
		if schema == nil {
			return wrong("check.json_schema", "nothing here knows JSON Schema")
		}
		fits, err := schema(k.Schema)
		if err != nil {
			return wrong("check.json_schema", "%s", err)
		}
		c.schema = fits
	case k.Judge != nil:
		return compileJudge(k.Judge)
	}
	return nil
}

func (c *rule) compilePII() *flaw {
	for _, name := range c.Check.PII {
		at := slices.IndexFunc(sensitive.Personal(), func(k sensitive.Kind) bool { return k.Name == name })
		if at < 0 {
			return wrong("check.pii", "%q is none of %s", name, strings.Join(Kinds(), ", "))
		}
		c.kinds = append(c.kinds, sensitive.Personal()[at])
	}
	return nil
}

func (c *rule) compilePatterns() *flaw {
	if len(c.Check.Patterns) > MaxPatterns {
		return wrong("check.patterns", "there are %d patterns, the limit is %d", len(c.Check.Patterns), MaxPatterns)
	}
	for i, text := range c.Check.Patterns {
		at := fmt.Sprintf("check.patterns[%d]", i)
		if len(text) > MaxPatternBytes {
			return wrong(at, "it has %d bytes, the limit is %d", len(text), MaxPatternBytes)
		}
		p, err := regexp.Compile(text)
		if err != nil {
			return wrong(at, "%s", err)
		}
		if p.MatchString("") {
			return wrong(at, "it matches the empty text, and so everything")
		}
		c.patterns = append(c.patterns, p)
	}
	return nil
}

func compileJudge(j *JudgeBy) *flaw {
	switch {
	case j.Model == "" || strings.TrimSpace(j.Criteria) == "":
		return wrong("check.judge", "a judge needs a model, and criteria that say what must not be")
	case j.Within < 0 || j.Within > MaxJudgeTime:
		return wrong("check.judge.seconds", "a judge has at most %s", MaxJudgeTime)
	}
	return nil
}

// outside says why a length is not within bounds; "": it is.
func (l *Length) outside(text string) string {
	n := utf8.RuneCountInString(text)
	switch {
	case n < l.Min:
		return fmt.Sprintf("it has %d characters, and at least %d are wanted", n, l.Min)
	case l.Max > 0 && n > l.Max:
		return fmt.Sprintf("it has %d characters, and at most %d are allowed", n, l.Max)
	}
	return ""
}
