package blob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
)

// sweptMark stands between a digest and a random number in the name of a file that a sweep has moved
// aside.
//
// Sweep looks at a blob's time, moves the file aside, and looks at its time once more: only one that is
// still old is removed, another gets its name back. Put gives the file a new time, and then looks
// whether it still has its name: if not, it writes the blob anew. Whichever way these four steps mix,
// nothing is lost: if Put still saw the name, it saw it before the file was moved, so that the time
// was set before the second look. A name for moving aside is used by one sweep for one file, and by
// that one alone to remove it. One that is found, because a process was killed or another sweep is at
// work, gets its own name back, unless a newer file has that: the next sweep decides anew. Until then
// Get finds the bytes there.
const sweptMark = ".swept-"

// tries is how often a step is taken again that sweeps have come into the way of: each of them can do
// that once, with what it saw before.
const tries = 8

// refresh sets the time of a blob that is there; false when it is not, or not in full. That the file
// which has the name then has the time is looked for too: another one may have come, whose writer began
// longer ago.
func (d *Dir) refresh(name string, size int64) bool {
	for range tries {
		if info, err := d.root.Stat(name); err != nil || info.Size() != size {
			return false
		}
		now := time.Now()
		if err := d.root.Chtimes(name, now, now); err != nil {
			return false
		}
		info, err := d.root.Stat(name)
		if err != nil {
			return false
		}
		if !info.ModTime().Before(now.Truncate(time.Microsecond)) {
			return true
		}
	}
	return false
}

// find opens a blob's file, also where a sweep has put it for the moment.
func (d *Dir) find(dir, digest string) (*os.File, error) {
	missed := 0
	for range tries {
		f, err := d.root.Open(path.Join(dir, digest))
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		names, _ := d.names(dir) // without the directory there is no such blob
		there := false
		for _, name := range names {
			if name != digest && !strings.HasPrefix(name, digest+sweptMark) {
				continue
			}
			there = true
			if f, err := d.root.Open(path.Join(dir, name)); err == nil {
				return f, nil
			}
		}
		// A listing may miss a file that is given another name meanwhile.
		if missed++; there {
			missed = 0
		}
		if missed == 3 {
			break
		}
	}
	return nil, fs.ErrNotExist
}

func (d *Dir) names(dir string) ([]string, error) {
	f, err := d.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Sweep implements Store.
func (d *Dir) Sweep(ctx context.Context, key stead.SessionKey, keep func(digest string) bool, olderThan time.Time) (Swept, error) {
	session, err := sessionDir(key)
	if err != nil {
		return Swept{}, err
	}
	var s Swept
	dirs, err := d.names(session)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	for _, dir := range dirs {
		if err == nil {
			err = d.sweepDir(ctx, path.Join(session, dir), keep, olderThan, &s)
		}
	}
	return s, d.fault(err, "sweep blobs")
}

func (d *Dir) sweepDir(ctx context.Context, dir string, keep func(string) bool, olderThan time.Time, s *Swept) error {
	names, err := d.names(dir)
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		file := path.Join(dir, name)
		digest, _, moved := strings.Cut(name, sweptMark)
		switch {
		case moved && isDigest(digest):
			err = d.giveBack(file, path.Join(dir, digest))
			s.Kept++
		case !isDigest(name):
			err = d.removeOld(file, olderThan)
		case keep(name):
			s.Kept++
		default:
			err = d.sweep(file, olderThan, s)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// removeOld removes a temporary file that nobody writes any more.
func (d *Dir) removeOld(file string, olderThan time.Time) error {
	info, err := d.root.Lstat(file)
	if err != nil || !info.Mode().IsRegular() || !info.ModTime().Before(olderThan) {
		return err
	}
	return d.root.Remove(file)
}

// sweep removes one blob that nobody keeps, if it is old.
func (d *Dir) sweep(file string, olderThan time.Time, s *Swept) error {
	info, err := d.root.Lstat(file)
	if err != nil {
		return err
	}
	if !info.ModTime().Before(olderThan) {
		s.Kept++
		return nil
	}
	var random [8]byte
	rand.Read(random[:]) // never fails
	aside := file + sweptMark + hex.EncodeToString(random[:])
	if err := d.root.Rename(file, aside); err != nil {
		return err
	}
	if info, err = d.root.Lstat(aside); err != nil {
		return err // another sweep has given it its name back
	}
	if !info.ModTime().Before(olderThan) {
		s.Kept++
		return d.giveBack(aside, file)
	}
	if err := d.root.Remove(aside); err != nil {
		return err
	}
	s.Removed++
	s.RemovedBytes += info.Size()
	return nil
}

// giveBack gives a file that was moved aside its name back. A file that has the name by now was put
// after that, so that it is the younger one: to rename over it would make the blob old again.
func (d *Dir) giveBack(aside, file string) error {
	if err := d.root.Link(aside, file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return d.root.Remove(aside)
}

// Copy implements Store: by hard links, so that neither time nor space depends on the size. Both
// sessions' blobs then have one time, the younger one, and each is removed by itself.
func (d *Dir) Copy(ctx context.Context, from, to stead.SessionKey, digests []string) error {
	source, err := sessionDir(from)
	if err != nil {
		return err
	}
	target, err := sessionDir(to)
	if err != nil {
		return err
	}
	dirs := map[string]bool{}
	for _, digest := range digests {
		if !isDigest(digest) {
			return stead.Invalid("digest", "%.80q is not a SHA-256 in lower-case hex", digest)
		}
		if err := ctx.Err(); err != nil {
			return stead.Wrap(stead.KindUnavailable, err, "the request has ended")
		}
		dir := path.Join(target, digest[:2])
		if !dirs[dir] {
			if err := d.root.MkdirAll(dir, dirMode); err != nil {
				return d.fault(err, "copy blobs")
			}
		}
		if d.link(path.Join(source, digest[:2], digest), path.Join(dir, digest)) {
			dirs[dir] = true
			continue
		}
		data, err := d.Get(ctx, from, digest)
		if err != nil {
			return err
		}
		if _, err := d.Put(ctx, to, data); err != nil {
			return err
		}
	}
	return d.fault(d.syncAll(dirs), "copy blobs")
}

// link makes a second name of a blob, or refreshes the one that is there. False: it has to be copied,
// because it is not where it was, or the file system has no more links to give.
func (d *Dir) link(source, target string) bool {
	info, err := d.root.Lstat(source)
	if err != nil {
		return false
	}
	if err := d.root.Link(source, target); err != nil && !errors.Is(err, fs.ErrExist) {
		return false
	}
	return d.refresh(target, info.Size())
}

// syncAll makes the entries of sibling directories durable, and those above them.
func (d *Dir) syncAll(dirs map[string]bool) error {
	above := ""
	for dir := range dirs {
		f, err := d.root.Open(dir)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
		above = path.Dir(dir)
	}
	if above == "" {
		return nil
	}
	return d.syncDirs(above)
}
