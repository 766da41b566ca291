package workspace

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"syscall"
)

// Admits says why WriteFile would refuse a path as the workspace is now. nil when nothing is seen that is
// in its way.
func (d *Dir) Admits(ctx context.Context, name string) error {
	rel, err := cleanFile(name)
	if err == nil {
		err = ended(ctx)
	}
	if err == nil {
		rel, err = d.follow(rel)
	}
	if err != nil {
		return err
	}
	for end := range rel {
		if rel[end] != '/' {
			continue
		}
		info, err := d.root.Stat(rel[:end])
		if errors.Is(err, fs.ErrNotExist) {
			if _, err := d.root.Lstat(rel[:end]); err == nil {
				return inTheWay(fs.ErrNotExist, name) // a link to nothing
			}
			return nil // all that follows will be made
		}
		if err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return d.fault(inTheWay(err, name), name, "write")
		}
	}
	dir, err := enter(d.root, path.Dir(rel))
	if err != nil {
		return d.fault(inTheWay(err, name), name, "write")
	}
	defer dir.Close()
	if info, err := dir.Lstat(path.Base(rel)); err == nil && info.IsDir() {
		return notRegular(rel, info.Mode())
	}
	return nil
}

// inTheWay gives what the file system says of a path that can't be written the kind of an error about
// that path: what is there must be changed, or another path be taken.
func inTheWay(err error, name string) error {
	switch {
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrNotExist):
		return badPath(name, "leads through a file, or a link to nothing, where a directory is needed")
	case errors.Is(err, syscall.EILSEQ), errors.Is(err, syscall.EINVAL):
		return badPath(name, "has a name that the file system does not take")
	case errors.Is(err, fs.ErrPermission):
		return badPath(name, "may not be written there, whatever the modes of its directories are")
	}
	return err
}
