package guest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// openNonBlock keeps a FIFO from blocking that takes a file's place.
const openNonBlock = syscall.O_NONBLOCK

// files serves one operation on files.
func (g *guest) files(s *stream, r request) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.kill:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := g.file(ctx, s, r)
	if err == nil {
		s.finish(outcome{})
		return
	}
	o := outcome{Kind: stead.KindUnavailable, Message: err.Error()}
	if e, ok := errors.AsType[*stead.Error](err); ok {
		o.Kind, o.Message = e.Kind, e.Message
	}
	s.finish(o)
}

func (g *guest) file(ctx context.Context, s *stream, r request) error {
	if r.Op == opStore {
		return store(ctx, s, r.Name)
	}
	d, err := workspace.Open(environment.WorkspaceDir)
	if err != nil {
		return err
	}
	defer d.Close()
	switch r.Op {
	case opRead:
		return d.CopyFile(ctx, string(r.Path), r.Max, sender{s, chanOut})
	case opWrite:
		return d.WriteFrom(ctx, string(r.Path), received(s), r.Exec)
	case opList:
		return list(ctx, d, s, r.List)
	case opMeasure:
		now, err := d.Measure(int(r.Max))
		if err != nil {
			return err
		}
		data, err := json.Marshal(now)
		if err != nil {
			return err
		}
		return s.send(chanOut, data)
	}
	root, err := os.OpenRoot(environment.WorkspaceDir)
	if err != nil {
		return err
	}
	defer root.Close()
	w := bufio.NewWriterSize(sender{s, chanOut}, MaxDataBytes)
	if r.Op == opIndex {
		err = index(ctx, w, root)
	} else {
		in := received(s)
		err = archiveOf(w, root, func() (string, bool) {
			name, err := in.ReadString(0)
			return name[:max(len(name)-1, 0)], err == nil && ctx.Err() == nil
		})
	}
	return errors.Join(err, w.Flush())
}

func list(ctx context.Context, d *workspace.Dir, s *stream, q *listing) error {
	if q == nil {
		return stead.Invalid("list", "a list has a query")
	}
	found, err := d.List(ctx, environment.ListQuery{Dir: string(q.Dir), After: string(q.After), Desc: q.Desc, Limit: q.Limit})
	if err != nil {
		return err
	}
	p := page{Paths: [][]byte{}, Sizes: []int64{}, More: found.More}
	for _, f := range found.Files {
		p.Paths, p.Sizes = append(p.Paths, []byte(f.Path)), append(p.Sizes, f.Size)
	}
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return s.send(chanOut, data)
}

// index writes a line for each path. What vanishes meanwhile is left out.
func index(ctx context.Context, w io.Writer, root *os.Root) error {
	lines := json.NewEncoder(w)
	return environment.Walk(root, func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || name == "." {
			return nil // what can't be listed is not there for anybody
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		e := entry{Path: []byte(name), Mode: uint32(info.Mode().Perm()), Size: info.Size(), MTime: info.ModTime().UnixNano()}
		switch {
		case info.IsDir():
			e.Kind, e.Size = kindDir, 0
			if e.Mode&0o500 != 0o500 { // its owner has shut himself out, and what is in it must not be lost
				_ = root.Chmod(name, info.Mode().Perm()|0o700)
			}
		case info.Mode().IsRegular():
			e.Kind = kindFile
		case info.Mode()&fs.ModeSymlink != 0:
			e.Kind = kindLink
		default:
			return nil
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			e.CTime, e.Inode = st.Ctim.Nano(), st.Ino
		}
		return lines.Encode(e)
	})
}

// store lays an archive of the host's over a tree. The host is believed: it started the guest.
func store(ctx context.Context, s *stream, tree string) error {
	dir := map[string]string{treeWorkspace: environment.WorkspaceDir, treeServices: environment.ServicesDir}[tree]
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return overlay(ctx, received(s), root, 1<<62)
}

// received reads the data of a stream.
func received(s *stream) *bufio.Reader { return bufio.NewReaderSize(&chunks{s: s}, MaxDataBytes) }

type chunks struct {
	s    *stream
	rest []byte
}

func (c *chunks) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		next, err := c.s.next()
		if err != nil {
			return 0, err
		}
		c.rest = next.data
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	c.s.used(n)
	return n, nil
}
