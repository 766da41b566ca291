// Package trait keeps what a layer is beyond what a checkpoint of a workspace stores: the list stands in a
// file beside the layer's directory, and goes where the checkpoint goes.
//
// Shape: a JSON value a line; first the header, then one for each path that is more than its content, in the order of
// manifest.Compare, the root (".") before all others, and none twice.
//
//	{"version":1,"uid":2147352576,"gid":2147352576}     whose the root is: inside, its id 0
//	{"path":"dXNy","mode":493,"time":1764100000000000000}
//	{"path":"dXNyL2Jpbi9wZXJs","kind":"removed"}        an overlay's mark that the path is not there
//
// What it keeps: owners, all bits of modes, times of directories, FIFOs and sockets, the marks of overlays
// (paths that were removed, and directories that hide what is below them), and extended attributes of users
// (user.*). Not kept: other attributes, capabilities of files and access control lists among them: whatever
// a layer is shown by does not heed them (nosuid); devices, which a set-up can't make.
//
// Owners: ids count from the root's owner. Only a server that is root can give files away; elsewhere, and
// where a layer was made by one that is not, all belong to the server, as after a set-up of its own. Ids of
// the host below MinOwner are given nothing, whatever a list says.
//
// Trust: a list is hostile, as a checkpoint is: it may come with an imported session. Nothing outside of the
// root is touched by what it says, and the host is asked for the room of what it makes.
//
// Units and limits: nanoseconds since 1970; MaxPaths; MaxAttributeBytes a path; the paths of directories, which are held in
// memory, have manifest.MaxTreePathBytes together.
//
// Errors: KindInvalid for what is no list, and where the file system here can't hold what one says;
// KindTooLarge above a limit; what the host says where it has no room; KindUnavailable for the rest.
//
// Source: kernel.org, Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories", "User
// xattr".
package trait

import "github.com/stead-dev/stead"

// Limits.
const (
	// MaxPaths is the most paths of a list.
	MaxPaths = 2_000_000
	// MaxAttributeBytes bounds the names and values of a path's extended attributes.
	MaxAttributeBytes = 64 << 10
	// MinOwner is the first id of the host that may own what a list says.
	MinOwner = 1 << 16
	// idRange is how many ids a box has.
	idRange = 1 << 16
	// askedNodes and askedBytes are for how much room is asked at once. askedBytes is above MaxAttributeBytes.
	askedNodes = 1000
	askedBytes = 4 << 20
	// leastAttributeBytes is what a path's attributes take of a disk at least: ext4 gives them a block.
	leastAttributeBytes = 4 << 10
	// maxLineBytes is the longest line: a path of 4 KiB and attributes, in base64.
	maxLineBytes = 2 * (MaxAttributeBytes + 8<<10)
)

// version of the list.
const version = 1

type header struct {
	Version int `json:"version"`
	UID     int `json:"uid"`
	GID     int `json:"gid"`
}

// Kinds of paths that a checkpoint leaves out.
const (
	kindRemoved = "removed" // a character device 0:0
	kindFIFO    = "fifo"
	kindSocket  = "socket"
)

type entry struct {
	Path       []byte            `json:"path"`
	Kind       string            `json:"kind,omitempty"` // "": the checkpoint has it
	UID        int               `json:"uid,omitempty"`  // from the header's on
	GID        int               `json:"gid,omitempty"`
	Mode       uint32            `json:"mode,omitempty"`       // 0o7777; of a link, and of what was removed, nothing
	Time       int64             `json:"time,omitempty"`       // of a directory
	Attributes map[string][]byte `json:"attributes,omitempty"` // user.*
}

func invalid(format string, args ...any) *stead.Error {
	return stead.Errorf(stead.KindInvalid, "the list of a layer's owners and marks can't be read: "+format, args...)
}
