package runner_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// peeks is a tool that reads a memory store in its agent's name, and counts how often it got through.
func peeks(p policy.Authorizer, through *atomic.Int64) tool.Source {
	return having(does{"peek", tool.Pure, func(ctx context.Context, c tool.Call) (tool.Result, error) {
		_, err := policy.Check(ctx, p, policy.Request{Principal: c.Principal, Acting: true, Agent: c.Agent, Session: c.Session, Effect: policy.MemoryRead, Resource: "memstore_1"})
		if err != nil {
			out, _ := outputs(err.Error())
			out.IsError = true
			return out, nil
		}
		through.Add(1)
		return outputs("peeked")
	}})
}

// entries is a memory whose recall is asked about on its way.
type entries struct {
	memories
	p policy.Authorizer
}

func (m *entries) Recall(ctx context.Context, ask session.RecallAsk) (session.MemoryRecalled, error) {
	d, err := m.p.Decide(ctx, policy.Request{Principal: ask.Principal, Acting: true, Agent: ask.Agent, Session: ask.Key, Effect: policy.MemoryEntryRead, Resource: "memstore_1", Entry: &policy.Entry{Kind: "fact"}})
	if err != nil || !d.Allow {
		return session.MemoryRecalled{}, err // it is not there
	}
	return m.memories.Recall(ctx, ask)
}

// TestEffectOfARecallWaits: what is asked about on its way holds the turn; it is looked up again, and once.
func TestEffectOfARecallWaits(t *testing.T) {
	for decision, want := range map[string]int{session.DecisionApprove: 1, session.DecisionDeny: 0} {
		t.Run(decision, func(t *testing.T) {
			p := asks4(policy.MemoryEntryRead, policy.Needs{})
			mem := &entries{memories{answers: []session.MemoryRecalled{fact("mem_1", "tea")}}, p}
			m := script(reply("ok"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.begin("what do I like?", remembering).ID
				a := n.held(id, policy.MemoryEntryRead)
				n.released(id)
				n.crash("node-2")
				if err := n.decide(id, eve, a, decision); err != nil {
					t.Fatal(err)
				}
				n.idle(id)
				if len(mem.asked()) != want || n.count(id, session.KindMemoryRecalled) != 1 || len(m.asked()) != 1 {
					t.Errorf("%d recalls, %q", len(mem.asked()), n.kinds(id))
				}
			}, withModel(m), withMemory(mem), withPolicy(p))
		})
	}
}

// TestEffectOfACallWaits: a call waits with the question about what it does on the way, which is shown as such; it is made again under the answer,
// whatever dies meanwhile, and the next call asks anew.
func TestEffectOfACallWaits(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(n *node, a session.RequiredAction, answer func(string))
		told string
		went int64
		ends string
	}{
		"approved": {func(_ *node, _ session.RequiredAction, answer func(string)) { answer(session.DecisionApprove) }, "peeked", 1, session.TurnComplete},
		"approved behind a crash": {func(n *node, _ session.RequiredAction, answer func(string)) {
			n.crash("node-2")
			answer(session.DecisionApprove)
		}, "peeked", 1, session.TurnComplete},
		"approved by a dead node": {func(n *node, _ session.RequiredAction, answer func(string)) {
			answer(session.DecisionApprove)
			n.crash("node-2")
		}, "peeked", 1, session.TurnComplete},
		"denied":    {func(_ *node, _ session.RequiredAction, answer func(string)) { answer(session.DecisionDeny) }, "it was not approved", 0, session.TurnComplete},
		"over":      {func(*node, session.RequiredAction, func(string)) { time.Sleep(2 * time.Hour) }, "nobody gave it in time", 0, session.TurnComplete},
		"cancelled": {func(_ *node, _ session.RequiredAction, answer func(string)) { answer(session.DecisionCancel) }, "", 0, session.TurnCancel},
	} {
		t.Run(name, func(t *testing.T) {
			var through atomic.Int64
			m := script(calls("peek", `{}`), reply("ok"), calls("peek", `{}`), reply("ok"))
			p := asks4(policy.MemoryRead, policy.Needs{ExpiresMS: time.Hour.Milliseconds()})
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go", mcpServer()).ID
				a := n.held(id, policy.MemoryRead)
				n.released(id)
				if shown := string(a.Request.Arguments); !strings.Contains(shown, `"tool":"`) || !strings.Contains(shown, "peek") || !strings.Contains(a.Request.Message, "memory.read of memstore_1") {
					t.Errorf("it shows %s, %s", a.Request.Message, shown)
				}
				c.do(n, a, func(decision string) {
					if err := n.decide(id, eve, a, decision); err != nil {
						t.Error(err)
					}
				})
				n.idle(id)
				if got := strings.Join(seen(m.last()), "|"); !strings.Contains(got, c.told) || n.onlyTurn(id).Status != c.ends {
					t.Errorf("the turn is %s, the model was told %q", n.onlyTurn(id).Status, got)
				}
				if went := through.Load(); went < c.went || went > c.went && name != "approved by a dead node" || n.count(id, session.KindEffectHeld) != 1 {
					t.Errorf("it went through %d times\n%q", went, n.kinds(id))
				}
				if c.told == "peeked" {
					n.send(id, says("again"))
					if b := n.held(id, policy.MemoryRead); b.RequestID == a.RequestID {
						t.Error("the next call is asked about in the same question")
					}
				}
			}, withModel(m), withPolicy(p), withTools(peeks(p, &through)))
		})
	}
}
