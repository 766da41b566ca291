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

// restAge is how long before a checkpoint a file must have rested to be taken for unchanged by the
// next one. A change within the tick of the clock that stamps files, 10 ms at most, can leave the
// stamp as it is; ten ticks are beyond doubt.
const restAge = 100 * time.Millisecond

// seen is a file as an earlier checkpoint saw it. Their places in packs are looked up again.
type seen struct {
	size, mtime int64
	stat        stat
	parts       []manifest.Part
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
	c, err := d.checkpoint(ctx, blobs, previous)
	return c, d.fault(err, environment.WorkspaceDir, "checkpoint")
}

func (d *Dir) checkpoint(ctx context.Context, blobs environment.Blobs, previous string) (environment.Checkpoint, error) {
	if err := d.load(ctx, blobs, previous); err != nil {
		return environment.Checkpoint{}, err
	}
	parallel := runtime.GOMAXPROCS(0)
	start := d.now()
	nodes, out, err := d.scan(ctx, start, parallel)
	if err != nil {
		return environment.Checkpoint{}, err
	}
	s := newStorer(ctx, blobs, d.last, d.places, parallel)
	defer s.wait()
	parts, changed := d.unchanged(nodes)
	gone := make(map[int]bool)
	if err := d.readAll(ctx, nodes, changed, parallel, func(f found) error {
		if f.begin {
			parts[f.file] = nil
		}
		if f.gone {
			gone[f.file] = true
		}
		if f.part.Length > 0 {
			parts[f.file] = appendPart(parts[f.file], f.part)
			if err := s.add(f.part, f.data); err != nil {
				return err
			}
		}
		if f.end && !f.gone {
			nodes[f.file] = f.node
		}
		return nil
	}); err != nil {
		return environment.Checkpoint{}, err
	}
	entries := entriesOf(nodes, parts, gone)
	stored, err := s.finish(entries)
	if err != nil {
		return environment.Checkpoint{}, err
	}
	if stored != d.last {
		d.last, d.places = stored, placesOf(stored.Tree)
	}
	d.remember(nodes, parts, gone, start)
	files, bytes := stored.Totals()
	return environment.Checkpoint{Digest: stored.Digest.String(), Files: files, Bytes: bytes, Stored: s.bytes(), Skipped: out.all, TooLong: out.long}, nil
}

// load makes d.last the previous checkpoint.
func (d *Dir) load(ctx context.Context, blobs environment.Blobs, previous string) error {
	if previous != "" && d.last != nil && d.last.Digest.String() == previous {
		return nil
	}
	d.last, d.places = nil, nil
	if previous == "" {
		return nil
	}
	stored, err := manifest.Load(ctx, blobs.Get, previous)
	switch stead.KindOf(err) {
	case "":
		d.last, d.places = stored, placesOf(stored.Tree)
		return nil
	case stead.KindNotFound, stead.KindInvalid, stead.KindInternal:
		return nil // the files that are here are worth more than the space: store them all
	}
	return err
}

func placesOf(t manifest.Tree) map[manifest.Sum]place {
	m := make(map[manifest.Sum]place, len(t.Entries))
	for _, e := range t.Entries {
		for _, p := range e.Parts {
			if p.Pack != manifest.Hole {
				m[p.Hash] = place{p.Pack, p.Offset}
			}
		}
	}
	return m
}

// unchanged returns the parts of the files that are as they were, by node, and the files that must be
// read.
func (d *Dir) unchanged(nodes []node) (parts [][]manifest.Part, changed []int) {
	parts = make([][]manifest.Part, len(nodes))
	for i, n := range nodes {
		if n.kind != manifest.File {
			continue
		}
		was, ok := d.seen[n.path]
		if ok && n.known && was.size == n.size && was.mtime == n.mtime && was.stat.ino == n.stat.ino && was.stat.ctime == n.stat.ctime && d.has(was.parts) {
			parts[i] = was.parts
		} else {
			changed = append(changed, i)
		}
	}
	return parts, changed
}

// has says whether the previous checkpoint has all pieces.
func (d *Dir) has(parts []manifest.Part) bool {
	return !slices.ContainsFunc(parts, func(p manifest.Part) bool {
		_, ok := d.places[p.Hash]
		return !ok && p.Pack != manifest.Hole
	})
}

func appendPart(parts []manifest.Part, p manifest.Part) []manifest.Part {
	if n := len(parts); n > 0 && p.Pack == manifest.Hole && parts[n-1].Pack == manifest.Hole {
		parts[n-1].Length += p.Length
		return parts
	}
	return append(parts, p)
}

func entriesOf(nodes []node, parts [][]manifest.Part, gone map[int]bool) []manifest.Entry {
	entries := make([]manifest.Entry, 0, len(nodes))
	for i, n := range nodes {
		if gone[i] {
			continue
		}
		e := manifest.Entry{Path: n.path, Kind: n.kind}
		switch n.kind {
		case manifest.Directory:
			e.Mode = n.mode
		case manifest.Link:
			e.Target = n.target
		case manifest.File:
			e.Mode, e.MTime, e.Parts = n.mode, n.mtime, slices.Clone(parts[i])
			for _, p := range e.Parts {
				e.Size += p.Length
			}
		}
		entries = append(entries, e)
	}
	return entries
}

// remember keeps what the next checkpoint compares with. A file that was touched just now is not
// kept: a change after it was read might not show.
func (d *Dir) remember(nodes []node, parts [][]manifest.Part, gone map[int]bool, start time.Time) {
	d.seen = make(map[string]seen, len(nodes))
	rested := start.Add(-restAge).UnixNano()
	for i, n := range nodes {
		if n.kind == manifest.File && !gone[i] && n.known && n.stat.ctime < rested {
			d.seen[n.path] = seen{n.size, n.mtime, n.stat, parts[i]}
		}
	}
}
