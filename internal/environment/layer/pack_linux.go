package layer

import (
	"archive/tar"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"syscall"
)

// Pack writes what differs below root from a record of before, as an archive. Nothing else works in the
// root meanwhile.
func Pack(root *os.Root, record io.Reader, w io.Writer) error {
	before, err := recorded(record)
	if err != nil {
		return err
	}
	var changed []string
	dirs := map[string]bool{".": true}
	err = walk(root, func(name string, info fs.FileInfo) error {
		was, known := before[name]
		delete(before, name)
		if info.IsDir() {
			dirs[name] = true
		}
		if !known || was != mark(info) {
			changed = append(changed, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	p := packer{tar: tar.NewWriter(w), root: root, linked: map[inode]string{}}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if !dirs[path.Dir(name)] {
			continue // it went with what it was in
		}
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Format: tar.FormatPAX, PAXRecords: map[string]string{removedKey: "1"}}
		if err := p.tar.WriteHeader(h); err != nil {
			return err
		}
	}
	for _, name := range changed {
		if err := p.put(name); err != nil {
			return err
		}
	}
	return p.tar.Close()
}

// inode is what hard links have in common.
type inode struct{ dev, ino uint64 }

type packer struct {
	tar    *tar.Writer
	root   *os.Root
	linked map[inode]string // of files with several names → the first that was put
}

// put writes one path.
func (p *packer) put(name string) error {
	info, err := p.root.Lstat(name)
	if err != nil {
		return gone(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	h := &tar.Header{Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid), ModTime: info.ModTime(), Format: tar.FormatPAX}
	switch {
	case info.IsDir():
		h.Typeflag = tar.TypeDir
		return p.tar.WriteHeader(h)
	case info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = p.root.Readlink(name); err != nil {
			return gone(err)
		}
		return p.tar.WriteHeader(h)
	case info.Mode().IsRegular():
		return p.file(name, st, h)
	}
	return nil // no layer has FIFOs, sockets and devices
}

func (p *packer) file(name string, st *syscall.Stat_t, h *tar.Header) error {
	if id := (inode{st.Dev, st.Ino}); st.Nlink > 1 {
		if first, ok := p.linked[id]; ok {
			h.Typeflag, h.Linkname = tar.TypeLink, first
			return p.tar.WriteHeader(h)
		}
		p.linked[id] = name
	}
	f, err := p.root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return gone(err)
	}
	defer f.Close()
	h.Typeflag, h.Size = tar.TypeReg, st.Size
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	// One that shrinks meanwhile is an error: the archive announced its length.
	_, err = io.CopyN(p.tar, f, st.Size)
	return err
}
