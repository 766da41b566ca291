package runner_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/session"
)

// itemIDs are the ids of a session's items.
func (n *node) itemIDs(id stead.SessionID) []string {
	n.t.Helper()
	page, err := n.Items(context.Background(), me, id, session.ItemQuery{PageQuery: session.PageQuery{Limit: 100}})
	if err != nil {
		n.t.Fatal(err)
	}
	var out []string
	for _, it := range page.Data {
		out = append(out, it.ItemID())
	}
	return out
}

// forked forks a session at an item, runs a turn of which the agent looks at the workspace, and returns
// what the workspace held and what the agent was told of a reset ("": nothing).
func (n *node) forked(m *scripted, id stead.SessionID, item string) (fork stead.SessionID, held, told string) {
	n.t.Helper()
	f, err := n.Fork(context.Background(), me, id, session.ForkRequest{Item: item})
	if err != nil {
		n.t.Fatalf("fork at %q: %v", item, err)
	}
	m.mu.Lock()
	m.answers = append(m.answers, calls("look", `{}`), reply("seen"))
	m.mu.Unlock()
	n.send(f.ID, says("look"))
	n.idle(f.ID)
	held = "(the agent did not look)"
	for _, s := range seen(m.last()) {
		if _, out, ok := strings.Cut(s, "Output:\n|"); ok {
			held = out // the last one is the look's
		}
		if strings.Contains(s, "was reset") {
			told = s
		}
	}
	return f.ID, held, told
}

// TestAForkAtAnItemHasTheWorkspaceOfTheItem: the end of a turn stores the workspace behind the turn's last
// item, and a fork at that item has it. In the middle of a turn the fork has the newest checkpoint that
// nothing outside of the fork had touched, and its agent is told what may be missing.
func TestAForkAtAnItemHasTheWorkspaceOfTheItem(t *testing.T) {
	h := newComputers(nil)
	m := script(
		calls("run", `{"command":"one"}`), reply("one is written"),
		calls("run", `{"command":"two"}`), reply("two is written"),
		reply("I only talked"),
		calls("run", `{"command":"three"}`), calls("run", `{"command":"four"}`), reply("both are written"),
	)
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("write one")
		n.idle(id)
		for _, text := range []string{"write two", "talk", "write three and four"} {
			n.send(id, says(text))
			n.idle(id)
		}
		items := n.itemIDs(id)
		if len(items) != 12 {
			t.Fatalf("%d items: %q", len(items), n.items(id))
		}
		for _, c := range []struct {
			item int
			held string
			told []string // parts of the notice; none: there is nothing to tell but of processes
		}{
			{0, "", nil},        // "write one": nothing was
			{1, "one", nil},     // the command itself, the last of its turn
			{2, "one", nil},     // the end of turn 1
			{3, "one", nil},     // "write two"
			{5, "one,two", nil}, // the end of turn 2
			{6, "one,two", nil}, // "talk"
			{7, "one,two", nil}, // the end of a turn that touched nothing
			{8, "one,two", nil}, // "write three and four"
			{9, "one,two", []string{"last checkpoint", "- three"}}, // the middle of turn 4
			{10, "one,two,three,four", nil},                        // the last command of turn 4
			{11, "one,two,three,four", nil},                        // the last item of the session
		} {
			fork, held, told := n.forked(m, id, items[c.item])
			if held != c.held {
				t.Errorf("forked at item %d, the workspace holds %q, want %q\n%q", c.item, held, c.held, n.course(fork))
			}
			if c.told == nil && strings.Contains(told, "missing") || c.told != nil && told == "" {
				t.Errorf("forked at item %d, the agent is told %q", c.item, told)
			}
			for _, part := range c.told {
				if !strings.Contains(told, part) {
					t.Errorf("forked at item %d, the agent is told %q, without %q", c.item, told, part)
				}
			}
			if strings.Contains(told, "- four") || c.item == 10 && strings.Contains(told, "- three") {
				t.Errorf("forked at item %d, the agent is told of what is not its own, or not missing: %q", c.item, told)
			}
		}
	}, withModel(m), withComputers(h))
}

// TestAForkHasTheFilesThatWereGiven: what somebody put into the workspace is in the fork as well, also
// where no checkpoint has it yet.
func TestAForkHasTheFilesThatWereGiven(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", `{"command":"one"}`), calls("run", `{"command":"two"}`), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		s, err := n.Create(context.Background(), me, session.CreateRequest{Override: specOf(), Environment: hosted()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.PutFile(context.Background(), me, session.EnvironmentID(s.ID), "/workspace/f", []byte("given")); err != nil {
			t.Fatal(err)
		}
		n.send(s.ID, says("go"))
		n.idle(s.ID)
		items := n.itemIDs(s.ID)
		for item, want := range map[int]string{0: "file /workspace/f", 1: "file /workspace/f", 3: "file /workspace/f,one,two"} {
			if fork, held, _ := n.forked(m, s.ID, items[item]); held != want {
				t.Errorf("forked at item %d, the workspace holds %q, want %q\n%q", item, held, want, n.course(fork))
			}
		}
	}, withModel(m), withComputers(h))
}

// TestAForkHidesArtifactsThatWereDeleted, whether it ends at the item before them or at the end.
func TestAForkHidesArtifactsThatWereDeleted(t *testing.T) {
	h := newComputers(nil)
	h.next = []environment.Published{{Path: "/workspace/outputs/a", Digest: "aa"}, {Path: "/workspace/outputs/b", Digest: "bb"}}
	bubble(t, func(t *testing.T, n *node) {
		ctx := context.Background()
		id := n.compute("go")
		n.idle(id)
		page, err := n.Artifacts(ctx, me, id, session.PageQuery{})
		if err != nil || len(page.Data) != 2 {
			t.Fatalf("artifacts %+v, %v", page, err)
		}
		if err := n.DeleteArtifact(ctx, me, id, page.Data[0].ID); err != nil {
			t.Fatal(err)
		}
		items := n.itemIDs(id)
		for _, item := range []string{"", items[len(items)-1]} {
			fork, err := n.Fork(ctx, me, id, session.ForkRequest{Item: item})
			if err != nil {
				t.Fatal(err)
			}
			page, err := n.Artifacts(ctx, me, fork.ID, session.PageQuery{})
			if err != nil || len(page.Data) != 1 || page.Data[0].Path != "/workspace/outputs/b" {
				t.Errorf("the fork at %q has %+v, %v", item, page.Data, err)
			}
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h))
}
