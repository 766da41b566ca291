// Package guardrail checks texts on their way to and from agents, by rules that the operator sets and no agent can lift.
//
// Shape: Rules ─ Compile ─▶ Set; Guard {Set, judge, recorder} ─ Of(Subject) ─▶ Checks; Checks ─ at a Point ─▶ what goes on, and a Verdict
//
//	input        what a caller sends, before it is stored or reaches a model
//	output       what a model says, before anybody sees it
//	tool_call    a call's arguments, before it is made
//	tool_result  what a tool returned, before a model sees it
//
// Rules are asked in the order of the configuration, each about the text as those before it left it. One that blocks ends
// the matter; one that redacts replaces what it found by a mark; one that asks has a tool call wait for a person.
// Package guardrail does no I/O: what judges, what records and what knows JSON Schema are given to it.
//
// Units and limits: lengths in characters (Unicode code points); times as time.Duration; MaxRules, MaxPatterns,
// MaxPatternBytes, MaxJudgeBytes, MaxJudgeTime. Checks take time in proportion to the text: patterns are those of RE2.
//
// Errors: Compile's are KindInvalid and name the rule. A check itself never fails: what can't be judged, or not be
// recorded, is blocked. Verdict.Err makes of a block the error of an API call: KindInvalid with CodeBlocked, or
// KindUnavailable where trying again may help.
//
// Concurrency: a Set is immutable; a Guard may be used and given another Set at any time. Checks keep the Set that they
// were made with, so that what began under one set of rules ends under it.
//
// What it does not see: pictures, files and other content that is not text, and what a model's provider keeps encrypted.
//
// Source: docs/guardrails.md; of the checks of numbers, pii.go.
package guardrail

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Limits of a set of rules.
const (
	MaxRules        = 64
	MaxPatterns     = 64      // of one rule
	MaxPatternBytes = 4 << 10 // of one pattern
	// MaxJudgeBytes is the longest text that a judge is asked about. What is longer is blocked.
	MaxJudgeBytes = 64 << 10
	// MaxJudgeTime bounds how long a judge may take, and DefaultJudgeTime is how long it may where nothing is said.
	MaxJudgeTime     = time.Minute
	DefaultJudgeTime = 10 * time.Second
	// MaxReasonBytes bounds each reason.
	MaxReasonBytes = 400
)

// CodeBlocked is the Code of the error of a request that a guardrail refuses.
const CodeBlocked = "guardrail_blocked"

// Point is where a text is checked.
type Point string

// The points.
const (
	Input      Point = "input"
	Output     Point = "output"
	ToolCall   Point = "tool_call"
	ToolResult Point = "tool_result"
)

// Points lists them all.
func Points() []Point { return []Point{Input, Output, ToolCall, ToolResult} }

// Action is what becomes of a text in which a rule finds something.
type Action string

// The actions.
const (
	Block  Action = "block"
	Redact Action = "redact" // what was found is replaced
	Ask    Action = "ask"    // a person must approve: at tool_call alone, which can wait
)

// Rule is one guardrail.
type Rule struct {
	Name   string
	On     []Point
	Check  Check
	Action Action
	Scope  Scope
	// Needs says whose approval Ask takes; nil: that of one approver.
	Needs *policy.Needs
	// Reason is what people and models are told in place of what the check says; "": nothing.
	Reason string
	// Builtin: it came with Stead, and no operator wrote it.
	Builtin bool
}

// Check is what a rule looks for: exactly one of these.
type Check struct {
	PII      []string // kinds of personal data: see Kinds
	Secrets  bool     // keys and passwords, by their form
	Patterns []string // regular expressions (RE2): one of them is found
	Length   *Length  // the text is shorter or longer
	Schema   json.RawMessage
	Judge    *JudgeBy
}

// Length bounds a text, in characters.
type Length struct {
	Min int
	Max int // 0: no bound
}

// JudgeBy is a model that is asked whether a text may pass.
type JudgeBy struct {
	Model    string        // as agents ask for it
	Criteria string        // what must not be, in words
	Within   time.Duration // 0: DefaultJudgeTime
}

// Scope is where a rule holds; an empty list is everywhere. Names may end in *, which stands for anything.
type Scope struct {
	Projects []string
	Agents   []string // ids; what has no agent is not meant
	Models   []string // as agents ask for them; where it is not known yet which model reads a text, every one is meant
	Tools    []string // "server/tool", or a function's name; at tool_call and tool_result alone
}

// Subject is whose text it is.
type Subject struct {
	Principal stead.Principal
	Project   stead.ProjectID
	Session   stead.SessionID // "" where there is none
	Agent     stead.AgentID   // "" where there is none
	Model     string
	Labels    stead.Labels // of the text, as far as they are known
	Tool      string       // "server/tool", or a function's name, at tool_call and tool_result
}

// Finding is what a rule did, for the journal and the audit log. It never holds what was found.
type Finding struct {
	Guardrail string `json:"guardrail"`
	On        Point  `json:"on"`
	Action    Action `json:"action"`
	// At says in which part: "items[2]". "": there is but one.
	At string `json:"at,omitempty"`
	// Found counts what was found, by kind.
	Found map[string]int `json:"found,omitempty"`
	// Reason is for people. Of a judge's it may say what the text made the judge say: no model is told.
	Reason string `json:"reason,omitempty"`
	// Failed: the check could not be made, and the text is blocked for that.
	Failed bool `json:"failed,omitempty"`

	said string // what is safe to tell callers and models
}

// Verdict is what came of checking.
type Verdict struct {
	Findings []Finding     // of rules that did something, in their order
	Blocked  *Finding      // the last of Findings, if that blocks; nil: the text goes on
	Needs    *policy.Needs // a person must approve; nil: nobody must
}

// Told says of a block what happened to a thing: "The answer was withheld by guardrail no-keys: it holds 1 secret."
func (v Verdict) Told(what string) string {
	if v.Blocked == nil {
		return ""
	}
	return what + " by guardrail " + v.Blocked.Guardrail + ": " + v.Blocked.Why() + "."
}

// Err is a block as the error of an API call about a field; nil: nothing is blocked.
func (v Verdict) Err(param string) error {
	f := v.Blocked
	if f == nil {
		return nil
	}
	e := stead.Errorf(stead.KindInvalid, "%s was refused by guardrail %s: %s", param, f.Guardrail, f.Why())
	e.Param, e.Code = param, CodeBlocked
	if f.Failed {
		e.Kind, e.Hint = stead.KindUnavailable, "What can't be checked does not pass. Try again."
	}
	return e
}

// In says of findings in which of a list's entries they are.
func (v Verdict) In(list string, i int) Verdict {
	for n := range v.Findings {
		v.Findings[n].At = fmt.Sprintf("%s[%d]", list, i)
	}
	return v
}

// Asks says which rules ask for approval, and why.
func (v Verdict) Asks() string {
	var said []string
	for _, f := range v.Findings {
		if f.Action == Ask {
			said = append(said, "guardrail "+f.Guardrail+" asks for approval: "+f.Why())
		}
	}
	return strings.Join(said, "; ")
}

// Why is the reason that callers and models are told.
func (f *Finding) Why() string {
	if f.said != "" {
		return f.said
	}
	return foundWords(f.Found)
}

// foundWords says "it holds 2 email, 1 iban".
func foundWords(found map[string]int) string {
	var words []string
	for kind, n := range found {
		words = append(words, fmt.Sprintf("%d %s", n, kind))
	}
	slices.Sort(words)
	return "it holds " + strings.Join(words, ", ")
}

// Summary says what a finding is in one line, for logs and audit records.
func (f Finding) Summary() string {
	out := string(f.On)
	if f.At != "" {
		out += " " + f.At
	}
	if len(f.Found) > 0 {
		return out + ": " + foundWords(f.Found)
	}
	return out
}

// And joins what came of two checks; the first block counts.
func (v Verdict) And(next Verdict) Verdict {
	v.Findings = append(slices.Clip(v.Findings), next.Findings...)
	if v.Blocked == nil {
		v.Blocked = next.Blocked
	}
	v.Needs = v.Needs.And(next.Needs)
	return v
}

// matches reports whether a name is in a list of names that may end in *; an empty list has every name.
func matches(list []string, name string) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(want string) bool {
		if prefix, open := strings.CutSuffix(want, "*"); open {
			return strings.HasPrefix(name, prefix)
		}
		return want == name
	})
}

// holds reports whether a scope is about a subject at a point.
func (s Scope) holds(p Point, of Subject) bool {
	if len(s.Agents) > 0 && of.Agent == "" {
		return false
	}
	if (p == ToolCall || p == ToolResult) && !matches(s.Tools, of.Tool) {
		return false
	}
	if of.Model != "" && !matches(s.Models, of.Model) {
		return false
	}
	return matches(s.Projects, string(of.Project)) && matches(s.Agents, string(of.Agent))
}
