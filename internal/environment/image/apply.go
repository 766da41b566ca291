package image

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/stead-dev/stead"
)

// Whiteouts of the image specification (layer.md).
const (
	whiteoutPrefix = ".wh."
	whiteoutMeta   = ".wh..wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// applier lays one layer after the other over a directory. Nobody else writes there meanwhile, so
// that what was looked at stays as it was; os.Root holds the border even if that were not so.
type applier struct {
	ctx    context.Context
	root   *os.Root
	limits Limits

	files   int
	bytes   int64
	skipped int
	mine    map[string]bool // paths of the layer under way: whiteouts are for those below it
	real    map[string]bool // directories with nothing but directories above them; emptied by removals
}

// apply lays one layer over what is there.
func (a *applier) apply(r io.Reader) error {
	a.mine, a.real = map[string]bool{}, map[string]bool{}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return readError(err)
		}
		if a.files++; a.files > a.limits.Files {
			return stead.Errorf(stead.KindTooLarge, "the image has more than %d files (MaxImageFiles)", a.limits.Files)
		}
		if err := a.entry(h, t); err != nil {
			return err
		}
	}
}

func (a *applier) entry(h *tar.Header, content io.Reader) error {
	name, err := clean(h.Name)
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return stead.Invalid("image", "the image's root is not a directory")
		}
		return nil
	}
	dir, base := path.Split(name)
	dir = path.Clean(dir)
	if strings.HasPrefix(base, whiteoutPrefix) {
		return a.whiteout(dir, base)
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink:
	default: // devices, FIFOs and what is not known
		a.skipped++
		return nil
	}
	if err := a.parents(dir); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		err = a.dir(name, h.FileInfo().Mode())
	case tar.TypeReg:
		err = a.file(name, h.FileInfo().Mode(), content)
	case tar.TypeSymlink:
		err = a.symlink(name, h.Linkname)
	case tar.TypeLink:
		err = a.link(name, h.Linkname)
	}
	if err != nil {
		return readError(err)
	}
	a.mine[name] = true
	return nil
}

// clean returns a path of a layer as one that is relative to the root. Leading slashes and "./" are
// what some tools write; ".." is what no tool writes.
func clean(name string) (string, error) {
	if len(name) > MaxNameBytes {
		return "", stead.Errorf(stead.KindTooLarge, "a path in the image is longer than %d bytes (MaxNameBytes)", MaxNameBytes)
	}
	if strings.ContainsRune(name, 0) {
		return "", stead.Invalid("image", "the image has a path with a zero byte")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", stead.Invalid("image", "the image has a path that leads upwards: %.200q", name)
		}
	}
	return path.Clean(strings.TrimLeft(path.Clean("./"+strings.TrimLeft(name, "/")), "/")), nil
}

// parents makes the directories above an entry. A link or file in the way is refused.
func (a *applier) parents(dir string) error {
	if dir == "." || a.real[dir] {
		return nil
	}
	for i := 0; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		part := dir[:i]
		info, err := a.root.Lstat(part)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err := a.root.Mkdir(part, dirMode); err != nil {
				return unavailable(err, "unpack image")
			}
			a.mine[part] = true
		case err != nil:
			return unavailable(err, "unpack image")
		case !info.IsDir():
			return stead.Invalid("image", "the image has a file below %.200q, which is a link or a file", part)
		}
		a.real[part] = true
	}
	return nil
}

// makeDir makes a directory and those above it, in place of whatever else has their names.
func (a *applier) makeDir(name string) error {
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		if err := a.dir(name[:i], dirMode); err != nil {
			return unavailable(err, "unpack image")
		}
	}
	return nil
}

func (a *applier) dir(name string, mode fs.FileMode) error {
	mode = mode&0o777 | 0o700 // the server must be able to fill and to delete it
	info, err := a.root.Lstat(name)
	if err == nil && info.IsDir() {
		return a.root.Chmod(name, mode)
	}
	if err := a.replace(name); err != nil {
		return err
	}
	if err := a.root.Mkdir(name, 0o700); err != nil {
		return err
	}
	return a.root.Chmod(name, mode) // whatever the umask is
}

func (a *applier) file(name string, mode fs.FileMode, content io.Reader) error {
	if err := a.replace(name); err != nil {
		return err
	}
	f, err := a.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	// A sparse entry is longer than its bytes in the archive, so that both are counted.
	n, err := io.Copy(f, io.LimitReader(content, a.limits.Bytes-a.bytes+1))
	a.bytes += n
	if err == nil && a.bytes > a.limits.Bytes {
		err = stead.Errorf(stead.KindTooLarge, "the image is larger than %d bytes (MaxImageBytes)", a.limits.Bytes)
	}
	if err == nil {
		err = f.Chmod(mode&0o777 | 0o400) // the server must be able to read it
	}
	return errors.Join(err, f.Close())
}

func (a *applier) symlink(name, target string) error {
	if target == "" || len(target) > MaxNameBytes || strings.ContainsRune(target, 0) {
		return stead.Invalid("image", "the image has a link %.200q without a valid target", name)
	}
	if err := a.replace(name); err != nil {
		return err
	}
	return a.root.Symlink(target, name)
}

// link makes a hard link to a regular file that an earlier entry or layer brought.
func (a *applier) link(name, target string) error {
	target, err := clean(target)
	if err != nil {
		return err
	}
	if target == name {
		return nil
	}
	refused := stead.Invalid("image", "the image has a hard link %.200q to %.200q, which is no regular file of it", name, target)
	for i, c := range target { // no link may lie on the way
		if c != '/' {
			continue
		}
		if info, err := a.root.Lstat(target[:i]); err != nil || !info.IsDir() {
			return refused
		}
	}
	if info, err := a.root.Lstat(target); err != nil || !info.Mode().IsRegular() {
		return refused
	}
	if strings.HasPrefix(target, name+"/") {
		return refused // it would be deleted to make room for the link
	}
	if err := a.replace(name); err != nil {
		return err
	}
	return a.root.Link(target, name)
}

// replace removes what has the name of a new entry.
func (a *applier) replace(name string) error {
	info, err := a.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.IsDir() {
		clear(a.real)
	}
	return a.root.RemoveAll(name)
}

// whiteout removes what lower layers have: one name, or all of a directory.
func (a *applier) whiteout(dir, base string) error {
	clear(a.real)
	if info, err := a.lstatNoLinks(dir); err != nil || !info.IsDir() {
		return nil // nothing is there that could be hidden
	}
	if base == whiteoutOpaque {
		return unavailable(a.removeLower(dir, true), "unpack image")
	}
	if strings.HasPrefix(base, whiteoutMeta) {
		return nil // what AUFS keeps for itself
	}
	hidden := strings.TrimPrefix(base, whiteoutPrefix)
	if hidden == "" || hidden == "." || hidden == ".." {
		return stead.Invalid("image", "the image has a whiteout without a name in %.200q", dir)
	}
	return unavailable(a.removeLower(path.Join(dir, hidden), false), "unpack image")
}

// lstatNoLinks is Lstat that follows no link on the way either.
func (a *applier) lstatNoLinks(name string) (fs.FileInfo, error) {
	for i, c := range name {
		if c != '/' {
			continue
		}
		if info, err := a.root.Lstat(name[:i]); err != nil || !info.IsDir() {
			return nil, fs.ErrNotExist
		}
	}
	return a.root.Lstat(name)
}

// removeLower removes a tree, but not what the layer under way has put into it.
func (a *applier) removeLower(name string, keepTop bool) error {
	info, err := a.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		if a.mine[name] {
			return nil
		}
		return a.root.Remove(name)
	}
	f, err := a.root.Open(name)
	if err != nil {
		return err
	}
	entries, err := f.ReadDir(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	left := false
	for _, e := range entries {
		child := path.Join(name, e.Name())
		if err := a.removeLower(child, false); err != nil {
			return err
		}
		if _, err := a.root.Lstat(child); err == nil {
			left = true
		}
	}
	if left || keepTop || a.mine[name] {
		return nil
	}
	return a.root.Remove(name)
}
