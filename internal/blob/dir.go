package blob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/volume"
)

// Dir keeps blobs in a directory:
//
//	ROOT/PROJECT/SESSION/first 2 hex digits/DIGEST
//
// A blob is written to a temporary file, synced, renamed, and its directories synced: a name that is
// there has all its bytes. Everything goes through one os.Root, so that no name, link or mount trick
// leads out of ROOT. Project and session ids that are not plain names are KindInvalid.
//
// Temporary files that a crash left have names that are no digests; Sweep and DeleteAll remove them.
//
// A file's time of change is that of the blob's last Put. How Sweep and Put get along, in one process or
// several, without a lock: see sweep.go. It holds where all processes see names and times of the
// directory alike, as on a local file system; not over NFS, where a sweep must run alone.
type Dir struct {
	root  *os.Root
	admit func(bytes, files int64) error
}

var _ Store = (*Dir)(nil)

const (
	// maxNameBytes is the longest project or session id that is a directory's name.
	maxNameBytes = 200
	digestBytes  = 64
	// filesAPut is the most that a Put makes: the blob, its directory, and those of its session and project.
	filesAPut = 4
	dirMode   = 0o700
	fileMode  = 0o600
)

// OpenDir opens the directory at root, which it makes if need be. The caller closes it.
func OpenDir(root string) (*Dir, error) {
	return OpenDirWithin(root, func(int64, int64) error { return nil })
}

// OpenDirWithin is OpenDir of a directory whose disk is shared with what must not be without room: admit is
// asked before so many bytes are written into so many new files, and its error is Put's.
func OpenDirWithin(root string, admit func(bytes, files int64) error) (*Dir, error) {
	if err := os.MkdirAll(root, dirMode); err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "make blob directory")
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "open blob directory")
	}
	return &Dir{r, admit}, nil
}

// Close lets the directory go.
func (d *Dir) Close() error { return d.root.Close() }

// Put implements Store.
func (d *Dir) Put(ctx context.Context, key stead.SessionKey, data []byte) (string, error) {
	session, err := sessionDir(key)
	if err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", stead.Wrap(stead.KindUnavailable, err, "the request has ended")
	}
	digest := Digest(data)
	dir := path.Join(session, digest[:2])
	name := path.Join(dir, digest)
	if d.refresh(name, int64(len(data))) {
		// Whoever renamed it may not have synced the directories yet: an event may name it only
		// when they are.
		return digest, d.fault(d.syncDirs(dir), "store blob")
	}
	if err := d.admit(int64(len(data)), filesAPut); err != nil {
		return "", err
	}
	if err := d.write(dir, name, data); err != nil {
		return "", d.fault(err, "store blob")
	}
	return digest, nil
}

func (d *Dir) write(dir, name string, data []byte) error {
	if err := d.root.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	var random [8]byte
	rand.Read(random[:]) // never fails
	temporary := path.Join(dir, "tmp-"+hex.EncodeToString(random[:]))
	if err := d.writeSynced(temporary, data); err != nil {
		_ = d.root.Remove(temporary) // best effort: the error that matters is the first
		return err
	}
	if err := d.root.Rename(temporary, name); err != nil {
		_ = d.root.Remove(temporary)
		return err
	}
	return d.syncDirs(dir)
}

func (d *Dir) writeSynced(name string, data []byte) error {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDirs makes the entries of dir and of all directories above it durable, up to the root.
func (d *Dir) syncDirs(dir string) error {
	for {
		f, err := d.root.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
		if dir == "." {
			return nil
		}
		dir = path.Dir(dir)
	}
}

// Get implements Store.
func (d *Dir) Get(ctx context.Context, key stead.SessionKey, digest string) ([]byte, error) {
	f, err := d.file(ctx, key, digest)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := whole(f)
	if err != nil {
		return nil, d.fault(err, "read blob")
	}
	if Digest(data) != digest {
		return nil, damaged(digest)
	}
	return data, nil
}

// whole reads a file whose size is known, which ReadAll would find out in steps.
func whole(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, info.Size())
	_, err = io.ReadFull(f, data)
	return data, err
}

// DeleteAll implements Store.
func (d *Dir) DeleteAll(ctx context.Context, key stead.SessionKey) error {
	session, err := sessionDir(key)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "the request has ended")
	}
	if _, err := d.root.Lstat(session); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := d.root.RemoveAll(session); err != nil {
		return d.fault(err, "delete blobs")
	}
	return d.fault(d.syncDirs(path.Dir(session)), "delete blobs")
}

// fault is the error of an operation that failed; of a full disk it says so.
func (d *Dir) fault(err error, what string) error { return volume.Fault(err, d.root.Name(), what) }

// sessionDir is the directory of a session, made of two ids that must be plain names: letters,
// digits, "-", "_" and ".", the last not in front.
func sessionDir(key stead.SessionKey) (string, error) {
	if !isName(string(key.Project)) {
		return "", stead.Invalid("project", "%.80q can't be the name of a directory", string(key.Project))
	}
	if !isName(string(key.Session)) {
		return "", stead.Invalid("session", "%.80q can't be the name of a directory", string(key.Session))
	}
	return path.Join(string(key.Project), string(key.Session)), nil
}

func isName(s string) bool {
	if s == "" || len(s) > maxNameBytes || s[0] == '.' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !letter && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	})
}

func isDigest(s string) bool {
	return len(s) == digestBytes && strings.Trim(s, "0123456789abcdef") == ""
}
