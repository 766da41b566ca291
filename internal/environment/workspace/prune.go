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
	r.names, r.inodes = map[string]uint64{}, map[int]uint64{}
	for _, e := range r.tree.Entries {
		if e.Kind == manifest.Name {
			r.names[e.Target]++
		}
	}
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
	if err := w.walk(r.dir.root, "", 0); err != nil {
		return err
	}
	return r.pruneNames(wanted)
}

// pruneNames removes files with several names that are not, under exactly these, one file.
func (r *restorer) pruneNames(wanted map[string]int) error {
	wrong := map[int]bool{} // entry of the file
	for i, e := range r.tree.Entries {
		if e.Kind == manifest.Name {
			file := wanted[e.Target]
			wrong[file] = wrong[file] || !r.right[i] || !r.right[file] || r.inodes[i] != r.inodes[file]
		}
	}
	for i, e := range r.tree.Entries {
		file := i
		if e.Kind == manifest.Name {
			file = wanted[e.Target]
		}
		if !wrong[file] || !r.right[i] {
			continue
		}
		if err := r.dir.root.Remove(e.Path); err != nil {
			return r.dir.fault(err, inside(e.Path), "restore")
		}
		r.right[i] = false
	}
	return nil
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
		ok, err = r.isRight(at.root, name, i)
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
func (r *restorer) isRight(root *os.Root, name string, i int) (bool, error) {
	e := r.tree.Entries[i]
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
	if !info.Mode().IsRegular() || !ok {
		return false, nil
	}
	file := e.Path
	if e.Kind == manifest.Name {
		file = e.Target
	}
	if n := r.names[file]; s.links != 1+n {
		return false, nil // with another name a change would show there as well
	} else if n > 0 {
		r.inodes[i] = s.ino
	}
	if e.Kind == manifest.Name {
		return true, nil // if its file is: see pruneNames
	}
	if info.Size() != e.Size {
		return false, nil
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
