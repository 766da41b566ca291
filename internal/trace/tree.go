package trace

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Tree writes the spans of one trace as people read them: a line a span, with when it began, how long it took and what came of it, and
// below it a line a decision. A span whose parent is not there, since that has not ended or is somebody else's, stands at the left.
func Tree(w io.Writer, spans []Span) error {
	t := tree{w: w, below: map[string][]Span{}}
	there := map[string]bool{}
	for i, s := range spans {
		there[s.SpanID] = true
		if i == 0 || s.Start < t.begin {
			t.begin = s.Start
		}
	}
	for _, s := range spans {
		parent := s.Parent
		if !there[parent] {
			parent = ""
		}
		t.below[parent] = append(t.below[parent], s)
	}
	t.children("", "")
	return t.err
}

type tree struct {
	w     io.Writer
	begin Time
	below map[string][]Span // parent → spans; "": none that is there
	err   error
}

func (t *tree) children(parent, indent string) {
	spans := t.below[parent]
	slices.SortStableFunc(spans, func(a, b Span) int { return cmp.Compare(a.Start, b.Start) })
	for i := range spans {
		s := &spans[i]
		t.line("%10s %10s  %s%s%s", "+"+took(s.Start-t.begin), took(s.End-s.Start), indent, s.Name, outcomeOf(s))
		for _, e := range s.Events {
			if e.Name == decisionEvent {
				t.line("%10s %10s  %s  · %s", "+"+took(e.At-t.begin), "", indent, decided(e))
			}
		}
		t.children(s.SpanID, indent+"  ")
	}
}

func (t *tree) line(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintln(t.w, strings.TrimRight(fmt.Sprintf(format, args...), " "))
	}
}

func took(ms Time) string { return (time.Duration(ms) * time.Millisecond).String() }

// outcomeOf is what a line says behind a span's name.
func outcomeOf(s *Span) string {
	var parts []string
	for _, a := range []struct{ key, form string }{
		{"stead.turn.status", "%s"},
		{"error.type", "%s"},
		{"gen_ai.usage.input_tokens", "%s in"},
		{"gen_ai.usage.output_tokens", "%s out"},
		{"gen_ai.memory.record.count", "%s found"},
		{"process.exit.code", "exit %s"},
	} {
		if v := s.Attribute(a.key); v != nil {
			parts = append(parts, fmt.Sprintf(a.form, v.Text()))
		}
	}
	if n := s.Attribute("stead.attempt").Text(); n != "" && n != "1" {
		parts = append(parts, "attempt "+n)
	}
	if len(parts) == 0 {
		return ""
	}
	return "  (" + strings.Join(parts, ", ") + ")"
}

func decided(e Event) string {
	s := Span{Attributes: e.Attributes}
	out := "policy " + s.Attribute("stead.policy.effect").Text() + ": " + s.Attribute("stead.policy.verdict").Text()
	if ids := s.Attribute("stead.policy.ids").Text(); ids != "" {
		out += " by " + ids
	}
	if us := s.Attribute("stead.policy.us"); us != nil {
		out += " in " + us.Text() + " µs"
	}
	return out
}
