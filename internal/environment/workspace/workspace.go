// Package workspace keeps an agent's files: a directory of the host that hostile processes change at
// the same time, and its checkpoints in content-addressed blobs.
package workspace

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// Limits of what is handled, beside those of packages environment and manifest.
const (
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

	now func() time.Time

	checkpointing sync.Mutex // one checkpoint at a time; it holds what follows
	seen          map[string]seen
	last          *manifest.Stored // the newest checkpoint
	places        map[manifest.Sum]place
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
	return &Dir{root: root, self: self, now: time.Now}, nil
}

// Close lets the directory go; the files stay. Calls that are under way may fail.
func (d *Dir) Close() error { return errors.Join(d.self.Close(), d.root.Close()) }

// badPath is a KindInvalid error about a path.
func badPath(path, why string, args ...any) error {
	return &stead.Error{Kind: stead.KindInvalid, Param: "path",
		Message: sentence(path, why, args...),
		Hint:    "Give a path inside of " + environment.WorkspaceDir + ", absolute or relative to it."}
}
