package runner_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// last is what the last checkpoint of a session holds.
func (h *computers) last(t *testing.T, n *node, id stead.SessionID) []string {
	t.Helper()
	all := payloads[session.EnvironmentCheckpointed](t, n, id, session.KindEnvironmentCheckpointed)
	if len(all) == 0 {
		return nil
	}
	return h.shelf.get(all[len(all)-1].Checkpoint.Digest)
}

// TestWhatRunsInTheBackgroundIsStored: between turns, and what it does after that is told as missing.
func TestWhatRunsInTheBackgroundIsStored(t *testing.T) {
	h := newComputers(nil)
	h.bg = []string{"serve --forever"}
	m := script(calls("run", echoHi), reply("done"), calls("look", `{}`), reply("seen"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		h.writes(n.key(id), "tick")
		time.Sleep(time.Second)
		if got := h.last(t, n, id); !slices.Equal(got, []string{"echo hi", "tick"}) {
			t.Fatalf("stored are %q in %q", got, n.course(id))
		}
		stored := time.Now()
		time.Sleep(10 * time.Second)
		h.mu.Lock()
		h.boxes[n.key(id)].lines = append(h.boxes[n.key(id)].lines, "tock")
		h.mu.Unlock()
		h.end(n.key(id))
		n.send(id, says("again"))
		n.idle(id)
		got := strings.Join(seen(m.last()), "\n")
		for _, want := range []string{"was reset", "In the background these ran at the checkpoint of", "\n- serve --forever", stored.Add(-time.Second).UTC().Format("2006-01-02T15:04")} {
			if !strings.Contains(got, want) {
				t.Errorf("the agent was not told %q, but %q", want, got)
			}
		}
		if strings.Contains(got, "as it was") {
			t.Errorf("the agent was told that nothing is missing: %q", got)
		}
	}, withModel(m), withComputers(h))
}

// TestNothingIsStoredForTheBackgroundWhileATurnWorks: its end does.
func TestNothingIsStoredForTheBackgroundWhileATurnWorks(t *testing.T) {
	h := newComputers(nil)
	h.bg = []string{"serve"}
	m := script(calls("run", echoHi), after(time.Minute, reply("done")))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		time.Sleep(10 * time.Second)
		h.writes(n.key(id), "tick")
		n.idle(id)
		if n.count(id, session.KindEnvironmentChanged) != 0 || n.count(id, session.KindEnvironmentCheckpointed) != 1 {
			t.Errorf("course %q", n.course(id))
		}
		if got := h.last(t, n, id); !slices.Equal(got, []string{"echo hi", "tick"}) {
			t.Errorf("stored are %q", got)
		}
	}, withModel(m), withComputers(h))
}

// TestCopiesBeginWithThePresent: what was written after the last turn is in them.
func TestCopiesBeginWithThePresent(t *testing.T) {
	h := newComputers(nil)
	h.bg = []string{"serve"}
	m := script(calls("run", echoHi), reply("done"), calls("look", `{}`), reply("seen"), calls("look", `{}`), reply("seen"))
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		id := n.compute("go")
		n.idle(id)
		late := func(line string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			b := h.boxes[n.key(id)]
			b.lines = append(b.lines, line)
		}
		late("before the fork")
		fork, err := n.Fork(ctx, me, id, session.ForkRequest{})
		if err != nil {
			t.Fatal(err)
		}
		late("before the export")
		var file bytes.Buffer
		if err := n.Export(ctx, me, id, &file); err != nil {
			t.Fatal(err)
		}
		foreign, err := n.Import(ctx, me, &file)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range []struct {
			id   stead.SessionID
			want string
		}{{fork.ID, "echo hi,before the fork"}, {foreign.ID, "echo hi,before the fork,before the export"}} {
			n.send(c.id, says("again"))
			n.idle(c.id)
			got := seen(m.last())
			if !slices.ContainsFunc(got, func(s string) bool { return strings.HasSuffix(s, "|"+c.want) }) {
				t.Errorf("copy %d has %q", i, got)
			}
		}
	}, withModel(m), withComputers(h))
}

// TestAForkDoesNotWaitForEver: a command that goes on keeps the workspace from being stored.
func TestAForkDoesNotWaitForEver(t *testing.T) {
	h := newComputers(nil)
	h.run = func(ctx context.Context, c tool.Call, b *computer) (tool.Result, error) {
		lasts(ctx, time.Hour)
		return h.line(c, b)
	}
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		time.Sleep(time.Second)
		begun := time.Now()
		if _, err := n.Fork(context.Background(), me, id, session.ForkRequest{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("the fork took %v", took)
		}
		n.idle(id)
		if got := h.last(t, n, id); !slices.Equal(got, []string{"echo hi"}) {
			t.Errorf("stored are %q in %q", got, n.course(id))
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}
