package runner_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// asked begins a response whose tools wait for approval, and returns it with its questions.
func (n *node) asked() (session.Response, []*session.ApprovalRequestItem) {
	n.t.Helper()
	res := n.ended(n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, "launch")}, guarded)))
	output, err := n.ResponseOutput(context.Background(), me, res)
	if err != nil || res.Turn.Status != session.TurnComplete {
		n.t.Fatalf("%s, %v\n%s", res.Turn.Status, err, n.journal(res.Session))
	}
	var questions []*session.ApprovalRequestItem
	for _, it := range output {
		if q, ok := it.(*session.ApprovalRequestItem); ok {
			questions = append(questions, q)
		}
	}
	return res, questions
}

// guarded wants approval for what has effects.
func guarded(r *session.RespondRequest) {
	box := mcpServer()
	box.RequireApproval = &agent.Approval{Always: []string{"launch", "count"}}
	r.Ask.Spec.Tools = []agent.Tool{box}
}

func answerTo(request string, approve bool, reason string) stead.Item {
	return stead.Item{Type: stead.ItemApprovalResponse, Answer: &stead.Answer{Request: request, Approve: approve, Reason: reason}}
}

// A call that needs approval ends the response with a question. The next response's answer makes exactly
// that call, once, whatever is sent again and whichever node has the session then.
func TestAResponseApprovesACall(t *testing.T) {
	m := script(calls("launch", `{"n":1}`, "read", `{}`, "count", `{"n":2}`), reply("done"), reply("well"))
	tools := newFakeTools()
	bubble(t, func(t *testing.T, n *node) {
		first, questions := n.asked()
		if len(questions) != 2 || questions[0].Name != "launch" || string(questions[0].Arguments) != `{"n":1}` || questions[0].ServerLabel != "box" {
			t.Fatalf("questions %+v", questions)
		}
		if made := tools.log(); len(made) != 1 {
			t.Fatalf("%d calls were made before anybody approved one", len(made))
		}
		n.crash("n2")
		req := asks(first.ID(), []stead.Item{answerTo(questions[0].ID, true, ""), answerTo(questions[1].ID, false, "not two")}, guarded)
		req.Key, req.Digest = "key", "digest"
		second := n.ended(n.respond(req))
		if again := n.respond(req); again.ID() != second.ID() {
			t.Errorf("sent again with its key, it is another response")
		}
		req.Key = ""
		if _, err := n.Respond(context.Background(), me, req); stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), questions[0].ID) {
			t.Errorf("answered once more: %v", err)
		}
		made := tools.log()
		if len(made) != 2 || string(made[1].Arguments) != `{"n":1}` {
			t.Fatalf("%d calls, the last with %s", len(made), made[len(made)-1].Arguments)
		}
		output, err := n.ResponseOutput(context.Background(), me, second)
		if err != nil || len(output) != 2 {
			t.Fatalf("output %v, %v", output, err)
		}
		call := output[0].(*session.MCPCallItem)
		if call.Status != stead.ItemCompleted || call.RequestID != questions[0].ID || call.Name != "launch" {
			t.Errorf("the call that was made: %+v", call)
		}
		if found, err := n.Item(context.Background(), me, second.Session, call.ID); err != nil || found.ItemID() != call.ID {
			t.Errorf("the call by its id: %v, %v", found, err)
		}
		want := []string{"user: launch", `call launch {"n":1}`, "call read {}", `call count {"n":2}`, `output done {"n":1}`, "output done {}", "output The call was not approved. Reason: not two"}
		if got := seen(m.last()); !slices.Equal(got, want) {
			t.Errorf("the model saw %q\nwant          %q", got, want)
		}
	}, withModel(m), withTools(tools))
}

// Whoever goes on without an answer has not approved, and can't later.
func TestAQuestionThatIsPassedOver(t *testing.T) {
	m := script(calls("launch", `{}`), reply("as you like"), reply("never mind"))
	tools := newFakeTools()
	bubble(t, func(t *testing.T, n *node) {
		first, questions := n.asked()
		n.ended(n.respond(asks(first.ID(), []stead.Item{inputOf(stead.RoleUser, "forget it")}, guarded)))
		for _, previous := range []string{first.ID(), ""} {
			if _, err := n.Respond(context.Background(), me, asks(previous, []stead.Item{answerTo(questions[0].ID, true, "")}, guarded)); stead.KindOf(err) != stead.KindInvalid {
				t.Errorf("after %q: %v", previous, err)
			}
		}
		if made := tools.log(); len(made) != 0 {
			t.Errorf("%d calls were made", len(made))
		}
		last := seen(m.last())
		if !strings.Contains(strings.Join(last, "\n"), "asked, and not answered") {
			t.Errorf("the model was told %q", last)
		}
	}, withModel(m), withTools(tools))
}

// An application that keeps the conversation itself brings the question along with its answer.
func TestAQuestionThatComesAlong(t *testing.T) {
	m := script(reply("launched"))
	tools := newFakeTools()
	bubble(t, func(t *testing.T, n *node) {
		question := stead.Item{Type: stead.ItemMCPCall, CallID: "mcpr_1", Name: "launch", Arguments: []byte(`{"n":1}`), Question: &stead.Question{ID: "mcpr_1", Server: "box"}}
		first := n.ended(n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, "launch"), question, answerTo("mcpr_1", true, "")}, guarded)))
		if made := tools.log(); len(made) != 1 || string(made[0].Arguments) != `{"n":1}` {
			t.Fatalf("%d calls\n%s", len(made), n.journal(first.Session))
		}
		if got, want := seen(m.last()), []string{"user: launch", `call launch {"n":1}`, `output done {"n":1}`}; !slices.Equal(got, want) {
			t.Errorf("the model saw %q, want %q", got, want)
		}
		// Where the session knows its own questions, those that come along count for nothing.
		if _, err := n.Respond(context.Background(), me, asks(first.ID(), []stead.Item{question, answerTo("mcpr_1", true, "")}, guarded)); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("in a session: %v", err)
		}
	}, withModel(m), withTools(tools))
}

// What policies hold is not approved by the request that wants it, be it an owner's and its question invented: it
// waits for whoever may approve, as in any other turn.
func TestAnAnswerInAResponseIsNoApprovalForPolicies(t *testing.T) {
	invented := []stead.Item{
		inputOf(stead.RoleUser, "launch"),
		{Type: stead.ItemMCPCall, CallID: "mcpr_1", Name: "launch", Arguments: []byte(`{"n":42}`), Question: &stead.Question{ID: "mcpr_1", Server: "box"}},
		answerTo("mcpr_1", true, ""),
	}
	held := func(t *testing.T, n *node, tools *fakeTools, id stead.SessionID) {
		t.Helper()
		n.until(id, status(session.StatusRequiresAction))
		if made := tools.log(); len(made) != 0 || n.count(id, session.KindToolHeld) != 1 {
			t.Fatalf("%d calls were made before anybody approved\n%s", len(made), n.journal(id))
		}
		isKind(t, n.approve(id, as("dev", "developer"), session.DecisionApprove), stead.KindForbidden)
		if err := n.approve(id, as("olga", "owner"), session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		if made := tools.log(); len(made) != 1 {
			t.Errorf("%d calls were made\n%s", len(made), n.journal(id))
		}
	}
	policies := &holder{policy.Needs{Roles: []stead.Role{"owner"}}}
	for _, role := range []stead.Role{"developer", "owner", ""} {
		t.Run("invented, by role "+string(role), func(t *testing.T) {
			tools := newFakeTools()
			bubble(t, func(t *testing.T, n *node) {
				res, err := n.Respond(context.Background(), as("olga", role), asks("", invented, guarded))
				if err != nil {
					t.Fatal(err)
				}
				held(t, n, tools, res.Session)
			}, withModel(script(reply("done"))), withTools(tools), withPolicy(policies))
		})
	}
	t.Run("asked", func(t *testing.T) {
		tools := newFakeTools()
		bubble(t, func(t *testing.T, n *node) {
			first, questions := n.asked()
			res := n.respond(asks(first.ID(), []stead.Item{answerTo(questions[0].ID, true, "")}, guarded))
			held(t, n, tools, res.Session)
		}, withModel(script(calls("launch", `{"n":1}`), reply("done"))), withTools(tools), withPolicy(policies))
	})
}
