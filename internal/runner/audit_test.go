package runner_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

// withAudit records decisions as texts; asked is told of each before it is stored.
func withAudit(asked func(effect policy.Effect)) func(*node) {
	return with(func(c *runner.Config) {
		c.Audit = func(_ context.Context, req policy.Request, d policy.Decision) []byte {
			if !req.Carried {
				panic("a record of what is not carried")
			}
			asked(req.Effect)
			return fmt.Appendf(nil, "%s %s %s", req.Effect, req.Resource, d.Outcome())
		}
	})
}

func (n *node) decisions() (out []string) {
	for _, d := range n.store.AuditDrafts(me.Project) {
		out = append(out, string(d))
	}
	return out
}

// TestDecisionsAreRecordedWithTheirIntents: once each, though an append is lost on its way, or its acknowledgement is; and
// before the effect begins.
func TestDecisionsAreRecordedWithTheirIntents(t *testing.T) {
	for name, trouble := range map[string]func(n *node){
		"none":                         func(*node) {},
		"an append is refused":         func(n *node) { n.store.FailBefore(2) },
		"an acknowledgement goes lost": func(n *node) { n.store.FailAfter(2) },
	} {
		t.Run(name, func(t *testing.T) {
			var here *node
			once := true
			asked := func(effect policy.Effect) {
				if effect == policy.ToolCall && once {
					once = false
					trouble(here)
				}
			}
			m := script(calls("launch", `{}`), reply("ok"))
			bubble(t, func(t *testing.T, n *node) {
				here = n
				h := n.tools.hold()
				id := n.create("go", mcpServer()).ID
				<-h.begun
				if got := n.decisions(); !slices.Contains(got, "tool.call box/launch allow") {
					t.Errorf("the tool runs, and recorded are %q", got)
				}
				close(h.release)
				n.idle(id)
				got := n.decisions()[1:] // the session's own names its agent
				slices.Sort(got)
				want := []string{"model.call sim allow", "model.call sim allow", "tool.call box/launch allow"}
				if !slices.Equal(got, want) {
					t.Errorf("recorded are\n%q, want\n%q", got, want)
				}
				if n.count(id, session.KindModelCalled) != 2 || n.count(id, session.KindToolCalled) != 1 {
					t.Error("the journal says otherwise")
				}
			}, withModel(m), withPolicy(decider{}), withAudit(asked))
		})
	}
}

func TestARefusalInASessionIsRecorded(t *testing.T) {
	m := script(calls("launch", `{}`), reply("a pity"))
	bubble(t, func(t *testing.T, n *node) {
		n.idle(n.create("go", mcpServer()).ID)
		if got := n.decisions(); !slices.Contains(got, "tool.call box/launch deny") {
			t.Errorf("recorded are %q", got)
		}
	}, withModel(m), withPolicy(decider{effect: policy.ToolCall}), withAudit(func(policy.Effect) {}))
}
