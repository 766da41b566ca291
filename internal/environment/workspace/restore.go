package workspace

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
	"github.com/stead-dev/stead/internal/volume"
)

// Option changes how Restore works.
type Option func(*restorer)

// WithOwner makes everything belong to a user. Only root can do that. Without it, what root restores
// belongs to the owner of the directory.
func WithOwner(uid, gid int) Option {
	return func(r *restorer) { r.own = owner{set: true, uid: uid, gid: gid} }
}

// WithMaxBytes refuses a checkpoint whose files have more bytes, holes not counted: KindTooLarge.
// Without it the limit is that of the largest environment, environment.LargeDiskBytes.
func WithMaxBytes(n int64) Option { return func(r *restorer) { r.maxBytes = n } }

// WithRoom asks before the files are written whether there is room for so many bytes in so many new files and directories: its error
// is Restore's.
func WithRoom(admit func(bytes, files int64) error) Option {
	return func(r *restorer) { r.admit = admit }
}

// Restore makes the directory hostDir, which it makes if need be, exactly what a checkpoint says: what
// is there and right stays, what is wrong or too much goes. After a crash it is called again. No
// process may work in the directory meanwhile; should one, nothing outside is touched, and the result
// is an error or a mixture. KindInvalid for blobs that are no checkpoint, KindNotFound when one is
// missing, KindUnavailable when the disk is full.
func Restore(ctx context.Context, hostDir string, blobs environment.Blobs, digest string, options ...Option) error {
	stored, err := manifest.Load(ctx, blobs.Get, digest)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(hostDir, ownerAll); err != nil {
		return volume.Fault(err, filepath.Dir(hostDir), "make workspace")
	}
	d, err := Open(hostDir)
	if err != nil {
		return err
	}
	d.unlockSelf()
	r := &restorer{dir: d, blobs: blobs, tree: stored.Tree, maxBytes: environment.LargeDiskBytes, admit: func(int64, int64) error { return nil }}
	if r.own, err = d.owner(); err == nil {
		for _, o := range options {
			o(r)
		}
		err = r.restore(ctx)
	}
	return errors.Join(d.fault(err, environment.WorkspaceDir, "restore"), d.Close())
}

type restorer struct {
	dir      *Dir
	blobs    environment.Blobs
	tree     manifest.Tree
	own      owner
	maxBytes int64
	admit    func(bytes, files int64) error
	right    []bool            // by entry: it is there already, as it should be
	names    map[string]uint64 // of files with several: path → how many others
	umask    uint32            // bits that modes lose when a file is made
	plain    bool              // umask is known, and nothing else changes modes
	inodes   map[int]uint64    // by entry, of these and their names, where they are there
}

// target is where a piece of a pack goes.
type target struct {
	entry int
	at    int64 // in the file
	part  manifest.Part
	whole bool // the piece is the whole file
}

func (r *restorer) restore(ctx context.Context) error {
	if err := r.checkSize(); err != nil {
		return err
	}
	if err := r.prune(ctx); err != nil {
		return err
	}
	if err := r.admit(r.missing()); err != nil {
		return err
	}
	for i, e := range r.tree.Entries {
		if err := r.make(e, r.right[i]); err != nil {
			return r.dir.fault(err, inside(e.Path), "restore")
		}
	}
	r.learnMask()
	if err := r.fill(ctx); err != nil {
		return err
	}
	for i, e := range r.tree.Entries {
		if e.Kind == manifest.Name && !r.right[i] {
			if err := r.dir.root.Link(e.Target, e.Path); err != nil {
				return r.dir.fault(err, inside(e.Path), "restore")
			}
		}
	}
	return r.finish()
}

func (r *restorer) checkSize() error {
	left := r.maxBytes
	for _, e := range r.tree.Entries {
		for _, p := range e.Parts {
			if p.Pack != manifest.Hole {
				left -= p.Length
			}
		}
		if left < 0 {
			return stead.Errorf(stead.KindTooLarge, "the checkpoint's files have more than %d bytes, which is the limit", r.maxBytes)
		}
	}
	return nil
}

// missing is how much has to be written: the bytes of files that are not there as they should be, and how many entries are not.
func (r *restorer) missing() (bytes, files int64) {
	for i, e := range r.tree.Entries {
		if !r.right[i] && e.Kind != manifest.Name {
			files++
		}
		for _, p := range e.Parts {
			if p.Pack != manifest.Hole && !r.right[i] {
				bytes += p.Length
			}
		}
	}
	return bytes, files
}

// inOnePiece says that a file is written when its only piece arrives; others are made first.
func inOnePiece(e manifest.Entry) bool { return len(e.Parts) == 1 && e.Parts[0].Pack != manifest.Hole }

// make makes what needs no piece: directories, links, and files that pieces are put into. Directories
// stay open to their owner until finish.
func (r *restorer) make(e manifest.Entry, right bool) error {
	switch {
	case e.Kind == manifest.Directory:
		return r.makeDirectory(e.Path, right)
	case right || inOnePiece(e) || e.Kind == manifest.Name:
		return nil
	case e.Kind == manifest.Link:
		if err := r.dir.root.Symlink(e.Target, e.Path); err != nil || !r.own.set {
			return err
		}
		return r.dir.root.Lchown(e.Path, r.own.uid, r.own.gid)
	}
	f, err := r.create(r.dir.root, e.Path)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(e.Size), f.Close())
}

func (r *restorer) makeDirectory(rel string, right bool) error {
	if right {
		return nil
	}
	if err := r.dir.root.Mkdir(rel, ownerAll); err != nil {
		return err
	}
	if !r.own.set {
		return nil
	}
	f, err := r.dir.root.OpenFile(rel, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return errors.Join(r.own.give(f), f.Close())
}

// create makes a file that is not there: whatever is, it is not opened.
func (r *restorer) create(root *os.Root, rel string) (*os.File, error) {
	f, err := root.OpenFile(rel, os.O_WRONLY|os.O_CREATE|os.O_EXCL, ownerFile)
	if err != nil {
		return nil, err
	}
	if err := r.own.give(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// fill unpacks the packs in parallel and puts their pieces where they belong.
func (r *restorer) fill(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	byPack := make([][]target, len(r.tree.Packs))
	for i, e := range r.tree.Entries {
		at := int64(0)
		for _, p := range e.Parts {
			if p.Pack != manifest.Hole && !r.right[i] {
				byPack[p.Pack] = append(byPack[p.Pack], target{i, at, p, inOnePiece(e)})
			}
			at += p.Length
		}
	}
	parallel := runtime.GOMAXPROCS(0)
	u, err := manifest.NewUnpacker(parallel)
	if err != nil {
		return err
	}
	defer u.Close()
	packs := make(chan int)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			var content []byte // of one pack after the other
			for p := range packs {
				var err error
				if content, err = r.unpack(ctx, u, r.tree.Packs[p], byPack[p], content); err != nil {
					cancel(err)
				}
			}
		})
	}
	for p, targets := range byPack {
		if len(targets) > 0 && ctx.Err() == nil {
			packs <- p
		}
	}
	close(packs)
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		if errors.Is(err, ctx.Err()) {
			return ended(ctx)
		}
		return err
	}
	return nil
}

func (r *restorer) unpack(ctx context.Context, u *manifest.Unpacker, p manifest.Pack, targets []target, into []byte) ([]byte, error) {
	if err := ended(ctx); err != nil {
		return into, err
	}
	blob, err := r.blobs.Get(ctx, p.Digest.String())
	if err != nil {
		return into, err
	}
	content, err := u.Unpack(blob, p.Size, into)
	if err != nil {
		return into, err
	}
	at := held{workspace: r.dir}
	defer at.close()
	for _, t := range targets {
		e := r.tree.Entries[t.entry]
		data := content[t.part.Offset : t.part.Offset+int(t.part.Length)]
		if sha256.Sum256(data) != t.part.Hash {
			return into, stead.Errorf(stead.KindInvalid, "the checkpoint's bytes of %.200q do not match their hash", e.Path)
		}
		_, err := at.enter(path.Dir(e.Path))
		if err == nil {
			err = r.write(&at, e, t, data)
		}
		if err != nil {
			return into, r.dir.fault(err, inside(e.Path), "restore")
		}
	}
	return content, nil
}

func (r *restorer) write(in *held, e manifest.Entry, t target, data []byte) error {
	name := path.Base(e.Path)
	if t.whole {
		return r.writeWhole(in, name, e, data)
	}
	f, err := in.root.OpenFile(name, os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, t.at)
	return errors.Join(err, f.Close())
}

// setMTime sets a file's time of change, and leaves that of the last look alone.
func setMTime(dir *os.Root, name string, ns int64) error {
	return dir.Chtimes(name, time.Time{}, time.Unix(0, ns))
}

// finish sets modes and times where that had to wait: of files in several pieces, and of directories
// from the deepest on, because the mode of one may keep even its owner out.
func (r *restorer) finish() error {
	for i := len(r.tree.Entries) - 1; i >= 0; i-- {
		e := r.tree.Entries[i]
		var err error
		switch {
		case e.Kind == manifest.Directory:
			err = r.dir.root.Chmod(e.Path, fs.FileMode(e.Mode))
		case e.Kind == manifest.File && (r.right[i] || !inOnePiece(e)):
			err = errors.Join(r.dir.root.Chmod(e.Path, fs.FileMode(e.Mode)), setMTime(r.dir.root, e.Path, e.MTime))
		}
		if err != nil {
			return r.dir.fault(err, inside(e.Path), "restore")
		}
	}
	return nil
}
