package runner_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
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

// TestFilesThatNobodyKnewToChangeWaitAsWell: what came into a workspace beside commands, as files of memories do that are brought up to date, is stored
// when its environment is suspended, and asked about then.
func TestFilesThatNobodyKnewToChangeWaitAsWell(t *testing.T) {
	for name, decision := range map[string]string{"approved": session.DecisionApprove, "denied": session.DecisionDeny} {
		t.Run(name, func(t *testing.T) {
			d := newDesks(t)
			bubble(t, func(t *testing.T, n *node) {
				*d.blobs = n.cfg.Blobs
				id := d.approved(n, map[string]string{"code": "first"})
				n.send(id, says("look"))
				n.idle(id)
				if err := os.WriteFile(filepath.Join(d.of(n.key(id)), "news"), []byte("nobody's"), 0o644); err != nil {
					t.Fatal(err)
				}
				a := n.held(id, policy.EnvironmentSave)
				if shown := string(a.Request.Arguments); !strings.Contains(shown, `"path":"/workspace/news"`) || strings.Contains(shown, "code") || len(n.stored(id)) != 1 {
					t.Errorf("shown is %s, with %d stored", shown, len(n.stored(id)))
				}
				if err := n.decide(id, eve, a, decision); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				n.idle(id)
				all := d.checkpoints(n, id)
				kept := slices.ContainsFunc(n.stored(id), func(c session.EnvironmentCheckpointed) bool {
					return strings.Contains(string(a.Request.Arguments), c.Checkpoint.Digest)
				})
				if kept != (decision == session.DecisionApprove) || n.count(id, session.KindEffectHeld) != 2 {
					t.Errorf("it is kept: %v; asked %d times; checkpoints %v", kept, n.count(id, session.KindEffectHeld), all)
				}
			}, withModel(script(calls("run", `{"command":"x"}`), reply("ok"), calls("look", "{}"), reply("seen"))), withDesks(d))
		})
	}
}

// TestNoEnvironmentEndsForAQuestionThatMayNot: where policies forbid that it is suspended, what wants an approval is not stored, and it goes on; once they allow it,
// it is asked about.
func TestNoEnvironmentEndsForAQuestionThatMayNot(t *testing.T) {
	h := newComputers(nil)
	ends := &asker{effect: policy.EnvironmentSuspend, deny: true}
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		if h.resident(n.key(id)) == nil || n.count(id, session.KindEffectHeld) != 0 || len(n.stored(id)) != 0 || n.count(id, session.KindEnvironmentSuspended) != 0 {
			t.Fatalf("it ended, or was stored: %q", n.course(id))
		}
		failed := payloads[session.EnvironmentFailed](t, n, id, session.KindEnvironmentFailed)
		if len(failed) != 1 || !strings.Contains(failed[0].Error.Message, "policy p forbids it") {
			t.Errorf("it is told %+v", failed)
		}
		ends.set(func() { ends.deny = false })
		n.send(id, says("go on"))
		n.held(id, policy.EnvironmentSave)
		if h.resident(n.key(id)) != nil {
			t.Error("it goes on while somebody is asked")
		}
	}, withModel(script(calling(2)...)), withComputers(h), withPolicy(both{ends, saves(policy.Needs{})}))
}

// both are two policies: the first one that does not simply allow it counts.
type both [2]*asker

func (b both) Decide(ctx context.Context, req policy.Request) (policy.Decision, error) {
	if d, err := b[0].Decide(ctx, req); err != nil || !d.Allow {
		return d, err
	}
	return b[1].Decide(ctx, req)
}
