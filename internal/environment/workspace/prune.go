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
	return r.pruneIn(ctx, r.dir.root, "", wanted)
}

func (r *restorer) pruneIn(ctx context.Context, root *os.Root, dir string, wanted map[string]int) error {
	if err := ended(ctx); err != nil {
		return err
	}
	var seen atomic.Int64 // of each directory: what the tree does not have is removed, however much it is
	names, err := namesOf(root, &seen)
	if err != nil {
		return err
	}
	for _, name := range names {
		rel := name
		if dir != "" {
			rel = dir + "/" + name
		}
		i, ok := wanted[rel]
		if ok {
			ok, err = r.isRight(root, name, r.tree.Entries[i])
		}
		if err == nil && !ok {
			err = removeAll(root, name)
		}
		if err == nil && ok {
			r.right[i] = true
			if r.tree.Entries[i].Kind == manifest.Directory {
				err = r.pruneBelow(ctx, root, name, rel, wanted)
			}
		}
		if err != nil {
			return r.dir.fault(err, inside(rel), "restore")
		}
	}
	return nil
}

func (r *restorer) pruneBelow(ctx context.Context, root *os.Root, name, rel string, wanted map[string]int) error {
	sub, err := enter(root, name)
	if err != nil {
		return err
	}
	defer sub.Close()
	return r.pruneIn(ctx, sub, rel, wanted)
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

// removeAll removes a file, or a directory with everything in it, whatever its mode.
func removeAll(root *os.Root, name string) error {
	info, err := root.Lstat(name)
	if err != nil || !info.IsDir() {
		if err == nil {
			err = root.Remove(name)
		}
		return ignoreGone(err)
	}
	if err := root.RemoveAll(name); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return removeLocked(root, name)
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// removeLocked opens directories up as it goes down.
func removeLocked(root *os.Root, name string) error {
	sub, leave, err := enterLocked(root, name)
	if err != nil {
		return ignoreGone(err)
	}
	_ = sub.Chmod(".", ownerAll) // one that can be listed may still not be changed
	err = removeBelow(sub)
	leave()
	if err != nil {
		return err
	}
	return ignoreGone(root.Remove(name))
}

func removeBelow(root *os.Root) error {
	var seen atomic.Int64
	names, err := namesOf(root, &seen)
	if err != nil {
		return err
	}
	for _, name := range names {
		info, err := root.Lstat(name)
		if err == nil && info.IsDir() {
			err = removeLocked(root, name)
		} else if err == nil {
			err = root.Remove(name)
		}
		if err := ignoreGone(err); err != nil {
			return err
		}
	}
	return nil
}
