package workspace

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/volume"
)

// Modes of what is made here. An executable file gets exec as well.
const (
	fileMode  = 0o644
	execMode  = 0o755
	dirMode   = 0o755
	ownerAll  = 0o700
	ownerFile = 0o600
)

// temporaryPrefix begins the names of files that are being written. They are no part of the
// workspace: listings and checkpoints leave them out.
const temporaryPrefix = ".stead-tmp-"

// temporaryRandom is how many random bytes follow it, in hexadecimal digits.
const temporaryRandom = 8

// isTemporary reports whether a name is one of those: of that form to the last digit, so that an agent's own files are not.
func isTemporary(name string) bool {
	digits, ok := strings.CutPrefix(name, temporaryPrefix)
	_, err := hex.DecodeString(digits)
	return ok && err == nil && len(digits) == 2*temporaryRandom
}

func tooLarge(rel string, size, max int64) error {
	return &stead.Error{Kind: stead.KindTooLarge, Param: "path",
		Message: sentence(inside(rel), "has %d bytes; the limit is %d", size, max)}
}

// openRegular opens a regular file for reading. Looking first keeps devices shut, whose opening alone
// can do things; O_NONBLOCK keeps a FIFO from blocking that takes the file's place in between, and the
// second look finds it.
func openRegular(root *os.Root, rel string) (*os.File, fs.FileInfo, error) {
	info, err := root.Stat(rel)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, notRegular(rel, info.Mode())
	}
	f, err := root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = notRegular(rel, info.Mode())
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

func notRegular(rel string, mode fs.FileMode) error {
	what := "a device"
	switch {
	case mode.IsDir():
		what = "a directory"
	case mode&fs.ModeSymlink != 0:
		what = "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		what = "a FIFO"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	}
	return badPath(inside(rel), "is %s, not a regular file", what)
}

// WriteFile replaces or makes a regular file, with the directories above it: whole or not at all. What
// is made belongs to the owner of the workspace. A symbolic link at the end of the path is followed
// when it stays inside. KindInvalid when what is there is in its way. Nothing is synced: what lasts is a
// checkpoint.
func (d *Dir) WriteFile(ctx context.Context, path string, data []byte, executable bool) error {
	if len(data) > environment.MaxFileBytes {
		return tooBig(path, int64(len(data)), environment.MaxFileBytes)
	}
	return d.WriteFrom(ctx, path, bytes.NewReader(data), executable)
}

// WriteFrom is WriteFile of what a reader gives, which is never in memory as a whole: at most
// environment.MaxFileBytes. The reader's errors are returned as they are.
func (d *Dir) WriteFrom(ctx context.Context, path string, from io.Reader, executable bool) error {
	rel, err := cleanFile(path)
	if err != nil {
		return err
	}
	if err := ended(ctx); err != nil {
		return err
	}
	if err := d.nearlyFull(path); err != nil {
		return err
	}
	src := &source{from: from}
	err = d.unlocked(rel, func() error {
		if !src.again() {
			return src.failed
		}
		rel, err := d.follow(rel)
		if err != nil {
			return err
		}
		src.failed = d.replace(rel, src, executable)
		return src.failed
	})
	if failed, ok := errors.AsType[*sourceError](err); ok {
		return failed.err
	}
	return d.fault(inTheWay(err, path), path, "write")
}

// sourceError is an error of what is written, and not of the workspace.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

// source tells the errors of a reader apart from those of a file, and knows whether it can be read from
// its beginning once more.
type source struct {
	from   io.Reader
	begun  bool
	failed error // of the write that it was read for
}

func (s *source) again() bool {
	if !s.begun {
		return true
	}
	from, ok := s.from.(io.Seeker)
	if !ok {
		return false
	}
	_, err := from.Seek(0, io.SeekStart)
	return err == nil
}

func (s *source) Read(b []byte) (int, error) {
	s.begun = true
	n, err := s.from.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &sourceError{err}
	}
	return n, err
}

// MakeDir makes a directory of the workspace, with those above it, unless it is there. It belongs to the
// owner of the workspace. KindInvalid when something else is at its path.
func (d *Dir) MakeDir(ctx context.Context, path string) error {
	rel, err := cleanFile(path)
	if err != nil {
		return err
	}
	if err := ended(ctx); err != nil {
		return err
	}
	err = d.unlocked(rel, func() error {
		own, err := d.owner()
		if err != nil {
			return err
		}
		dir, err := makeDirs(d.root, rel, own)
		if errors.Is(err, syscall.ENOTDIR) {
			return badPath(path, "is no directory, nor is one above it")
		}
		if err != nil {
			return err
		}
		return dir.Close()
	})
	return d.fault(err, path, "make")
}

func (d *Dir) replace(rel string, from io.Reader, executable bool) (err error) {
	own, err := d.owner()
	if err != nil {
		return err
	}
	dir, err := makeDirs(d.root, path.Dir(rel), own)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	name := path.Base(rel)
	if info, err := dir.Lstat(name); err == nil && info.IsDir() {
		return notRegular(rel, info.Mode())
	}
	if isTemporary(name) {
		return stead.Invalid("path", "%.200q is a name of files that this server is writing: choose another", inside(rel))
	}
	var random [temporaryRandom]byte
	rand.Read(random[:]) // never fails
	temporary := temporaryPrefix + hex.EncodeToString(random[:])
	err = writeNew(dir, temporary, rel, from, executable, own)
	if err == nil {
		// Both names are in one directory that is held open: it may be moved, not swapped.
		err = dir.Rename(temporary, name)
	}
	if err != nil {
		_ = dir.Remove(temporary) // best effort: the error that matters is the first
	}
	return err
}

func writeNew(dir *os.Root, name, rel string, from io.Reader, executable bool, own owner) error {
	mode := fs.FileMode(fileMode)
	if executable {
		mode = execMode
	}
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(from, environment.MaxFileBytes+1))
	if err == nil && n > environment.MaxFileBytes {
		err = tooLarge(rel, n, environment.MaxFileBytes)
	}
	if err == nil {
		err = own.give(f)
	}
	if err == nil {
		err = f.Chmod(mode) // whatever the umask is
	}
	if err = errors.Join(err, f.Close()); err == nil && executable {
		awaitForks(dir, name)
	}
	return err
}

// makeDirs opens a directory below root, making what is missing. The caller closes it.
func makeDirs(root *os.Root, rel string, own owner) (*os.Root, error) {
	dir, err := enter(root, rel)
	if !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	made := ""
	for name := range strings.SplitSeq(rel, "/") {
		made = path.Join(made, name)
		err := root.Mkdir(made, dirMode)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f, err := root.OpenFile(made, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(own.give(f), f.Chmod(dirMode), f.Close()); err != nil {
			return nil, err
		}
	}
	return enter(root, rel)
}

// enter opens a directory as a root of its own. The "/." makes os.Root open the name itself as a
// directory or fail: OpenRoot alone would block on a FIFO.
func enter(root *os.Root, rel string) (*os.Root, error) { return root.OpenRoot(rel + "/.") }

// Executable says whether a regular file may be run, so that who replaces it can keep that.
func (d *Dir) Executable(ctx context.Context, path string) (executable bool, err error) {
	rel, err := cleanFile(path)
	if err != nil {
		return false, err
	}
	if err := ended(ctx); err != nil {
		return false, err
	}
	err = d.unlocked(rel, func() error {
		rel, err := d.follow(rel)
		if err != nil {
			return err
		}
		info, err := d.root.Stat(rel)
		if err == nil && !info.Mode().IsRegular() {
			err = notRegular(rel, info.Mode())
		}
		if err == nil {
			executable = info.Mode()&0o111 != 0
		}
		return err
	})
	return executable, d.fault(err, path, "look at")
}

// Remove removes a regular file or a symbolic link.
func (d *Dir) Remove(ctx context.Context, path string) error {
	rel, err := cleanFile(path)
	if err != nil {
		return err
	}
	if err := ended(ctx); err != nil {
		return err
	}
	err = d.unlocked(rel, func() error {
		info, err := d.root.Lstat(rel)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0 {
			return notRegular(rel, info.Mode())
		}
		return d.root.Remove(rel)
	})
	return d.fault(err, path, "remove")
}

// fault gives an error of the file system its kind. path is what the caller gave.
func (d *Dir) fault(err error, path, verb string) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*stead.Error](err); ok {
		return err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return &stead.Error{Kind: stead.KindNotFound, Param: "path", Message: sentence(path, "does not exist")}
	case volume.IsFull(err):
		lack := "is full"
		if room, known := volume.Below(d.root); known && room.LacksFiles() {
			lack = volume.NoFiles
		}
		return &stead.Error{Kind: stead.KindUnavailable, Code: stead.CodeStorageFull, Param: "path", Err: err,
			Message: sentence(path, "can't be written: the workspace's disk %s", lack),
			Hint:    "Remove files that are not needed, or take a larger container_size."}
	case errors.Is(err, syscall.ELOOP), errors.Is(err, fs.ErrExist), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EISDIR), escapes(err):
		return badPath(path, "does not lead to a file of the workspace")
	}
	return &stead.Error{Kind: stead.KindUnavailable, Param: "path", Err: err, Message: "can't " + verb + " a file of the workspace: " + sentence(path, "failed")}
}

// escapes says whether os.Root refused a path because it leads out. The error has no name of its own
// to compare with; beside that of a directory that was closed meanwhile, of which nothing can be said any more, it is the
// only one of a path that is no system error.
func escapes(err error) bool {
	var number syscall.Errno
	var of *fs.PathError
	var link *os.LinkError
	return (errors.As(err, &of) || errors.As(err, &link)) && !errors.As(err, &number) && !errors.Is(err, fs.ErrClosed)
}

func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "the request has ended")
	}
	return nil
}
