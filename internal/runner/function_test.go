package runner_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// handed are the functions that a watcher was shown as to be executed, and whether it was shown that the session waits.
func (n *node) handed(id stead.SessionID) (out []string, waits bool) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.Stream(ctx, me, id, &stead.Cursor{}, nil, func(e session.StreamEvent) error {
			p := session.PieceOf(e)
			if c, ok := p.Item.(*session.FunctionCallItem); ok && p.Kind == session.PieceItemAdded {
				out = append(out, c.Name+" "+string(c.Arguments))
			}
			waits = waits || p.Kind == session.PieceWaits
			return nil
		})
	}()
	synctest.Wait()
	cancel()
	<-done
	return out, waits
}

// TestFunctionThatIsDenied: the model is told, as of any other tool, and the application never hears of it.
func TestFunctionThatIsDenied(t *testing.T) {
	for name, d := range deniers(policy.ToolCall) {
		t.Run(name, func(t *testing.T) {
			m := script(calls("pay", `{"n":1}`), reply("a pity"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go", function("pay")).ID
				n.idle(id)
				if told := seen(m.last())[2]; !strings.Contains(told, "allowed") || strings.Contains(told, "secret-host") {
					t.Errorf("the model was told %q", told)
				}
				if got, waits := n.handed(id); len(got) != 0 || waits {
					t.Errorf("the application is asked %q", got)
				}
				if got := n.items(id); len(got) != 4 || got[1] != `call pay {"n":1} failed` || !strings.HasPrefix(got[2], "output nulltool.call ") {
					t.Errorf("items %q", got)
				}
				if got := n.decisions(); !slices.Contains(got, "tool.call function/pay deny") {
					t.Errorf("recorded are %q", got)
				}
			}, withModel(m), withPolicy(d), withAudit(func(policy.Effect) {}))
		})
	}
}

// TestFunctionThatIsAllowed: nothing of its course is another one; the decision is in the event that asks, and its record durable with
// that, once, though the append fails or its acknowledgement is lost.
func TestFunctionThatIsAllowed(t *testing.T) {
	for name, trouble := range map[string]func(n *node){
		"none":                         func(*node) {},
		"an append is refused":         func(n *node) { n.store.FailBefore(1) },
		"an acknowledgement goes lost": func(n *node) { n.store.FailAfter(1) },
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
			yes := authorizerFunc(func(policy.Request) policy.Decision { return policy.Decision{Allow: true, By: "test", Version: "v1"} })
			bubble(t, func(t *testing.T, n *node) {
				here = n
				id := n.create("go", function("pay")).ID
				s := n.until(id, status(session.StatusRequiresAction))
				if got := n.decisions(); !slices.Contains(got, "tool.call function/pay allow") {
					t.Errorf("the application is asked, and recorded are %q", got)
				}
				n.send(id, answers(s.RequiredActions[0], "paid"))
				n.idle(id)
				want := []string{"session.created", "input.message", "turn.started", "model.called", "model.replied", "input.tool_result", "model.called", "model.replied", "turn.completed"}
				if got := n.kinds(id); !slices.Equal(got, want) {
					t.Errorf("events %q", got)
				}
				if !strings.Contains(n.journal(id), `"decision":{"allow":true,"by":"test","version":"v1"}`) {
					t.Errorf("the decision is not in the journal:\n%s", n.journal(id))
				}
				made := 0
				for _, d := range n.decisions() {
					if strings.HasPrefix(d, "tool.call") {
						made++
					}
				}
				if made != 1 {
					t.Errorf("recorded are %q", n.decisions())
				}
			}, withModel(script(calls("pay", `{}`), reply("ok"))), withPolicy(yes), withAudit(asked))
		})
	}
}

// TestFunctionIsAskedAboutWhole: what policies see of a function, also of a subagent's and of one that code asks for.
func TestFunctionIsAskedAboutWhole(t *testing.T) {
	var mu sync.Mutex
	var got []policy.Request
	ask := authorizerFunc(func(req policy.Request) policy.Decision {
		mu.Lock()
		defer mu.Unlock()
		if req.Effect == policy.ToolCall {
			got = append(got, req)
		}
		return policy.Decision{Allow: req.Effect != policy.ToolCall, By: "test", Version: "v1", Reason: "no"}
	})
	bubble(t, func(t *testing.T, n *node) {
		s, err := n.Create(context.Background(), me, session.CreateRequest{Override: specOf(function("pay")), Input: message(`Call pay with {"n":1}`), Metadata: map[string]string{"env": "prod"}})
		if err != nil {
			t.Fatal(err)
		}
		n.idle(s.ID)
		r := got[0]
		if r.Resource != "function/pay" || string(r.Arguments) != `{"n":1}` || r.Origin != session.DeclaredByApplication || r.Class != "unknown" || !r.Acting || !r.Labels.Has("env", "prod") || r.Spend == nil || len(r.Behind) != 1 {
			t.Errorf("asked %+v", r)
		}
		sub := n.begin(`Call create_subagent with {"message":"Call pay with {}\nSay Done"}
Then call wait_for_subagents with {"agent_ids":["{agent 1}"]}
Say {answer 1}`, func(s *agent.Spec) {
			coordinates(s)
			s.Tools = []agent.Tool{function("pay")}
		})
		n.idle(sub.ID)
		if r := got[len(got)-1]; len(got) != 2 || len(r.Subagents) != 1 || r.Resource != "function/pay" {
			t.Errorf("asked of the subagent's %+v", got[1:])
		}
	}, withPolicy(ask))
}

func TestCodesFunctionThatIsDenied(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", echoHi), reply("done"))
	deny := authorizerFunc(func(req policy.Request) policy.Decision {
		return policy.Decision{Allow: req.Resource != "function/ask", By: "test", Reason: "not today", Version: "v1"}
	})
	bubble(t, func(t *testing.T, n *node) {
		inside(h, func(ctx context.Context, b *computer) string {
			return told(b.Tools.Call(ctx, "ask", []byte(`{"q":1}`)))
		})
		id := n.compute("go", enabled(), function("ask"))
		n.idle(id)
		if got := seen(m.last())[2]; !strings.Contains(got, "failed tool.call is not allowed: not today") {
			t.Errorf("the code was told %q", got)
		}
		if got, _ := n.handed(id); len(got) != 0 {
			t.Errorf("the application is asked %q", got)
		}
	}, withModel(m), withComputers(h), withPolicy(deny))
}

// TestFunctionThatPoliciesHold: the application is asked once it is approved, with the arguments that were approved, and the model is told of those.
func TestFunctionThatPoliciesHold(t *testing.T) {
	h := &holder{policy.Needs{Roles: []stead.Role{"approver"}, Count: 2}}
	m := script(calls("pay", `{"n":1}`, "pay", `{"n":2}`), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", function("pay")).ID
		s := n.until(id, status(session.StatusRequiresAction))
		if len(s.RequiredActions) != 2 || s.RequiredActions[0].Type != session.ActionMCPApproval || s.RequiredActions[0].Request.ServerLabel != "function" {
			t.Fatalf("required %+v", s.RequiredActions)
		}
		one, two := s.RequiredActions[0], s.RequiredActions[1]
		isKind(t, n.Send(context.Background(), me, id, session.SendRequest{Inputs: []session.Input{answers(session.RequiredAction{CallID: callOf(t, n, id, 0)}, "already")}}), stead.KindInvalid)
		isKind(t, n.Send(context.Background(), as("dev", "developer"), id, session.SendRequest{Inputs: []session.Input{decides(one.RequestID, session.DecisionApprove)}}), stead.KindForbidden)
		edit := session.ApprovalInput{RequestID: one.RequestID, Decision: session.DecisionApprove, Digest: one.Request.Digest, Arguments: `{"n":7}`}
		if err := n.Send(context.Background(), as("eve", "approver"), id, session.SendRequest{Inputs: []session.Input{{Approval: &edit}}}); err != nil {
			t.Fatal(err)
		}
		if got, _ := n.handed(id); len(got) != 0 {
			t.Fatalf("one approval of two, and the application is asked %q", got)
		}
		s = n.until(id, func(s session.Session) bool { return len(s.RequiredActions) == 2 })
		if err := n.Send(context.Background(), as("bob", "approver"), id, session.SendRequest{Inputs: []session.Input{decides(s.RequiredActions[0].RequestID, session.DecisionApprove)}}); err != nil {
			t.Fatal(err)
		}
		s = n.until(id, func(s session.Session) bool {
			return slices.ContainsFunc(s.RequiredActions, func(a session.RequiredAction) bool { return a.Type == session.ActionFunctionCall })
		})
		asked := s.RequiredActions[0]
		if string(asked.Arguments) != `{"n":7}` {
			t.Errorf("the application is asked %+v", asked)
		}
		if got, _ := n.handed(id); !slices.Equal(got, []string{`pay {"n":7}`}) {
			t.Errorf("shown to be executed are %q", got)
		}
		n.send(id, answers(asked, "paid"))
		if err := n.Send(context.Background(), as("bob", "approver"), id, session.SendRequest{Inputs: []session.Input{decides(two.RequestID, session.DecisionDeny)}}); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		said := seen(m.last())
		if !strings.Contains(said[3], "paid") || !strings.Contains(said[3], `it is about the call with {"n":7}`) || !strings.Contains(said[4], "not approved") {
			t.Errorf("the model was told %q", said)
		}
		if n.count(id, session.KindToolRequired) != 1 {
			t.Errorf("events %q", n.kinds(id))
		}
		paired(t, m.asked())
	}, withModel(m), withPolicy(h))
}

// callOf is the id of a call of the running turn.
func callOf(t *testing.T, n *node, id stead.SessionID, i int) string {
	t.Helper()
	return n.view(id).Turn.Calls[i].CallID
}

// TestHeldFunctionThatNobodyAnswers: it is refused, or asked for, as policies state.
func TestHeldFunctionThatNobodyAnswers(t *testing.T) {
	for stated, required := range map[string]int{"": 0, policy.DefaultAllow: 1} {
		t.Run("default "+stated, func(t *testing.T) {
			h := &holder{policy.Needs{Roles: []stead.Role{"approver"}, ExpiresMS: time.Hour.Milliseconds(), Default: stated}}
			m := script(calls("pay", `{}`), reply("done"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go", function("pay")).ID
				n.until(id, status(session.StatusRequiresAction))
				time.Sleep(time.Hour + time.Minute)
				synctest.Wait()
				if required == 1 {
					s := n.until(id, status(session.StatusRequiresAction))
					n.send(id, answers(s.RequiredActions[0], "paid"))
				}
				n.idle(id)
				if got := n.count(id, session.KindToolRequired); got != required {
					t.Errorf("asked %d times; events %q; the model was told %q", got, n.kinds(id), seen(m.last()))
				}
			}, withModel(m), withPolicy(h))
		})
	}
}

// TestApprovedFunctionThatPoliciesRefuseByThen: what was approved is decided anew before the application is asked.
func TestApprovedFunctionThatPoliciesRefuseByThen(t *testing.T) {
	h := &turning{holder: holder{policy.Needs{Roles: []stead.Role{"approver"}}}}
	m := script(calls("pay", `{}`), reply("a pity"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", function("pay")).ID
		n.until(id, status(session.StatusRequiresAction))
		h.off = true
		if err := n.approve(id, as("eve", "approver"), session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		if n.count(id, session.KindToolRequired) != 0 || !strings.Contains(seen(m.last())[2], "switched off") {
			t.Errorf("events %q; the model was told %q", n.kinds(id), seen(m.last())[2])
		}
	}, withModel(m), withPolicy(h))
}

// turning refuses once it is off.
type turning struct {
	holder
	off bool
}

func (h *turning) Decide(ctx context.Context, req policy.Request) (policy.Decision, error) {
	if h.off && req.Effect == policy.ToolCall {
		return policy.Decision{By: "test", Reason: "switched off", Version: "v2"}, nil
	}
	return h.holder.Decide(ctx, req)
}

// TestFunctionsOfAResponse: what is refused is not handed out, what is held is once it is approved, and the model is told of other arguments
// with the output that the next response brings.
func TestFunctionsOfAResponse(t *testing.T) {
	ask := authorizerFunc(func(req policy.Request) policy.Decision {
		d := policy.Decision{Allow: true, By: "test", Version: "v1"}
		switch {
		case req.Effect != policy.ToolCall:
		case strings.Contains(string(req.Arguments), "Rome"):
			d.Allow, d.Reason = false, "not Rome"
		case strings.Contains(string(req.Arguments), "Paris"):
			d.Allow, d.Needs = false, &policy.Needs{Roles: []stead.Role{"approver"}}
		}
		return d
	})
	m := script(calls("weather", `{"city":"Rome"}`), calls("weather", `{"city":"Rome"}`, "weather", `{"city":"Paris"}`), reply("sunny"))
	bubble(t, func(t *testing.T, n *node) {
		res := n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, "weather?")}))
		s := n.until(res.Session, status(session.StatusRequiresAction))
		a := s.RequiredActions[0]
		edit := session.ApprovalInput{RequestID: a.RequestID, Decision: session.DecisionApprove, Digest: a.Request.Digest, Arguments: `{"city":"Nice"}`}
		if err := n.Send(context.Background(), as("eve", "approver"), res.Session, session.SendRequest{Inputs: []session.Input{{Approval: &edit}}}); err != nil {
			t.Fatal(err)
		}
		res = n.ended(res)
		var open *session.FunctionCallItem
		output, err := n.ResponseOutput(context.Background(), me, res)
		for _, it := range output {
			if c, ok := it.(*session.FunctionCallItem); ok && c.Status != stead.ItemFailed {
				open = c
			}
		}
		if err != nil || open == nil || string(open.Arguments) != `{"city":"Nice"}` || res.Turn.Status != session.TurnComplete {
			t.Fatalf("handed out is %+v, %v, of a response that is %s", open, err, res.Turn.Status)
		}
		n.ended(n.respond(asks(res.ID(), []stead.Item{outputOf(open.CallID, "21 degrees")})))
		said := strings.Join(seen(m.last()), "\n")
		if !strings.Contains(said, "21 degrees|\n(Whoever approved this call changed its arguments") || strings.Count(said, "not Rome") != 2 {
			t.Errorf("the model was told\n%s", said)
		}
		paired(t, m.asked())
	}, withModel(m), withPolicy(ask))
}

// TestFunctionsSurviveDeadNodes: killed while it is held, right behind the approval, and while the application works: it is asked once, about
// the same call.
func TestFunctionsSurviveDeadNodes(t *testing.T) {
	h := &holder{policy.Needs{Roles: []stead.Role{"approver"}}}
	n := newNode(t, withPolicy(h))
	id := n.create(`Call pay with {"n":1}`, function("pay")).ID
	first := n.until(id, status(session.StatusRequiresAction)).RequiredActions[0]
	n.crash("node-2")
	second := n.until(id, status(session.StatusRequiresAction)).RequiredActions[0]
	if second.RequestID != first.RequestID {
		t.Fatalf("it asks %+v after %+v", second, first)
	}
	if err := n.approve(id, as("eve", "approver"), session.DecisionApprove); err != nil {
		t.Fatal(err)
	}
	n.crash("node-3")
	required := func(s session.Session) bool {
		return len(s.RequiredActions) == 1 && s.RequiredActions[0].Type == session.ActionFunctionCall
	}
	asked := n.until(id, required).RequiredActions[0]
	n.crash("node-4")
	if again := n.until(id, required).RequiredActions[0]; again.CallID != asked.CallID {
		t.Fatalf("it asks for %+v after %+v", again, asked)
	}
	n.send(id, answers(asked, "paid"))
	n.crash("node-5")
	n.idle(id)
	if n.count(id, session.KindToolRequired) != 1 || n.count(id, session.KindInputToolResult) != 1 || n.count(id, session.KindModelReplied) != 2 {
		t.Errorf("events %q", n.kinds(id))
	}
}

// TestAStormOfAnswersAboutFunctions: two nodes get the approvals and the results of many applications at once; of each call one of both counts.
func TestAStormOfAnswersAboutFunctions(t *testing.T) {
	h := &holder{policy.Needs{Roles: []stead.Role{"approver"}}}
	n := newNode(t, withPolicy(h))
	other := n.second("node-b")
	id := n.create(`Call pay with {"n":1}`, function("pay")).ID
	question := n.until(id, status(session.StatusRequiresAction)).RequiredActions[0]
	storm := func(by stead.Principal, in session.Input) (taken int) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 16 {
			at := n
			if i%2 == 1 {
				at = other
			}
			wg.Go(func() {
				if at.Send(context.Background(), by, id, session.SendRequest{Inputs: []session.Input{in}}) == nil {
					mu.Lock()
					defer mu.Unlock()
					taken++
				}
			})
		}
		wg.Wait()
		return taken
	}
	if storm(as("eve", "approver"), decides(question.RequestID, session.DecisionApprove)) == 0 {
		t.Fatal("no approval was taken")
	}
	asked := n.until(id, func(s session.Session) bool {
		return len(s.RequiredActions) == 1 && s.RequiredActions[0].Type == session.ActionFunctionCall
	}).RequiredActions[0]
	if storm(me, answers(asked, "paid")) == 0 {
		t.Fatal("no result was taken")
	}
	n.idle(id)
	if n.count(id, session.KindToolRequired) != 1 || len(n.onlyTurn(id).ID) == 0 {
		t.Errorf("events %q", n.kinds(id))
	}
	paid := 0
	for _, it := range n.items(id) {
		if strings.HasPrefix(it, "output") {
			paid++
		}
	}
	if paid != 1 {
		t.Errorf("items %q", n.items(id))
	}
}

// TestAsyncFunctionThatIsHeld: the model goes on meanwhile, and sees the result once it was approved and made.
func TestAsyncFunctionThatIsHeld(t *testing.T) {
	h := &holder{policy.Needs{Roles: []stead.Role{"approver"}}}
	m := script(calls("pay", `{}`), reply("meanwhile"), reply("done"))
	pay := agent.Tool{Type: agent.ToolFunction, Name: "pay", Async: true, Parameters: json.RawMessage(`{"type":"object"}`)}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", pay).ID
		n.until(id, status(session.StatusRequiresAction))
		if err := n.approve(id, as("eve", "approver"), session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		s := n.until(id, func(s session.Session) bool {
			return len(s.RequiredActions) == 1 && s.RequiredActions[0].Type == session.ActionFunctionCall
		})
		n.send(id, answers(s.RequiredActions[0], "paid"))
		n.idle(id)
		if said := strings.Join(seen(m.last()), "\n"); !strings.Contains(said, "Result of the earlier call") || !strings.Contains(said, "paid") {
			t.Errorf("the model saw\n%s", said)
		}
		paired(t, m.asked())
	}, withModel(m), withPolicy(h))
}

// TestHeldAsyncFunctionThatNobodyAnswers: its time is over too, though the model needs nothing of it to go on.
func TestHeldAsyncFunctionThatNobodyAnswers(t *testing.T) {
	h := &holder{policy.Needs{Roles: []stead.Role{"approver"}, ExpiresMS: time.Hour.Milliseconds()}}
	m := script(calls("pay", `{}`), reply("meanwhile"), reply("a pity"))
	pay := agent.Tool{Type: agent.ToolFunction, Name: "pay", Async: true, Parameters: json.RawMessage(`{"type":"object"}`)}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", pay).ID
		n.until(id, status(session.StatusRequiresAction))
		n.idle(id)
		if said := strings.Join(seen(m.last()), "\n"); !strings.Contains(said, "nobody gave it in time") {
			t.Errorf("the model saw\n%s", said)
		}
	}, withModel(m), withPolicy(h))
}
