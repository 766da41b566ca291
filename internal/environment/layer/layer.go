// Package layer says what a set-up changed in the root file system of a container, as an archive, and
// puts that into another one. It runs inside of the container, as its root: an engine's own words for
// the same differ between engines, storage drivers and runtimes, need the whole image for one layer, or
// know no deletions; what a file system says of itself is the same everywhere.
//
// Shape:
//
//	before the set-up   Record(root) ──▶ record: a line a path, with a hash of its attributes
//	after it            Pack(root, record) ──▶ archive
//	elsewhere           Apply(root, archive)
//
//	archive   tar (PAX): first what was removed, an empty entry with removedKey each; then what is new
//	          or different, parents before what is in them, with owner, mode, links and times
//
// What has changed is told by a path's mode, owner, size, time of change and ctime, which no process can
// set. What was touched and is the same again is in the archive all the same.
//
// What it keeps: regular files, directories, symbolic and hard links, with owners, all bits of the mode
// and times of files. Not kept: extended attributes, and with them capabilities of files; FIFOs, sockets
// and devices. Mount points and what is below them are no part of a root, nor are Scratch.
//
// Trust: an archive is hostile: whoever set up could have written anything. Apply therefore belongs into
// a container that has nothing else, and leaves its root by no name and no link even so.
//
// Units and limits: bytes; MaxPaths. The caller bounds what an archive may hold.
//
// Errors: those of the file system, of tar, and KindTooLarge above MaxPaths.
//
// Source: OCI image specification, "Image Layer Filesystem Changeset", for what a layer consists of; its
// names for removals (.wh.) could be those of real files, so that a record of the archive says it here.
package layer

// MaxPaths is the most paths of a root that are recorded.
const MaxPaths = 2_000_000

// removedKey is the record of a tar header that says: this path is not there.
const removedKey = "STEAD.removed"

// Scratch lists what is no part of a root: it is made anew for each container.
func Scratch() []string {
	return []string{"dev", "proc", "run", "sys", "tmp", "workspace", ".stead", ".dockerenv"}
}
