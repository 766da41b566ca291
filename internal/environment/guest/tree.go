package guest

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Trees that the guest knows by name.
const (
	treeWorkspace = "workspace"
	treeServices  = "services"
)

// entry is one path of a tree: a line of an index, and what the host remembers to know what changed.
type entry struct {
	Path  []byte `json:"p"` // relative
	Kind  string `json:"k"` // "d", "f", "l": directory, regular file, symbolic link
	Mode  uint32 `json:"m"` // permissions
	Size  int64  `json:"s"`
	MTime int64  `json:"t"` // nanoseconds since 1970
	CTime int64  `json:"c"` // the same: what no process can set back
	Inode uint64 `json:"i"`
}

// equal says that nothing can have changed in between.
func (e entry) equal(o entry) bool {
	return e.Kind == o.Kind && e.Mode == o.Mode && e.Size == o.Size && e.MTime == o.MTime && e.CTime == o.CTime && e.Inode == o.Inode
}

const (
	kindDir  = "d"
	kindFile = "f"
	kindLink = "l"
)

// archiveOf writes paths of a tree as an archive, as they are now. What has vanished is left out.
func archiveOf(w io.Writer, root *os.Root, names func() (string, bool)) error {
	t := tar.NewWriter(w)
	for name, ok := names(); ok; name, ok = names() {
		if err := archiveOne(t, root, name); err != nil {
			return err
		}
	}
	return t.Close()
}

func archiveOne(t *tar.Writer, root *os.Root, name string) error {
	info, err := root.Lstat(name)
	if err != nil {
		return nil // gone meanwhile: the next index says so
	}
	h := &tar.Header{Name: name, Mode: int64(info.Mode().Perm()), ModTime: info.ModTime(), Format: tar.FormatPAX}
	switch {
	case info.IsDir():
		h.Typeflag = tar.TypeDir
		return t.WriteHeader(h)
	case info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = root.Readlink(name); err != nil {
			return nil
		}
		return t.WriteHeader(h)
	case info.Mode().IsRegular():
		return archiveFile(t, root, name, h)
	}
	return nil
}

// archiveFile keeps the length that it announced: a file that shrinks is filled up with zeros, and
// one that grows is cut. The next index shows that it changed.
func archiveFile(t *tar.Writer, root *os.Root, name string, h *tar.Header) error {
	f, err := root.OpenFile(name, os.O_RDONLY|openNonBlock, 0)
	if errors.Is(err, fs.ErrPermission) && root.Chmod(name, fs.FileMode(h.Mode)|0o400) == nil {
		f, err = root.OpenFile(name, os.O_RDONLY|openNonBlock, 0)
		_ = root.Chmod(name, fs.FileMode(h.Mode)) // as it was
	}
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(t, io.LimitReader(f, h.Size))
	if err == nil && n < h.Size {
		_, err = io.CopyN(t, zeros{}, h.Size-n)
	}
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// overlay lays an archive over a tree. The archive is hostile: only directories, regular files and
// links, only below real directories, at most max bytes. Nothing else works in the tree meanwhile.
func overlay(ctx context.Context, r io.Reader, root *os.Root, max int64) error {
	t := tar.NewReader(r)
	for files := 0; ; files++ {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if files > environment.MaxWorkspaceFiles {
			return stead.Errorf(stead.KindTooLarge, "the workspace has more than %d files", environment.MaxWorkspaceFiles)
		}
		if max -= h.Size; h.Size < 0 || max < 0 {
			return stead.Errorf(stead.KindTooLarge, "the workspace is larger than its limit")
		}
		if err := layOne(root, h, t); err != nil {
			return err
		}
	}
}

func layOne(root *os.Root, h *tar.Header, content io.Reader) error {
	name := strings.TrimSuffix(h.Name, "/")
	if err := parents(root, name); err != nil {
		return err
	}
	info, err := root.Lstat(name)
	if h.Typeflag == tar.TypeDir {
		if err != nil || !info.IsDir() {
			if err := root.RemoveAll(name); err != nil {
				return err
			}
			if err := root.Mkdir(name, 0o700); err != nil {
				return err
			}
		}
		return root.Chmod(name, fs.FileMode(h.Mode)&0o777|0o700) // it must be possible to fill it
	}
	if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeSymlink {
		return nil
	}
	if err == nil && info.IsDir() {
		if err := root.RemoveAll(name); err != nil {
			return err
		}
	}
	// What is there stays until the new one is whole.
	fresh := path.Join(path.Dir(name), freshName)
	if err := root.RemoveAll(fresh); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeSymlink {
		err = root.Symlink(h.Linkname, fresh)
	} else {
		err = writeFile(root, fresh, h, content)
	}
	if err == nil {
		err = root.Rename(fresh, name)
	}
	if err != nil {
		_ = root.Remove(fresh) // the first error matters
	}
	return err
}

// freshName is a file that is being written. The prefix is package workspace's for what is no part of
// a workspace.
const freshName = ".stead-tmp-copy"

func writeFile(root *os.Root, name string, h *tar.Header, content io.Reader) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err == nil {
		err = f.Chmod(fs.FileMode(h.Mode) & 0o777)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return root.Chtimes(name, time.Time{}, h.ModTime)
}

// parents makes sure that everything above a name is a real directory, made if need be.
func parents(root *os.Root, name string) error {
	if !validName(name) {
		return stead.Invalid("path", "%.80q is no path of a workspace", printable(name))
	}
	for i, c := range name {
		if c != '/' {
			continue
		}
		info, err := root.Lstat(name[:i])
		if err == nil && info.IsDir() {
			continue
		}
		if err == nil {
			if err := root.RemoveAll(name[:i]); err != nil {
				return err
			}
		}
		if err := root.Mkdir(name[:i], 0o700); err != nil {
			return err
		}
	}
	return nil
}

// validName says that a name is relative, clean, and leads downwards.
func validName(name string) bool {
	return name != "" && name != "." && len(name) <= maxNameBytes && path.Clean("/"+name) == "/"+name && !strings.ContainsRune(name, 0)
}

// maxNameBytes is the longest relative path that is moved: what Linux allows.
const maxNameBytes = 4096

// indexReader decodes an index, line by line.
func indexReader(r io.Reader) func() (entry, error) {
	d := json.NewDecoder(r)
	return func() (entry, error) {
		var e entry
		err := d.Decode(&e)
		return e, err
	}
}
