package trait

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Write lists what is below root. Nothing else works in it meanwhile: what keeps a server out that is not
// root is opened to it for that time. Equal trees have equal lists.
func Write(root *os.Root, w io.Writer) error {
	out := bufio.NewWriter(w)
	l := lister{root: root, to: json.NewEncoder(out), shut: map[string]fs.FileMode{}}
	err := environment.Walk(root, l.visit)
	for name, mode := range l.shut {
		err = errors.Join(err, root.Chmod(name, mode))
	}
	if err = errors.Join(err, out.Flush()); err == nil {
		return nil
	}
	if e, ok := errors.AsType[*stead.Error](err); ok {
		return e
	}
	return stead.Wrap(stead.KindUnavailable, err, "list the owners and marks of a layer")
}

type lister struct {
	root  *os.Root
	to    *json.Encoder
	paths int
	top   header
	shut  map[string]fs.FileMode // paths that were opened to the server → the modes that they get back
}

func (l *lister) visit(name string, _ fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	info, err := l.root.Lstat(name)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.ErrUnsupported
	}
	if l.paths++; l.paths > MaxPaths {
		return stead.Errorf(stead.KindTooLarge, "the layer has more than %d paths", MaxPaths)
	}
	if name == "." {
		l.top = header{version, int(st.Uid), int(st.Gid)}
		if err := l.to.Encode(l.top); err != nil {
			return err
		}
	}
	e := entry{Path: []byte(name), UID: int(st.Uid) - l.top.UID, GID: int(st.Gid) - l.top.GID}
	if st.Mode&0o7000 != 0 {
		e.Mode = st.Mode & 0o7777
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		e.Mode, e.Time = st.Mode&0o7777, info.ModTime().UnixNano()
		e.Attributes, err = l.attributes(name, info.Mode())
	case 0:
		e.Attributes, err = l.attributes(name, info.Mode())
	case fs.ModeSymlink:
		e.Mode = 0
	case fs.ModeNamedPipe:
		e.Kind, e.Mode = kindFIFO, st.Mode&0o7777
	case fs.ModeSocket:
		e.Kind, e.Mode = kindSocket, st.Mode&0o7777
	case fs.ModeDevice | fs.ModeCharDevice:
		if st.Rdev != 0 {
			return nil
		}
		e = entry{Path: e.Path, Kind: kindRemoved}
	default:
		return nil // a block device
	}
	if err != nil || e.Kind == "" && !info.IsDir() && e.UID == 0 && e.GID == 0 && e.Mode == 0 && e.Attributes == nil {
		return err
	}
	return l.to.Encode(e)
}

// attributes reads the extended attributes of a file or directory that are kept.
func (l *lister) attributes(name string, mode fs.FileMode) (map[string][]byte, error) {
	need := fs.FileMode(0o400)
	if mode.IsDir() {
		need = 0o700
	}
	if os.Geteuid() != 0 && mode&need != need {
		if err := l.root.Chmod(name, mode|need); err != nil {
			return nil, err
		}
		l.shut[name] = mode
	}
	f, err := l.root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := namesOf(int(f.Fd()))
	var out map[string][]byte
	left := MaxAttributeBytes
	for _, n := range names {
		if !kept(n) {
			continue
		}
		value := make([]byte, MaxAttributeBytes)
		size, err := unix.Fgetxattr(int(f.Fd()), n, value)
		if err != nil {
			return nil, err
		}
		if left -= len(n) + size; left < 0 {
			return nil, stead.Errorf(stead.KindTooLarge, "%.200q has extended attributes of more than %d bytes", name, MaxAttributeBytes)
		}
		if out == nil {
			out = map[string][]byte{}
		}
		out[n] = slices.Clone(value[:size])
	}
	return out, err
}

func namesOf(fd int) ([]string, error) {
	var buffer [MaxAttributeBytes]byte
	n, err := unix.Flistxattr(fd, buffer[:])
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.FieldsFunc(string(buffer[:n]), func(r rune) bool { return r == 0 }), nil
}

// opaque is an overlay's mark of a directory that hides what is below it.
const opaque = "user.overlay.opaque"

// kept says which attributes a list holds. Other marks of overlays speak of the file system that they were
// made in, or lead elsewhere.
func kept(name string) bool {
	return name == opaque || strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}
