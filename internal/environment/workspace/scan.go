package workspace

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// leftoverAge is how old a temporary file is that nobody is writing any more.
const leftoverAge = time.Hour

// parallelDepth is how many directories inside each other are listed by several goroutines, which hold
// each of them open.
const parallelDepth = 32

// node is what the system says about one file, directory or link.
type node struct {
	path   string
	kind   manifest.Kind
	mode   uint16
	size   int64
	mtime  int64
	target string
	stat   stat
	known  bool // stat is
}

// scanner lists a workspace for a checkpoint, directories in parallel.
type scanner struct {
	ctx       context.Context
	now       time.Time
	idle      chan struct{} // a token for each further goroutine
	seen      atomic.Int64  // names
	pathBytes atomic.Int64  // of all nodes
	skipped   atomic.Int64  // what no checkpoint takes
	long      atomic.Int64  // of these, what has too long a path
	// names gives those of a directory; a test's closes it first.
	names func(root *os.Root, seen *atomic.Int64) ([]string, error)
}

// listing is one directory: its nodes, and the listings of those that are directories.
type listing struct {
	nodes []node
	below []*listing // by node; nil for what is no directory
}

// leftOut counts what a checkpoint does not hold.
type leftOut struct {
	all  int
	long int // of these, what has too long a path
}

// scan lists everything below the workspace, in the manifest's order.
func (d *Dir) scan(ctx context.Context, now time.Time, parallel int) (nodes []node, out leftOut, err error) {
	s := &scanner{ctx: ctx, now: now, idle: make(chan struct{}, parallel-1), names: d.names}
	for range parallel - 1 {
		s.idle <- struct{}{}
	}
	l, err := s.list(d.root, "", 1)
	if err != nil {
		return nil, leftOut{}, err
	}
	nodes = make([]node, 0, s.seen.Load())
	return l.flatten(nodes), leftOut{int(s.skipped.Load()), int(s.long.Load())}, nil
}

func (l *listing) flatten(nodes []node) []node {
	for i, n := range l.nodes {
		nodes = append(nodes, n)
		if below := l.below[i]; below != nil {
			nodes = below.flatten(nodes)
		}
	}
	return nodes
}

// list lists one directory and what is below it; depth is how many names its entries' paths have.
func (s *scanner) list(root *os.Root, dir string, depth int) (*listing, error) {
	if err := ended(s.ctx); err != nil {
		return nil, err
	}
	names, err := s.names(root, &s.seen)
	if err != nil {
		return nil, err
	}
	l := &listing{nodes: make([]node, 0, len(names))}
	at := &step{root: root, rel: dir, depth: depth - 1}
	for _, name := range names {
		info, err := root.Lstat(name)
		if vanished(err) {
			continue
		}
		if err != nil {
			return nil, err // whoever ends the environment closes its directory: what is in it is there all the same
		}
		if _, err := s.take(l, at, name, info); err != nil {
			return nil, err
		}
	}
	l.below = make([]*listing, len(l.nodes))
	return l, s.descend(root, l, depth)
}

// take puts the node of a name into a listing; true for a directory.
func (s *scanner) take(l *listing, at *step, name string, info fs.FileInfo) (bool, error) {
	n, ok, err := s.look(at, name, info)
	if err != nil || !ok {
		return false, err
	}
	if s.pathBytes.Add(int64(len(n.path))) > manifest.MaxTreePathBytes {
		return false, stead.Errorf(stead.KindTooLarge, "the paths of the workspace's files have more than %d bytes together, which is the limit", manifest.MaxTreePathBytes)
	}
	l.nodes = append(l.nodes, n)
	return n.kind == manifest.Directory, nil
}

// nanoseconds is a time as Unix nanoseconds: the first or the last that has any for those beyond, which are of 1677 and 2262.
func nanoseconds(t time.Time) int64 {
	first, last := time.Unix(0, math.MinInt64), time.Unix(0, math.MaxInt64)
	switch {
	case t.Before(first):
		t = first
	case t.After(last):
		t = last
	}
	return t.UnixNano()
}

// look makes the node of a name; false for what is no part of a checkpoint.
func (s *scanner) look(at *step, name string, info fs.FileInfo) (node, bool, error) {
	if isTemporary(name) && info.Mode().IsRegular() {
		if s.now.Sub(info.ModTime()) > leftoverAge {
			_ = at.root.Remove(name) // of a server that was killed while it wrote; next time, if it fails
		}
		return node{}, false, nil
	}
	n := node{mode: uint16(info.Mode().Perm()), size: info.Size(), mtime: nanoseconds(info.ModTime())}
	n.stat, n.known = statOf(info)
	var short bool
	if n.path, short = at.path(name); !short {
		s.skipped.Add(1)
		s.long.Add(1)
		return node{}, false, nil
	}
	switch {
	case info.IsDir():
		n.kind = manifest.Directory
	case info.Mode().IsRegular():
		n.kind = manifest.File
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := at.root.Readlink(name)
		if vanished(err) || errors.Is(err, syscall.EINVAL) { // no link any more
			return node{}, false, nil
		}
		if err != nil {
			return node{}, false, err
		}
		n.target = target
		n.kind = manifest.Link
	}
	if n.kind == 0 {
		s.skipped.Add(1)
	}
	return n, n.kind != 0, nil
}

// descend lists the directories of a listing, in a goroutine of its own where one is idle.
func (s *scanner) descend(root *os.Root, l *listing, depth int) error {
	var wg sync.WaitGroup
	errs := make([]error, len(l.nodes))
	for i, n := range l.nodes {
		if n.kind != manifest.Directory {
			continue
		}
		below := func() { l.below[i], errs[i] = s.enter(root, n, depth) }
		select {
		case <-s.idle:
			wg.Go(func() {
				below()
				s.idle <- struct{}{}
			})
		default:
			if below(); errs[i] != nil {
				wg.Wait()
				return errs[i]
			}
		}
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) enter(root *os.Root, n node, depth int) (*listing, error) {
	name := n.path[strings.LastIndexByte(n.path, '/')+1:]
	sub, leave, err := enterLocked(root, name)
	if vanished(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer leave()
	list := s.list
	if depth >= parallelDepth {
		list = s.deep
	}
	l, err := list(sub, n.path, depth+1)
	if vanished(err) {
		return nil, nil
	}
	return l, err
}

// deep lists one directory and all that is below it as one listing: what is so far down is walked by one
// goroutine, with as few open directories as it takes.
func (s *scanner) deep(root *os.Root, dir string, depth int) (*listing, error) {
	l := &listing{}
	w := walker{
		ctx: s.ctx, list: func(root *os.Root) ([]string, error) { return s.names(root, &s.seen) },
		visit: func(at *step, name string, info fs.FileInfo) (bool, error) { return s.take(l, at, name, info) },
	}
	err := w.walk(root, dir, depth-1)
	l.below = make([]*listing, len(l.nodes))
	return l, err
}
