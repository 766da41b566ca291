package runner_test

import (
	"context"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// TestEditIntoAStricterGuardrail: what approval a call takes is said by the arguments that it would be made with. Whoever changes
// them into what another guardrail asks about has not satisfied that.
func TestEditIntoAStricterGuardrail(t *testing.T) {
	weak := rail("weak", guardrail.ToolCall, guardrail.Ask, guardrail.Check{Patterns: []string{"gmail"}})
	weak.Needs = &policy.Needs{Roles: []stead.Role{"approver", "owner"}}
	strict := rail("strict", guardrail.ToolCall, guardrail.Ask, guardrail.Check{Patterns: []string{"swiss-bank"}})
	strict.Needs = &policy.Needs{Roles: []stead.Role{"owner"}, Count: 2}
	apart := rail("apart", guardrail.ToolCall, guardrail.Ask, guardrail.Check{Patterns: []string{"moon"}})
	apart.Needs = &policy.Needs{Roles: []stead.Role{"astronaut"}}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer()).ID
		asked := func() session.RequiredAction {
			return n.until(id, status(session.StatusRequiresAction)).RequiredActions[0]
		}
		edit := func(r session.RequiredAction, arguments string) error {
			in := session.ApprovalInput{RequestID: r.RequestID, Decision: session.DecisionApprove, Digest: r.Request.Digest, Arguments: arguments}
			return n.Send(context.Background(), as("eve", "approver"), id, session.SendRequest{Inputs: []session.Input{{Approval: &in}}})
		}
		first := asked()
		isKind(t, edit(first, `{"to":"the moon"}`), stead.KindInvalid) // nobody could approve that
		if err := edit(first, `{"to":"swiss-bank"}`); err != nil {
			t.Fatal(err)
		}
		n.until(id, func(s session.Session) bool {
			return len(s.RequiredActions) == 1 && s.RequiredActions[0].RequestID != first.RequestID
		})
		isKind(t, n.approve(id, as("eve", "approver"), session.DecisionApprove), stead.KindForbidden)
		for _, who := range []string{"kim", "lee"} {
			if made := n.tools.log(); len(made) != 0 {
				t.Fatalf("made before %s approved: %s", who, made[0].Arguments)
			}
			if err := n.approve(id, as(who, "owner"), session.DecisionApprove); err != nil {
				t.Fatal(err)
			}
		}
		n.idle(id)
		if made := n.tools.log(); len(made) != 1 || string(made[0].Arguments) != `{"to":"swiss-bank"}` {
			t.Errorf("made were %+v", made)
		}
	}, withModel(script(calls("launch", `{"to":"x@gmail"}`), reply("done"))), withGuardrails(&notes{}, nil, weak, strict, apart))
}
