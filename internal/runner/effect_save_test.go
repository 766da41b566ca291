package runner_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// saves is the policy of a test: what is stored wants an approval.
func saves(needs policy.Needs) *asker { return asks4(policy.EnvironmentSave, needs) }

// stored are the checkpoints that are the session's and hold more than the first.
func (n *node) stored(id stead.SessionID) (out []session.EnvironmentCheckpointed) {
	out = payloads[session.EnvironmentCheckpointed](n.t, n, id, session.KindEnvironmentCheckpointed)
	for _, s := range payloads[session.EnvironmentSuspended](n.t, n, id, session.KindEnvironmentSuspended) {
		if first := payloads[session.EnvironmentPrepared](n.t, n, id, session.KindEnvironmentPrepared)[0].Checkpoint.Digest; !s.Apart && s.Checkpoint.Digest != first && !slices.ContainsFunc(out, func(c session.EnvironmentCheckpointed) bool { return c.Checkpoint.Digest == s.Checkpoint.Digest }) {
			out = append(out, session.EnvironmentCheckpointed{Checkpoint: s.Checkpoint})
		}
	}
	return out
}

// computer is the session's environment.
func (n *node) computer(id stead.SessionID) session.EnvironmentInfo {
	n.t.Helper()
	info, err := n.Environment(context.Background(), me, session.EnvironmentID(id))
	if err != nil {
		n.t.Fatal(err)
	}
	return info
}

func output() []environment.Published {
	return []environment.Published{{Path: environment.OutputsDir + "/a.txt", Size: 2, Digest: strings.Repeat("a", 64)}}
}

// TestSaveWaits: at the end of a turn nothing is the session's before it is approved, and no environment and no lease is held for that; then what was shown is,
// once, wherever, without an environment.
func TestSaveWaits(t *testing.T) {
	for name, crash := range map[string]bool{"": false, "its node dead": true} {
		t.Run(name, func(t *testing.T) {
			h := newComputers(nil)
			h.next = output()
			m := script(calls("run", echoHi), reply("done"), calls("look", "{}"), reply("seen"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.compute("go")
				a := n.held(id, policy.EnvironmentSave)
				n.released(id)
				if shown := string(a.Request.Arguments); !strings.Contains(shown, h.shelf.put([]string{"echo hi"}).Digest) || !strings.Contains(shown, `"path":"/workspace/outputs/a.txt"`) {
					t.Errorf("shown is %s", shown)
				}
				if h.resident(n.key(id)) != nil || len(n.stored(id)) != 0 || a.TurnID == "" {
					t.Fatalf("it is resident, or stored before it was approved: %q", h.log())
				}
				if list, err := n.Artifacts(t.Context(), me, id, session.PageQuery{}); err != nil || len(list.Data) != 0 {
					t.Fatalf("artifacts before it was approved: %+v, %v", list, err)
				}
				if crash {
					n.crash("node-2")
					if b := n.held(id, policy.EnvironmentSave); b.RequestID != a.RequestID || b.Request.Digest != a.Request.Digest {
						t.Fatalf("it asks %+v after %+v", b, a)
					}
				}
				did := len(h.log())
				if err := n.decide(id, eve, a, session.DecisionApprove); err != nil {
					t.Fatal(err)
				}
				n.idle(id)
				got := n.stored(id)
				if len(got) != 1 || got[0].Checkpoint.Digest != h.shelf.put([]string{"echo hi"}).Digest || got[0].Kept == 0 || len(h.log()) != did || n.onlyTurn(id).Status != session.TurnComplete {
					t.Errorf("stored is %+v; done behind the approval %q", got, h.log()[did:])
				}
				called := payloads[session.EnvironmentCalled](t, n, id, session.KindEnvironmentCalled)
				if last := called[len(called)-1]; !last.Keep || last.Decision.Approval != a.RequestID {
					t.Errorf("it was stored under %+v", last)
				}
				if list, err := n.Artifacts(t.Context(), me, id, session.PageQuery{}); err != nil || len(list.Data) != 1 || list.Data[0].TurnID != n.onlyTurn(id).ID {
					t.Errorf("artifacts %+v, %v", list, err)
				}
				n.send(id, says("look"))
				n.idle(id)
				if n.onlyTurnOf(id, 2).Status != session.TurnComplete || !strings.Contains(strings.Join(seen(m.last()), "|"), "echo hi") || n.count(id, session.KindEffectHeld) != 1 || strings.Contains(strings.Join(seen(m.last()), "|"), "reset") {
					t.Errorf("then the model saw %q\n%q", seen(m.last()), n.course(id))
				}
			}, withModel(m), withComputers(h), withPolicy(saves(policy.Needs{})))
		})
	}
}

// TestSaveThatIsNotApproved: nothing is stored, and everybody is told; nor is it when the environment is suspended later, or looked at, and nobody is asked about the
// same again. The next change is asked about.
func TestSaveThatIsNotApproved(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(n *node, id stead.SessionID, a session.RequiredAction)
		why  string
		kept bool // the workspace is where the session goes on
	}{
		"denied": {func(n *node, id stead.SessionID, a session.RequiredAction) {
			in := decides(a.RequestID, session.DecisionDeny)
			in.Approval.Reason = "not here"
			if err := n.Send(context.Background(), eve, id, session.SendRequest{Inputs: []session.Input{in}}); err != nil {
				n.t.Fatal(err)
			}
		}, "it was not approved. Reason: not here", true},
		"over, its node dead": {func(n *node, _ stead.SessionID, _ session.RequiredAction) {
			n.Kill()
			time.Sleep(2 * time.Hour)
			n.store.Crash()
			n.start("node-2")
		}, "nobody gave it in time", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newComputers(nil)
			h.next = output()
			if c.kept {
				h.disk = map[stead.SessionKey][]string{}
			}
			m := script(calls("run", echoHi), reply("done"), calls("look", "{}"), reply("seen"), calls("run", echoHi), reply("done"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.compute("go")
				a := n.held(id, policy.EnvironmentSave)
				c.do(n, id, a)
				s := n.idle(id)
				e := n.computer(id)
				if len(s.RequiredActions) != 0 || len(n.stored(id)) != 0 || n.onlyTurn(id).Status != session.TurnComplete || e.Error == nil || !strings.Contains(e.Error.Message, c.why) {
					t.Errorf("it is %+v with %d checkpoints; the environment says %+v", s.Status, len(n.stored(id)), e.Error)
				}
				if list, err := n.Artifacts(t.Context(), me, id, session.PageQuery{}); err != nil || len(list.Data) != 0 {
					t.Errorf("artifacts %+v, %v", list, err)
				}
				n.send(id, says("look")) // changes nothing
				n.idle(id)
				if told := strings.Join(seen(m.last()), "|"); !strings.Contains(told, "was not stored") || !strings.Contains(told, c.why) || !strings.Contains(told, "environment was reset") || c.kept != strings.Contains(told, "as these processes left them") {
					t.Errorf("the model was told %q", told)
				}
				if opened := h.opens[len(h.opens)-1]; opened.Checkpoint != h.shelf.put(nil).Digest {
					t.Errorf("it was opened with %+v", opened)
				}
				time.Sleep(2 * stead.EnvironmentIdle) // it is suspended meanwhile
				if h.resident(n.key(id)) != nil || len(n.stored(id)) != 0 || n.count(id, session.KindEffectHeld) != 1 {
					t.Errorf("what was denied was stored, or asked about again: %q", n.course(id))
				}
				n.send(id, says("run it")) // a change
				b := n.held(id, policy.EnvironmentSave)
				if err := n.decide(id, eve, b, session.DecisionApprove); err != nil {
					t.Fatal(err)
				}
				n.idle(id)
				if len(n.stored(id)) != 1 || n.computer(id).Error != nil {
					t.Errorf("%d checkpoints, %+v", len(n.stored(id)), n.computer(id).Error)
				}
			}, withModel(m), withComputers(h), withPolicy(saves(policy.Needs{ExpiresMS: time.Hour.Milliseconds()})))
		})
	}
}

// TestSaveThatBecameAnother: what a command may have changed since is asked about anew, before and behind the answer, and the old question is over.
func TestSaveThatBecameAnother(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", echoHi), reply("done"), calls("run", `{"command":"echo more"}`), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		a := n.held(id, policy.EnvironmentSave)
		n.send(id, says("and more"))
		var b session.RequiredAction
		n.until(id, func(s session.Session) bool {
			if len(s.RequiredActions) == 1 {
				b = s.RequiredActions[0]
			}
			return b.RequestID != "" && b.RequestID != a.RequestID
		})
		isKind(t, n.decide(id, eve, a, session.DecisionApprove), stead.KindInvalid)
		if err := n.decide(id, eve, b, session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		if got := n.stored(id); len(got) != 1 || got[0].Checkpoint.Digest != h.shelf.put([]string{"echo hi", "echo more"}).Digest {
			t.Errorf("stored is %+v", got)
		}
	}, withModel(m), withComputers(h), withPolicy(saves(policy.Needs{})))
}

// TestNothingToStoreAsksNobody: a command that changed no file leaves nothing to approve.
func TestNothingToStoreAsksNobody(t *testing.T) {
	h := newComputers(nil)
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		time.Sleep(2 * stead.EnvironmentIdle)
		if n.count(id, session.KindEffectHeld) != 0 || n.onlyTurn(id).Status != session.TurnComplete {
			t.Errorf("%q", n.course(id))
		}
	}, withModel(script(calls("run", "{}"), reply("done"))), withComputers(h), withPolicy(saves(policy.Needs{})))
}

// TestSaveThatIsForbiddenMeanwhile: policies are asked again when it is approved. Where the files are not, the agent is told.
func TestSaveThatIsForbiddenMeanwhile(t *testing.T) {
	h, p := newComputers(nil), saves(policy.Needs{})
	m := script(calls("run", echoHi), reply("done"), calls("look", "{}"), reply("seen"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		a := n.held(id, policy.EnvironmentSave)
		p.set(func() { p.deny = true })
		if err := n.decide(id, eve, a, session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		if e := n.computer(id); len(n.stored(id)) != 0 || e.Error == nil || !strings.Contains(e.Error.Message, "policy p forbids it") {
			t.Errorf("%d checkpoints, %+v", len(n.stored(id)), e.Error)
		}
		n.send(id, says("look"))
		n.idle(id)
		if told := strings.Join(seen(m.last()), "|"); !strings.Contains(told, "environment was reset") || !strings.Contains(told, "echo hi") {
			t.Errorf("opened without its files, the model was told %q", told)
		}
	}, withModel(m), withComputers(h), withPolicy(p))
}

// TestSaveBesideTurns: a cancelled turn ends at once, and what it made is asked about behind it; a new turn goes on with the files, is not held up, and what it
// changes is asked about anew.
func TestSaveBesideTurns(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", echoHi), reply("done"), calls("look", "{}"), reply("seen"), calls("run", `{"command":"echo more"}`), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		a := n.held(id, policy.EnvironmentSave)
		n.send(id, cancels)
		b := n.until(id, func(s session.Session) bool {
			return len(s.RequiredActions) == 1 && s.RequiredActions[0].RequestID != a.RequestID
		}).RequiredActions[0]
		if n.onlyTurn(id).Status != session.TurnCancel || b.TurnID != "" || string(b.Request.Arguments) != string(a.Request.Arguments) {
			t.Fatalf("the turn is %s, it asks %+v", n.onlyTurn(id).Status, b)
		}
		n.released(id)
		n.crash("node-2")
		n.send(id, says("look"))
		n.until(id, func(session.Session) bool {
			ts := n.turns(id)
			return len(ts) == 2 && ts[0].CompletedAt != nil && ts[1].CompletedAt != nil
		})
		if !strings.Contains(strings.Join(seen(m.last()), "|"), "echo hi") || strings.Contains(strings.Join(seen(m.last()), "|"), "reset") {
			t.Errorf("the model saw %q", seen(m.last()))
		}
		if c := n.held(id, policy.EnvironmentSave); c.RequestID != b.RequestID {
			t.Errorf("it asks %+v", c)
		}
		if err := n.decide(id, eve, b, session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		n.until(id, func(session.Session) bool { return len(n.stored(id)) > 0 })
		if got := n.stored(id); len(got) != 1 || got[0].Checkpoint.Digest != h.shelf.put([]string{"echo hi"}).Digest {
			t.Errorf("stored is %+v", got)
		}
		n.send(id, says("more"))
		n.held(id, policy.EnvironmentSave)
	}, withModel(m), withComputers(h), withPolicy(saves(policy.Needs{})))
}

// TestFilesGivenWhileSavesWait: they come into the workspace before the next command, whatever waits; nobody is asked in the middle of a turn.
func TestFilesGivenWhileSavesWait(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", echoHi), calls("look", "{}"), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		h.run = func(ctx context.Context, c tool.Call, b *computer) (tool.Result, error) {
			time.Sleep(time.Minute) // meanwhile the file comes
			return h.line(c, b)
		}
		id := n.compute("go")
		if _, err := n.PutFile(t.Context(), me, session.EnvironmentID(id), "/workspace/in.txt", []byte("in")); err != nil {
			t.Fatal(err)
		}
		a := n.held(id, policy.EnvironmentSave)
		if n.count(id, session.KindEffectHeld) != 1 {
			t.Errorf("%q", n.course(id))
		}
		if err := n.decide(id, eve, a, session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		got := n.stored(id)
		if len(got) == 0 || !slices.Contains(h.shelf.get(got[len(got)-1].Checkpoint.Digest), "file /workspace/in.txt") {
			t.Errorf("stored is %+v", got)
		}
	}, withModel(m), withComputers(h), withPolicy(saves(policy.Needs{})))
}

// TestSavesAndCopies: a copy of a session that waits has its last checkpoint, and is told; it asks nothing.
func TestSavesAndCopies(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", echoHi), reply("done"), calls("look", "{}"), reply("seen"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.held(id, policy.EnvironmentSave)
		fork, err := n.Fork(t.Context(), me, id, session.ForkRequest{})
		if err != nil {
			t.Fatal(err)
		}
		n.idle(fork.ID)
		n.held(id, policy.EnvironmentSave)
		n.send(fork.ID, says("look"))
		n.idle(fork.ID)
		told := strings.Join(seen(m.last()), "|")
		if opened := h.opens[len(h.opens)-1]; opened.Checkpoint != h.shelf.put(nil).Digest || !strings.Contains(told, "not stored") {
			t.Errorf("the copy was opened with %+v, its agent told %q", opened, told)
		}
		n.send(id, cancels)
		n.until(id, func(session.Session) bool { return n.onlyTurn(id).Status == session.TurnCancel })
		n.held(id, policy.EnvironmentSave)
		if err := n.Delete(t.Context(), me, id); err != nil {
			t.Fatal(err)
		}
		if list, err := n.Approvals(t.Context(), me, session.PageQuery{}); err != nil || len(list.Data) != 0 {
			t.Errorf("a deleted session asks %+v, %v", list, err)
		}
	}, withModel(m), withComputers(h), withPolicy(saves(policy.Needs{})))
}

// TestSaveWaitsAtEveryCrash: whatever append is lost, and wherever the node dies, what was shown is stored once.
func TestSaveWaitsAtEveryCrash(t *testing.T) {
	for appends := range 14 {
		for name, harm := range map[string]func(n *node){
			"dies":          func(n *node) { n.Kill() },
			"before":        func(n *node) { n.store.FailBefore(3) },
			"after":         func(n *node) { n.store.FailAfter(3) },
			"after, killed": func(n *node) { n.store.FailAfter(1); n.Kill() },
		} {
			t.Run(name, func(t *testing.T) {
				h := newComputers(nil)
				h.disk = map[stead.SessionKey][]string{}                                                        // that both nodes have
				m := script(func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) { // calls may come twice
					if req.Items[len(req.Items)-1].Type == stead.ItemMessage {
						calls("touch", echoHi)(ctx, req, yield)
						return
					}
					reply("done")(ctx, req, yield)
				})
				bubble(t, func(t *testing.T, n *node) {
					s := &failing{Full: n.store, at: int64(appends), burst: func() {
						if strings.Contains(name, "after, killed") || name == "dies" {
							go harm(n)
							return
						}
						harm(n)
					}}
					n.Kill()
					n.cfg.Store = s
					n.start("node-2")
					n.second("node-3")
					id := n.compute("go")
					a := n.held(id, policy.EnvironmentSave)
					if err := n.decide(id, eve, a, session.DecisionApprove); err != nil && stead.KindOf(err) != stead.KindUnavailable {
						t.Fatal(err)
					} else if err != nil { // whether it was taken is not known: it is given once more
						_ = n.decide(id, eve, a, session.DecisionApprove)
					}
					n.idle(id)
					var shown []string
					for _, c := range n.stored(id) {
						if c.Kept > 0 {
							shown = append(shown, c.Checkpoint.Digest)
						}
					}
					if len(shown) != 1 || !strings.Contains(string(a.Request.Arguments), shown[0]) || len(n.stored(id)) != 1 || n.count(id, session.KindEffectHeld) != 1 || n.onlyTurn(id).Status != session.TurnComplete {
						t.Errorf("append %d: stored %q, shown %s\n%q", appends, shown, a.Request.Arguments, n.course(id))
					}
				}, withModel(m), withComputers(h), withPolicy(saves(policy.Needs{})))
			})
		}
	}
}

// TestSaveAnsweredAtTwoNodes: of answers at both, as many count as it takes, and it is stored once.
func TestSaveAnsweredAtTwoNodes(t *testing.T) {
	h := newComputers(nil)
	n := newNode(t, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h), withPolicy(saves(policy.Needs{Count: 2})))
	other := n.second("node-2")
	id := n.compute("go")
	a := n.held(id, policy.EnvironmentSave)
	var all sync.WaitGroup
	for i := range 40 {
		node, by := []*node{n, other}[i%2], as([]string{"eve", "bob", "zoe"}[i%3], "approver")
		all.Go(func() {
			in := decides(a.RequestID, session.DecisionApprove)
			for stead.KindOf(node.Send(context.Background(), by, id, session.SendRequest{Inputs: []session.Input{in}})) == stead.KindUnavailable {
				continue
			}
		})
	}
	all.Wait()
	n.idle(id)
	if len(n.stored(id)) != 1 || n.count(id, session.KindInputEffect) != 2 {
		t.Errorf("%d checkpoints under %d answers\n%q", len(n.stored(id)), n.count(id, session.KindInputEffect), n.course(id))
	}
}
