package environment

import (
	"path"
	"slices"
)

// Forgetting says which files of a workspace must be forgotten: those right in some directories of which Is says so. What commands
// copied elsewhere is not looked for.
type Forgetting struct {
	Dirs     []string // relative to the workspace
	MaxBytes int64    // a larger file is none of them
	// Is decides by a file's name and content, and gives what takes its place in a workspace: nobody can remove files from one that is
	// open.
	Is func(name string, data []byte) (instead []byte, is bool)
}

// May reports whether a file, whose path is relative to the workspace, has to be read to know.
func (f *Forgetting) May(file string, size int64) bool {
	return size > 0 && size <= f.MaxBytes && slices.Contains(f.Dirs, path.Dir(file))
}

// Rewritten is a checkpoint without what must be forgotten; the same one where it had nothing of that.
type Rewritten struct {
	Checkpoint Checkpoint // its Digest, Files and Bytes
	Files      int        // that are forgotten
	Needs      []string   // the digests of all blobs that it needs
}
