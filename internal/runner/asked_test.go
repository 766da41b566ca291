package runner_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// TestQuestionsAreRecordedOnce: that a question is asked, asked anew since its arguments were changed, and over, stands in the audit log with
// the events, though appends are lost on their way; and nothing of it where nobody is asked.
func TestQuestionsAreRecordedOnce(t *testing.T) {
	of := func(n *node) (out []string) {
		for _, d := range n.decisions() {
			if strings.HasPrefix(d, "approval.give req_") {
				out = append(out, strings.TrimPrefix(d, "approval.give "))
			}
		}
		return out
	}
	for name, trouble := range map[string]func(n *node){
		"none":                         func(*node) {},
		"an append is refused":         func(n *node) { n.store.FailBefore(1) },
		"an acknowledgement goes lost": func(n *node) { n.store.FailAfter(1) },
	} {
		for _, lapses := range []string{"", policy.DefaultAllow} {
			t.Run(name+" "+lapses, func(t *testing.T) {
				var here *node
				seen := map[policy.Effect]int{}
				asked := func(effect policy.Effect) {
					if seen[effect]++; effect == policy.ToolCall && seen[effect] == 1 {
						trouble(here)
					}
				}
				bubble(t, func(t *testing.T, n *node) {
					here = n
					id := n.create("go", mcpServer()).ID
					first := n.until(id, status(session.StatusRequiresAction)).RequiredActions[0].RequestID
					if got := of(n); !slices.Equal(got, []string{first + " approval"}) {
						t.Fatalf("recorded are %q", got)
					}
					in := decides(first, session.DecisionApprove)
					in.Approval.Arguments = `{"n":2}`
					if err := n.Send(t.Context(), as("eve", "approver"), id, session.SendRequest{Inputs: []session.Input{in}}); err != nil {
						t.Fatal(err)
					}
					second := n.until(id, status(session.StatusRequiresAction)).RequiredActions[0].RequestID
					want := []string{first + " approval", first + " allow", second + " approval"} // asked, edited, asked anew
					if got := of(n); !slices.Equal(got, want) || first == second {
						t.Fatalf("recorded are %q, want %q", got, want)
					}
					n.idle(id) // its time is over
					over := second + " deny"
					if lapses == policy.DefaultAllow {
						over = second + " allow"
					}
					if got := of(n); !slices.Equal(got, append(want, over)) {
						t.Errorf("recorded are %q, want %q", got, append(want, over))
					}
				}, withModel(script(calls("launch", `{"n":1}`), reply("ok"))), withAudit(asked),
					withPolicy(&holder{policy.Needs{Roles: []stead.Role{"approver"}, Count: 2, ExpiresMS: 60_000, Default: lapses}}))
			})
		}
	}
}
