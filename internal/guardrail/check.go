package guardrail

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/sensitive"
)

// document is what is checked at once: texts that belong together, and how they read as one.
type document struct {
	parts []string
	whole func(parts []string) string
	// adjoins: the parts are read one behind the other, so that something may stand across them.
	adjoins bool
	// beside: it is nothing that is said, so that only rules that find places are asked.
	beside bool
}

// lines reads texts one below the other.
func lines(parts []string) string { return strings.Join(parts, "\n") }

// check asks the rules that hold at a point about a document, whose parts are changed where they are redacted.
func (c *Checks) check(ctx context.Context, p Point, of Subject, d *document) Verdict {
	var v Verdict
	for _, r := range c.set.rules {
		if !slices.Contains(r.On, p) || !r.Scope.holds(p, of) || d.beside && !r.Check.places() {
			continue
		}
		f := r.ask(ctx, c, of, d)
		if f == nil {
			continue
		}
		f.Guardrail, f.On, f.Reason = r.Name, p, cut(f.Reason)
		if f.Action == "" {
			f.Action = r.Action
		}
		f.said = cut(f.said)
		if r.Reason != "" && !f.Failed {
			f.said = r.Reason
		}
		if err := c.guard.decided(ctx, of, *f); err != nil {
			f.Action, f.Failed, f.said = Block, true, "it could not be recorded"
		}
		v.Findings = append(v.Findings, *f)
		switch f.Action {
		case Block:
			v.Blocked = f
			return v
		case Ask:
			v.Needs = v.Needs.And(r.Needs)
		}
	}
	return v
}

// ask is what one rule finds; nil: nothing.
func (r *rule) ask(ctx context.Context, c *Checks, of Subject, d *document) *Finding {
	switch k := r.Check; {
	case k.Length != nil:
		return because(k.Length.outside(d.whole(d.parts)))
	case r.schema != nil:
		if err := r.schema([]byte(d.whole(d.parts))); err != nil {
			return &Finding{Reason: "it does not fit the schema", said: err.Error()}
		}
		return nil
	case k.Judge != nil:
		return c.judged(ctx, of, r.Name, k.Judge, d.whole(d.parts))
	}
	return r.places(d)
}

// places reports whether the check finds places in texts.
func (k Check) places() bool { return len(k.PII) > 0 || k.Secrets || len(k.Patterns) > 0 }

// because is a finding with a reason; nil for "".
func because(reason string) *Finding {
	if reason == "" {
		return nil
	}
	return &Finding{Reason: reason, said: reason}
}

// places counts what a rule finds by its place, and replaces it if that is the rule's. What would only be found where
// texts meet is found as well, so that nothing passes in pieces: it can't be replaced, and is blocked.
func (r *rule) places(d *document) *Finding {
	counts := map[string]int{}
	for i, text := range d.parts {
		all := r.find(text)
		for _, f := range all {
			counts[f.Kind]++
		}
		if r.Action == Redact && len(all) > 0 {
			d.parts[i] = sensitive.Replace(text, all, mark)
		}
	}
	if d.adjoins && len(d.parts) > 1 && (r.Action != Redact || len(counts) == 0) {
		across := map[string]int{}
		for _, f := range r.find(strings.Join(d.parts, "")) {
			across[f.Kind]++
		}
		if total(across) > total(counts) {
			return &Finding{Found: across, Action: ifRedact(r.Action)}
		}
	}
	if len(counts) == 0 {
		return nil
	}
	return &Finding{Found: counts}
}

func ifRedact(a Action) Action {
	if a == Redact {
		return Block
	}
	return a
}

func total(counts map[string]int) int {
	n := 0
	for v := range maps.Values(counts) {
		n += v
	}
	return n
}

// judged asks a judge. Without its word the text does not pass.
func (c *Checks) judged(ctx context.Context, of Subject, name string, by *JudgeBy, text string) *Finding {
	failed := func(why string) *Finding {
		return &Finding{Action: Block, Failed: true, Reason: why, said: "it could not be judged"}
	}
	if len(text) > MaxJudgeBytes {
		return &Finding{Action: Block, said: fmt.Sprintf("it is longer than the %d bytes that can be judged", MaxJudgeBytes)}
	}
	if strings.TrimSpace(text) == "" {
		return nil
	}
	if c.guard.judge == nil {
		return failed("there is no judge")
	}
	within := by.Within
	if within == 0 {
		within = DefaultJudgeTime
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	ruling, err := c.guard.judge.Judge(ctx, Question{Guardrail: name, By: *by, Text: text, Of: of})
	switch {
	case ctx.Err() != nil:
		return failed(fmt.Sprintf("the judge did not answer within %s", within))
	case err != nil:
		return failed(err.Error())
	case ruling.Flagged:
		return &Finding{Reason: ruling.Reason, said: "it is what must not be, by the judgement of a model"}
	}
	return nil
}

// cut shortens a reason to MaxReasonBytes, on a character.
func cut(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxReasonBytes {
		return s
	}
	n := MaxReasonBytes
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// textual reports whether a part of content is text.
func textual(c stead.Content) bool {
	switch c.Type {
	case stead.ContentInputText, stead.ContentOutputText, stead.ContentRefusal:
		return true
	}
	return false
}
