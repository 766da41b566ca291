package runner_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

func TestCreateIsIdempotent(t *testing.T) {
	m := script(reply("hello"))
	bubble(t, func(t *testing.T, n *node) {
		create := func(digest string) (session.Session, error) {
			return n.Create(context.Background(), me, session.CreateRequest{Override: specOf(), Input: message(filled("go")), Key: "k", Digest: digest})
		}
		first, err := create("one")
		if err != nil {
			t.Fatal(err)
		}
		n.idle(first.ID)
		second, err := create("one")
		if err != nil || second.ID != first.ID || len(n.turns(first.ID)) != 1 {
			t.Errorf("the same request gave session %s after %s, %v", second.ID, first.ID, err)
		}
		_, err = create("two")
		isKind(t, err, stead.KindConflict)
		heads, err := n.store.Heads(context.Background(), me.Project, journal.Query{})
		if err != nil || len(heads) != 1 || len(m.asked()) != 1 {
			t.Errorf("%d sessions, %d model calls, %v", len(heads), len(m.asked()), err)
		}
	}, withModel(m))
}

func TestSendIsIdempotent(t *testing.T) {
	m := script(reply("hello"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		n.idle(id)
		other := n.second("node-2")
		for _, at := range []*node{n, n, other} {
			if err := at.Send(context.Background(), me, id, session.SendRequest{Inputs: []session.Input{says("again")}, Key: "k", Digest: "one"}); err != nil {
				t.Fatal(err)
			}
			n.idle(id)
		}
		err := n.Send(context.Background(), me, id, session.SendRequest{Inputs: []session.Input{says("other")}, Key: "k", Digest: "two"})
		isKind(t, err, stead.KindConflict)
		if len(n.turns(id)) != 2 || len(m.asked()) != 2 {
			t.Errorf("%d turns, %d model calls", len(n.turns(id)), len(m.asked()))
		}
	}, withModel(m))
}

func TestAnswersAreIdempotent(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		asks := mcpServer()
		asks.RequireApproval = &agent.Approval{Mode: "always"}
		id := n.create(`Call launch with {}`, asks).ID
		s := n.until(id, status(session.StatusRequiresAction))
		approve := session.SendRequest{Inputs: []session.Input{decides(s.RequiredActions[0].RequestID, session.DecisionApprove)}, Key: "k", Digest: "one"}
		for range 2 {
			if err := n.Send(context.Background(), me, id, approve); err != nil {
				t.Fatal(err)
			}
			n.idle(id)
		}
		approve.Digest = "two"
		isKind(t, n.Send(context.Background(), me, id, approve), stead.KindConflict)
		approve.Key = ""
		isKind(t, n.Send(context.Background(), me, id, approve), stead.KindInvalid)
		if len(n.tools.log()) != 1 {
			t.Errorf("%d calls", len(n.tools.log()))
		}
	})
}

func TestUnknownAndForeignSessions(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		id := n.create("go").ID
		n.idle(id)
		stranger := stead.Principal{Project: "other", Kind: stead.PrincipalUser, ID: "eve"}
		for _, who := range []struct {
			p  stead.Principal
			id stead.SessionID
		}{{me, "sess_0"}, {stranger, id}} {
			isKind(t, n.Send(ctx, who.p, who.id, session.SendRequest{Inputs: []session.Input{says("hi")}}), stead.KindNotFound)
			isKind(t, n.Send(ctx, who.p, who.id, session.SendRequest{Inputs: []session.Input{cancels}}), stead.KindNotFound)
			isKind(t, n.Delete(ctx, who.p, who.id), stead.KindNotFound)
			_, err := n.Get(ctx, who.p, who.id)
			isKind(t, err, stead.KindNotFound)
			_, err = n.Items(ctx, who.p, who.id, session.ItemQuery{})
			isKind(t, err, stead.KindNotFound)
			_, err = n.Turns(ctx, who.p, who.id, session.PageQuery{})
			isKind(t, err, stead.KindNotFound)
			_, err = n.Fork(ctx, who.p, who.id, session.ForkRequest{})
			isKind(t, err, stead.KindNotFound)
			_, err = n.Pause(ctx, who.p, who.id)
			isKind(t, err, stead.KindNotFound)
			isKind(t, n.Export(ctx, who.p, who.id, &strings.Builder{}), stead.KindNotFound)
			isKind(t, n.Stream(ctx, who.p, who.id, nil, nil, func(session.StreamEvent) error { return nil }), stead.KindNotFound)
		}
		if page, err := n.List(ctx, stranger, session.ListQuery{}); err != nil || len(page.Data) != 0 {
			t.Errorf("a stranger's list has %d sessions, %v", len(page.Data), err)
		}
		if got := n.items(id); len(got) != 2 {
			t.Errorf("items %q", got)
		}
	})
}

func TestAnswersToNothing(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		n.idle(id)
		for _, in := range []session.Input{
			decides("req_x_1_0", session.DecisionApprove),
			{Result: &session.ToolResultInput{CallID: "c"}},
			{Outcome: &session.OutcomeInput{RequestID: "req_x_1_0", Decision: session.DecisionHappened}},
			{},
		} {
			isKind(t, n.Send(context.Background(), me, id, session.SendRequest{Inputs: []session.Input{in}}), stead.KindInvalid)
		}
		isKind(t, n.Send(context.Background(), me, id, session.SendRequest{}), stead.KindInvalid)
	})
}

func TestCancelOfNothing(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		n.idle(id)
		n.send(id, cancels)
		synctest.Wait()
		if turn := n.onlyTurn(id); turn.Status != session.TurnComplete {
			t.Errorf("turn %s", turn.Status)
		}
		n.send(id, says("again")) // the cancel was for nobody, and is not for who comes next
		n.idle(id)
		if turns := n.turns(id); len(turns) != 2 || turns[1].Status != session.TurnComplete {
			t.Errorf("turns %+v", turns)
		}
	})
}

// TestCancel: whatever the turn waits for, it ends at once, nothing more is begun, and the session
// goes on with the next message.
func TestCancel(t *testing.T) {
	asks := *overloaded
	asks.RetryAfter = time.Hour
	slow := &naps{}
	approved := mcpServer()
	approved.RequireApproval = &agent.Approval{Mode: "always"}
	for _, tc := range []struct {
		name  string
		first answer
		tool  agent.Tool
		ready func(t *testing.T, n *node, id stead.SessionID)
	}{
		{"during a model call", after(time.Hour, reply("late")), mcpServer(), nil},
		{"during a tool call", calls("nap", `{"s":9}`), mcpServer(), nil},
		{"during a retry's wait", fails(&asks), mcpServer(), nil},
		{"while it waits for approval", calls("nap", `{"s":9}`), approved, nil},
		{"while it waits for a function", calls("look", `{}`), function("look"), nil},
		{"while it is paused", after(time.Second, calls("nap", `{"s":9}`)), mcpServer(), func(t *testing.T, n *node, id stead.SessionID) {
			if _, err := n.Pause(context.Background(), me, id); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := script(tc.first, reply("next"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go", tc.tool).ID
				time.Sleep(time.Second / 2)
				if tc.ready != nil {
					tc.ready(t, n, id)
				}
				begun := time.Now()
				n.send(id, cancels)
				s := n.idle(id)
				if took := time.Since(begun); took > 20*time.Millisecond {
					t.Errorf("the cancel took %s", took)
				}
				if turn := n.onlyTurn(id); turn.Status != session.TurnCancel || len(s.RequiredActions) != 0 {
					t.Errorf("turn %s, required actions %v", turn.Status, s.RequiredActions)
				}
				inbox, err := n.Approvals(context.Background(), me, session.PageQuery{})
				if err != nil || len(inbox.Data) != 0 {
					t.Errorf("inbox %v, %v", inbox.Data, err)
				}
				synctest.Wait()
				if n.Holding() != 0 || slow.now.Load() != 0 {
					t.Errorf("%d sessions held, %d tools run", n.Holding(), slow.now.Load())
				}
				if _, err := n.Resume(context.Background(), me, id); err != nil {
					t.Fatal(err)
				}
				n.send(id, says("again"))
				n.idle(id)
				if got := n.items(id); got[len(got)-1] != "assistant completed: next" {
					t.Errorf("items %q", got)
				}
				paired(t, m.asked())
			}, withModel(m), withTools(having(does{"nap", tool.Unknown, slow.run})))
		})
	}
}

func TestPauseDuringToolsAndResumeOnAnotherNode(t *testing.T) {
	slow := &naps{}
	runs := 0
	nap := does{"nap", tool.Unknown, func(ctx context.Context, c tool.Call) (tool.Result, error) { runs++; return slow.run(ctx, c) }}
	m := script(calls("nap", `{"s":2}`), reply("rested"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer()).ID
		time.Sleep(time.Second)
		s, err := n.Pause(context.Background(), me, id)
		if err != nil || !s.Paused {
			t.Fatalf("paused %t, %v", s.Paused, err)
		}
		time.Sleep(2 * time.Second)
		if n.count(id, session.KindToolReturned) != 1 || len(m.asked()) != 1 || n.Holding() != 0 {
			t.Fatalf("while paused: %q", n.kinds(id))
		}
		n.send(id, says("and this"))
		n.Kill()
		n.start("node-2")
		time.Sleep(time.Minute)
		if len(m.asked()) != 1 {
			t.Fatal("a paused session went on")
		}
		for range 2 {
			if s, err = n.Resume(context.Background(), me, id); err != nil || s.Paused {
				t.Fatalf("paused %t, %v", s.Paused, err)
			}
		}
		n.idle(id)
		want := []string{"user: go", `call nap {"s":2}`, "output slept 2", "user: and this"}
		if got := seen(m.last()); !slices.Equal(got, want) || runs != 1 {
			t.Errorf("after %d runs the model saw %q", runs, got)
		}
		n.onlyTurn(id)
	}, withModel(m), withTools(having(nap)))
}

// TestDelete: a running turn is refused; then nothing at all is left.
func TestDelete(t *testing.T) {
	asks := mcpServer()
	asks.RequireApproval = &agent.Approval{Mode: "always"}
	m := script(calls("launch", `{}`))
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		s, err := n.Create(ctx, me, session.CreateRequest{Override: specOf(asks), Input: message(filled("go")), Key: "k", Digest: "d"})
		if err != nil {
			t.Fatal(err)
		}
		n.until(s.ID, status(session.StatusRequiresAction))
		isKind(t, n.Delete(ctx, me, s.ID), stead.KindConflict)
		if inbox, err := n.Approvals(ctx, me, session.PageQuery{}); err != nil || len(inbox.Data) != 1 {
			t.Fatalf("inbox %v, %v", inbox.Data, err)
		}
		n.send(s.ID, cancels)
		n.idle(s.ID)
		other := n.second("node-2")
		if _, err := other.Get(ctx, me, s.ID); err != nil {
			t.Fatal(err)
		}
		if err := n.Delete(ctx, me, s.ID); err != nil {
			t.Fatal(err)
		}
		for _, at := range []*node{n, other} {
			_, err = at.Get(ctx, me, s.ID)
			isKind(t, err, stead.KindNotFound)
			isKind(t, at.Delete(ctx, me, s.ID), stead.KindNotFound)
			isKind(t, at.Send(ctx, me, s.ID, session.SendRequest{Inputs: []session.Input{says("hi")}}), stead.KindNotFound)
			list, err := at.List(ctx, me, session.ListQuery{})
			inbox, err2 := at.Approvals(ctx, me, session.PageQuery{})
			if err != nil || err2 != nil || len(list.Data) != 0 || len(inbox.Data) != 0 {
				t.Errorf("%d sessions, %d approvals, %v, %v", len(list.Data), len(inbox.Data), err, err2)
			}
		}
		if left := n.cfg.Blobs.(*memBlobs).count(); left != 0 {
			t.Errorf("%d blobs are left", left)
		}
	}, withModel(m))
}

// TestSteeringDuringARetrysWait: input that arrives during a retry's wait is part of it.
func TestSteeringDuringARetrysWait(t *testing.T) {
	asks := *overloaded
	asks.RetryAfter = time.Minute
	m := script(fails(&asks), reply("ok"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		time.Sleep(time.Second)
		n.send(id, says("also"))
		n.idle(id)
		if got := seen(m.last()); !slices.Equal(got, []string{"user: go", "user: also"}) || m.gaps()[0] < time.Minute {
			t.Errorf("after %s the model saw %q", m.gaps()[0], got)
		}
	}, withModel(m))
}

// TestConflictingCreateLeavesNoBlobs: a create whose key was used for another request leaves no blob.
func TestConflictingCreateLeavesNoBlobs(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		create := func(digest string) error {
			_, err := n.Create(context.Background(), me, session.CreateRequest{Override: specOf(), Input: message(filled("go")), Key: "k", Digest: digest})
			return err
		}
		if err := create("one"); err != nil {
			t.Fatal(err)
		}
		isKind(t, create("two"), stead.KindConflict)
		if got := n.cfg.Blobs.(*memBlobs).count(); got != 1 {
			t.Errorf("%d blobs, want one", got)
		}
	})
}

// TestLateOutcomeOfADeletedSessionLeavesNoBlobs: what an effect brings after its turn was cancelled and its session deleted is stored nowhere.
func TestLateOutcomeOfADeletedSessionLeavesNoBlobs(t *testing.T) {
	deaf := does{"deaf", tool.Unknown, func(context.Context, tool.Call) (tool.Result, error) {
		time.Sleep(time.Minute) // deaf to its context, as a tool may be
		return outputs(filled("late"))
	}}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("Call deaf with {}", mcpServer()).ID
		time.Sleep(time.Second)
		n.send(id, cancels)
		n.idle(id)
		if err := n.Delete(context.Background(), me, id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if got := n.cfg.Blobs.(*memBlobs).count(); got != 0 {
			t.Errorf("%d blobs are left", got)
		}
	}, withTools(having(deaf)))
}

// TestSummaryOfADeletedSessionLeavesNoBlobs: a background summary that is under way when its session is deleted leaves no blob.
func TestSummaryOfADeletedSessionLeavesNoBlobs(t *testing.T) {
	m := script(reply("ok"))
	m.compact = after(time.Second, gives(model.FinishStop, messageItem(filled("summary"))))
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin(long(1), func(s *agent.Spec) { s.Compaction.Async = true }).ID
		n.idle(id)
		n.talk(id, 2, 5)
		synctest.Wait()
		if len(m.summaries) != 1 {
			t.Fatalf("%d summaries begun", len(m.summaries))
		}
		if err := n.Delete(context.Background(), me, id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := n.cfg.Blobs.(*memBlobs).count(); got != 0 {
			t.Errorf("%d blobs are left", got)
		}
		if n.Holding() != 0 {
			t.Errorf("%d sessions held", n.Holding())
		}
	}, withModel(m, small))
}
