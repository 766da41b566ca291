package workspace

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// owner is who gets what is made in a workspace; the zero value changes nothing.
type owner struct {
	set      bool
	uid, gid int
}

// owner is the workspace's own owner when that is somebody else: only root can give files away.
func (d *Dir) owner() (owner, error) {
	info, err := d.self.Stat()
	if err != nil {
		return owner{}, err
	}
	return ownerOf(info), nil
}

func ownerOf(info fs.FileInfo) owner {
	s, ok := statOf(info)
	me := os.Geteuid()
	return owner{set: ok && me == 0 && s.uid != 0, uid: s.uid, gid: s.gid}
}

// give makes an open file the owner's.
func (o owner) give(f *os.File) error {
	if !o.set {
		return nil
	}
	return f.Chown(o.uid, o.gid)
}

// unlocked runs what, and once more with the modes opened up when a mode is what is in the way.
// Root is never in that position; an unprivileged server owns the files of its boxes, so that it may
// change what keeps it out. Modes are put back afterwards; a crash in between leaves them open to the
// owner.
func (d *Dir) unlocked(rel string, what func() error) error {
	err := what()
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	d.unlocking.Lock()
	defer d.unlocking.Unlock()
	d.unlockSelf()
	relock := d.unlock(rel)
	defer relock()
	return what()
}

// unlockSelf opens the workspace itself up, for good: its own mode is no part of it.
func (d *Dir) unlockSelf() {
	if info, err := d.self.Stat(); err == nil && info.Mode()&ownerAll != ownerAll {
		_ = d.self.Chmod(info.Mode().Perm() | ownerAll) // a failure shows in what is tried next
	}
}

// unlock opens up each directory of a path, and the file at its end.
func (d *Dir) unlock(rel string) (relock func()) {
	type locked struct {
		rel  string
		mode fs.FileMode
	}
	var was []locked
	end := 0
	for end < len(rel) {
		if i := strings.IndexByte(rel[end+1:], '/'); i >= 0 {
			end += 1 + i
		} else {
			end = len(rel)
		}
		info, err := d.root.Lstat(rel[:end])
		if err != nil {
			break
		}
		need := fs.FileMode(ownerAll)
		if info.Mode().IsRegular() {
			need = ownerFile
		} else if !info.IsDir() {
			continue
		}
		if mode := info.Mode().Perm(); mode&need != need && d.root.Chmod(rel[:end], mode|need) == nil {
			was = append(was, locked{rel[:end], mode})
		}
	}
	return func() {
		for i := len(was) - 1; i >= 0; i-- {
			_ = d.root.Chmod(was[i].rel, was[i].mode) // gone or replaced meanwhile: nothing to put back
		}
	}
}

// enterLocked is enter for a directory whose mode may be in the way. leave closes it and puts the
// mode back.
func enterLocked(parent *os.Root, name string) (sub *os.Root, leave func(), err error) {
	sub, was, opened, err := enterOpened(parent, name)
	if err != nil {
		return nil, nil, err
	}
	return sub, func() {
		if opened {
			_ = sub.Chmod(".", was) // held open: the same directory wherever it is now
		}
		_ = sub.Close()
	}, nil
}

// enterOpened enters a directory, opening it up if need be: then its mode was another one.
func enterOpened(parent *os.Root, name string) (sub *os.Root, was fs.FileMode, opened bool, err error) {
	sub, err = enter(parent, name)
	if !errors.Is(err, fs.ErrPermission) {
		return sub, 0, false, err
	}
	info, statErr := parent.Lstat(name)
	if statErr != nil || !info.IsDir() || parent.Chmod(name, info.Mode().Perm()|ownerAll) != nil {
		return nil, 0, false, err
	}
	sub, err = enter(parent, name)
	return sub, info.Mode().Perm(), true, err
}

// openLocked opens a regular file whose mode may be in the way.
func openLocked(parent *os.Root, name string) (*os.File, fs.FileInfo, error) {
	f, info, err := openRegular(parent, name)
	if !errors.Is(err, fs.ErrPermission) {
		return f, info, err
	}
	was, statErr := parent.Lstat(name)
	if statErr != nil || !was.Mode().IsRegular() || parent.Chmod(name, was.Mode().Perm()|ownerFile) != nil {
		return nil, nil, err
	}
	f, _, err = openRegular(parent, name)
	if err != nil {
		return nil, nil, err
	}
	_ = f.Chmod(was.Mode().Perm())
	info, err = f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// vanished says that something is gone that was there a moment ago, or is something else now.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) || escapes(err)
}
