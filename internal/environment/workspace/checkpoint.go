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
	disk := onDisk(nodes)
	others := furtherNames(nodes)
	places := placesOf(d.last)
	s := newStorer(ctx, blobs, d.last, places, parallel)
	defer s.wait()
	parts, changed := d.unchanged(nodes)
	gone := make(map[int]bool)
	take := func(f found) error {
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
	}
	if err := d.readAll(ctx, nodes, changed, parallel, take); err != nil {
		return environment.Checkpoint{}, err
	}
	if loose := d.loosen(nodes, others, changed, gone); len(loose) > 0 {
		if err := d.readAll(ctx, nodes, loose, parallel, take); err != nil {
			return environment.Checkpoint{}, err
		}
	}
	entries := entriesOf(nodes, parts, gone)
	stored, err := s.finish(entries)
	if err != nil {
		return environment.Checkpoint{}, err
	}
	d.last = stored
	d.remember(nodes, gone, start)
	files, bytes := stored.Totals()
	return environment.Checkpoint{Digest: stored.Digest.String(), Files: files, Bytes: bytes, Stored: s.bytes(), Disk: disk, Skipped: out.all, TooLong: out.long}, nil
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

// unchanged returns the parts of the files that are as the last checkpoint has them, by node, and the
// files that must be read.
func (d *Dir) unchanged(nodes []node) (parts [][]manifest.Part, changed []int) {
	parts = make([][]manifest.Part, len(nodes))
	var entries []manifest.Entry
	if d.last != nil && len(d.seen) == len(d.last.Entries) {
		entries = d.last.Entries
	}
	at := 0
	for i, n := range nodes {
		if n.kind != manifest.File {
			continue
		}
		at = upTo(entries, at, n.path)
		if at < len(entries) && n.known && entries[at].Path == n.path && d.seen[at] == (seen{n.stat.ino, n.stat.ctime}) &&
			entries[at].Size == n.size && entries[at].MTime == n.mtime {
			parts[i] = entries[at].Parts
		} else {
			changed = append(changed, i)
		}
	}
	return parts, changed
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
		case manifest.Link, manifest.Name:
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

// remember keeps what the next checkpoint compares with, by entry of this one. A file that was touched
// just now is not kept: a change after it was read might not show.
func (d *Dir) remember(nodes []node, gone map[int]bool, start time.Time) {
	d.seen = make([]seen, 0, len(d.last.Entries))
	rested := start.Add(-restAge).UnixNano()
	for i, n := range nodes {
		if gone[i] {
			continue
		}
		var s seen
		if n.kind == manifest.File && n.known && n.stat.ctime < rested {
			s = seen{n.stat.ino, n.stat.ctime}
		}
		d.seen = append(d.seen, s)
	}
}
