package runner_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace"
	"github.com/stead-dev/stead/internal/policy"
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
