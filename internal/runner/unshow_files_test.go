package runner_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// desks are computers whose workspaces are directories, with real checkpoints in the node's blobs.
type desks struct {
	*computers
	dir   string
	blobs *blob.Store

	mu       sync.Mutex
	puts     map[string]string // what the next command writes
	steps    *dying            // of the node; nil: it does not die
	rewrites int               // how often checkpoints were looked through
	// meanwhile happens once, when checkpoints were made that are to take others' places.
	meanwhile func()
}

func newDesks(t *testing.T) *desks {
	d := &desks{computers: newComputers(nil), dir: t.TempDir(), blobs: new(blob.Store), puts: map[string]string{}}
	d.run = func(_ context.Context, c tool.Call, _ *computer) (tool.Result, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for name, text := range d.puts {
			if err := os.WriteFile(filepath.Join(d.of(c.Session), name), []byte(text), 0o644); err != nil {
				return tool.Result{}, err
			}
		}
		return outputs("done")
	}
	return d
}

// of is a session's workspace, with the directory of a memory store.
func (d *desks) of(key stead.SessionKey) string {
	dir := filepath.Join(d.dir, string(key.Session))
	_ = os.MkdirAll(filepath.Join(dir, "notes"), 0o755)
	return dir
}

func (d *desks) Open(ctx context.Context, key stead.SessionKey, from environment.State) (environment.Opened, error) {
	dir := filepath.Join(d.dir, string(key.Session))
	_, evicted := os.Stat(dir)
	if evicted != nil { // or a copy's
		if err := workspace.Restore(ctx, dir, blob.Of(*d.blobs, key), from.Checkpoint); err != nil {
			return environment.Opened{}, err
		}
	}
	if err := d.forget(key, from.Forget); err != nil {
		return environment.Opened{}, err
	}
	opened, err := d.computers.Open(ctx, key, from)
	opened.Kept = evicted == nil
	return opened, err
}

// forget puts other files in the places of those that must go.
func (d *desks) forget(key stead.SessionKey, f *environment.Forgetting) error {
	if f == nil {
		return nil
	}
	for name, text := range read(filepath.Join(d.of(key), f.Dirs[0])) {
		if instead, is := f.Is(name, []byte(text)); is {
			if err := os.WriteFile(filepath.Join(d.of(key), f.Dirs[0], name), instead, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *desks) Save(ctx context.Context, key stead.SessionKey, s environment.SaveRequest) (environment.Saved, error) {
	out, err := d.computers.Save(ctx, key, s)
	return d.store(ctx, key, s, out, err)
}

func (d *desks) Suspend(ctx context.Context, key stead.SessionKey, s environment.SaveRequest) (environment.Saved, error) {
	out, err := d.computers.Suspend(ctx, key, s)
	return d.store(ctx, key, s, out, err)
}

func (d *desks) store(ctx context.Context, key stead.SessionKey, s environment.SaveRequest, out environment.Saved, err error) (environment.Saved, error) {
	if err == nil {
		err = d.forget(key, s.Forget)
	}
	if err != nil {
		return out, err
	}
	w, err := workspace.Open(d.of(key))
	if err != nil {
		return out, err
	}
	defer w.Close()
	in := blob.Of(*d.blobs, key)
	if out.Checkpoint, err = w.Checkpoint(ctx, in, s.Previous); err != nil {
		return out, err
	}
	if s.Compare {
		changes, err := workspace.Compare(ctx, in, s.Previous, out.Checkpoint.Digest)
		if out.Changes = &changes; err != nil {
			return out, err
		}
	}
	needs, err := workspace.References(ctx, in, out.Checkpoint.Digest)
	var had []string // that an event before names
	if s.Previous != "" && err == nil {
		had, err = workspace.References(ctx, in, s.Previous)
	}
	for _, digest := range needs {
		if slices.Contains(had, digest) {
			continue
		}
		data, err := in.Get(ctx, digest)
		if err != nil {
			return out, err
		}
		out.Blobs = append(out.Blobs, stead.Text{Digest: digest, Bytes: len(data)})
	}
	return out, err
}

func (d *desks) Prepare(ctx context.Context, key stead.SessionKey, setup environment.Setup, note environment.Note) (environment.Prepared, error) {
	made, err := d.computers.Prepare(ctx, key, setup, note)
	out, err := d.store(ctx, key, environment.SaveRequest{}, environment.Saved{}, err)
	made.Checkpoint, made.Blobs = out.Checkpoint, out.Blobs
	return made, err
}

func (d *desks) Rewrite(ctx context.Context, key stead.SessionKey, checkpoints []string, f environment.Forgetting) (out []environment.Rewritten, err error) {
	err = d.step(func() error { out, err = workspace.Forget(ctx, blob.Of(*d.blobs, key), checkpoints, f); return err })
	d.rewrites++
	if do := d.meanwhile; do != nil {
		d.meanwhile = nil
		do()
	}
	return out, err
}

func (d *desks) Evict(_ context.Context, key stead.SessionKey, unused func() (bool, error)) error {
	return d.step(func() error {
		if free, err := unused(); err != nil || !free {
			return errors.Join(err, stead.Errorf(stead.KindConflict, "in use"))
		}
		return os.RemoveAll(d.of(key))
	})
}

func (d *desks) step(do func() error) error {
	if d.steps == nil {
		return do()
	}
	return d.steps.step(do)
}

// read is what files a directory has.
func read(dir string) map[string]string {
	out := map[string]string{}
	_ = filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		out[rel] = string(data)
		return err
	})
	return out
}

// work has commands write files, a turn each.
func (d *desks) work(n *node, id stead.SessionID, puts ...map[string]string) stead.SessionID {
	n.t.Helper()
	for _, p := range puts {
		d.mu.Lock()
		d.puts = p
		d.mu.Unlock()
		if id == "" {
			mem := agent.Tool{Type: agent.ToolMemory, ServerLabel: agent.ToolMemory, MemoryStores: []agent.MemoryStore{{ID: "memstore_1", Path: "notes"}}}
			id = n.compute("go", mem)
		} else {
			n.send(id, says("go on"))
		}
		n.idle(id)
	}
	return id
}

// checkpoints are those that the journal names, in order, each as its files.
func (d *desks) checkpoints(n *node, id stead.SessionID) (out []map[string]string) {
	n.t.Helper()
	for _, e := range n.events(id) {
		s, ok, err := session.StoredBy(e)
		if err != nil || !ok {
			continue
		}
		dir := n.t.TempDir()
		if err := workspace.Restore(context.Background(), dir, blob.Of(n.cfg.Blobs, n.key(id)), s.Checkpoint.Digest); err != nil {
			n.t.Fatal(err)
		}
		out = append(out, read(dir))
	}
	return out
}

// nowhere is that no checkpoint has it, nor any blob that an event names, nor a workspace on the disk.
func (d *desks) nowhere(n *node, id stead.SessionID) {
	n.t.Helper()
	for i, files := range d.checkpoints(n, id) {
		for name, text := range files {
			if strings.Contains(text, hidden) {
				n.t.Errorf("checkpoint %d has it in %s", i, name)
			}
		}
	}
	if had := n.having(id, session.Named(n.events(id))); had > 0 {
		n.t.Errorf("%d blobs that are named have it", had)
	}
	for name, text := range read(filepath.Join(d.dir, string(id))) {
		if strings.Contains(text, hidden) {
			n.t.Errorf("the workspace has it in %s", name)
		}
	}
}

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

// TestANodeThatDiesWhileItTakesOutFiles leaves it to another one, at whichever step: checkpoints stay whole, nothing is left, and on record is
// what there would be if it had not died; also of checkpoints that were stored apart at first.
func TestANodeThatDiesWhileItTakesOutFiles(t *testing.T) {
	for name, asked := range map[string]bool{"stored": false, "kept": true} {
		t.Run(name, func(t *testing.T) {
			onRecord := map[string]session.Redaction{}
			for at, more := 1, true; more; at++ {
				for _, late := range []bool{false, true} {
					var done session.Redaction
					done, more = dies(t, asked, at, late)
					onRecord[fmt.Sprintf("step %d, late %v", at, late)] = done
					if !more {
						onRecord["in one go"] = done
					}
				}
			}
			want := onRecord["in one go"]
			for when, done := range onRecord {
				if !slices.Equal(sequence(done), sequence(want)) || done.Files != want.Files || done.Blobs != want.Blobs {
					t.Errorf("%s: on record are events %v, %d files and %d blobs, and in one go %v, %d and %d", when, sequence(done), done.Files, done.Blobs, sequence(want), want.Files, want.Blobs)
				}
			}
		})
	}
}

// sequence is which events a redaction names, in order.
func sequence(done session.Redaction) (out []stead.Seq) {
	for _, e := range done.Events {
		out = append(out, e.Seq)
	}
	slices.Sort(out)
	return out
}

// dies has a node die at a step, and says what is on record in the end; false: it had no such step.
func dies(t *testing.T, asked bool, at int, late bool) (done session.Redaction, more bool) {
	d, steps := newDesks(t), &dying{late: late}
	d.steps = steps
	options := []func(*node){withModel(script(calling(2)...)), withMemory(&memories{}), with(func(c *runner.Config) {
		if steps.Full == nil {
			steps.Full = c.Store
		}
		c.Store, c.Environments, c.Foreign, c.EnvironmentIdle = steps, d, asItIs, time.Minute
	})}
	if asked {
		options = append(options, withPolicy(saves(policy.Needs{})))
	}
	bubble(t, func(t *testing.T, n *node) {
		*d.blobs = n.cfg.Blobs
		var id stead.SessionID
		if asked {
			id = d.approved(n, first, second)
		} else {
			id = d.work(n, "", first, second)
		}
		n.status(id, session.EnvironmentIsSuspended)
		steps.left = at
		for range 2 { // at once, and an hour later
			if _, err := n.unshow(id); err != nil && !errors.Is(err, errDied) {
				t.Fatalf("step %d, late %v: %v", at, late, err)
			}
			d.checkpoints(n, id) // are whole
			time.Sleep(youngEnough)
		}
		more = steps.left == 0
		steps.left = 0
		other := n.second("node-b")
		for range 3 {
			if _, err := other.unshow(id); err != nil {
				t.Fatalf("step %d, late %v: %v", at, late, err)
			}
			time.Sleep(youngEnough)
		}
		d.nowhere(n, id)
		all, err := n.Unshown(context.Background(), n.key(id), forgotten)
		if err != nil || len(all) != 1 {
			t.Fatalf("step %d, late %v: on record is %+v, %v", at, late, all, err)
		}
		done = all[0]
		for _, e := range n.events(id) {
			i := slices.IndexFunc(done.Events, func(was session.RedactedEvent) bool { return was.Seq == e.Seq })
			if i >= 0 && done.Events[i].SHA256 != blob.Digest(e.Data) {
				t.Errorf("step %d, late %v: event %d is another one than on record", at, late, e.Seq)
			}
		}
	}, options...)
	return done, more
}

// approved has commands write files, a turn each, of which each is stored apart until that is approved.
func (d *desks) approved(n *node, puts ...map[string]string) (id stead.SessionID) {
	n.t.Helper()
	for i, p := range puts {
		d.mu.Lock()
		d.puts = p
		d.mu.Unlock()
		if i == 0 {
			id = n.compute("go", agent.Tool{Type: agent.ToolMemory, ServerLabel: agent.ToolMemory, MemoryStores: []agent.MemoryStore{{ID: "memstore_1", Path: "notes"}}})
		} else {
			n.send(id, says("go on"))
		}
		if err := n.decide(id, eve, n.held(id, policy.EnvironmentSave), session.DecisionApprove); err != nil {
			n.t.Fatal(err)
		}
		n.idle(id)
	}
	return id
}

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

// TestAWorkspaceIsStoredWhileItsFilesAreTakenOut: a checkpoint that builds on one which was replaced meanwhile comes into the journal later, and is
// whole: what it needs is removed only when it was replaced as well.
func TestAWorkspaceIsStoredWhileItsFilesAreTakenOut(t *testing.T) {
	d := newDesks(t)
	bubble(t, func(t *testing.T, n *node) {
		*d.blobs = n.cfg.Blobs
		id := d.late(n)
		time.Sleep(20 * time.Minute)
		if all := d.checkpoints(n, id); all[len(all)-1]["code"] != "third" {
			t.Errorf("the last one has %v", all[len(all)-1])
		}
		for range 2 {
			if _, err := n.unshow(id); err != nil {
				t.Fatal(err)
			}
			time.Sleep(youngEnough)
		}
		d.nowhere(n, id)
	}, withModel(script(calling(3)...)), withMemory(&memories{}), with(func(c *runner.Config) { c.Environments, c.Foreign, c.EnvironmentIdle = d, asItIs, time.Minute }))
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

// TestCheckpointsAreLookedThroughOnce: while old blobs are too young to be removed, no node reads checkpoints that were replaced, but those that came
// since.
func TestCheckpointsAreLookedThroughOnce(t *testing.T) {
	d := newDesks(t)
	bubble(t, func(t *testing.T, n *node) {
		*d.blobs = n.cfg.Blobs
		id := d.work(n, "", first, second)
		n.status(id, session.EnvironmentIsSuspended)
		look := func(n *node, when string, want int) {
			t.Helper()
			d.rewrites = 0
			if later, err := n.unshow(id); err != nil || later == 0 || d.rewrites != want {
				t.Errorf("%s: they are looked through %d times, and again in %v, %v", when, d.rewrites, later, err)
			}
		}
		look(n, "at first", 1)
		look(n, "again", 0)
		look(n.second("node-b"), "by another node", 0)
		d.work(n, id, map[string]string{"code": "third", "notes/mem_1.md": first["notes/mem_1.md"]})
		n.status(id, session.EnvironmentIsSuspended)
		look(n, "with another checkpoint", 1)
		look(n, "again with that", 0)
		time.Sleep(youngEnough)
		if later, err := n.unshow(id); err != nil || later != 0 {
			t.Errorf("in the end: %v, %v", later, err)
		}
		d.nowhere(n, id)
	}, withModel(script(calling(3)...)), withMemory(&memories{}), with(func(c *runner.Config) { c.Environments, c.Foreign, c.EnvironmentIdle = d, asItIs, time.Minute }))
}

// TestACopyIsMadeWhileFilesAreTakenOut: of a session whose last checkpoint builds on one that was replaced before it came into the journal, a fork and an
// export are whole, and have nothing of what is forgotten.
func TestACopyIsMadeWhileFilesAreTakenOut(t *testing.T) {
	fork := func(n *node, id stead.SessionID) (session.Session, error) {
		return n.Fork(context.Background(), me, id, session.ForkRequest{})
	}
	export := func(n *node, id stead.SessionID) (session.Session, error) {
		var file bytes.Buffer
		if err := n.Export(context.Background(), me, id, &file); err != nil {
			return session.Session{}, err
		}
		return n.Import(context.Background(), me, &file)
	}
	for name, made := range map[string]func(*node, stead.SessionID) (session.Session, error){"fork": fork, "export": export} {
		t.Run(name, func(t *testing.T) {
			d := newDesks(t)
			bubble(t, func(t *testing.T, n *node) {
				*d.blobs = n.cfg.Blobs
				id := d.late(n)
				copied, err := made(n, id)
				if err != nil {
					t.Fatal(err)
				}
				all := d.checkpoints(n, copied.ID)
				if last := all[len(all)-1]; last["code"] != "third" || last["notes/mem_2.md"] != likes {
					t.Errorf("its last checkpoint has %v", last)
				}
				d.nowhere(n, copied.ID)
				for range 2 {
					if _, err := n.unshow(id); err != nil {
						t.Fatal(err)
					}
					time.Sleep(youngEnough)
				}
				d.nowhere(n, id)
			}, withModel(script(calling(3)...)), withMemory(&memories{}), with(func(c *runner.Config) { c.Environments, c.Foreign, c.EnvironmentIdle = d, asItIs, time.Minute }))
		})
	}
}

// late makes a session whose last checkpoint was being stored while those before it were replaced.
func (d *desks) late(n *node) stead.SessionID {
	n.t.Helper()
	id := d.work(n, "", first, second)
	n.status(id, session.EnvironmentIsSuspended)
	time.Sleep(youngEnough) // what is there is old enough to be removed
	d.meanwhile = func() {
		d.fail("save", stead.Errorf(stead.KindUnavailable, "not yet")) // so that a sweep comes with its end
		d.work(n, id, map[string]string{"code": "third"})
		d.takes("suspend", 10*time.Minute)
		time.Sleep(2 * time.Minute)
	}
	if _, err := n.unshow(id); stead.KindOf(err) != stead.KindConflict {
		n.t.Fatalf("while it is stored: %v", err)
	}
	n.status(id, session.EnvironmentIsSuspended)
	return id
}
