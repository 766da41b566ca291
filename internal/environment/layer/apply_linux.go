package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// Apply makes below root what an archive of Pack says. After an error the root is a mixture, and is to
// be thrown away.
func Apply(root *os.Root, archive io.Reader) error {
	t := tar.NewReader(archive)
	var dirs []*tar.Header // whose times change with what is put into them
	for paths := 0; ; paths++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if paths > 2*MaxPaths {
			return fmt.Errorf("the layer has more than %d paths", 2*MaxPaths)
		}
		h.Name = strings.TrimSuffix(h.Name, "/")
		if err := apply(root, h, t); err != nil {
			return fmt.Errorf("%.200q: %w", h.Name, err)
		}
		if h.Typeflag == tar.TypeDir {
			dirs = append(dirs, h)
		}
	}
	for _, h := range dirs {
		if err := root.Chtimes(h.Name, time.Time{}, h.ModTime); gone(err) != nil {
			return fmt.Errorf("%.200q: %w", h.Name, err)
		}
	}
	return nil
}

func apply(root *os.Root, h *tar.Header, content io.Reader) error {
	if !valid(h.Name) {
		return errors.New("it is no path below the root")
	}
	if h.PAXRecords[removedKey] != "" {
		return root.RemoveAll(h.Name)
	}
	info, err := root.Lstat(h.Name)
	switch {
	case err == nil && h.Typeflag == tar.TypeDir && info.IsDir():
		return own(root, h)
	case err == nil:
		if err := root.RemoveAll(h.Name); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	default: // an image that has changed since may lack what is above
		if err := root.MkdirAll(path.Dir(h.Name), 0o755); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		err = root.Mkdir(h.Name, 0o700)
	case tar.TypeSymlink:
		if err := root.Symlink(h.Linkname, h.Name); err != nil {
			return err
		}
		return root.Lchown(h.Name, h.Uid, h.Gid)
	case tar.TypeLink:
		return root.Link(h.Linkname, h.Name) // its attributes are the other name's
	case tar.TypeReg:
		err = write(root, h.Name, content)
	default:
		return fmt.Errorf("it is of a kind that no layer has: %q", h.Typeflag)
	}
	if err != nil {
		return err
	}
	return own(root, h)
}

// valid says that a name is clean and leads downwards. Its bytes may be any: fs.ValidPath wants UTF-8.
func valid(name string) bool {
	return name != "" && name != "." && path.Clean("/"+name) == "/"+name
}

func write(root *os.Root, name string, content io.Reader) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// own sets owner, mode and time of a file or directory. The owner comes first: a change of it takes
// setuid and setgid away.
func own(root *os.Root, h *tar.Header) error {
	if err := root.Lchown(h.Name, h.Uid, h.Gid); err != nil {
		return err
	}
	if err := root.Chmod(h.Name, h.FileInfo().Mode()); err != nil {
		return err
	}
	return root.Chtimes(h.Name, time.Time{}, h.ModTime)
}

// GiveBack gives everything in a directory to the directory's owner: what root made there belongs to
// whoever the directory is for. No link is followed.
func GiveBack(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Lstat(".")
	if err != nil {
		return err
	}
	to, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return environment.Walk(root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return gone(err)
		}
		info, err := root.Lstat(name)
		if err != nil {
			return gone(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && (st.Uid != to.Uid || st.Gid != to.Gid) {
			return gone(root.Lchown(name, int(to.Uid), int(to.Gid)))
		}
		return nil
	})
}
