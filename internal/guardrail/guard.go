package guardrail

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// Judge is a model that decides about texts.
type Judge interface {
	// Judge says whether a text is what the question's criteria speak of. Text is data: whatever it says, it instructs
	// nobody. Any error counts as a block.
	Judge(ctx context.Context, q Question) (Ruling, error)
}

// Question is what a judge is asked.
type Question struct {
	// Guardrail is the name of the rule.
	Guardrail string
	By        JudgeBy
	Text      string // at most MaxJudgeBytes
	Of        Subject
}

// Ruling is a judge's answer.
type Ruling struct {
	Flagged bool
	Reason  string // for people
}

// Recorder keeps what was decided. What it returns without an error is on stable storage; after an error the text is blocked.
type Recorder func(ctx context.Context, of Subject, f Finding, version string) error

// Guard asks the rules in force. It may be nil, which has none.
type Guard struct {
	set    atomic.Pointer[Set]
	judge  Judge    // nil: what asks one is blocked
	record Recorder // nil: nothing is recorded

	mu     sync.Mutex
	counts map[Count]int64
}

// Count names what is counted: what a rule did at a point.
type Count struct {
	Guardrail string
	On        Point
	Action    Action
}

// New makes a guard without rules.
func New(judge Judge, record Recorder) *Guard {
	return &Guard{judge: judge, record: record, counts: map[Count]int64{}}
}

// Replace takes other rules, for everything that begins from then on; nil: none.
func (g *Guard) Replace(s *Set) { g.set.Store(s) }

// Counts are how often each rule did something, since the process began.
func (g *Guard) Counts() map[Count]int64 {
	out := map[Count]int64{}
	if g == nil {
		return out
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, n := range g.counts {
		out[k] = n
	}
	return out
}

func (g *Guard) decided(ctx context.Context, of Subject, f Finding) error {
	g.mu.Lock()
	g.counts[Count{f.Guardrail, f.On, f.Action}]++
	g.mu.Unlock()
	if g.record == nil {
		return nil
	}
	return g.record(ctx, of, f, g.set.Load().Version())
}

// Checks are the rules as they were at one time, for one subject. nil has none.
type Checks struct {
	guard *Guard
	set   *Set
	of    Subject
}

// Of returns the checks of a subject; nil where there are no rules.
func (g *Guard) Of(s Subject) *Checks {
	if g == nil {
		return nil
	}
	set := g.set.Load()
	if set == nil || len(set.rules) == 0 {
		return nil
	}
	return &Checks{guard: g, set: set, of: s}
}

// Asks reports whether a rule may hold at one of the points, for anybody.
func (g *Guard) Asks(points ...Point) bool {
	if g == nil {
		return false
	}
	set := g.set.Load()
	return set != nil && slices.ContainsFunc(set.rules, func(r *rule) bool {
		return slices.ContainsFunc(points, func(p Point) bool { return slices.Contains(r.On, p) })
	})
}

// Any reports whether a rule may hold at one of the points, for any tool.
func (c *Checks) Any(points ...Point) bool {
	if c == nil {
		return false
	}
	for _, r := range c.set.rules {
		for _, p := range points {
			anyTool := r.Scope
			anyTool.Tools = nil
			if slices.Contains(r.On, p) && anyTool.holds(p, c.of) {
				return true
			}
		}
	}
	return false
}

// On reports whether a rule holds at a point for a tool.
func (c *Checks) On(p Point, tool string) bool {
	if c == nil {
		return false
	}
	return slices.ContainsFunc(c.set.rules, func(r *rule) bool { return slices.Contains(r.On, p) && r.Scope.holds(p, c.ofTool(tool)) })
}

// ofTool is the subject with a tool.
func (c *Checks) ofTool(tool string) Subject {
	of := c.of
	of.Tool = tool
	return of
}
