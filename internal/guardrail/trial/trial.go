// Package trial tests guardrails on cases that people write.
//
// Shape: one YAML document:
//
//	guardrails: ../stead.yaml  # a configuration, from this file; "" leaves it to the command
//	cases:
//	  - name: card numbers are taken out
//	    on: input              # input, output, tool_call or tool_result
//	    text: "my card is 4111 1111 1111 1111"
//	    arguments: {to: ada}   # of tool_call, in place of text
//	    tool: mail/send        # of tool_call and tool_result
//	    project: default       # optional, as are agent and model
//	    judged: {on-topic: true}  # what judges say, by guardrail: true flags; one that is not here does not answer
//	    expect: redact         # pass, redact, block or ask: the strongest that happens
//	    becomes: "my card is [redacted credit_card]"  # optional; of arguments their JSON
//	    by: [no-cards]         # optional: exactly these guardrails do something
//
// No model is called. Limits: MaxCases cases, MaxFileBytes a file.
//
// Errors: KindInvalid names the line of a mistake; a key that is not known is one.
package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
)

// Limits of a file of cases.
const (
	MaxFileBytes = 4 << 20
	MaxCases     = 10_000
)

// Passes is what is expected where no guardrail does anything.
const Passes guardrail.Action = "pass"

// File is a file of cases.
type File struct {
	Guardrails string `yaml:"guardrails"`
	Cases      []Case `yaml:"cases"`
}

// Case is a text and what is expected to become of it.
type Case struct {
	Name      string          `yaml:"name"`
	On        guardrail.Point `yaml:"on"`
	Text      string          `yaml:"text"`
	Arguments any             `yaml:"arguments"`
	Tool      string          `yaml:"tool"`
	Project   string          `yaml:"project"` // "": default
	Agent     string          `yaml:"agent"`
	Model     string          `yaml:"model"`
	Judged    map[string]bool `yaml:"judged"`

	Expect  guardrail.Action `yaml:"expect"`
	Becomes *string          `yaml:"becomes"`
	By      []string         `yaml:"by"`
}

// Parse reads a file of cases.
func Parse(data []byte) (File, error) {
	var f File
	if len(data) > MaxFileBytes {
		return f, stead.Errorf(stead.KindTooLarge, "the cases are larger than the limit of %d bytes", MaxFileBytes)
	}
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&f); err != nil && !errors.Is(err, io.EOF) { // an empty file has no cases
		return f, stead.Invalid("cases", "%s", strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	if len(f.Cases) == 0 || len(f.Cases) > MaxCases {
		return f, stead.Invalid("cases", "there are %d cases: there must be between 1 and %d", len(f.Cases), MaxCases)
	}
	for i, c := range f.Cases {
		if why := c.wrong(); why != "" {
			return f, stead.Invalid(fmt.Sprintf("cases[%d]", i), "case %d (%s): %s", i+1, c.Name, why)
		}
	}
	return f, nil
}

// wrong says what is wrong with how a case is written; "": nothing.
func (c Case) wrong() string {
	switch {
	case !slices.Contains(guardrail.Points(), c.On):
		return fmt.Sprintf("on is input, output, tool_call or tool_result, not %q", c.On)
	case !slices.Contains([]guardrail.Action{Passes, guardrail.Redact, guardrail.Block, guardrail.Ask}, c.Expect):
		return fmt.Sprintf("expect is pass, redact, block or ask, not %q", c.Expect)
	case (c.Arguments != nil) != (c.On == guardrail.ToolCall):
		return "arguments are of tool_call, which has no text"
	case c.On != guardrail.ToolCall && c.Text == "": // nothing is looked for in no text
		return "text is missing"
	case (c.On == guardrail.ToolCall || c.On == guardrail.ToolResult) && c.Tool == "":
		return "tool is missing: SERVER/TOOL, or a function's name"
	}
	return ""
}

// Run holds a set of guardrails against the case; the error says what is otherwise. A judge of which
// the case says nothing does not answer, and one that there is not is a mistake.
func (c Case) Run(ctx context.Context, set *guardrail.Set) error {
	for _, name := range slices.Sorted(maps.Keys(c.Judged)) {
		if !slices.Contains(set.Names(), name) {
			return fmt.Errorf("judged names %q, which is no guardrail", name)
		}
	}
	got, v, err := c.check(ctx, set)
	if err != nil {
		return err
	}
	happened := strongest(v)
	if happened != c.Expect {
		return fmt.Errorf("%s, want %s (%s)", happened, c.Expect, strings.Join(summaries(v), "; "))
	}
	if c.Becomes != nil && *c.Becomes != got {
		return fmt.Errorf("it became %q, want %q", got, *c.Becomes)
	}
	if by := names(v); c.By != nil && !slices.Equal(by, slices.Sorted(slices.Values(c.By))) {
		return fmt.Errorf("by %v, want %v", by, c.By)
	}
	return nil
}

func (c Case) check(ctx context.Context, set *guardrail.Set) (string, guardrail.Verdict, error) {
	g := guardrail.New(judges(c.Judged), nil)
	g.Replace(set)
	project := stead.ProjectID(c.Project)
	if project == "" {
		project = stead.DefaultProject
	}
	of := g.Of(guardrail.Subject{Project: project, Agent: stead.AgentID(c.Agent), Model: c.Model})
	if c.On == guardrail.ToolCall {
		raw, err := json.Marshal(c.Arguments)
		if err != nil {
			return "", guardrail.Verdict{}, fmt.Errorf("its arguments can't be written: %w", err)
		}
		left, v := of.Arguments(ctx, c.Tool, raw)
		return string(left), v, nil
	}
	left, v := of.Text(ctx, c.On, c.Tool, c.Text)
	return left, v, nil
}

// judges answer as a case says.
type judges map[string]bool

// Judge implements guardrail.Judge.
func (j judges) Judge(_ context.Context, q guardrail.Question) (guardrail.Ruling, error) {
	flagged, ok := j[q.Guardrail]
	if !ok {
		return guardrail.Ruling{}, errors.New("the case does not say what the judge of " + q.Guardrail + " says")
	}
	return guardrail.Ruling{Flagged: flagged, Reason: "the case says so"}, nil
}

func strongest(v guardrail.Verdict) guardrail.Action {
	switch {
	case v.Blocked != nil:
		return guardrail.Block
	case v.Needs != nil:
		return guardrail.Ask
	case len(v.Findings) > 0:
		return guardrail.Redact
	}
	return Passes
}

func names(v guardrail.Verdict) []string {
	var out []string
	for _, f := range v.Findings {
		out = append(out, f.Guardrail)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func summaries(v guardrail.Verdict) []string {
	if len(v.Findings) == 0 {
		return []string{"no guardrail did anything"}
	}
	var out []string
	for _, f := range v.Findings {
		out = append(out, f.Guardrail+": "+f.Why())
	}
	return out
}
