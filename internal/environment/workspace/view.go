package workspace

import (
	"context"
	"io/fs"
	"slices"
	"time"

	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// view is the workspace as one look at it saw it: its names, and what was read of its files. A file that is renamed
// meanwhile, out of a directory that is still to be listed into one that was, is in neither, as is one that is renamed
// before it is read. So it is looked at the directories again in the end; where names came or went, the view is not settled. (Before Linux 6.13 two changes within a tick of its
// clock look like one.)
type view struct {
	start   time.Time
	top     time.Time // when names came to, or went from, the workspace's own directory last
	nodes   []node
	parts   [][]manifest.Part // by node, of files; their places are not known yet
	gone    map[int]bool      // nodes that are not there any more
	out     leftOut
	disk    int64 // bytes
	settled bool
}

// look takes a view, and hands what it reads to s. before is one that was not settled, or nil: what it read and has rested
// since is not read again.
func (d *Dir) look(ctx context.Context, s *storer, before *view) (*view, error) {
	v := &view{start: d.now(), gone: map[int]bool{}}
	info, err := d.self.Stat()
	if err != nil {
		return nil, err
	}
	v.top = info.ModTime()
	if v.nodes, v.out, err = d.scan(ctx, v.start, s.parallel); err != nil {
		return nil, err
	}
	v.disk = onDisk(v.nodes)
	others := furtherNames(v.nodes)
	read := d.unchanged(v, before)
	if err := d.readAll(ctx, v.nodes, read, s.parallel, v.taker(s)); err != nil {
		return nil, err
	}
	if loose := d.loosen(v, others, read); len(loose) > 0 {
		if err := d.readAll(ctx, v.nodes, loose, s.parallel, v.taker(s)); err != nil {
			return nil, err
		}
	}
	v.settled = d.settled(v)
	return v, nil
}

// taker takes what is found of files that are read.
func (v *view) taker(s *storer) func(found) error {
	return func(f found) error {
		if f.begin {
			v.parts[f.file] = nil
		}
		if f.gone {
			v.gone[f.file] = true
		}
		if f.part.Length > 0 {
			v.parts[f.file] = appendPart(v.parts[f.file], f.part)
			if err := s.add(f.part, f.data); err != nil {
				return err
			}
		}
		if f.end && !f.gone {
			v.nodes[f.file] = f.node
		}
		return nil
	}
}

// settled reports whether the view's directories are there, and nothing came to them or went since they were listed.
func (d *Dir) settled(v *view) bool {
	info, err := d.self.Stat()
	if err != nil || !info.ModTime().Equal(v.top) {
		return false
	}
	for _, n := range v.nodes {
		if n.kind != manifest.Directory {
			continue
		}
		var info fs.FileInfo
		err := d.unlocked(n.path, func() (err error) { info, err = d.root.Lstat(n.path); return err })
		if err != nil || !info.IsDir() || nanoseconds(info.ModTime()) != n.mtime {
			return false
		}
		if s, known := statOf(info); known && s.ino != n.stat.ino {
			return false
		}
	}
	return true
}

// unchanged sets the parts of the files that are as the last checkpoint has them, or as the view before saw them, and returns
// those that must be read.
func (d *Dir) unchanged(v, before *view) (changed []int) {
	v.parts = make([][]manifest.Part, len(v.nodes))
	var entries []manifest.Entry
	if d.last != nil && len(d.seen) == len(d.last.Entries) {
		entries = d.last.Entries
	}
	at, was := 0, 0
	for i, n := range v.nodes {
		if n.kind != manifest.File {
			continue
		}
		at = upTo(entries, at, n.path)
		if at < len(entries) && n.known && entries[at].Path == n.path && d.seen[at] == (seen{n.stat.ino, n.stat.ctime}) &&
			entries[at].Size == n.size && entries[at].MTime == n.mtime {
			v.parts[i] = entries[at].Parts
			continue
		}
		if before != nil {
			for was < len(before.nodes) && manifest.Compare(before.nodes[was].path, n.path) < 0 {
				was++
			}
			if was < len(before.nodes) && before.has(was, n) {
				v.parts[i] = before.parts[was]
				continue
			}
		}
		changed = append(changed, i)
	}
	return changed
}

// has reports whether the node of a view is that file, and was read as it is now.
func (v *view) has(i int, n node) bool {
	m := v.nodes[i]
	return m.path == n.path && !v.gone[i] && v.rested(m) && n.known && m.stat.ino == n.stat.ino && m.stat.ctime == n.stat.ctime &&
		m.size == n.size && m.mtime == n.mtime
}

// rested says that a change of the file after it was read shows. One that was touched just before may have the same stamps.
func (v *view) rested(n node) bool {
	return n.kind == manifest.File && n.known && n.stat.ctime < v.start.Add(-restAge).UnixNano()
}

// entries are those of the manifest.
func (v *view) entries() []manifest.Entry {
	entries := make([]manifest.Entry, 0, len(v.nodes))
	for i, n := range v.nodes {
		if v.gone[i] {
			continue
		}
		e := manifest.Entry{Path: n.path, Kind: n.kind}
		switch n.kind {
		case manifest.Directory:
			e.Mode = n.mode
		case manifest.Link, manifest.Name:
			e.Target = n.target
		case manifest.File:
			e.Mode, e.MTime, e.Parts = n.mode, n.mtime, slices.Clone(v.parts[i])
			for _, p := range e.Parts {
				e.Size += p.Length
			}
		}
		entries = append(entries, e)
	}
	return entries
}
