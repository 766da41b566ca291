package cedar

import (
	"bytes"
	"fmt"
	"slices"

	expast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/stead-dev/stead/internal/policy"
)

// What a policy costs to check grows with how deep it is, and with every principal and action that it is about: 250 KB of brackets took a core for a
// quarter of a minute. So a text is measured before it is parsed, by its tokens alone, and what is beyond these limits costs nothing.
const (
	MaxNesting  = 64     // brackets within brackets, of a policy
	MaxSigns    = 4      // ! and - in a row, as the language has it
	MaxChain    = 500    // tokens of one expression between brackets and commas: of a && b && c …, or a.b.c …
	MaxBranches = 32     // ifs of one such expression
	MaxTokens   = 10_000 // of a policy
)

// MaxWork is what checking a set that a project uploads may cost: the tokens of each policy's conditions, times the kinds of requests (of a principal's
// type, an action and a resource's type) that its head leaves open. A policy that names its action has a few, one that names none more than a hundred.
const MaxWork = 4_000_000

// maxMistakes is how many are told of a policy. maxFaults is behind how many the rest of a text is not checked, since a mistake costs more the deeper it is: it is
// one in each kind of requests, and comes from below through every && and +.
const (
	maxMistakes = 100
	maxFaults   = 300
)

// measure finds policies beyond the limits, and counts the tokens of each. What is no policy at all is the parser's to say.
func measure(src Source) (tokens []int, wrong policy.Mistakes) {
	m := meter{source: src.Name, number: 1}
	m.policy()
	line := 1
	for text := src.Text; len(text) > 0; {
		n := token(text)
		if !blank(text[0]) && !bytes.HasPrefix(text, comment) && !bytes.HasPrefix(text, remark) {
			m.token(text[:n], line)
		}
		line += bytes.Count(text[:n], newline)
		text = text[n:]
	}
	return m.counts, m.wrong
}

var comment, newline = []byte("//"), []byte("\n")

// remark begins a comment within a line, which the parser knows beside those of the language.
var remark, remarkEnd = []byte("/*"), []byte("*/")

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func wordy(c byte) bool {
	return c == '_' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// token is the length of what the text begins with: a word, a string, a comment, white space or a sign.
func token(text []byte) int {
	run := func(of func(byte) bool) int {
		n := 1
		for n < len(text) && of(text[n]) {
			n++
		}
		return n
	}
	switch c := text[0]; {
	case blank(c):
		return run(blank)
	case wordy(c):
		return run(wordy)
	case c == '"':
		return literal(text)
	case bytes.HasPrefix(text, comment):
		return run(func(c byte) bool { return c != '\n' })
	case bytes.HasPrefix(text, remark):
		end := bytes.Index(text[len(remark):], remarkEnd)
		if end < 0 {
			return len(text)
		}
		return len(remark) + end + len(remarkEnd)
	case len(text) > 1 && (c == ':' || c == '&' || c == '|') && text[1] == c, len(text) > 1 && text[1] == '=':
		return 2
	}
	return 1
}

// literal is the length of a string that the text begins with. One that no quote ends is one to its line's end: the parser refuses it.
func literal(text []byte) int {
	for n := 1; n < len(text); n++ {
		switch text[n] {
		case '\\':
			n++
		case '"':
			return n + 1
		case '\n':
			return n
		}
	}
	return len(text)
}

// meter counts what one policy after the other has.
type meter struct {
	source string
	counts []int
	wrong  policy.Mistakes

	number, first int  // of the policy, and its line; 0: it has not begun
	told          bool // that it is beyond a limit
	tokens, signs int
	levels        []level // a bracket each, the policy itself first
}

// level is what an expression between brackets and commas has.
type level struct{ tokens, branches int }

func (m *meter) policy() {
	m.first, m.told, m.tokens, m.signs, m.levels = 0, false, 0, 0, append(m.levels[:0], level{})
}

func (m *meter) token(t []byte, line int) {
	if m.first == 0 {
		m.first = line
	}
	m.tokens++
	at := &m.levels[len(m.levels)-1]
	at.tokens++
	m.signs++
	switch string(t) {
	case "!", "-":
	case "if":
		at.branches++
		m.signs = 0
	case "(", "[", "{":
		m.signs, m.levels = 0, append(m.levels, level{})
	case ")", "]", "}":
		m.signs = 0
		if len(m.levels) > 1 {
			m.levels = m.levels[:len(m.levels)-1]
		}
	case ",":
		m.signs, *at = 0, level{}
	case ";":
		m.signs, *at = 0, level{}
		if len(m.levels) == 1 {
			m.number++
			m.counts = append(m.counts, m.tokens)
			m.policy()
			return
		}
	default:
		m.signs = 0
	}
	m.limits(line, *at)
}

func (m *meter) limits(line int, at level) {
	for _, l := range []struct {
		has, limit int
		what       string
	}{
		{len(m.levels) - 1, MaxNesting, "brackets within brackets"},
		{m.signs, MaxSigns, "! and - in a row"},
		{at.tokens, MaxChain, "words and signs in one expression without brackets"},
		{at.branches, MaxBranches, "ifs within one expression"},
		{m.tokens, MaxTokens, "words and signs"},
	} {
		if l.has > l.limit && !m.told {
			m.told = true
			m.wrong = append(m.wrong, policy.Mistake{
				Source: m.source, Line: line, Column: 1,
				Problem: fmt.Sprintf("policy %d, which begins in line %d, has more than %d %s, which is the limit", m.number, m.first, l.limit, l.what),
			})
		}
	}
}

// kinds counts the kinds of requests that a policy's head leaves open.
func (l *loader) kinds(p *expast.Policy) (n int) {
	named := headActions(p)
	for uid, a := range l.schema.Actions {
		if a.AppliesTo != nil && (named == nil || slices.Contains(named, uid) || slices.ContainsFunc(named, a.Entity.Parents.Contains)) {
			n += len(a.AppliesTo.Principals) * len(a.AppliesTo.Resources)
		}
	}
	return n
}

// affords reports whether a policy may be checked, after those before it.
func (l *loader) affords(p *expast.Policy, tokens int, report func(format string, args ...any)) bool {
	before := l.work
	l.work += tokens * l.kinds(p)
	if l.opts.Name == "" || l.work <= MaxWork {
		return true
	}
	if before <= MaxWork {
		report("the policies up to this one say too much of too many kinds of requests: words and signs times kinds are %d, the limit is %d. Name the actions in their heads, or use several sets", l.work, MaxWork)
	}
	return false
}
