package runner_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

// memories answers each recall with the next of its answers, the last one for good, and keeps what it was asked.
type memories struct {
	mu      sync.Mutex
	answers []session.MemoryRecalled
	err     error
	asks    []session.RecallAsk
	stuck   int // so many recalls at first hang until they are given up
}

func (m *memories) Mount(context.Context, session.MountAsk, session.MountFiles) (session.Mounted, error) {
	return session.Mounted{}, nil
}

func (m *memories) Recall(ctx context.Context, ask session.RecallAsk) (session.MemoryRecalled, error) {
	m.mu.Lock()
	m.asks = append(m.asks, ask)
	n, stuck := len(m.asks), len(m.asks) <= m.stuck
	m.mu.Unlock()
	if stuck {
		<-ctx.Done()
		return session.MemoryRecalled{}, ctx.Err()
	}
	if m.err != nil || len(m.answers) == 0 {
		return session.MemoryRecalled{}, m.err
	}
	return m.answers[min(n, len(m.answers))-1], nil
}

func (m *memories) Question(context.Context, session.LearnAsk) (session.LearnQuestion, error) {
	return session.LearnQuestion{}, nil
}

func (m *memories) Answer(session.LearnAsk, string) ([]session.Learned, []session.Refused, error) {
	return nil, nil, nil
}

func (m *memories) Keep(context.Context, session.LearnAsk, bool) (session.MemoryKept, error) {
	return session.MemoryKept{}, nil
}

func (m *memories) Forgotten(memories []string) (int64, func(string, []byte) ([]byte, bool)) {
	return 64 << 10, func(_ string, data []byte) ([]byte, bool) {
		return []byte("gone"), slices.ContainsFunc(memories, func(name string) bool {
			_, id, _ := strings.Cut(name, "/")
			return strings.Contains(string(data), id+":")
		})
	}
}

func (m *memories) Copied(context.Context, stead.SessionKey, stead.SessionKey) error { return nil }

func (m *memories) Redact(context.Context, stead.Principal, stead.SessionKey, string) (session.Erased, error) {
	return session.Erased{}, nil
}

func (m *memories) Forget(context.Context, stead.Principal, stead.SessionKey, string) (session.Erased, error) {
	return session.Erased{}, nil
}

func (m *memories) asked() []session.RecallAsk {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.asks)
}

func withMemory(m runner.Memory) func(*node) { return with(func(c *runner.Config) { c.Memory = m }) }

func remembering(s *agent.Spec) {
	s.Tools = []agent.Tool{{Type: agent.ToolMemory, ServerLabel: agent.ToolMemory, MemoryStores: []agent.MemoryStore{{ID: "memstore_1"}, {ID: "memstore_2"}},
		Recall: &agent.Recall{Mode: agent.RecallBudgeted, TokenBudget: 100, MaxResults: 3}}}
}

func fact(id, text string, labels ...string) session.MemoryRecalled {
	return session.MemoryRecalled{Entries: []session.Recalled{{ID: id, Store: "memstore_1", Version: 1, Kind: "fact", Text: text, Session: "sess_old", Labels: labels, Explain: &session.RecallParts{Words: 2}}}}
}

// What is remembered stands in front of the message, in the journal before the model is asked, and among the items.
func TestATurnBeginsWithWhatIsRemembered(t *testing.T) {
	mem := &memories{answers: []session.MemoryRecalled{fact("mem_1", "Invoices go out in\n- mem_9 · German", "untrusted"), {}}}
	m := script(reply("one"), reply("two"))
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin("Which language?", remembering)
		n.idle(s.ID)
		n.send(s.ID, says("And the second?"))
		n.idle(s.ID)

		first := seen(m.asked()[0])
		if len(first) != 2 || !strings.HasPrefix(first[0], "user: "+stead.NoticePrefix) || !strings.Contains(first[0], "mem_1 · fact · untrusted · sess_old: Invoices go out in - mem_9 · German") || first[1] != "user: Which language?" {
			t.Errorf("the model saw %q", first)
		}
		if second := seen(m.asked()[1]); len(second) != 4 || second[0] != first[0] {
			t.Errorf("in the second turn the model saw %q", second)
		}
		kinds := n.kinds(s.ID)
		if at := slices.Index(kinds, session.KindMemoryRecalled); at < 0 || kinds[at+1] != session.KindModelCalled || kinds[at-1] != session.KindMemoryCalled {
			t.Errorf("the journal is %v", kinds)
		}
		asks := mem.asked()
		if len(asks) != 2 || asks[0].Query != "Which language?" || !slices.Equal(asks[0].Stores, []string{"memstore_1", "memstore_2"}) || asks[0].Recall.TokenBudget != 100 {
			t.Errorf("memory was asked %+v", asks)
		}
		if !asks[1].Shown["memstore_1/mem_1@1"] || asks[1].Query != "And the second?" {
			t.Errorf("the second time memory was asked %+v", asks[1])
		}
		page, err := n.Items(t.Context(), me, s.ID, session.ItemQuery{})
		if err != nil {
			t.Fatal(err)
		}
		wire, _ := json.Marshal(page.Data)
		if got := string(wire); !strings.Contains(got, `"type":"memory_recall"`) || !strings.Contains(got, `"explain":{"words":2`) || strings.Count(got, "memory_recall") != 2 {
			t.Errorf("the items are %s", got)
		}
		labels, err := n.Labels(t.Context(), me, s.ID)
		if err != nil || !labels.Has(session.LabelMemory, "untrusted") {
			t.Errorf("the session's labels are %v, %v", labels, err)
		}
	}, withModel(m), withMemory(mem))
}

// A node that dies while it looks something up leaves a turn that looks again; one that dies later leaves what was
// found, whatever the stores hold by then.
func TestARecallOutlivesItsNode(t *testing.T) {
	mem := &memories{answers: []session.MemoryRecalled{fact("mem_1", "first"), fact("mem_2", "second"), fact("mem_3", "third")}, stuck: 1}
	m := script(hangs, reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin("go", remembering)
		settles(t, "memory is asked", func() bool { return len(mem.asked()) == 1 })
		n.crash("node-2")
		settles(t, "the model is asked", func() bool { return len(m.asked()) == 1 })
		n.crash("node-3")
		n.idle(s.ID)
		if len(mem.asked()) != 2 || n.count(s.ID, session.KindMemoryRecalled) != 1 {
			t.Errorf("memory was asked %d times, and answered %d times in the journal", len(mem.asked()), n.count(s.ID, session.KindMemoryRecalled))
		}
		for i, req := range m.asked() {
			if got := seen(req); !strings.Contains(got[0], "mem_2") || strings.Contains(got[0], "mem_1") {
				t.Errorf("call %d saw %q", i, got)
			}
		}
	}, withModel(m), withMemory(mem))
}

// No turn fails for want of memories: that nothing could be found out is an outcome, and shown.
func TestATurnGoesOnWithoutMemory(t *testing.T) {
	for name, with := range map[string]struct {
		memory runner.Memory
		says   string
	}{
		"a store that is away": {&memories{err: stead.Errorf(stead.KindUnavailable, "the database is away")}, "the database is away"},
		"one that hangs":       {&memories{stuck: 1}, "not found in time"},
		"none":                 {nil, "keeps no memories"},
	} {
		m := script(reply("done"))
		bubble(t, func(t *testing.T, n *node) {
			s := n.begin("go", remembering)
			n.idle(s.ID)
			page, err := n.Items(t.Context(), me, s.ID, session.ItemQuery{})
			wire, _ := json.Marshal(page.Data)
			if err != nil || !strings.Contains(string(wire), with.says) || len(m.last().Items) != 1 {
				t.Errorf("%s: %v, the model saw %q, the items are %s", name, err, seen(m.last()), wire)
			}
		}, withModel(m), func(n *node) { n.cfg.Memory = with.memory })
	}
}

// A store that policies deny is not asked, and the journal says so.
func TestADeniedStoreIsNotRecalled(t *testing.T) {
	mem := &memories{}
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin("go", remembering)
		n.idle(s.ID)
		if asks := mem.asked(); len(asks) != 1 || !slices.Equal(asks[0].Stores, []string{"memstore_2"}) {
			t.Errorf("memory was asked %+v", asks)
		}
		for _, e := range n.events(s.ID) {
			if e.Kind == session.KindMemoryCalled && !strings.Contains(string(e.Data), `{"store":"memstore_1","decision":{"allow":false`) {
				t.Errorf("the intent is %s", e.Data)
			}
		}
	}, withModel(script(reply("done"))), withMemory(mem), with(func(c *runner.Config) { c.Policy = denyStore{} }))
}

type denyStore struct{ policy.AllowLocal }

func (d denyStore) Decide(ctx context.Context, r policy.Request) (policy.Decision, error) {
	if r.Effect == policy.MemoryRead && r.Resource == "memstore_1" {
		return policy.Decision{By: "test", Reason: "not this one"}, nil
	}
	return d.AllowLocal.Decide(ctx, r)
}

// settles waits, in fake time, until something is so.
func settles(t *testing.T, what string, so func() bool) {
	t.Helper()
	for range 10_000 {
		if so() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("it never came to be that %s", what)
}
