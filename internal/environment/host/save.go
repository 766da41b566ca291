package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// recorder is a session's blobs. It remembers what was put, so that the event which names a
// checkpoint can name everything that storing it added.
type recorder struct {
	store blob.Store
	key   stead.SessionKey

	mu    sync.Mutex
	added []stead.Text
}

// Put implements environment.Blobs.
func (r *recorder) Put(ctx context.Context, data []byte) (string, error) {
	digest, err := r.store.Put(ctx, r.key, data)
	if err == nil {
		r.mu.Lock()
		r.added = append(r.added, stead.Text{Digest: digest, Bytes: len(data)})
		r.mu.Unlock()
	}
	return digest, err
}

// Get implements environment.Blobs.
func (r *recorder) Get(ctx context.Context, digest string) ([]byte, error) {
	return r.store.Get(ctx, r.key, digest)
}

// named lists what a checkpoint needs and the one before it did not: the event that names the
// checkpoint names them, so that every blob which a journal needs is named in it. It is more than what
// was put: a checkpoint may use what one left that never came into the journal.
func (r *recorder) named(ctx context.Context, previous, digest string) ([]stead.Text, error) {
	if digest == previous {
		return nil, nil
	}
	known := map[string]bool{}
	if previous != "" {
		refs, err := workspace.References(ctx, r, previous)
		if err != nil {
			return nil, err
		}
		for _, d := range refs {
			known[d] = true
		}
	}
	refs, err := workspace.References(ctx, r, digest)
	if err != nil {
		return nil, err
	}
	sizes := map[string]int{}
	for _, t := range r.added {
		sizes[t.Digest] = t.Bytes
	}
	var out []stead.Text
	for _, d := range refs {
		if known[d] {
			continue
		}
		if _, ok := sizes[d]; !ok {
			data, err := r.Get(ctx, d)
			if err != nil {
				return nil, err
			}
			sizes[d] = len(data)
		}
		out = append(out, stead.Text{Digest: d, Bytes: sizes[d]})
	}
	return out, nil
}

// Save implements environment.Host.
func (h *Host) Save(ctx context.Context, key stead.SessionKey, s environment.SaveRequest) (environment.Saved, error) {
	b, err := h.box(key)
	if err != nil {
		return environment.Saved{}, err
	}
	return h.save(ctx, b, s)
}

func (h *Host) save(ctx context.Context, b *box, s environment.SaveRequest) (environment.Saved, error) {
	b.saving.Lock()
	defer b.saving.Unlock()
	refused, err := h.putOpen(ctx, b, s.Files)
	if err != nil {
		return environment.Saved{}, err
	}
	if err := forget(ctx, b.env, s.Forget); err != nil {
		return environment.Saved{}, h.vanished(b, err)
	}
	blobs := h.blobs(b.key)
	running, begin := b.inBackground(), time.Now() // before: what these write from here on may be missing
	c, err := b.env.Checkpoint(ctx, blobs, s.Previous)
	if err != nil {
		return environment.Saved{}, h.vanished(b, err)
	}
	b.stored = c.Digest
	b.took.Store(int64(time.Since(begin)))
	out := environment.Saved{Checkpoint: c, Background: running, Refused: refused, Usage: b.usage()}
	out.Usage.DiskBytes = c.Disk // a watchdog has looked earlier, or not yet
	if out.Blobs, err = blobs.named(ctx, s.Previous, c.Digest); err != nil {
		return environment.Saved{}, err
	}
	if s.Publish != "" {
		if out.Artifacts, out.TooLarge, err = h.publish(ctx, b, s); err != nil {
			return environment.Saved{}, err
		}
	}
	return out, b.place.setState(state{Checkpoint: c.Digest, Residence: b.residence, Boot: h.boot})
}

// vanished ends a box whose workspace somebody has removed from outside: nothing that runs in it could be stored any more.
// It is opened again from its last checkpoint, and its agent told what is missing. Every other error is as it was.
func (h *Host) vanished(b *box, err error) error {
	if _, stat := os.Lstat(b.place.workspace()); b.remote || !errors.Is(stat, fs.ErrNotExist) {
		return err
	}
	if h.take(b.key, func(other *box) bool { return other == b }) != nil {
		h.end(b)
	}
	return stead.Wrap(stead.KindUnavailable, err, "the directory of the workspace is gone from this node: somebody removed it")
}

// usage is what the environment used, its way out included.
func (b *box) usage() environment.Usage {
	u := b.env.Usage()
	if b.proxy != nil {
		e := b.proxy.Usage()
		u.EgressSentBytes, u.EgressReceivedBytes = e.UpBytes, e.DownBytes
	}
	return u
}

// Suspend implements environment.Host. The processes end before the checkpoint, so that nothing
// changes behind it: what is stored is what is there.
func (h *Host) Suspend(ctx context.Context, key stead.SessionKey, s environment.SaveRequest) (environment.Saved, error) {
	b, err := h.box(key)
	if err != nil {
		return environment.Saved{}, err
	}
	first, err := h.save(ctx, b, s)
	if err != nil {
		return environment.Saved{}, err // it stays resident, and is tried again
	}
	if s.Compare {
		if first.Changes, err = h.compare(ctx, b, s.Previous, first.Checkpoint.Digest); err != nil {
			return environment.Saved{}, err
		}
	}
	defer h.hold(key)()
	if h.take(key, func(other *box) bool { return other == b }) == nil {
		return environment.Saved{}, stead.Errorf(stead.KindUnavailable, "the environment ended while it was being suspended")
	}
	h.end(b)
	disk := first.Usage.DiskBytes
	first.Usage = first.Usage.Grown(b.usage()) // its processes went on until now
	first.Usage.DiskBytes = disk
	stored, err := h.last(ctx, b, first)
	if err != nil || !s.Compare || stored.Checkpoint.Digest == first.Checkpoint.Digest {
		return stored, err
	}
	if stored.Changes, err = h.compare(ctx, b, s.Previous, stored.Checkpoint.Digest); err != nil {
		h.log.Warn("what an environment did at its end can't be shown, and was not stored", "session", key.Session, "err", err)
		return first, nil //nolint:nilerr // the checkpoint before is whole
	}
	return stored, nil
}

func (h *Host) compare(ctx context.Context, b *box, from, to string) (*environment.Changes, error) {
	c, err := workspace.Compare(ctx, h.blobs(b.key), from, to)
	return &c, err
}

// last stores what the processes did between the checkpoint and their end. The environment is closed:
// when this fails, the first checkpoint stands, and the workspace is marked as changed.
func (h *Host) last(ctx context.Context, b *box, first environment.Saved) (environment.Saved, error) {
	dir, err := openWorkspace(b.place)
	if err != nil {
		return first, nil //nolint:nilerr // the checkpoint before is whole
	}
	defer dir.Close()
	blobs := h.blobs(b.key)
	c, err := dir.Checkpoint(ctx, blobs, first.Checkpoint.Digest)
	if err != nil {
		h.log.Warn("what an environment did at its end was not stored", "session", b.key.Session, "err", err)
		return first, nil
	}
	more, err := blobs.named(ctx, first.Checkpoint.Digest, c.Digest)
	if err != nil {
		return first, nil //nolint:nilerr // the checkpoint before is whole
	}
	c.Stored += first.Checkpoint.Stored
	first.Checkpoint, first.Blobs, first.Usage.DiskBytes = c, append(first.Blobs, more...), c.Disk
	return first, b.place.setState(state{Checkpoint: c.Digest, Clean: true, Residence: b.residence, Boot: h.boot})
}

// stamp names a moment.
func stamp() string { return time.Now().UTC().Format(time.RFC3339Nano) }
