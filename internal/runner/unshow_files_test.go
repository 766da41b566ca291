package runner_test

import (
	"context"
	"encoding/binary"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

// sums is what a journal says of files that wait to be stored, or did, and the questions about them.
func (n *node) sums(id stead.SessionID) string {
	var out strings.Builder
	for _, e := range n.events(id) {
		if e.Kind == session.KindEffectHeld || e.Kind == session.KindEnvironmentSuspended {
			out.Write(e.Data)
		}
	}
	return out.String()
}

// having is how many blobs have it, packs unpacked.
func (n *node) having(id stead.SessionID, digests []string) (had int) {
	n.t.Helper()
	u, err := manifest.NewUnpacker(1)
	if err != nil {
		n.t.Fatal(err)
	}
	defer u.Close()
	for _, digest := range digests {
		data, err := n.cfg.Blobs.Get(context.Background(), n.key(id), digest)
		if err != nil {
			n.t.Fatal(err)
		}
		if strings.HasPrefix(string(data), "steadWP") {
			size, _ := binary.Uvarint(data[len("steadWP")+2:])
			if data, err = u.Unpack(data, int(size), nil); err != nil {
				n.t.Fatal(err)
			}
		}
		if strings.Contains(string(data), hidden) {
			had++
		}
	}
	return had
}

// calling is a model that runs a command in each turn.
func calling(turns int) []answer {
	var out []answer
	for range turns {
		out = append(out, calls("run", `{"command":"x"}`), reply("ok"))
	}
	return out
}

// likes is most of its pack, so that later checkpoints need it there.
var likes = "mem_2: Ada likes tea" + strings.Repeat(" a lot", 100)

var (
	first  = map[string]string{"code": "first", "notes/mem_1.md": "mem_1: It is " + hidden, "notes/mem_2.md": likes}
	second = map[string]string{"code": "second", "notes/mem_1.md": "mem_1: It still is " + hidden}
)

// TestFilesOfWhatIsForgotten go from an open workspace and from all checkpoints, within the call; what else they hold stays. The old blobs go when
// nobody can build on them any more. A copy that was made before is none the worse, and its own.
func TestFilesOfWhatIsForgotten(t *testing.T) {
	for name, suspended := range map[string]bool{"open": false, "suspended": true} {
		d := newDesks(t)
		bubble(t, func(t *testing.T, n *node) {
			*d.blobs = n.cfg.Blobs
			id := d.work(n, "", first, second, map[string]string{"code": "third"})
			copied, err := n.Fork(context.Background(), me, id, session.ForkRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if suspended {
				n.status(id, session.EnvironmentIsSuspended)
			}
			before := d.checkpoints(n, id)
			later, err := n.unshow(id)
			if err != nil || later < blob.Grace {
				t.Fatalf("%s: later is %v, %v", name, later, err)
			}
			for i, files := range d.checkpoints(n, id)[:len(before)] {
				want := maps.Clone(before[i])
				delete(want, "notes/mem_1.md")
				if !maps.Equal(files, want) {
					t.Errorf("%s: checkpoint %d has %v, and had %v", name, i, files, before[i])
				}
			}
			tail := len(n.events(id))
			if _, err := n.unshow(id); err != nil || len(n.events(id)) != tail {
				t.Errorf("%s: again it adds %d events, %v", name, len(n.events(id))-tail, err)
			}
			if exported, kept := n.having(id, session.Digests(n.events(id))), n.having(id, session.Named(n.events(id))); exported > 0 || kept == 0 {
				t.Errorf("%s: %d blobs that a copy takes along have it, and %d that are kept for what may be under way", name, exported, kept)
			}
			if last, err := n.Fork(context.Background(), me, id, session.ForkRequest{}); err != nil || n.having(last.ID, session.Named(n.events(last.ID))) > 0 {
				t.Errorf("%s: a copy that is made then has it, %v", name, err)
			}
			time.Sleep(later)
			if later, err := n.unshow(id); err != nil || later != 0 {
				t.Errorf("%s: an hour later: %v, %v", name, later, err)
			}
			d.nowhere(n, id)
			d.work(n, id, map[string]string{"code": "fourth"}) // it goes on from there
			d.nowhere(n, id)
			last := d.checkpoints(n, id)
			if got := last[len(last)-1]; got["code"] != "fourth" || got["notes/mem_2.md"] != likes {
				t.Errorf("%s: in the end it has %v", name, got)
			}
			if done, err := n.Unshown(context.Background(), n.key(id), forgotten); err != nil || len(done) != 1 || done[0].Files < 3 || len(done[0].Events) < 3 {
				t.Errorf("%s: on record is %+v, %v", name, done, err)
			}
			if got := d.checkpoints(n, copied.ID); got[len(got)-1]["notes/mem_1.md"] != second["notes/mem_1.md"] {
				t.Errorf("%s: the copy has %v", name, got)
			}
			if later, err := n.unshow(copied.ID); err != nil || later == 0 {
				t.Fatal(later, err)
			}
			time.Sleep(youngEnough)
			if _, err := n.unshow(copied.ID); err != nil {
				t.Fatal(err)
			}
			d.nowhere(n, copied.ID)
		}, withModel(script(calling(4)...)), withMemory(&memories{}), with(func(c *runner.Config) { c.Environments, c.Foreign, c.EnvironmentIdle = d, asItIs, time.Minute }))
	}
}

const youngEnough = blob.Grace + 2*time.Minute

// status waits until the environment of a session has a status.
func (n *node) status(id stead.SessionID, want string) {
	n.t.Helper()
	for range 1000 {
		v := session.NewView(n.key(id))
		for _, e := range n.events(id) {
			if err := v.Apply(e); err != nil {
				n.t.Fatal(err)
			}
		}
		if v.Environment.Status == want {
			return
		}
		time.Sleep(time.Second)
	}
	n.t.Fatalf("the environment never was %s", want)
}

// TestFilesOfWhatIsForgottenWhereStoringIsAskedAbout: what was stored apart and kept is replaced as other checkpoints are; what was denied goes with its
// blobs, and the workspace that was left is without it.
func TestFilesOfWhatIsForgottenWhereStoringIsAskedAbout(t *testing.T) {
	for name, last := range map[string]string{"kept": session.DecisionApprove, "denied": session.DecisionDeny} {
		t.Run(name, func(t *testing.T) {
			d := newDesks(t)
			bubble(t, func(t *testing.T, n *node) {
				*d.blobs = n.cfg.Blobs
				d.puts = first
				id := n.compute("go", agent.Tool{Type: agent.ToolMemory, ServerLabel: agent.ToolMemory, MemoryStores: []agent.MemoryStore{{ID: "memstore_1", Path: "notes"}}})
				for i, decision := range []string{session.DecisionApprove, last} {
					if i > 0 {
						d.puts = second
						n.send(id, says("go on"))
					}
					a := n.held(id, policy.EnvironmentSave)
					if _, err := n.unshow(id); stead.KindOf(err) != stead.KindConflict {
						t.Fatalf("while somebody is asked: %v", err)
					}
					if err := n.decide(id, eve, a, decision); err != nil {
						t.Fatal(err)
					}
					n.idle(id)
				}
				had := n.sums(id)
				for _, files := range []map[string]string{first, second} {
					if !strings.Contains(had, blob.Digest([]byte(files["notes/mem_1.md"]))) || !strings.Contains(had, blob.Digest([]byte(files["code"]))) {
						t.Fatal("nobody was shown what is stored: " + had)
					}
				}
				for range 6 {
					_, err := n.unshow(id)
					if err != nil && stead.KindOf(err) != stead.KindConflict {
						t.Fatal(err)
					}
					time.Sleep(youngEnough)
				}
				if later, err := n.unshow(id); err != nil || later != 0 {
					t.Fatalf("in the end: %v, %v\n%q", later, err, n.course(id))
				}
				has := n.sums(id)
				for _, files := range []map[string]string{first, second} {
					if strings.Contains(has, blob.Digest([]byte(files["notes/mem_1.md"]))) || !strings.Contains(has, blob.Digest([]byte(files["code"]))) {
						t.Error("the journal has its digest, or not those of other files: " + has)
					}
				}
				for name, text := range read(filepath.Join(d.dir, string(id))) {
					if strings.Contains(text, hidden) {
						t.Errorf("the workspace has it in %s", name)
					}
				}
				for _, digest := range session.EveryDigest(n.events(id)) {
					if data, err := n.cfg.Blobs.Get(context.Background(), n.key(id), digest); err == nil && strings.Contains(string(data), hidden) {
						t.Errorf("blob %s has it", digest)
					}
				}
			}, withModel(script(calling(2)...)), withMemory(&memories{}), withPolicy(saves(policy.Needs{})), with(func(c *runner.Config) { c.Environments, c.Foreign, c.EnvironmentIdle = d, asItIs, time.Minute }))
		})
	}
}
