package host

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// Files that somebody gave are put into the workspace when the environment is opened or stored. One
// that can't be there must not keep the others, nor the checkpoint, from being made: it would do so
// for ever.

type writer interface {
	WriteFile(ctx context.Context, path string, data []byte, executable bool) error
}

// put writes files into the workspace of an environment that is not open.
func (h *Host) put(ctx context.Context, key stead.SessionKey, p place, limits environment.Limits, files []environment.Put) ([]environment.Refused, error) {
	if len(files) == 0 {
		return nil, nil
	}
	dir, err := workspace.Open(p.workspace())
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return h.putInto(ctx, key, dir, room(dir, limits), files)
}

// putOpen writes files into the workspace of one that is.
func (h *Host) putOpen(ctx context.Context, b *box, files []environment.Put) ([]environment.Refused, error) {
	if len(files) == 0 {
		return nil, nil
	}
	dir, err := openWorkspace(b.place)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return h.putInto(ctx, b.key, b.env, room(dir, b.limits), files)
}

// room is how many bytes a workspace may still take; one that can't be measured now is not refused
// anything, since the watchdog measures it again.
func room(dir *workspace.Dir, limits environment.Limits) int64 {
	used, err := dir.DiskUsage()
	if err != nil {
		return limits.DiskBytes
	}
	return limits.DiskBytes - used
}

// putInto writes files, and returns those that can't be written. The error is of what has nothing to do
// with a single file, such as blobs that are away or a full disk: all of it is tried again.
func (h *Host) putInto(ctx context.Context, key stead.SessionKey, w writer, room int64, files []environment.Put) (refused []environment.Refused, err error) {
	for _, f := range files {
		err := fits(f.Path, int64(f.Data.Bytes), room)
		if err == nil {
			err = h.cfg.Room(int64(f.Data.Bytes), 1)
		}
		if err == nil {
			var failed error
			if err, failed = h.putFile(ctx, key, w, f); failed != nil {
				return nil, failed
			}
		}
		switch stead.KindOf(err) {
		case "":
			room -= int64(f.Data.Bytes)
		case stead.KindInvalid, stead.KindNotFound, stead.KindTooLarge, stead.KindConflict:
			h.log.Warn("a file can't be put into a workspace, and is given up", "session", key.Session, "path", f.Path, "err", err)
			refused = append(refused, environment.Refused{Path: f.Path, Reason: reason(err)})
		default:
			return nil, err
		}
	}
	return refused, nil
}

// putFile writes one file. Where the workspace is on this machine it is never in memory as a whole. failed
// is of the blobs.
func (h *Host) putFile(ctx context.Context, key stead.SessionKey, w writer, f environment.Put) (err, failed error) {
	to, here := w.(interface {
		WriteFrom(ctx context.Context, path string, from io.Reader, executable bool) error
	})
	if !here {
		data, failed := h.cfg.Blobs.Get(ctx, key, f.Data.Digest)
		if failed != nil {
			return nil, failed
		}
		return w.WriteFile(ctx, f.Path, data, false), nil
	}
	from, failed := h.cfg.Blobs.Open(ctx, key, f.Data.Digest)
	if failed != nil {
		return nil, failed
	}
	defer from.Close()
	blob := &faulty{Reader: from}
	err = to.WriteFrom(ctx, f.Path, blob, false)
	return err, blob.failed
}

// faulty keeps the error of a reader.
type faulty struct {
	io.Reader
	failed error
}

func (f *faulty) Read(b []byte) (int, error) {
	n, err := f.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		f.failed = err
	}
	return n, err
}

// fits refuses what the workspace's limit has no room for. The watchdog that holds the limit looks at
// what commands write, and would end them for what they did not do.
func fits(path string, size, room int64) error {
	if size <= room {
		return nil
	}
	return &stead.Error{Kind: stead.KindTooLarge, Param: "path",
		Message: fmt.Sprintf("%q has %d bytes, and the workspace's limit has room for %d", path, size, max(room, 0)),
		Hint:    "Remove files that are not needed, or take a larger container_size."}
}

// reason is what people are told of an error.
func reason(err error) string {
	if e, ok := errors.AsType[*stead.Error](err); ok {
		return e.Message
	}
	return "it can't be written"
}

// Admits implements environment.Host.
func (h *Host) Admits(ctx context.Context, key stead.SessionKey, path string, size int64) error {
	b, err := h.box(key)
	if err != nil || b.remote {
		return nil //nolint:nilerr // it is put where the environment is opened next
	}
	dir, err := openWorkspace(b.place)
	if err != nil {
		return nil //nolint:nilerr // it is ending
	}
	defer dir.Close()
	if err = dir.Admits(ctx, path); err == nil {
		err = fits(path, size, room(dir, b.limits))
	}
	switch stead.KindOf(err) {
	case stead.KindTooLarge:
		return err
	case stead.KindInvalid, stead.KindNotFound, stead.KindConflict:
		return &stead.Error{Kind: stead.KindConflict, Param: "path", Message: reason(err), Err: err, Hint: "Take another path, or have the agent remove what is there."}
	}
	return nil // what may pass is no reason to refuse
}
