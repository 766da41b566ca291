package runner_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// TestModelAdapterThatPanics: it ends the turn with a report, and the session goes on.
func TestModelAdapterThatPanics(t *testing.T) {
	m := script(func(context.Context, model.Request, func(model.Delta, error) bool) { panic("boom") }, reply("at last"))
	bubble(t, func(t *testing.T, n *node) {
		n.survives(n.create("go").ID)
	}, withModel(m))
}

// panicking is a tool source whose first listing panics.
type panicking struct {
	box
	did bool
}

func (p *panicking) Tools(ctx context.Context, s tool.Server) ([]tool.Tool, error) {
	if !p.did {
		p.did = true
		panic("boom")
	}
	return p.box.Tools(ctx, s)
}

func TestToolSourceThatPanics(t *testing.T) {
	m := script(reply("at last"))
	bubble(t, func(t *testing.T, n *node) {
		n.survives(n.create("go", mcpServer()).ID)
	}, withModel(m), withTools(&panicking{box: having()}))
}

// survives checks that the first turn failed for a reason that is told, and that the next one works.
func (n *node) survives(id stead.SessionID) {
	n.t.Helper()
	n.idle(id)
	if turn := n.onlyTurn(id); turn.Status != session.TurnFail || turn.Error.Code != model.CodeServer || strings.Contains(turn.Error.Message, "boom") {
		n.t.Errorf("turn %s %+v", turn.Status, turn.Error)
	}
	n.send(id, says("again"))
	n.idle(id)
	if got := n.items(id); got[len(got)-1] != "assistant completed: at last" {
		n.t.Errorf("items %q", got)
	}
}

// TestCancelDuringACompaction: the summary goes with its turn, and the next turn makes its own.
func TestCancelDuringACompaction(t *testing.T) {
	for _, async := range []bool{false, true} {
		ok := reply("ok")
		m := script(ok, ok, ok, ok, after(time.Hour, ok), ok)
		m.compact = after(time.Minute, reply("SUMMARY"))
		bubble(t, func(t *testing.T, n *node) {
			id := n.begin(long(1), func(s *agent.Spec) { s.Compaction.Async = async }).ID
			n.idle(id)
			n.talk(id, 2, 4)
			n.send(id, says(long(5)))
			time.Sleep(time.Second)
			begun := time.Now()
			n.send(id, cancels)
			n.idle(id)
			if took := time.Since(begun); took > time.Second {
				t.Errorf("the cancel took %s", took)
			}
			m.mu.Lock()
			m.answers = []answer{ok}
			m.mu.Unlock()
			n.talk(id, 6, 7)
			time.Sleep(2 * time.Minute)
			n.talk(id, 8, 8)
			if got := seen(m.last()); got[0] != summarized {
				t.Errorf("async %t: the model saw %.40q", async, got)
			}
			time.Sleep(2 * time.Minute) // for a summary that the last turn began
			if n.Holding() != 0 {
				t.Errorf("%d sessions held", n.Holding())
			}
		}, withModel(m, small))
	}
}

// TestServiceAfterKill: a node that moves nothing any more still serves reads and takes input.
func TestServiceAfterKill(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		n.idle(id)
		n.Kill()
		n.send(id, says("again"))
		s, err := n.Get(context.Background(), me, id)
		if err != nil || s.Status != session.StatusInProgress {
			t.Errorf("session %s, %v", s.Status, err)
		}
		if turns := n.turns(id); len(turns) != 2 || turns[1].Status != session.TurnQueued {
			t.Errorf("turns %+v", turns)
		}
		n.start(stead.NodeID("node-2"))
		n.idle(id)
	})
}
