package workspace

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/stead-dev/stead"
)

// Remove removes the workspace at hostDir with everything in it, however deep it is and whatever modes
// are in the way. No process may work in it. One that is not there is no error.
func Remove(hostDir string) error {
	info, err := os.Lstat(hostDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !info.IsDir() {
		return removed(errors.Join(err, os.Remove(hostDir)))
	}
	d, err := Open(hostDir)
	if err != nil {
		return err
	}
	d.unlockSelf()
	if err := errors.Join(removeBelow(d.root), d.Close()); err != nil {
		return removed(err)
	}
	return removed(os.Remove(hostDir))
}

func removed(err error) error {
	if err == nil {
		return nil
	}
	return stead.Wrap(stead.KindUnavailable, err, "remove workspace")
}

// removeAll removes a file, or a directory with everything in it, whatever its mode.
func removeAll(root *os.Root, name string) error {
	info, err := root.Lstat(name)
	if err == nil && info.IsDir() {
		var sub *os.Root
		openUp(root, name, info)
		if sub, err = enter(root, name); err == nil {
			err = errors.Join(removeBelow(sub), sub.Close())
		}
	}
	if err == nil {
		err = root.Remove(name)
	}
	return ignoreGone(err)
}

// openUp lets a directory that is to be removed be listed and changed. Where that fails, so does what
// follows.
func openUp(root *os.Root, name string, info fs.FileInfo) {
	if mode := info.Mode().Perm(); mode&ownerAll != ownerAll {
		_ = root.Chmod(name, mode|ownerAll)
	}
}

// removeBelow empties a directory.
func removeBelow(root *os.Root) error {
	w := walker{
		ctx: context.Background(), list: (&usage{}).list,
		visit: func(dir *step, name string, info fs.FileInfo) (bool, error) {
			if info.IsDir() {
				openUp(dir.root, name, info)
				return true, nil
			}
			return false, ignoreGone(dir.root.Remove(name))
		},
		leave: func(dir *step, name string) error { return ignoreGone(dir.root.Remove(name)) },
	}
	return w.walk(root, "", 0)
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
