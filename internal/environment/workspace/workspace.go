// Package workspace keeps an agent's files: a directory of the host that hostile processes change at
// the same time, and its checkpoints in content-addressed blobs.
package workspace

import (
	"errors"
	"io/fs"
	"os"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Limits of what is handled, beside those of package environment.
const (
	// maxNameBytes is the longest name in a directory, which is what Linux allows.
	maxNameBytes = 255
	// maxDepth is the most directories above a file. What lies deeper is left out of checkpoints.
	maxDepth = 255
	// maxStoredPathBytes is the longest path, from the workspace, in a checkpoint. Programs can make
	// paths that are longer than any system call takes; those are left out.
	maxStoredPathBytes = 4095
	// maxLinkBytes is the longest target of a symbolic link, which is what Linux allows.
	maxLinkBytes = 4095
	// maxFollowed is the most symbolic links in a row that a read or write goes through.
	maxFollowed = 8
	// namesAtOnce is how many names of a directory are read at a time.
	namesAtOnce = 1024
)

// Dir is one workspace. Its methods may be called from many goroutines.
type Dir struct {
	root *os.Root
	self *os.File // the same directory, to see and mend its own mode whatever that is

	unlocking sync.Mutex // held while modes are opened up for a moment: see unlock

	checkpointing sync.Mutex // one checkpoint at a time
}

// Open opens the workspace at hostDir, a directory of the host that is there. The caller closes it.
func Open(hostDir string) (*Dir, error) {
	root, err := os.OpenRoot(hostDir)
	if errors.Is(err, fs.ErrPermission) && os.Chmod(hostDir, ownerAll) == nil {
		root, err = os.OpenRoot(hostDir) // whoever works inside has shut the door behind himself
	}
	if err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "open workspace")
	}
	self, err := root.OpenFile(".", os.O_RDONLY, 0)
	if err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, errors.Join(err, root.Close()), "open workspace")
	}
	return &Dir{root: root, self: self}, nil
}

// Close lets the directory go; the files stay. Calls that are under way may fail.
func (d *Dir) Close() error { return errors.Join(d.self.Close(), d.root.Close()) }

var _ interface {
	DiskUsage() (int64, error)
} = (*Dir)(nil)

// badPath is a KindInvalid error about a path.
func badPath(path, why string, args ...any) error {
	return &stead.Error{Kind: stead.KindInvalid, Param: "path",
		Message: sentence(path, why, args...),
		Hint:    "Give a path inside of " + environment.WorkspaceDir + ", absolute or relative to it."}
}
