package runner_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

// withDesks serves them where what is stored wants an approval.
func withDesks(d *desks) func(*node) {
	return with(func(c *runner.Config) {
		c.Environments, c.Foreign, c.EnvironmentIdle, c.Policy = d, asItIs, time.Minute, saves(policy.Needs{})
	})
}

// asFiles is a memory store as files.
var asFiles = agent.Tool{Type: agent.ToolMemory, ServerLabel: agent.ToolMemory, MemoryStores: []agent.MemoryStore{{ID: "memstore_1", Path: "notes"}}}

// rests cancels the turn that a question holds up, and gives the question behind it.
func (n *node) rests(id stead.SessionID) session.RequiredAction {
	n.t.Helper()
	a := n.held(id, policy.EnvironmentSave)
	n.send(id, cancels)
	return n.until(id, func(s session.Session) bool {
		return len(s.RequiredActions) == 1 && s.RequiredActions[0].RequestID != a.RequestID
	}).RequiredActions[0]
}

// there is which of these blobs are.
func (n *node) there(id stead.SessionID, digests []string) (out []string) {
	for _, digest := range digests {
		if _, err := n.cfg.Blobs.Get(n.t.Context(), n.key(id), digest); err == nil {
			out = append(out, digest)
		}
	}
	return out
}

// TestFilesThatWaitGoWithTheirEnvironment, when it expires: nothing of them is left.
func TestFilesThatWaitGoWithTheirEnvironment(t *testing.T) {
	d := newDesks(t)
	d.puts = map[string]string{"code": "first"}
	bubble(t, func(t *testing.T, n *node) {
		*d.blobs = n.cfg.Blobs
		id := n.compute("go")
		n.rests(id)
		all := session.EveryDigest(n.events(id))
		if got := n.there(id, all); len(got) != len(all) {
			t.Fatalf("while it waits %d of %d blobs are there", len(got), len(all))
		}
		time.Sleep(5 * time.Hour)
		n.status(id, session.EnvironmentIsExpired)
		if got := n.there(id, all); len(got) != 0 {
			t.Errorf("%d of %d blobs are left", len(got), len(all))
		}
	}, withModel(script(calling(1)...)), withDesks(d), expiring(4*time.Hour))
}

// TestWhatIsForgottenWhileFilesWait: of what waits to be stored nothing changes; where it has no files of memories, nothing waits for it.
func TestWhatIsForgottenWhileFilesWait(t *testing.T) {
	for name, tools := range map[string][]agent.Tool{"files of memories": {asFiles}, "none": nil} {
		t.Run(name, func(t *testing.T) {
			d := newDesks(t)
			d.puts = map[string]string{"code": "first"}
			if tools != nil {
				d.puts = first
			}
			bubble(t, func(t *testing.T, n *node) {
				*d.blobs = n.cfg.Blobs
				id := n.compute("go", tools...)
				a := n.rests(id)
				if _, err := n.unshow(id); (stead.KindOf(err) == stead.KindConflict) != (tools != nil) {
					t.Fatalf("while it waits: %v", err)
				}
				if err := n.decide(id, eve, a, session.DecisionApprove); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second) // it is idle before that is kept
				if kept := n.stored(id)[0].Checkpoint.Digest; !strings.Contains(string(a.Request.Arguments), kept) {
					t.Errorf("stored is %s, shown was %s", kept, a.Request.Arguments)
				}
				n.unshown(id)
				d.nowhere(n, id)
			}, withModel(script(calling(1)...)), withMemory(&memories{}), withDesks(d))
		})
	}
}

// unshown has it taken out, as often as it takes.
func (n *node) unshown(id stead.SessionID) {
	n.t.Helper()
	var later time.Duration
	var err error
	for range 60 {
		if later, err = n.unshow(id); err == nil && later == 0 {
			return
		}
		if err != nil && stead.KindOf(err) != stead.KindConflict {
			n.t.Fatal(err)
		}
		time.Sleep(max(later, 2*time.Minute))
	}
	n.t.Fatalf("it is never done: %v, %v\n%q", later, err, n.course(id))
}

// TestWhatIsForgottenOfDeniedFiles goes from a workspace that nobody may store as well: from where it is, without a question, and from what was
// stored apart. What else was denied stays.
func TestWhatIsForgottenOfDeniedFiles(t *testing.T) {
	for name, open := range map[string]bool{"at rest": false, "open": true} {
		t.Run(name, func(t *testing.T) {
			d := newDesks(t)
			d.puts = first
			bubble(t, func(t *testing.T, n *node) {
				*d.blobs = n.cfg.Blobs
				id := n.compute("go", asFiles)
				if err := n.decide(id, eve, n.held(id, policy.EnvironmentSave), session.DecisionDeny); err != nil {
					t.Fatal(err)
				}
				n.idle(id)
				if open {
					d.work(n, id, nil) // looks, and changes nothing
				}
				n.unshown(id)
				for at, text := range read(d.of(n.key(id))) {
					if strings.Contains(text, hidden) {
						t.Errorf("the workspace has it in %s", at)
					}
				}
				if had := n.having(id, n.there(id, session.EveryDigest(n.events(id)))); had > 0 {
					t.Errorf("%d blobs have it", had)
				}
				if asked, held := n.count(id, session.KindInputCheckpoint), n.count(id, session.KindEffectHeld); asked != 1 || held != 1 {
					t.Errorf("it was asked for %d times, and %d times about storing it\n%q", asked, held, n.course(id))
				}
				if got := read(d.of(n.key(id))); got["code"] != "first" || len(n.stored(id)) != 0 {
					t.Errorf("the workspace has %v, and %d checkpoints", got, len(n.stored(id)))
				}
			}, withModel(script(calls("run", `{"command":"x"}`), reply("ok"), calls("look", "{}"), reply("ok"))), withMemory(&memories{}), withDesks(d))
		})
	}
}
