package workspace

import (
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// viewTries is how often a checkpoint looks at the workspace whose names change meanwhile.
const viewTries = 3

// restAge is how long before a checkpoint a file must have rested to be taken for unchanged by the
// next one. A change within the tick of the clock that stamps files, 10 ms at most, can leave the
// stamp as it is; ten ticks are beyond doubt.
const restAge = 100 * time.Millisecond

// seen is what the system said of a file that the newest checkpoint holds, beside what that says itself;
// zero for what must be read again.
type seen struct {
	ino   uint64
	ctime int64
}

// place is where a piece is stored.
type place struct{ pack, offset int }

// Checkpoint stores the workspace as it is now: see environment.Environment. What the last checkpoint
// of this Dir saw and has not changed since costs a look at its attributes. Files that nobody may read
// and that can't be made readable fail the call; FIFOs, sockets, devices, and what has
// longer paths than package manifest allows, are left out and counted in Skipped. A previous that is
// gone or damaged is treated as none.
func (d *Dir) Checkpoint(ctx context.Context, blobs environment.Blobs, previous string) (environment.Checkpoint, error) {
	d.checkpointing.Lock()
	defer d.checkpointing.Unlock()
	d.unlockSelf()
	c, err := d.checkpoint(ctx, blobs, previous, false)
	return c, d.fault(err, environment.WorkspaceDir, "checkpoint")
}

// CheckpointLayer stores a directory that is more than files to restore: a layer with the list beside it. Servers that know
// nothing of such lists refuse it, as KindInvalid; they would lay the directory itself over the image, and go on without what
// the layer has.
func (d *Dir) CheckpointLayer(ctx context.Context, blobs environment.Blobs) (environment.Checkpoint, error) {
	d.checkpointing.Lock()
	defer d.checkpointing.Unlock()
	d.unlockSelf()
	c, err := d.checkpoint(ctx, blobs, "", true)
	return c, d.fault(err, environment.WorkspaceDir, "checkpoint")
}

func (d *Dir) checkpoint(ctx context.Context, blobs environment.Blobs, previous string, layer bool) (environment.Checkpoint, error) {
	if err := d.load(ctx, blobs, previous); err != nil {
		return environment.Checkpoint{}, err
	}
	s := newStorer(ctx, blobs, d.last, placesOf(d.last), runtime.GOMAXPROCS(0))
	defer s.wait()
	s.layer = layer
	var v *view
	for try := 1; try == 1 || !v.settled && try <= viewTries; try++ {
		var err error
		if v, err = d.look(ctx, s, v); err != nil {
			return environment.Checkpoint{}, err
		}
	}
	stored, err := s.finish(v.entries())
	if err != nil {
		return environment.Checkpoint{}, err
	}
	d.last = stored
	d.remember(v)
	files, bytes := stored.Totals()
	return environment.Checkpoint{Digest: stored.Digest.String(), Files: files, Bytes: bytes, Stored: s.bytes(), Disk: v.disk,
		Skipped: v.out.all, TooLong: v.out.long, Unsettled: !v.settled}, nil
}

// load makes d.last the previous checkpoint.
func (d *Dir) load(ctx context.Context, blobs environment.Blobs, previous string) error {
	if previous != "" && d.last != nil && d.last.Digest.String() == previous {
		return nil
	}
	last, known := d.last, d.seen
	d.last, d.seen = nil, nil
	if previous == "" {
		return nil
	}
	stored, err := manifest.Load(ctx, blobs.Get, previous)
	switch stead.KindOf(err) {
	case "":
		d.last, d.seen = stored, carried(last, known, stored)
		return nil
	case stead.KindNotFound, stead.KindInvalid, stead.KindInternal:
		return nil // the files that are here are worth more than the space: store them all
	}
	return err
}

// carried is what is known of the files that two checkpoints hold alike.
func carried(from *manifest.Stored, known []seen, to *manifest.Stored) []seen {
	if from == nil {
		return nil
	}
	out := make([]seen, len(to.Entries))
	at := 0
	for i, e := range to.Entries {
		at = upTo(from.Entries, at, e.Path)
		if at < len(known) && at < len(from.Entries) {
			if was := from.Entries[at]; was.Path == e.Path && was.Kind == e.Kind && was.Size == e.Size && was.MTime == e.MTime && slices.EqualFunc(was.Parts, e.Parts, sameBytes) {
				out[i] = known[at]
			}
		}
	}
	return out
}

func sameBytes(a, b manifest.Part) bool { return a.Length == b.Length && a.Hash == b.Hash }

// upTo skips the entries in front of a path.
func upTo(entries []manifest.Entry, at int, path string) int {
	for at < len(entries) && manifest.Compare(entries[at].Path, path) < 0 {
		at++
	}
	return at
}

// placesOf says where the pieces of a checkpoint are. It is made for each: between them it would be a
// third of what a workspace costs in memory.
func placesOf(s *manifest.Stored) map[manifest.Sum]place {
	if s == nil {
		return nil
	}
	m := make(map[manifest.Sum]place, len(s.Entries))
	for _, e := range s.Entries {
		for _, p := range e.Parts {
			if p.Pack != manifest.Hole {
				m[p.Hash] = place{p.Pack, p.Offset}
			}
		}
	}
	return m
}

func appendPart(parts []manifest.Part, p manifest.Part) []manifest.Part {
	if n := len(parts); n > 0 && p.Pack == manifest.Hole && parts[n-1].Pack == manifest.Hole {
		parts[n-1].Length += p.Length
		return parts
	}
	return append(parts, p)
}

// remember keeps what the next checkpoint compares with, by entry of this one.
func (d *Dir) remember(v *view) {
	d.seen = make([]seen, 0, len(d.last.Entries))
	for i, n := range v.nodes {
		if v.gone[i] {
			continue
		}
		var s seen
		if v.rested(n) {
			s = seen{n.stat.ino, n.stat.ctime}
		}
		d.seen = append(d.seen, s)
	}
}
