package guest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// call makes one operation: in is sent, and what comes back goes to out; nil: none.
func (c *Client) call(ctx context.Context, r request, in func(io.Writer) error, out io.Writer) error {
	if err := ctx.Err(); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "the call has ended")
	}
	s, err := c.mux.open(r)
	if err != nil {
		return gone(err)
	}
	over := make(chan struct{})
	defer close(over)
	defer context.AfterFunc(ctx, func() { c.killCommand(s, over) })()
	sent := make(chan error, 1)
	go func() {
		var err error
		if in != nil {
			w := bufio.NewWriterSize(sender{s, chanIn}, MaxDataBytes)
			if err = in(w); err == nil {
				err = w.Flush()
			}
		}
		_ = s.end()
		sent <- err
	}()
	var failed error
	for {
		ch, err := s.next()
		if err != nil {
			break
		}
		if out != nil && failed == nil {
			if _, failed = out.Write(ch.data); failed != nil {
				s.stop() // and read on, so that the outcome comes
			}
		}
		s.used(len(ch.data))
	}
	o, err := s.outcome()
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return gone(err)
	case o.err() != nil:
		return o.err()
	case ctx.Err() != nil:
		return stead.Wrap(stead.KindUnavailable, ctx.Err(), "the call has ended")
	}
	if err := <-sent; err != nil && err != errOver { // the guest may have had enough
		return err
	}
	return nil
}

// sender writes data of a stream.
type sender struct {
	s       *stream
	channel uint8
}

func (w sender) Write(p []byte) (int, error) {
	if err := w.s.send(w.channel, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// bounded keeps at most max bytes.
type bounded struct {
	data []byte
	max  int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if int64(len(b.data)+len(p)) > b.max {
		return 0, stead.Errorf(stead.KindTooLarge, "the file is larger than %d bytes", b.max)
	}
	b.data = append(b.data, p...)
	return len(p), nil
}

// ReadFile implements environment.Environment.
func (c *Client) ReadFile(ctx context.Context, path string, max int64) ([]byte, error) {
	b := bounded{data: []byte{}, max: min(max, environment.MaxFileBytes)}
	err := c.call(ctx, request{Op: opRead, Path: []byte(path), Max: b.max}, nil, &b)
	if err != nil {
		return nil, err
	}
	return b.data, nil
}

// maxMeasureBytes is the longest answer to a measurement.
const maxMeasureBytes = 1 << 10

// Measure is what the workspace takes, counted up to most names: the guest's answer, which is the inside's own.
func (c *Client) Measure(ctx context.Context, most int) (now environment.Occupied, err error) {
	b := bounded{max: maxMeasureBytes}
	if err := c.call(ctx, request{Op: opMeasure, Max: int64(most)}, nil, &b); err != nil {
		return now, err
	}
	if err := json.Unmarshal(b.data, &now); err != nil {
		return now, stead.Wrap(stead.KindUnavailable, err, "the guest answers with something else than a measurement")
	}
	return now, nil
}

// CopyFile implements environment.Environment.
func (c *Client) CopyFile(ctx context.Context, path string, max int64, w io.Writer) error {
	max = min(max, environment.MaxFileBytes)
	return c.call(ctx, request{Op: opRead, Path: []byte(path), Max: max}, nil, &limited{w: w, left: max})
}

// limited passes on at most so many bytes: the guest is not believed.
type limited struct {
	w    io.Writer
	left int64
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		return 0, stead.Errorf(stead.KindTooLarge, "the file is larger than was asked for")
	}
	return l.w.Write(p)
}

// WriteFile implements environment.Environment.
func (c *Client) WriteFile(ctx context.Context, path string, data []byte, executable bool) error {
	if len(data) > environment.MaxFileBytes {
		return stead.Errorf(stead.KindTooLarge, "a file is at most %d bytes", environment.MaxFileBytes)
	}
	return c.call(ctx, request{Op: opWrite, Path: []byte(path), Exec: executable}, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}, nil)
}

// maxPageBytes is the largest page of a list: paths as base64.
const maxPageBytes = environment.MaxListed * 2 * maxNameBytes

// List implements environment.Environment.
func (c *Client) List(ctx context.Context, q environment.ListQuery) (environment.FilePage, error) {
	b := bounded{max: maxPageBytes}
	r := request{Op: opList, List: &listing{Dir: []byte(q.Dir), After: []byte(q.After), Desc: q.Desc, Limit: q.Limit}}
	if err := c.call(ctx, r, nil, &b); err != nil {
		return environment.FilePage{}, err
	}
	var p page
	if err := json.Unmarshal(b.data, &p); err != nil || len(p.Paths) != len(p.Sizes) || len(p.Paths) > environment.MaxListed {
		return environment.FilePage{}, stead.Wrap(stead.KindUnavailable, err, "the guest's list can't be read")
	}
	out := environment.FilePage{More: p.More}
	for i, name := range p.Paths {
		out.Files = append(out.Files, environment.File{Path: string(name), Size: p.Sizes[i]})
	}
	return out, nil
}

// Ping returns when the guest has answered.
func (c *Client) Ping(ctx context.Context) error { return c.call(ctx, request{Op: opPing}, nil, nil) }

// Mirror keeps a directory of the host equal to the guest's workspace. One call at a time.
type Mirror struct {
	c    *Client
	root *os.Root
	max  int64            // bytes of all files
	have map[string]entry // what the directory holds, as the guest had it
}

// NewMirror mirrors into an open directory, at most max bytes.
func (c *Client) NewMirror(root *os.Root, max int64) *Mirror {
	return &Mirror{c: c, root: root, max: max}
}

// Push lays the whole directory over the guest's workspace, which is empty.
func (m *Mirror) Push(ctx context.Context) error { return m.c.push(ctx, m.root, treeWorkspace) }

// PushServices lays the regular files of a directory over the guest's services.
func (c *Client) PushServices(ctx context.Context, root *os.Root) error {
	return c.push(ctx, root, treeServices)
}

func (c *Client) push(ctx context.Context, root *os.Root, tree string) error {
	return c.call(ctx, request{Op: opStore, Name: tree}, func(w io.Writer) error {
		names := make(chan string)
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			defer close(names)
			_ = environment.Walk(root, func(name string, d fs.DirEntry, err error) error {
				if err != nil || name == "." {
					return nil // what can't be listed is not there for anybody
				}
				select {
				case names <- name:
					return nil
				case <-stop:
					return fs.SkipAll
				}
			})
		}()
		return archiveOf(w, root, func() (string, bool) { name, ok := <-names; return name, ok })
	}, nil)
}

// Pull makes the directory what the workspace is now: each file as it was at some moment during the
// call. Only what changed since the last one travels.
func (m *Mirror) Pull(ctx context.Context) error {
	index, err := m.index(ctx)
	if err != nil {
		return err
	}
	var changed []string
	for name, e := range index {
		if old, ok := m.have[name]; !ok || !old.equal(e) {
			changed = append(changed, name)
		}
	}
	m.have = nil // until all of it has come, nothing is sure
	if err := m.removeOthers(index); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "tidy up the copy of the workspace")
	}
	if len(changed) > 0 {
		if err := m.fetch(ctx, changed); err != nil {
			return err
		}
	}
	m.have = index
	return nil
}

// index asks for every path. The guest may be any program: names that lead anywhere else are refused.
func (m *Mirror) index(ctx context.Context) (map[string]entry, error) {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := m.c.call(ctx, request{Op: opIndex}, nil, w)
		w.CloseWithError(err) // nil is io.EOF
		done <- err
	}()
	index := map[string]entry{}
	err := func() error {
		next := indexReader(io.LimitReader(r, maxIndexBytes))
		for {
			e, err := next()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			name := string(e.Path)
			if !validName(name) || len(index) >= environment.MaxWorkspaceFiles {
				return stead.Errorf(stead.KindUnavailable, "the guest's index has a path that is none, or too many")
			}
			e.Path = nil // it is the key
			index[name] = e
		}
	}()
	r.CloseWithError(err)
	if callErr := <-done; callErr != nil {
		return nil, gone(callErr)
	}
	if err != nil {
		return nil, gone(err)
	}
	return index, nil
}

// maxIndexBytes is the longest index.
const maxIndexBytes = environment.MaxWorkspaceFiles * 512

func (m *Mirror) fetch(ctx context.Context, names []string) error {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := m.c.call(ctx, request{Op: opFetch}, func(out io.Writer) error {
			for _, name := range slices.Sorted(slices.Values(names)) { // directories before what is in them
				if _, err := io.WriteString(out, name+"\x00"); err != nil {
					return err
				}
			}
			return nil
		}, w)
		w.CloseWithError(err)
		done <- err
	}()
	err := overlay(ctx, r, m.root, m.max)
	r.CloseWithError(err)
	if callErr := <-done; err == nil && callErr != nil {
		err = callErr
	}
	if err != nil && stead.KindOf(err) == stead.KindInternal {
		err = stead.Wrap(stead.KindUnavailable, err, "copy the workspace from the guest")
	}
	return err
}

// removeOthers removes what the workspace has no more, or has as another kind.
func (m *Mirror) removeOthers(index map[string]entry) error {
	return environment.Walk(m.root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		e, ok := index[name]
		if ok && (e.Kind == kindDir) == d.IsDir() {
			return nil
		}
		if err := m.root.RemoveAll(name); err != nil {
			return err
		}
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
}
