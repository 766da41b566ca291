package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

type entry struct {
	Path   string `json:"path"`
	Mode   uint32 `json:"mode"`
	Dir    bool   `json:"dir,omitempty"`
	Link   string `json:"link,omitempty"`
	Digest string `json:"digest,omitempty"`
	Size   int64  `json:"size,omitempty"`
	MTime  int64  `json:"mtime,omitempty"`
}

// Checkpoint stores the workspace in blobs.
func (d *Dir) Checkpoint(ctx context.Context, blobs environment.Blobs, previous string) (environment.Checkpoint, error) {
	d.checkpointing.Lock()
	defer d.checkpointing.Unlock()
	d.unlockSelf()
	var c environment.Checkpoint
	var entries []entry
	seen := 0
	var walk func(root *os.Root, dir string, depth int) error
	walk = func(root *os.Root, dir string, depth int) error {
		names, err := namesOf(root, &seen)
		if err != nil {
			return err
		}
		for _, name := range names {
			rel := path.Join(dir, name)
			info, err := root.Lstat(name)
			if err != nil {
				continue
			}
			e := entry{Path: rel, Mode: uint32(info.Mode().Perm())}
			switch {
			case info.IsDir() && depth < maxDepth:
				e.Dir = true
				entries = append(entries, e)
				sub, leave, err := enterLocked(root, name)
				if err != nil {
					return err
				}
				err = walk(sub, rel, depth+1)
				leave()
				if err != nil {
					return err
				}
			case info.Mode()&fs.ModeSymlink != 0:
				if e.Link, err = root.Readlink(name); err == nil {
					entries = append(entries, e)
				}
			case info.Mode().IsRegular():
				f, info, err := openLocked(root, name)
				if err != nil {
					return err
				}
				f.Close()
				data, err := readFile(root, name, environment.MaxFileBytes)
				if err != nil {
					return err
				}
				if e.Digest, err = blobs.Put(ctx, data); err != nil {
					return err
				}
				e.Size, e.MTime = int64(len(data)), info.ModTime().UnixNano()
				c.Bytes += e.Size
				c.Files++
				entries = append(entries, e)
			}
		}
		return nil
	}
	if err := walk(d.root, ".", 0); err != nil {
		return c, d.fault(err, environment.WorkspaceDir, "checkpoint")
	}
	data, err := json.Marshal(entries)
	if err != nil {
		return c, err
	}
	c.Digest, err = blobs.Put(ctx, data)
	return c, err
}

// Restore makes hostDir what a checkpoint says.
func Restore(ctx context.Context, hostDir string, blobs environment.Blobs, digest string) error {
	data, err := blobs.Get(ctx, digest)
	if err != nil {
		return err
	}
	var entries []entry
	if err := json.Unmarshal(data, &entries); err != nil {
		return stead.Wrap(stead.KindInvalid, err, "read checkpoint")
	}
	if err := os.MkdirAll(hostDir, ownerAll); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "make workspace")
	}
	d, err := Open(hostDir)
	if err != nil {
		return err
	}
	defer d.Close()
	own, err := d.owner()
	if err != nil {
		return err
	}
	seen := 0
	names, err := namesOf(d.root, &seen)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := d.root.RemoveAll(name); err != nil {
			return stead.Wrap(stead.KindUnavailable, err, "empty workspace")
		}
	}
	for _, e := range entries {
		if _, err := cleanFile(e.Path); err != nil {
			return err
		}
		if err := d.restore(ctx, e, blobs, own); err != nil {
			return d.fault(err, e.Path, "restore")
		}
	}
	for i := len(entries) - 1; i >= 0; i-- {
		if e := entries[i]; e.Dir {
			if err := d.root.Chmod(e.Path, fs.FileMode(e.Mode)&fs.ModePerm); err != nil {
				return d.fault(err, e.Path, "restore")
			}
		}
	}
	return nil
}

func (d *Dir) restore(ctx context.Context, e entry, blobs environment.Blobs, own owner) error {
	switch {
	case e.Dir:
		dir, err := makeDirs(d.root, e.Path, own)
		if err != nil {
			return err
		}
		return dir.Close()
	case e.Link != "":
		return d.root.Symlink(e.Link, e.Path)
	}
	data, err := blobs.Get(ctx, e.Digest)
	if err != nil {
		return err
	}
	f, err := d.root.OpenFile(e.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, ownerFile)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, own.give(f), f.Chmod(fs.FileMode(e.Mode)&fs.ModePerm), f.Close(),
		d.root.Chtimes(e.Path, time.Time{}, time.Unix(0, e.MTime)))
}
