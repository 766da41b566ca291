package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// Files that must be forgotten are in checkpoints, in workspaces that are open, and in what is left on the disk of those that are not.

// Rewrite implements environment.Host.
func (h *Host) Rewrite(ctx context.Context, key stead.SessionKey, checkpoints []string, f environment.Forgetting) ([]environment.Rewritten, error) {
	return workspace.Forget(ctx, h.blobs(key), checkpoints, f)
}

// filing is a workspace, open or not.
type filing interface {
	List(ctx context.Context, q environment.ListQuery) (environment.FilePage, error)
	ReadFile(ctx context.Context, path string, max int64) ([]byte, error)
	WriteFile(ctx context.Context, path string, data []byte, executable bool) error
}

// forget takes files out of a workspace: what is to be known of them is put in their places.
func forget(ctx context.Context, in filing, f *environment.Forgetting) error {
	if f == nil {
		return nil
	}
	for _, dir := range f.Dirs {
		q := environment.ListQuery{Dir: environment.WorkspaceDir + "/" + dir, Limit: environment.MaxListed}
		for {
			page, err := in.List(ctx, q)
			if stead.KindOf(err) == stead.KindNotFound || stead.KindOf(err) == stead.KindInvalid {
				break // it is not there, or is no directory
			}
			if err != nil {
				return err
			}
			for _, file := range page.Files {
				q.After = file.Path
				if err := forgetFile(ctx, in, f, file); err != nil {
					return err
				}
			}
			if !page.More {
				break
			}
		}
	}
	return nil
}

func forgetFile(ctx context.Context, in filing, f *environment.Forgetting, file environment.File) error {
	if !f.May(strings.TrimPrefix(file.Path, environment.WorkspaceDir+"/"), file.Size) {
		return nil
	}
	data, err := in.ReadFile(ctx, file.Path, f.MaxBytes)
	switch stead.KindOf(err) {
	case "":
	case stead.KindNotFound, stead.KindTooLarge, stead.KindInvalid: // it is another one by now
		return nil
	default:
		return err
	}
	instead, is := f.Is(path.Base(file.Path), data)
	if !is {
		return nil
	}
	return in.WriteFile(ctx, file.Path, instead, false)
}

// forgetIn does so in a workspace that is not open.
func forgetIn(ctx context.Context, p place, f *environment.Forgetting) error {
	if f == nil {
		return nil
	}
	dir, err := openWorkspace(p)
	if err != nil {
		return err
	}
	defer dir.Close()
	return forget(ctx, dir, f)
}

// evictedPrefix begins the name of a workspace that is being removed.
const evictedPrefix = "evicted-"

// Evict implements environment.Host. Another node may have the same disk, so that the directory is moved away before it is removed, and
// moved back where that node has opened it meanwhile: what runs in it does not notice.
func (h *Host) Evict(_ context.Context, key stead.SessionKey, unused func() (bool, error)) error {
	defer h.hold(key)()
	if _, err := h.box(key); err == nil {
		return inUse(key)
	}
	p := h.place(key)
	old, err := filepath.Glob(filepath.Join(p.dir, evictedPrefix+"*")) // of a node that died
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "look for what is being removed of an environment")
	}
	if isDir(p.workspace()) {
		if free, err := unused(); err != nil || !free {
			return errors.Join(err, inUse(key))
		}
		away := filepath.Join(p.dir, evictedPrefix+stamp())
		if err := os.Rename(p.workspace(), away); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unavailable(err, "remove a workspace")
		}
		if free, err := unused(); err != nil || !free {
			return errors.Join(err, inUse(key), unavailable(os.Rename(away, p.workspace()), "move a workspace back"))
		}
		old = append(old, away)
	}
	for _, dir := range old {
		if err := workspace.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func inUse(key stead.SessionKey) error {
	return stead.Errorf(stead.KindConflict, "the environment of session %s is in use", key.Session)
}
