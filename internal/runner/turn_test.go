package runner_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

func TestSteeringDuringAModelCall(t *testing.T) {
	for _, tc := range []struct {
		name  string
		first answer
		want  []string
	}{
		{"that answers", reply("one"), []string{"user: go", "assistant: one", "user: also this", "user: and that"}},
		{"that calls a tool", calls("read", `{}`), []string{"user: go", "call read {}", "output done {}", "user: also this", "user: and that"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := script(after(2*time.Second, tc.first), reply("two"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go", mcpServer()).ID
				time.Sleep(time.Second)
				n.send(id, says("also this"), says("and that"))
				n.idle(id)
				if got := seen(m.last()); !slices.Equal(got, tc.want) {
					t.Errorf("the model saw %q\nwant          %q", got, tc.want)
				}
				if len(m.asked()) != 2 {
					t.Errorf("%d model calls, want 2", len(m.asked()))
				}
				if turn := n.onlyTurn(id); turn.Status != session.TurnComplete {
					t.Errorf("turn %+v", turn)
				}
			}, withModel(m))
		})
	}
}

func TestSteeringDuringToolCalls(t *testing.T) {
	s := &naps{}
	m := script(calls("nap", `{"s":2}`, "nap", `{"s":4}`), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer()).ID
		for _, text := range []string{"early", "between"} {
			time.Sleep(1500 * time.Millisecond)
			n.send(id, says(text))
		}
		n.idle(id)
		want := []string{
			"user: go", `call nap {"s":2}`, `call nap {"s":4}`, "output slept 2", "output slept 4",
			"user: early", "user: between",
		}
		if got := seen(m.last()); !slices.Equal(got, want) {
			t.Errorf("the model saw %q\nwant          %q", got, want)
		}
		n.onlyTurn(id)
	}, withModel(m), withTools(having(does{"nap", tool.Pure, s.run})))
}

func TestSteeringIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		s := n.create("")
		n.idle(s.ID)
		if _, err := n.Pause(context.Background(), me, s.ID); err != nil {
			t.Fatal(err)
		}
		var err error
		sent := 0
		for ; err == nil && sent <= stead.MaxSteeringMessages; sent++ {
			err = n.Send(context.Background(), me, s.ID, session.SendRequest{Inputs: []session.Input{says("more")}})
		}
		isKind(t, err, stead.KindLimited)
		if sent != stead.MaxSteeringMessages+1 {
			t.Errorf("%d messages were taken", sent-1)
		}
	})
}

func TestMessageAfterATurnMakesTheNext(t *testing.T) {
	m := script(reply("one"), reply("two"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		n.idle(id)
		n.send(id, says("again"))
		n.idle(id)
		if turns := n.turns(id); len(turns) != 2 {
			t.Errorf("%d turns", len(turns))
		}
		if got := seen(m.last()); !slices.Equal(got, []string{"user: go", "assistant: one", "user: again"}) {
			t.Errorf("the model saw %q", got)
		}
	}, withModel(m))
}

// TestAsyncFunction: the model goes on while the application works, and the turn ends only after
// the model has seen the result.
func TestAsyncFunction(t *testing.T) {
	m := script(calls("look", `{}`), reply("working on it"), reply("it is blue"))
	bubble(t, func(t *testing.T, n *node) {
		look := function("look")
		look.Async = true
		id := n.create("go", look).ID
		s := n.until(id, status(session.StatusRequiresAction))
		if got := seen(m.asked()[1]); !strings.Contains(got[2], "Its result will follow") {
			t.Errorf("meanwhile the model saw %q", got)
		}
		if turn := n.onlyTurn(id); turn.Status != session.TurnWaiting || turn.CompletedAt != nil {
			t.Errorf("turn %+v before the result", turn)
		}
		n.send(id, answers(s.RequiredActions[0], "blue"))
		n.idle(id)
		got := seen(m.last())
		if len(got) != 5 || got[3] != "assistant: working on it" || !strings.HasSuffix(got[4], "|blue") {
			t.Errorf("in the end the model saw %q", got)
		}
		paired(t, m.asked())
		if turn := n.onlyTurn(id); turn.Status != session.TurnComplete {
			t.Errorf("turn %+v", turn)
		}
	}, withModel(m))
}

func TestAsyncResultDuringTheNextModelCall(t *testing.T) {
	m := script(calls("look", `{}`), after(2*time.Second, reply("working on it")), reply("it is blue"))
	bubble(t, func(t *testing.T, n *node) {
		look := function("look")
		look.Async = true
		id := n.create("go", look).ID
		time.Sleep(time.Second)
		s, err := n.Get(context.Background(), me, id)
		if err != nil || s.Status != session.StatusInProgress || len(s.RequiredActions) != 1 {
			t.Fatalf("session %s %+v, %v", s.Status, s.RequiredActions, err)
		}
		n.send(id, answers(s.RequiredActions[0], "blue"))
		n.idle(id)
		got := seen(m.last())
		if len(m.asked()) != 3 || len(got) != 5 || !strings.HasSuffix(got[4], "|blue") {
			t.Errorf("%d calls; the model saw %q", len(m.asked()), got)
		}
	}, withModel(m))
}

func TestFunctionThatFails(t *testing.T) {
	m := script(calls("look", `{}`), reply("ok"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", function("look")).ID
		s := n.until(id, status(session.StatusRequiresAction))
		n.send(id, session.Input{Result: &session.ToolResultInput{CallID: s.RequiredActions[0].CallID, Error: "no light"}})
		n.idle(id)
		if got := seen(m.last()); got[2] != "output no light" {
			t.Errorf("the model saw %q", got)
		}
	}, withModel(m))
}

func TestMaxSteps(t *testing.T) {
	m := script(calls("read", `{}`))
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin("go", func(s *agent.Spec) { s.MaxSteps, s.Tools = 3, []agent.Tool{mcpServer()} }).ID
		n.idle(id)
		turn := n.onlyTurn(id)
		if turn.Status != session.TurnFail || turn.Error.Code != "session_budget_exceeded" || len(m.asked()) != 3 {
			t.Errorf("after %d calls turn %s %+v", len(m.asked()), turn.Status, turn.Error)
		}
		n.send(id, says("again")) // a turn has its own count
		n.idle(id)
		if len(m.asked()) != 6 {
			t.Errorf("%d calls after the second turn", len(m.asked()))
		}
	}, withModel(m))
}

// TestSpendControl: a call is not begun once the limit is reached; what was used is shown.
func TestSpendControl(t *testing.T) {
	m := script(calls("read", `{}`))
	aCentAToken := func(i *model.Info) {
		i.Price = &model.Price{Input: 1_000_000 * session.MicroCentsPerCent, Output: 1_000_000 * session.MicroCentsPerCent}
	}
	bubble(t, func(t *testing.T, n *node) {
		limit := int64(25)
		s, err := n.Create(context.Background(), me, session.CreateRequest{
			Override:        func(s *agent.Spec) error { s.Model, s.Tools = "sim", []agent.Tool{mcpServer()}; return nil },
			Input:           message("go"),
			SpendLimitCents: &limit,
		})
		if err != nil {
			t.Fatal(err)
		}
		s = n.idle(s.ID)
		turn := n.onlyTurn(s.ID)
		if turn.Status != session.TurnFail || turn.Error.Code != "session_budget_exceeded" {
			t.Errorf("turn %s %+v", turn.Status, turn.Error)
		}
		// It used 7 cents after one call, 29 after two.
		if s.SpendControl == nil || s.SpendControl.Limit != limit || *s.SpendControl.Consumed != s.Usage.TotalTokens {
			t.Fatalf("spend control %+v, usage %+v", s.SpendControl, s.Usage)
		}
		used := *s.SpendControl.Consumed
		if used < limit || len(m.asked()) != 2 {
			t.Errorf("%d cents used in %d calls; the limit is %d", used, len(m.asked()), limit)
		}
		n.send(s.ID, says("again"))
		s = n.idle(s.ID)
		if len(m.asked()) != 2 || *s.SpendControl.Consumed != used {
			t.Error("a call was made beyond the limit")
		}
		more := int64(1000)
		if _, err := n.Update(context.Background(), me, s.ID, session.Updated{SpendLimitCents: &more}); err != nil {
			t.Fatal(err)
		}
		n.send(s.ID, says("again"))
		n.idle(s.ID)
		if len(m.asked()) == 2 {
			t.Error("no call was made below the raised limit")
		}
	}, withModel(m, aCentAToken))
}

func TestRequestCarriesTheAgent(t *testing.T) {
	m := script(reply(`{"n":1}`))
	bubble(t, func(t *testing.T, n *node) {
		instructions, effort := "Be brief.", "low"
		schema := json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}}}`)
		id := n.begin("go", func(s *agent.Spec) {
			s.Instructions, s.Reasoning.Effort = &instructions, &effort
			s.Text = agent.Text{Format: agent.Format{Type: "json_schema", Schema: schema}, Verbosity: "high"}
			s.ServiceTier, s.Experimental.TimeAwareness = "flex", true
		}).ID
		n.idle(id)
		r := m.last()
		if r.Format == nil || string(r.Format.Schema) != string(schema) || !r.Format.Strict {
			t.Errorf("format %+v", r.Format)
		}
		now := time.Now().UTC().Format(time.RFC3339)
		if r.Instructions != instructions+"\n\nThe current time is "+now+"." {
			t.Errorf("instructions %q", r.Instructions)
		}
		if r.Effort != effort || r.Verbosity != "high" || r.ServiceTier != "flex" || r.CacheKey != string(id) {
			t.Errorf("request %+v", r)
		}
	}, withModel(m))
}

func TestRequestWithoutExtras(t *testing.T) {
	m := script(reply("hi"))
	bubble(t, func(t *testing.T, n *node) {
		n.idle(n.create("go").ID)
		if r := m.last(); r.Format != nil || r.Instructions != "" || r.Effort != "" {
			t.Errorf("request %+v", r)
		}
	}, withModel(m))
}

func TestFinishThatIsNoAnswer(t *testing.T) {
	for finish, code := range map[model.Finish]string{model.FinishLength: model.CodeMaxOutput, model.FinishFilter: model.CodePolicy} {
		t.Run(string(finish), func(t *testing.T) {
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go").ID
				n.idle(id)
				if turn := n.onlyTurn(id); turn.Status != session.TurnFail || turn.Error.Code != code {
					t.Errorf("turn %s %+v", turn.Status, turn.Error)
				}
			}, withModel(script(gives(finish, messageItem("half an ans")))))
		})
	}
}
