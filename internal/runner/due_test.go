package runner_test

import (
	"context"
	"encoding/json"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/journal/journaltest"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/sim"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// faltering is sim, whose first answer to a subagent is an error.
type faltering struct {
	model.Model
	err    *model.Error
	failed atomic.Bool
}

func (f *faltering) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	if strings.Contains(req.Instructions, "You are the subagent") && f.failed.CompareAndSwap(false, true) {
		return func(yield func(model.Delta, error) bool) { yield(model.Delta{}, f.err) }
	}
	return f.Model.Generate(ctx, req)
}

// TestATimeThatHasComeIsNoLaterOne: an agent waits for its subagent for so long, and that for its next try: with the try the wait is not over. So it is
// at a node that finds the session as well.
func TestATimeThatHasComeIsNoLaterOne(t *testing.T) {
	for name, meanwhile := range map[string]func(*node){"at its node": func(*node) {}, "at another": func(n *node) { n.crash("node-2") }} {
		t.Run(name, func(t *testing.T) {
			busy := *overloaded
			busy.RetryAfter = time.Minute
			bubble(t, func(t *testing.T, n *node) {
				s := n.begin(`Call create_subagent with {"message":"Say found"}
Then call wait_for_subagents with {"agent_ids":["{agent 1}"],"timeout_seconds":600}
Say {answer 1}`, coordinates)
				time.Sleep(time.Second)
				n.released(s.ID)
				meanwhile(n)
				n.idle(s.ID)
				if got := n.said(s.ID); got != "found" {
					t.Errorf("the agent said %q\n%s", got, n.journal(s.ID))
				}
				for _, e := range n.events(s.ID) {
					if e.Kind != session.KindTimerFired {
						continue
					}
					if p, err := session.Decode[session.TimerFired](e); err != nil || p.At > e.At {
						t.Errorf("%d ms before it, it is %d: %v", p.At-e.At, p.At, err)
					}
				}
			}, withModel(&faltering{Model: sim.New(sim.Options{}), err: &busy}))
		})
	}
}

// robbed is a store that takes a session from its node in the moment in which that releases it to wait for a time.
type robbed struct {
	*journaltest.Memory
	n     *node
	taken atomic.Bool
}

func (r *robbed) Append(ctx context.Context, l journal.Lease, b journal.Batch) error {
	if b.Release && b.Wake > 0 && len(b.Events) == 0 && r.taken.CompareAndSwap(false, true) {
		r.n.store.Steal(l.Key)
	}
	return r.Memory.Append(ctx, l, b)
}

// TestATimeIsNotWaitedForThatWasNotStored: a node that does not get to release a session, and leases it again, has not waited.
func TestATimeIsNotWaitedForThatWasNotStored(t *testing.T) {
	busy := *overloaded
	busy.RetryAfter = time.Hour
	var r *robbed
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		time.Sleep(time.Second)
		n.released(id)
		n.send(id, says("more")) // which is read, and waits with the rest
		time.Sleep(time.Minute)
		if !r.taken.Load() {
			t.Fatalf("nobody took it\n%s", n.journal(id))
		}
		if n.count(id, session.KindTimerFired) != 0 {
			t.Errorf("an hour was over at once\n%s", n.journal(id))
		}
		time.Sleep(time.Hour)
		if got := n.said(id); got != "done" {
			t.Errorf("the agent said %q\n%s", got, n.journal(id))
		}
	}, withModel(script(fails(&busy), reply("done"))), func(n *node) {
		r = &robbed{Memory: n.store, n: n}
		n.cfg.Store = r
	})
}

// TestACancelTakesTheTimeOfAQuestionAlong: when that has come nothing else is over.
func TestACancelTakesTheTimeOfAQuestionAlong(t *testing.T) {
	h := newComputers(nil)
	p := asks4(policy.ModelCall, policy.Needs{ExpiresMS: time.Hour.Milliseconds()})
	needs := p.needs
	p.needs = nil
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		time.Sleep(2 * stead.EnvironmentIdle)
		p.set(func() { p.needs = needs })
		n.send(id, says("again"))
		n.held(id, policy.ModelCall)
		n.send(id, cancels)
		n.idle(id)
		time.Sleep(2 * time.Hour)
		if info, err := n.Environment(context.Background(), me, session.EnvironmentID(id)); err != nil || info.Status != session.EnvironmentIsSuspended {
			t.Errorf("three hours before its time the environment is %s, %v\n%s", info.Status, err, n.journal(id))
		}
	}, withModel(script(calls("run", echoHi), reply("one"))), withComputers(h), withPolicy(p), expiring(expireAfter))
}

// TestAStopHandsOnWhatIsDueAtOnce: a subagent that could go on does so at the next node, though another one waits for a time.
func TestAStopHandsOnWhatIsDueAtOnce(t *testing.T) {
	busy := *overloaded
	busy.RetryAfter = time.Hour
	m := script(func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) {
		switch task := inline(req.Items[0].Content); {
		case task == "slow" && len(req.Items) == 1:
			after(10*time.Second, calls("nothing", `{}`))(ctx, req, yield)
		case task == "busy":
			fails(&busy)(ctx, req, yield)
		case task == "go" && len(req.Items) == 1:
			calls("create_subagent", `{"message":"slow"}`, "create_subagent", `{"message":"busy"}`)(ctx, req, yield)
		default:
			reply("ok")(ctx, req, yield)
		}
	})
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin("go", coordinates).ID
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if v := n.view(id); v.Working() != 2 {
			t.Fatalf("%d subagents work\n%s", v.Working(), n.journal(id))
		}
		n.start("node-2")
		time.Sleep(time.Minute)
		if v := n.view(id); v.Working() != 1 || v.Subagents[0].Outcome != session.TurnComplete {
			t.Errorf("a minute later %d subagents work\n%s", v.Working(), n.journal(id))
		}
		n.send(id, cancels)
		n.idle(id)
	}, withModel(m))
}

// TestAQuestionExpiresWhileTheModelIsTriedAgain: a held function for which the model does not wait.
func TestAQuestionExpiresWhileTheModelIsTriedAgain(t *testing.T) {
	busy := *overloaded
	busy.RetryAfter = 2 * time.Hour
	h := &holder{policy.Needs{Roles: []stead.Role{"approver"}, ExpiresMS: time.Minute.Milliseconds()}}
	pay := agent.Tool{Type: agent.ToolFunction, Name: "pay", Async: true, Parameters: json.RawMessage(`{"type":"object"}`)}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", pay).ID
		time.Sleep(2 * time.Minute)
		if n.count(id, session.KindToolReturned) != 1 {
			t.Errorf("a minute after its time nobody was told\n%s", n.journal(id))
		}
		n.idle(id)
	}, withModel(script(calls("pay", `{}`), fails(&busy), reply("a pity"))), withPolicy(h))
}
