package trait

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// Apply makes of what a checkpoint restored below root what was listed. After an error the root is a
// mixture, and is to be thrown away. What it makes is as much as a list says: admit is asked before each stretch of it
// whether there is room for so many bytes in so many new files, and its error is Apply's.
func Apply(root *os.Root, list io.Reader, admit func(bytes, files int64) error) error {
	err := apply(root, list, admit)
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*stead.Error](err); ok {
		return e
	}
	for _, cant := range []error{unix.EPERM, unix.ENOTSUP, unix.EINVAL} {
		if errors.Is(err, cant) {
			e := stead.Wrap(stead.KindInvalid, err, "what the set-up left can't be restored on this node")
			e.Hint = "Its data directory needs a file system with extended attributes (user.*) and removal marks of overlays (Linux 5.8 for a server that is not root). Create the environment anew: its set-up is then done here."
			return e
		}
	}
	return stead.Wrap(stead.KindUnavailable, err, "restore the owners and marks of a layer")
}

func apply(root *os.Root, list io.Reader, admit func(bytes, files int64) error) error {
	lines := bufio.NewScanner(list)
	lines.Buffer(nil, maxLineBytes)
	var top header
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &top) != nil || top.Version != version {
		return invalid("it has no header of version %d", version)
	}
	m := mender{root: root, top: top, admit: admit, owns: os.Geteuid() == 0 && owner(top.UID) && owner(top.GID)}
	if err := m.own(); err != nil {
		return err
	}
	before := ""
	for paths := 0; lines.Scan(); paths++ {
		if paths >= MaxPaths {
			return stead.Errorf(stead.KindTooLarge, "the layer has more than %d paths", MaxPaths)
		}
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return invalid("%v", err)
		}
		name := string(e.Path)
		if paths > 0 && !behind(name, before) {
			return invalid("%.200q does not come behind %.200q", name, before)
		}
		before = name
		if err := m.mend(e); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return invalid("%v", err)
	}
	return m.finish()
}

// behind reports whether Write lists a path after another one. No path comes twice so: what is kept of a list is
// bounded by what is in the layer.
func behind(name, before string) bool {
	if before == "." {
		before = ""
	}
	return name != "." && manifest.Compare(before, name) < 0
}

// owner reports whether ids from this one on may own something.
func owner(id int) bool { return id >= MinOwner && id <= 1<<31-idRange }

type mender struct {
	root *os.Root
	top  header
	owns bool        // files are given to the ids of a box
	dirs []directory // whose modes and times come last, the deepest first
	held int         // bytes of their paths

	admit func(bytes, files int64) error
	bytes int64 // that may be written until it is asked again
	nodes int64 // likewise, that may be made
}

// take asks for room if there is none left of what was asked for.
func (m *mender) take(bytes, nodes int64) error {
	if m.bytes < bytes || m.nodes < nodes {
		if err := m.admit(askedBytes, askedNodes); err != nil {
			return err
		}
		m.bytes, m.nodes = askedBytes, askedNodes
	}
	m.bytes, m.nodes = m.bytes-bytes, m.nodes-nodes
	return nil
}

// directory is what finish needs of an entry, and no more: it is held until all others are made.
type directory struct {
	path string
	mode uint32
	time int64
}

// hold keeps a directory for finish.
func (m *mender) hold(e entry) error {
	if m.held += len(e.Path); m.held > manifest.MaxTreePathBytes {
		return stead.Errorf(stead.KindTooLarge, "the paths of the layer's directories have more than %d bytes", manifest.MaxTreePathBytes)
	}
	m.dirs = append(m.dirs, directory{string(e.Path), e.Mode, e.Time})
	return nil
}

// own gives everything to the root's owner: what is another's is listed.
func (m *mender) own() error {
	if !m.owns {
		return nil
	}
	return environment.Walk(m.root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return m.root.Lchown(name, m.top.UID, m.top.GID)
	})
}

func (m *mender) mend(e entry) error {
	name := string(e.Path)
	if path.Clean("/"+name) != "/"+name && name != "." {
		return invalid("%.200q is no path below the root", name)
	}
	if e.UID < 0 || e.UID >= idRange || e.GID < 0 || e.GID >= idRange {
		if m.owns {
			return invalid("%.200q has an owner that is none of the box's", name)
		}
	}
	if e.Kind != "" {
		if err := m.node(name, e); err != nil || e.Kind == kindRemoved {
			return err
		}
	}
	info, err := m.root.Lstat(name)
	if err != nil {
		return invalid("%.200q is not in the layer", name)
	}
	if m.owns {
		if err := m.root.Lchown(name, m.top.UID+e.UID, m.top.GID+e.GID); err != nil {
			return err
		}
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return nil
	}
	if info.IsDir() {
		if err := m.hold(e); err != nil {
			return err
		}
		if os.Geteuid() != 0 { // until finish: more may have to be made in it
			if err := m.root.Chmod(name, modeOf(e.Mode|0o700)); err != nil {
				return err
			}
		}
	}
	if err := m.attributes(name, e, info); err != nil || info.IsDir() || e.Mode == 0 {
		return err
	}
	return m.root.Chmod(name, m.mode(e.Mode))
}

// node makes what a checkpoint leaves out.
func (m *mender) node(name string, e entry) error {
	mode := map[string]uint32{kindRemoved: unix.S_IFCHR, kindFIFO: unix.S_IFIFO | 0o600, kindSocket: unix.S_IFSOCK | 0o600}[e.Kind]
	if mode == 0 {
		return invalid("%.80q is no kind of a path", e.Kind)
	}
	if err := m.take(0, 1); err != nil {
		return err
	}
	dir, err := m.root.OpenFile(path.Dir(name), os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Mknodat(int(dir.Fd()), path.Base(name), mode, 0)
}

func (m *mender) attributes(name string, e entry, info fs.FileInfo) error {
	if len(e.Attributes) == 0 {
		return nil
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return invalid("%.200q can't have extended attributes", name)
	}
	size := 0
	for key, value := range e.Attributes {
		if size += len(key) + len(value); !kept(key) || size > MaxAttributeBytes {
			return invalid("%.200q has an attribute %.80q, or more than %d bytes of them", name, key, MaxAttributeBytes)
		}
	}
	if err := m.take(max(int64(size), leastAttributeBytes), 0); err != nil {
		return err
	}
	if info.Mode().IsRegular() && os.Geteuid() != 0 && info.Mode()&0o600 != 0o600 {
		if err := m.root.Chmod(name, info.Mode()|0o600); err != nil {
			return err
		}
		defer func() { _ = m.root.Chmod(name, info.Mode()) }() // of a file of ours: the list's own mode follows
	}
	f, err := m.root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for key, value := range e.Attributes {
		if err := unix.Fsetxattr(int(f.Fd()), key, value, 0); err != nil {
			return err
		}
	}
	return nil
}

func (m *mender) finish() error {
	for _, d := range slices.Backward(m.dirs) {
		if err := m.root.Chmod(d.path, m.mode(d.mode)); err != nil {
			return err
		}
		if err := m.root.Chtimes(d.path, time.Time{}, time.Unix(0, d.time)); err != nil {
			return err
		}
	}
	return nil
}

// mode is the mode that a path gets: setuid and setgid only where it belongs to an id of a box.
func (m *mender) mode(bits uint32) fs.FileMode {
	if !m.owns && os.Geteuid() == 0 {
		bits &^= unix.S_ISUID | unix.S_ISGID
	}
	return modeOf(bits)
}

func modeOf(bits uint32) fs.FileMode {
	out := fs.FileMode(bits & 0o777)
	for bit, mode := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if bits&bit != 0 {
			out |= mode
		}
	}
	return out
}
