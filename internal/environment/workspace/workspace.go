// Package workspace keeps an agent's files: a directory of the host that hostile processes change at
// the same time, and its checkpoints in content-addressed blobs. Every local driver embeds a Dir.
//
// Shape:
//
//	host directory ── Open ──▶ Dir ── ReadFile, WriteFile, Remove, List, DiskUsage
//	      ▲                     └─ Checkpoint ──▶ digest of a manifest (package manifest) in blobs
//	      └──────── Restore ◀── digest;  References, Verify ◀── digest
//
// Confinement: everything goes through one os.Root, so that no name, symbolic link or mount trick leads
// out, whatever is swapped while a call runs. Relative links that stay inside are followed, and at the
// end of a path also those to WorkspaceDir/…; a checkpoint follows none. Nothing waits for the other
// end of a FIFO; a device is never opened: see openRegular and enter.
//
// What a checkpoint keeps: regular files with their permission bits and time of change, directories
// with their permission bits, also empty ones, symbolic links, and which names are those of one file (hard
// links). Not kept: owners, extended attributes, setuid, setgid and sticky bits, times of directories; FIFOs, sockets and devices are left out and counted. A file that changes while it is read is
// read again, readTries times at most, and then taken as that reader saw it: a database should be at
// rest. A file that is changed through a shared memory mapping shows that only when the system writes
// its pages back; until then a checkpoint may take it for unchanged. While names come, go and move it looks again,
// viewTries times at most, and then says that it is not settled: a file that is renamed all the time may be missing.
//
// Depth: nothing bounds how deep directories are but the length of a path that is stored; what is deeper
// is counted by DiskUsage, removed by Remove, and left out of a checkpoint, which says so. See walker.
//
// Cost: a checkpoint looks at the attributes of all files and reads those that changed; it stores their
// new pieces of 1 MiB, each once in a session, in packs of 4 MiB, and a list of what changed. Dir
// remembers what it saw, in memory alone: the first checkpoint after Open reads everything, and stores
// nothing if it is what previous says. Memory: about 200 bytes a file between
// checkpoints (BenchmarkMemory), several times as much during one, and some 10 MiB a processor.
//
// Files of a workspace are made fastest where none were removed lately: the directory that workspaces are
// made in is to be kept Apart.
//
// Equal trees over equal previous checkpoints have equal digests. What was changed and changed back
// may have another digest than before: where a piece is stored is part of it.
//
// Durability: nothing is synced but by the blobs, and nothing that is restored is: a checkpoint is the
// truth. Restore may be killed and called again. WriteFile shows a file whole or not at all.
//
// Privileges: as root, files of any owner and mode can be handled, and what is made belongs to the
// owner of the directory. Without, files are the server's own, and a mode that keeps it out is changed
// for a moment.
//
// Errors: KindInvalid for a path outside, or for blobs that are no checkpoint; KindNotFound;
// KindTooLarge above a named limit; KindUnavailable for a full disk, or blobs that are away.
package workspace

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
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

	now   func() time.Time
	names func(*os.Root, *atomic.Int64) ([]string, error) // of a directory that a checkpoint lists

	checkpointing sync.Mutex       // one checkpoint at a time; it holds what follows
	last          *manifest.Stored // the newest checkpoint
	seen          []seen           // by entry of last
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
	return &Dir{root: root, self: self, now: time.Now, names: namesOf}, nil
}

// Close lets the directory go; the files stay. Calls that are under way may fail.
func (d *Dir) Close() error { return errors.Join(d.self.Close(), d.root.Close()) }

// badPath is an error about a path that must be mended.
func badPath(path, why string, args ...any) error {
	return &stead.Error{Kind: stead.KindInvalid, Param: "path",
		Message: sentence(path, why, args...),
		Hint:    "Give a path inside of " + environment.WorkspaceDir + ", absolute or relative to it."}
}
