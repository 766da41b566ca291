package blob

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
)

// Sessions implements Store.
func (d *Dir) Sessions(ctx context.Context, each func(stead.SessionKey) error) error {
	projects, err := d.names(".")
	if err != nil {
		return d.fault(err, "list blobs")
	}
	for _, project := range projects {
		sessions, err := d.names(project)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			return d.fault(err, "list blobs")
		}
		for _, session := range sessions {
			key := stead.SessionKey{Project: stead.ProjectID(project), Session: stead.SessionID(session)}
			if _, err := sessionDir(key); err != nil {
				continue // it is nobody's
			}
			if err := ctx.Err(); err != nil {
				return stead.Wrap(stead.KindUnavailable, err, "the request has ended")
			}
			if err := each(key); err != nil {
				return err
			}
		}
	}
	return nil
}

// Prune implements Store. A directory goes when it is empty and was not changed since olderThan, except by this:
// in a younger one somebody may be about to put the first blob. What has a session's name and is no directory is
// nobody's, and a link may lead to what another session has.
func (d *Dir) Prune(ctx context.Context, key stead.SessionKey, olderThan time.Time) (Swept, error) {
	session, err := sessionDir(key)
	if err != nil {
		return Swept{}, err
	}
	var s Swept
	for _, dir := range []string{string(key.Project), session} {
		if info, err := d.root.Lstat(dir); err != nil || !info.IsDir() {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
				err = nil
			}
			return s, d.fault(err, "remove blobs")
		}
	}
	names, err := d.names(session)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	old := d.unchanged(session, olderThan)
	for _, name := range names {
		if err != nil {
			break
		}
		dir := path.Join(session, name)
		emptied := d.unchanged(dir, olderThan)
		err = d.sweepDir(ctx, dir, func(string) bool { return false }, olderThan, &s)
		if emptied && err == nil {
			err = d.removeEmpty(dir)
		}
	}
	if old && err == nil {
		err = d.removeEmpty(session)
	}
	return s, d.fault(err, "remove blobs")
}

// unchanged reports whether a directory was changed last before a moment.
func (d *Dir) unchanged(dir string, olderThan time.Time) bool {
	info, err := d.root.Lstat(dir)
	return err == nil && info.IsDir() && info.ModTime().Before(olderThan)
}

func (d *Dir) removeEmpty(dir string) error {
	err := d.root.Remove(dir)
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
