package runner_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// small is a model's window of 2000 tokens, 500 of them for the answer: a summary is due from 4200
// bytes on, and the turn waits for it from 5400 bytes on.
func small(i *model.Info) { i.ContextWindow = 2000 }

const summarized = "user: Summary of the conversation so far, which replaces its earlier messages:|SUMMARY"

// long is a message of 1000 bytes that begins with a number.
func long(n int) string { return fmt.Sprintf("%03d ", n) + strings.Repeat("x", 996) }

// talk sends so many long messages, one turn each.
func (n *node) talk(id stead.SessionID, from, to int) {
	n.t.Helper()
	for i := from; i <= to; i++ {
		n.send(id, says(long(i)))
		n.idle(id)
	}
}

// TestCompactionThatTheTurnWaitsFor: the summary is made first, and stands in the very request that
// was too long; what it replaces is still listed.
func TestCompactionThatTheTurnWaitsFor(t *testing.T) {
	m := script(reply("ok"))
	m.compact = after(time.Second, reply("SUMMARY"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin(long(1), func(s *agent.Spec) { s.Compaction.Async = false }).ID
		n.idle(id)
		n.talk(id, 2, 6)
		compacted(t, n, m, id)
		for _, req := range m.asked() {
			if got := bytesOf(req); got > 5400 {
				t.Errorf("a request of %d bytes", got)
			}
		}
	}, withModel(m, small))
}

// TestCompactionInTheBackground: the turn goes on without the summary; the next request has it.
func TestCompactionInTheBackground(t *testing.T) {
	s := &naps{}
	ok := reply("ok")
	m := script(ok, ok, ok, ok, calls("nap", `{"s":2}`), ok)
	m.compact = after(time.Second, reply("SUMMARY"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin(long(1), func(s *agent.Spec) { s.Compaction.Async, s.Tools = true, []agent.Tool{mcpServer()} }).ID
		n.idle(id)
		begun := time.Now()
		n.talk(id, 2, 5)
		if took := time.Since(begun); took > 2100*time.Millisecond {
			t.Errorf("the turns took %s: they waited for the summary", took)
		}
		if got := seen(m.asked()[4]); got[0] == summarized {
			t.Errorf("the model saw %.40q before there was a summary", got)
		}
		if got := seen(m.last()); got[0] != summarized || got[len(got)-1] != "output slept 2" {
			t.Errorf("the model saw %.40q", got)
		}
		paired(t, m.asked())
		if len(m.summaries) != 1 || n.count(id, session.KindContextCompacted) != 1 {
			t.Errorf("%d summaries: %q", len(m.summaries), n.kinds(id))
		}
	}, withModel(m, small), withTools(having(does{"nap", tool.Pure, s.run})))
}

func compacted(t *testing.T, n *node, m *scripted, id stead.SessionID) {
	t.Helper()
	if got := seen(m.last()); got[0] != summarized || !strings.HasPrefix(got[len(got)-1], "user: 006") {
		t.Errorf("the model saw %.40q", got)
	}
	if len(m.summaries) != 1 || n.count(id, session.KindContextCompacted) != 1 {
		t.Errorf("%d summaries: %q", len(m.summaries), n.kinds(id))
	}
	if got := n.items(id); len(got) != 12 || !strings.HasPrefix(got[0], "user completed: 001") {
		t.Errorf("items %.40q", got)
	}
	s, err := n.Get(context.Background(), me, id)
	if err != nil || s.Usage.OutputTokens != 7 {
		t.Errorf("usage %+v of six answers and a summary, %v", s.Usage, err)
	}
}

func bytesOf(req model.Request) int {
	n := 0
	for _, it := range req.Items {
		n += model.ItemBytes(it)
	}
	return n
}

func TestCompactionInTheBackgroundOfATurnThatEndedSurvivesACrash(t *testing.T) {
	m := script(reply("ok"))
	m.compact = after(time.Second, reply("SUMMARY"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin(long(1), func(s *agent.Spec) { s.Compaction.Async = true }).ID
		n.idle(id)
		n.talk(id, 2, 5)
		n.crash("node-2")
		n.talk(id, 6, 6)
		time.Sleep(2 * time.Second)
		n.talk(id, 7, 7)
		if got := seen(m.last()); got[0] != summarized {
			t.Errorf("the model saw %.40q", got)
		}
	}, withModel(m, small))
}

// TestCompactionKeepsCallsWithTheirOutputs: each request has an output behind each call, wherever
// the border of the summary falls.
func TestCompactionKeepsCallsWithTheirOutputs(t *testing.T) {
	for _, async := range []bool{false, true} {
		t.Run(fmt.Sprintf("async %t", async), func(t *testing.T) {
			m := script()
			for range 12 {
				m.answers = append(m.answers, calls("big", `{"n":1}`, "big", `{"n":2}`), calls("big", `{"n":3}`), reply("ok"))
			}
			m.compact = after(time.Second, reply("SUMMARY"))
			big := does{"big", tool.Pure, func(ctx context.Context, _ tool.Call) (tool.Result, error) {
				lasts(ctx, 400*time.Millisecond)
				return outputs(strings.Repeat("y", 500))
			}}
			bubble(t, func(t *testing.T, n *node) {
				id := n.begin("000", func(s *agent.Spec) {
					s.Compaction.Async, s.Tools = async, []agent.Tool{mcpServer()}
				}).ID
				n.idle(id)
				for i := 1; i < 12; i++ {
					n.send(id, says(fmt.Sprintf("%03d", i)))
					n.idle(id)
				}
				paired(t, m.asked())
				if len(m.summaries) < 3 {
					t.Errorf("%d summaries: %q", len(m.summaries), n.kinds(id))
				}
				paired(t, m.summaries)
				page, err := n.Items(context.Background(), me, id, session.ItemQuery{PageQuery: session.PageQuery{Limit: 100}})
				if err != nil || len(page.Data) != 12*5 {
					t.Errorf("%d items, %v", len(page.Data), err)
				}
				for _, turn := range n.turns(id) {
					if turn.Status != session.TurnComplete {
						t.Errorf("turn %s %+v", turn.Status, turn.Error)
					}
				}
			}, withModel(m, small), withTools(having(big)))
		})
	}
}

var tooLong = &model.Error{Code: model.CodeContextLength, Message: "The context is too long."}

// TestUpstreamSaysThatTheContextIsTooLong: whatever window the catalog told of, the conversation is
// summarized and the call made again at once.
func TestUpstreamSaysThatTheContextIsTooLong(t *testing.T) {
	for name, window := range map[string]int{"window unknown": 0, "window small": 2000} {
		t.Run(name, func(t *testing.T) {
			m := script(reply("ok"), reply("ok"), reply("ok"), fails(tooLong), reply("at last"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.create(long(1)).ID
				n.idle(id)
				n.talk(id, 2, 4)
				if got := n.items(id); len(got) != 8 || got[7] != "assistant completed: at last" {
					t.Errorf("items %.40q", got)
				}
				if got := seen(m.last()); got[0] != summarized || !strings.HasPrefix(got[len(got)-1], "user: 004") {
					t.Errorf("the model saw %.40q", got)
				}
				if len(m.asked()) != 5 {
					t.Errorf("%d calls", len(m.asked()))
				}
			}, withModel(m, func(i *model.Info) { i.ContextWindow = window }))
		})
	}
}

func TestOneMessageThatIsTooLong(t *testing.T) {
	m := script(fails(tooLong))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create(long(1)).ID
		n.idle(id)
		if turn := n.onlyTurn(id); turn.Status != session.TurnFail || turn.Error.Code != model.CodeContextLength {
			t.Errorf("turn %s %+v", turn.Status, turn.Error)
		}
	}, withModel(m))
}

// TestSummaryThatFails: its tries are bounded, and the turn ends in one way or the other.
func TestSummaryThatFails(t *testing.T) {
	for name, compact := range map[string]answer{"an error": fails(overloaded), "an empty summary": reply(" ")} {
		t.Run(name, func(t *testing.T) {
			m := script(reply("ok"))
			m.compact = compact
			bubble(t, func(t *testing.T, n *node) {
				id := n.begin(long(1), func(s *agent.Spec) { s.Compaction.Async = false }).ID
				n.idle(id)
				n.talk(id, 2, 5)
				turns := n.turns(id)
				if last := turns[len(turns)-1]; last.Status != session.TurnComplete {
					t.Errorf("turn %s %+v: the model can still take the context", last.Status, last.Error)
				}
				if len(m.summaries) != 3 {
					t.Errorf("%d tries of a summary, want 3", len(m.summaries))
				}
			}, withModel(m, small))
		})
	}
}

func TestLargeSummaryIsABlob(t *testing.T) {
	m := script(reply("ok"))
	m.compact = reply(strings.Repeat("s", stead.MaxInlineBytes+1))
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin(strings.Repeat("x", 20_000), func(s *agent.Spec) { s.Compaction.Async = false }).ID
		n.idle(id)
		for range 15 {
			n.send(id, says(strings.Repeat("x", 20_000)))
			n.idle(id)
		}
		if got := seen(m.last()); len(got[0]) < stead.MaxInlineBytes {
			t.Errorf("the model saw %.80q", got)
		}
		digestsOnly(t, n, id)
	}, withModel(m, func(i *model.Info) { i.ContextWindow = 64_000 }))
}

// TestBackgroundCompactionOutlivesItsTurn: a summary that takes longer than its turn stands in the next.
func TestBackgroundCompactionOutlivesItsTurn(t *testing.T) {
	m := script(reply("ok"))
	m.compact = after(time.Second, reply("SUMMARY"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin(long(1), func(s *agent.Spec) { s.Compaction.Async = true }).ID
		n.idle(id)
		begun := time.Now()
		n.talk(id, 2, 5)
		if took := time.Since(begun); took > 100*time.Millisecond {
			t.Errorf("the turns took %s: they waited for the summary", took)
		}
		synctest.Wait()
		if got := seen(m.last()); len(m.summaries) != 1 || got[0] == summarized {
			t.Errorf("%d summaries begun; the model saw %.40q", len(m.summaries), got)
		}
		time.Sleep(2 * time.Second)
		n.talk(id, 6, 6)
		compacted(t, n, m, id)
	}, withModel(m, small))
}
