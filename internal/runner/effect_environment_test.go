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
	"github.com/stead-dev/stead/internal/memory/remember"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/template"
)

// TestEnvironmentWaits: it is prepared, or opened, once that is approved, for what was shown; nobody is asked before something needs it, and
// nothing of it runs while it waits, whatever dies.
func TestEnvironmentWaits(t *testing.T) {
	for _, effect := range []policy.Effect{policy.EnvironmentPrepare, policy.EnvironmentOpen} {
		for _, crash := range []bool{false, true} {
			t.Run(string(effect), func(t *testing.T) {
				h := newComputers(nil)
				m := script(reply("nothing to do"), calls("run", echoHi), reply("done"))
				bubble(t, func(t *testing.T, n *node) {
					id := n.compute("go")
					n.idle(id) // it was not needed
					time.Sleep(time.Minute)
					if s := n.got(id); s.Status != session.StatusIdle || len(s.RequiredActions) != 0 || slices.Contains(h.log(), strings.TrimPrefix(string(effect), "environment.")) {
						t.Fatalf("it is %s, %+v; done %q", s.Status, s.RequiredActions, h.log())
					}
					n.send(id, says("run it"))
					a := n.held(id, effect)
					n.released(id)
					if shown := string(a.Request.Arguments); !strings.Contains(shown, `"setup_sha256":"`) || !strings.Contains(shown, session.EnvironmentID(id)) {
						t.Errorf("shown is %s", shown)
					}
					if crash {
						n.crash("node-2")
						if b := n.held(id, effect); b.RequestID != a.RequestID || b.Request.Digest != a.Request.Digest {
							t.Fatalf("it asks %+v after %+v", b, a)
						}
					}
					if err := n.decide(id, eve, a, session.DecisionApprove); err != nil {
						t.Fatal(err)
					}
					n.idle(id)
					if n.onlyTurnOf(id, 2).Status != session.TurnComplete || !strings.Contains(strings.Join(seen(m.last()), "|"), "echo hi") {
						t.Errorf("the model saw %q\n%q", seen(m.last()), n.course(id))
					}
					called := slices.DeleteFunc(payloads[session.EnvironmentCalled](t, n, id, session.KindEnvironmentCalled), func(c session.EnvironmentCalled) bool {
						return policy.EnvironmentEffect(string(c.Action)) != effect
					})
					if len(called) != 1 || called[0].Decision.Approval != a.RequestID {
						t.Errorf("it was done %d times: %+v", len(called), called)
					}
				}, withModel(m), withComputers(h), withPolicy(asks4(effect, policy.Needs{})))
			})
		}
	}
}

// What whoever approves is shown of an environment says of which template it is, and its network.
func TestWhatIsShownOfAnEnvironment(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		plan := hosted()
		config, err := json.Marshal(template.Public{Type: template.TypeHosted, TemplateID: "envtmpl_books", Network: &template.Network{Access: template.AccessRestricted, Allowed: []string{"books.example"}}})
		if err != nil {
			t.Fatal(err)
		}
		plan.Config = config
		s, err := n.Create(context.Background(), me, session.CreateRequest{Override: specOf(), Input: message("go"), Environment: plan})
		if err != nil {
			t.Fatal(err)
		}
		shown := string(n.held(s.ID, policy.EnvironmentPrepare).Request.Arguments)
		if !strings.Contains(shown, `"template":"envtmpl_books"`) || !strings.Contains(shown, "books.example") {
			t.Errorf("shown is %s", shown)
		}
	}, withModel(script(calls("run", echoHi))), withComputers(newComputers(nil)), withPolicy(asks4(policy.EnvironmentPrepare, policy.Needs{})))
}

// onlyTurnOf is the newest of so many turns.
func (n *node) onlyTurnOf(id stead.SessionID, count int) session.Turn {
	n.t.Helper()
	turns := n.turns(id)
	if len(turns) != count {
		n.t.Fatalf("%d turns, want %d\n%s", len(turns), count, n.journal(id))
	}
	return slices.MaxFunc(turns, func(a, b session.Turn) int { return int(a.CreatedAt - b.CreatedAt) })
}

// TestEnvironmentThatIsNotApproved: the commands that wait for it are told, and the turn goes on; a cancelled turn leaves no question.
func TestEnvironmentThatIsNotApproved(t *testing.T) {
	for _, effect := range []policy.Effect{policy.EnvironmentPrepare, policy.EnvironmentOpen} {
		for name, do := range map[string]func(n *node, id stead.SessionID, a session.RequiredAction){
			"denied": func(n *node, id stead.SessionID, a session.RequiredAction) {
				in := decides(a.RequestID, session.DecisionDeny)
				in.Approval.Reason = "no computers"
				if err := n.Send(context.Background(), eve, id, session.SendRequest{Inputs: []session.Input{in}}); err != nil {
					n.t.Fatal(err)
				}
			},
			"over, its node dead": func(n *node, _ stead.SessionID, _ session.RequiredAction) {
				n.Kill()
				time.Sleep(2 * time.Hour)
				n.store.Crash()
				n.start("node-2")
			},
			"cancelled": func(n *node, id stead.SessionID, _ session.RequiredAction) { n.send(id, cancels) },
		} {
			t.Run(string(effect)+" "+name, func(t *testing.T) {
				h := newComputers(nil)
				m := script(calls("run", echoHi), reply("a pity"))
				bubble(t, func(t *testing.T, n *node) {
					id := n.compute("go")
					a := n.held(id, effect)
					do(n, id, a)
					s := n.idle(id)
					if len(s.RequiredActions) != 0 || h.resident(n.key(id)) != nil {
						t.Errorf("it still asks %+v", s.RequiredActions)
					}
					told := strings.Join(seen(m.last()), "|")
					switch name {
					case "denied":
						if !strings.Contains(told, "was not approved. Reason: no computers") {
							t.Errorf("the model was told %q", told)
						}
					case "cancelled":
						if n.onlyTurn(id).Status != session.TurnCancel {
							t.Errorf("the turn is %s", n.onlyTurn(id).Status)
						}
					default:
						if !strings.Contains(told, "nobody gave it in time") {
							t.Errorf("the model was told %q", told)
						}
					}
				}, withModel(m), withComputers(h), withPolicy(asks4(effect, policy.Needs{ExpiresMS: time.Hour.Milliseconds()})))
			})
		}
	}
}

// TestCopyOfWhatWaits: a copy has no question of its source's, and nothing that was approved there.
func TestCopyOfWhatWaits(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", echoHi), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		a := n.held(id, policy.EnvironmentPrepare)
		fork, err := n.Fork(t.Context(), me, id, session.ForkRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if s := n.idle(fork.ID); len(s.RequiredActions) != 0 {
			t.Errorf("the copy asks %+v", s.RequiredActions)
		}
		if err := n.decide(id, eve, a, session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		if n.count(fork.ID, session.KindEnvironmentCalled) != 0 {
			t.Errorf("the copy did %q", n.course(fork.ID))
		}
	}, withModel(m), withComputers(h), withPolicy(asks4(policy.EnvironmentPrepare, policy.Needs{})))
}

// TestMemoryWaits: what is remembered of turns waits beside them, for what was said until then; a no means that it is not remembered.
func TestMemoryWaits(t *testing.T) {
	for _, decision := range []string{session.DecisionApprove, session.DecisionDeny} {
		t.Run(decision, func(t *testing.T) {
			l := newLibrary(t)
			n := newNode(t, withPolicy(asks4(policy.MemoryWrite, policy.Needs{})), withMemory(remember.New(l.all)))
			id := n.begin("I like tea", l.learning()).ID
			a := n.held(id, policy.MemoryWrite)
			if n.onlyTurn(id).Status != session.TurnComplete || a.TurnID != "" || !strings.Contains(string(a.Request.Arguments), session.TurnID(id, 2)) {
				t.Errorf("it asks %s", a.Request.Arguments)
			}
			n.released(id)
			n.crash("node-2")
			n.send(id, says("I like coffee")) // a turn that goes on meanwhile
			n.until(id, func(s session.Session) bool {
				return len(n.turns(id)) == 2 && n.turns(id)[0].CompletedAt != nil && n.turns(id)[1].CompletedAt != nil
			})
			if b := n.held(id, policy.MemoryWrite); b.RequestID != a.RequestID || len(l.entries()) != 0 {
				t.Fatalf("it asks %+v after %+v; %q is remembered", b, a, l.entries())
			}
			if err := n.decide(id, eve, a, decision); err != nil {
				t.Fatal(err)
			}
			b := n.until(id, func(s session.Session) bool {
				return s.Status == session.StatusRequiresAction && s.RequiredActions[0].RequestID != a.RequestID
			}).RequiredActions[0]
			got := strings.Join(l.entries(), "|")
			if strings.Contains(got, "tea") != (decision == session.DecisionApprove) || strings.Contains(got, "coffee") || strings.Contains(string(b.Request.Arguments), session.TurnID(id, 2)) {
				t.Errorf("%q is remembered; it asks %s", got, b.Request.Arguments)
			}
			if err := n.decide(id, eve, b, session.DecisionDeny); err != nil {
				t.Fatal(err)
			}
			n.idle(id)
		})
	}
}

// TestRecallWaits: the turn waits; a store that is refused is left out.
func TestRecallWaits(t *testing.T) {
	for decision, want := range map[string]int{session.DecisionApprove: 1, session.DecisionDeny: 0} {
		t.Run(decision, func(t *testing.T) {
			mem := &memories{answers: []session.MemoryRecalled{fact("mem_1", "tea")}}
			m := script(reply("ok"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.begin("what do I like?", func(s *agent.Spec) { remembering(s); s.Tools[0].MemoryStores = s.Tools[0].MemoryStores[:1] }).ID
				a := n.held(id, policy.MemoryRead)
				n.crash("node-2")
				if err := n.decide(id, eve, a, decision); err != nil {
					t.Fatal(err)
				}
				n.idle(id)
				if got := len(mem.asked()); got != want || len(m.asked()) != 1 || n.onlyTurn(id).Status != session.TurnComplete {
					t.Errorf("memory was asked %d times, the model %d\n%q", got, len(m.asked()), n.kinds(id))
				}
			}, withModel(m), withMemory(mem), withPolicy(asks4(policy.MemoryRead, policy.Needs{})))
		})
	}
}
