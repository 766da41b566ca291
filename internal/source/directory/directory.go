// Package directory reads the documents of a directory that the operator has allowed.
//
// Shape: files below the root, in the order of their paths; a file's stamp is its size and the time of its last change.
//
// What is no plain file is none of a source's: a link may lead to what other rules of access are for, or out. Files are opened below
// the root by the operating system (os.Root), so that no name leads out of it. A file whose last change is not older than
// racyTime when it is read has no stamp: another change may leave that the same.
//
// Where a root has Permissions, who may read a file is read with it, each time, by owner, group, mode and access control list: see Permissions.
//
// Errors: a file or directory that is gone, or that the server may not read, is KindNotFound or KindForbidden; what can't be read for
// another reason, and a root that is not there, is KindUnavailable.
package directory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// racyTime is how long after its last change a file's size and time are trusted. File systems keep times as coarse as two seconds.
const racyTime = 2 * time.Second

// listChunk is how many names of a directory are read at once.
const listChunk = 1000

// Root is a directory that sources may name.
type Root struct {
	Name, Path string
	Projects   []stead.ProjectID // whose sources may; none: all
	// Permissions say whom those who may read a file are; nil: who may is said by rules of sources alone.
	Permissions *Permissions
}

// Reader implements source.Reader.
type Reader struct {
	roots []Root
	now   func() time.Time
}

// New makes a Reader.
func New(roots []Root, now func() time.Time) *Reader { return &Reader{roots, now} }

// Check implements source.Reader.
func (r *Reader) Check(project stead.ProjectID, spec source.Spec) error {
	_, err := r.root(project, spec)
	return err
}

func (r *Reader) root(project stead.ProjectID, spec source.Spec) (Root, error) {
	for _, root := range r.roots {
		if root.Name == spec.Directory && (len(root.Projects) == 0 || slices.Contains(root.Projects, project)) {
			return root, nil
		}
	}
	e := stead.Invalid("directory", "there is no directory %.80q for this project", spec.Directory)
	e.Hint = "The operator names those that sources may read: sources.directories."
	return Root{}, e
}

// Permits implements source.Permitter.
func (r *Reader) Permits(project stead.ProjectID, spec source.Spec) bool {
	root, err := r.root(project, spec)
	return err == nil && root.Permissions != nil
}

// Walk implements source.Reader.
func (r *Reader) Walk(ctx context.Context, w source.Walk) (string, error) {
	allowed, err := r.root(w.Project, w.Spec)
	if err != nil {
		return "", err
	}
	v := &visitor{ctx: ctx, walk: w, selection: source.Select(w.Spec), uri: "directory://" + path.Join(allowed.Name, w.Spec.Path) + "/", now: r.now, permissions: allowed.Permissions}
	root, err := os.OpenRoot(allowed.Path)
	above := v.through(root, err, nil)
	for part := range strings.SplitSeq(w.Spec.Path, "/") {
		if err != nil || part == "" {
			break
		}
		defer root.Close()
		root, err = openDir(root, part)
		above = v.through(root, err, above)
	}
	if errors.Is(err, fs.ErrPermission) {
		return "", w.Visit(source.Document{Err: refused(err)}) // nothing of it may be read any more
	}
	if err != nil {
		return "", stead.Wrap(stead.KindUnavailable, reason(err), "directory %q can't be read", path.Join(allowed.Name, w.Spec.Path))
	}
	defer root.Close()
	return "", v.dir(root, "", 1, above)
}

// openDir opens a directory in another one, without following a link.
func openDir(root *os.Root, name string) (*os.Root, error) {
	info, err := root.Lstat(name)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
	}
	if err != nil {
		return nil, err
	}
	next, err := root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	if now, err := next.Stat("."); err != nil || !os.SameFile(info, now) {
		next.Close()
		return nil, errors.Join(err, fs.ErrNotExist) // it was replaced meanwhile
	}
	return next, nil
}

// visitor meets what is below a root.
type visitor struct {
	ctx       context.Context
	walk      source.Walk
	selection source.Selection
	uri       string // that those of documents begin with
	now       func() time.Time
	entries   int
	// permissions are those of the root; nil: nobody asks.
	permissions *Permissions
}

// through adds who gets through a directory that was opened to those who get to it.
func (v *visitor) through(root *os.Root, err error, above []vectorstore.Readers) []vectorstore.Readers {
	if err != nil || v.permissions == nil {
		return above
	}
	f, err := root.Open(".")
	if err != nil {
		return narrowed(above, vectorstore.Nobody())
	}
	defer f.Close()
	return narrowed(above, v.permissions.of(f, mayPass))
}

// dir meets a directory, whose path is "" or ends with a slash, and to whose contents those of above get.
func (v *visitor) dir(root *os.Root, at string, depth int, above []vectorstore.Readers) error {
	if depth > source.MaxDepth {
		return v.walk.Visit(source.Document{Path: strings.TrimSuffix(at, "/"), Err: stead.Errorf(stead.KindTooLarge, "more than %d directories lie inside of each other", source.MaxDepth)})
	}
	names, err := v.list(root)
	if err != nil {
		if _, ours := errors.AsType[*stead.Error](err); ours {
			return err
		}
		return v.walk.Visit(source.Document{Path: strings.TrimSuffix(at, "/"), Err: translate(err)})
	}
	for _, e := range names {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		name := at + e.Name()
		switch {
		case e.IsDir() && !v.selection.Skips(name):
			err = v.below(root, e.Name(), name, depth, above)
		case e.Type().IsRegular() && v.selection.Has(name):
			err = v.file(root, e.Name(), name, above)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *visitor) below(root *os.Root, name, at string, depth int, above []vectorstore.Readers) error {
	sub, err := openDir(root, name)
	if err != nil {
		return v.walk.Visit(source.Document{Path: at, Err: translate(err)})
	}
	defer sub.Close()
	return v.dir(sub, at+"/", depth+1, v.through(sub, nil, above))
}

// list reads the names of a directory, in their order.
func (v *visitor) list(root *os.Root) ([]fs.DirEntry, error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []fs.DirEntry
	for {
		some, err := f.ReadDir(listChunk)
		if v.entries += len(some); v.entries > source.MaxEntries {
			return nil, stead.Errorf(stead.KindTooLarge, "the directory holds more than %d names: choose a part of it by path, or leave directories out by exclude", source.MaxEntries)
		}
		out = append(out, some...)
		if err == io.EOF {
			slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
			return out, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// file meets a file: it is opened, which says whether it may be read, and read only when that is asked for.
func (v *visitor) file(root *os.Root, name, at string, above []vectorstore.Readers) error {
	d := source.Document{Path: at, URI: v.uri + at}
	f, info, err := open(root, name)
	if err != nil {
		d.Err = translate(err)
		return v.walk.Visit(d)
	}
	defer f.Close()
	d.Stamp = stampOf(info)
	if v.permissions != nil { // a change of these leaves the stamp as it is
		d.Permits = &vectorstore.Permits{Readers: narrowed(above, v.permissions.of(f, mayRead))}
	}
	d.Read = func(context.Context) (source.Content, error) { return v.read(f, info) }
	return v.walk.Visit(d)
}

// open opens a plain file. Not to block is for what was put in its place meanwhile: opening a FIFO waits for somebody who writes.
func open(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	listed, err := root.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || !os.SameFile(listed, info)) {
		err = fs.ErrNotExist // it was replaced
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func stampOf(info fs.FileInfo) string {
	return fmt.Sprintf("%d-%d", info.Size(), info.ModTime().UnixNano())
}

func (v *visitor) read(f *os.File, before fs.FileInfo) (source.Content, error) {
	if before.Size() > source.MaxDocumentBytes {
		return source.Content{}, stead.Errorf(stead.KindTooLarge, "the file has %d bytes, the limit is %d", before.Size(), source.MaxDocumentBytes)
	}
	data, err := io.ReadAll(io.LimitReader(f, source.MaxDocumentBytes+1))
	if err != nil {
		return source.Content{}, translate(err)
	}
	if len(data) > source.MaxDocumentBytes {
		return source.Content{}, stead.Errorf(stead.KindUnavailable, "the file grows while it is read")
	}
	after, err := f.Stat()
	if err != nil {
		return source.Content{}, translate(err)
	}
	if stampOf(after) != stampOf(before) || int64(len(data)) != after.Size() {
		return source.Content{}, stead.Errorf(stead.KindUnavailable, "the file is being written")
	}
	c := source.Content{Data: data}
	if v.now().Sub(after.ModTime()) < racyTime {
		c.Stamp = source.NoStamp
	}
	return c, nil
}

// translate says of a file system's error what it means to a walk.
func translate(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return refused(err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		return stead.Wrap(stead.KindNotFound, reason(err), "it is gone")
	}
	return stead.Wrap(stead.KindUnavailable, reason(err), "it can't be read now")
}

func refused(err error) error {
	return stead.Wrap(stead.KindForbidden, reason(err), "the server may not read it")
}

// reason is an error without the machine's path.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
