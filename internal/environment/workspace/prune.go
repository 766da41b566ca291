package workspace

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// prune removes what is in the directory and not in the tree, and marks what is there as it should be.
func (r *restorer) prune(ctx context.Context) error {
	r.right = make([]bool, len(r.tree.Entries))
	var seen atomic.Int64
	names, err := namesOf(r.dir.root, &seen)
	if err != nil || len(names) == 0 {
		return err
	}
	wanted := make(map[string]int, len(r.tree.Entries)) // path → entry
	for i, e := range r.tree.Entries {
		wanted[e.Path] = i
	}
	w := walker{
		ctx: ctx,
		// What the tree does not have is removed, however much it is.
		list:  func(root *os.Root) ([]string, error) { return namesOf(root, new(atomic.Int64)) },
		visit: func(at *step, name string, _ fs.FileInfo) (bool, error) { return r.pruneOne(at, name, wanted) },
	}
	return w.walk(r.dir.root, "", 0)
}

// pruneOne removes what is wrong; true for a directory that is as it should be.
func (r *restorer) pruneOne(at *step, name string, wanted map[string]int) (bool, error) {
	rel, ok := at.path(name)
	i := 0
	if ok {
		i, ok = wanted[rel]
	}
	var err error
	if ok {
		ok, err = r.isRight(at.root, name, r.tree.Entries[i])
	}
	if err == nil && !ok {
		err = removeAll(at.root, name)
	}
	if err != nil || !ok {
		return false, r.dir.fault(err, inside(rel), "restore")
	}
	r.right[i] = true
	return r.tree.Entries[i].Kind == manifest.Directory, nil
}

// isRight says whether an entry is there as it should be, but for mode and time, which finish sets.
// Directories that it finds are opened up.
func (r *restorer) isRight(root *os.Root, name string, e manifest.Entry) (bool, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return false, err
	}
	if s, ok := statOf(info); ok && r.own.set && (s.uid != r.own.uid || s.gid != r.own.gid) {
		return false, nil
	}
	switch e.Kind {
	case manifest.Directory:
		if !info.IsDir() {
			return false, nil
		}
		return true, root.Chmod(name, ownerAll)
	case manifest.Link:
		if info.Mode()&fs.ModeSymlink == 0 {
			return false, nil
		}
		target, err := root.Readlink(name)
		return err == nil && target == e.Target, err
	}
	s, ok := statOf(info)
	if !info.Mode().IsRegular() || info.Size() != e.Size || !ok || s.links != 1 {
		return false, nil // with a second name a change would show there as well
	}
	f, info, err := openLocked(root, name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	return info.Size() == e.Size && sameContent(f, e.Parts), nil
}

// sameContent compares a file with its parts; one that can't be read is not the same.
func sameContent(f *os.File, parts []manifest.Part) bool {
	at := int64(0)
	piece := make([]byte, 0, 64<<10)
	for _, p := range parts {
		end := at + p.Length
		for at < end {
			if p.Pack == manifest.Hole {
				if hole := holeAt(f, at, end); hole > 0 {
					at += hole
					continue
				}
			}
			n := int(min(end-at, manifest.MaxPieceBytes))
			if cap(piece) < n {
				piece = make([]byte, 0, n)
			}
			piece = piece[:n]
			if _, err := f.ReadAt(piece, at); err != nil && !errors.Is(err, io.EOF) {
				return false
			}
			if p.Pack == manifest.Hole && !allZero(piece) || p.Pack != manifest.Hole && sha256.Sum256(piece) != p.Hash {
				return false
			}
			at += int64(n)
		}
	}
	return true
}
