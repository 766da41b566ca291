package workspace

import (
	"context"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// leftoverAge is how old a temporary file is that nobody is writing any more.
const leftoverAge = time.Hour

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
}

// listing is one directory: its nodes, and the listings of those that are directories.
type listing struct {
	nodes []node
	below []*listing // by node; nil for what is no directory
}

// scan lists everything below the workspace, in the manifest's order.
func (d *Dir) scan(ctx context.Context, now time.Time, parallel int) (nodes []node, skipped int, err error) {
	s := &scanner{ctx: ctx, now: now, idle: make(chan struct{}, parallel-1)}
	for range parallel - 1 {
		s.idle <- struct{}{}
	}
	l, err := s.list(d.root, "", 1)
	if err != nil {
		return nil, 0, err
	}
	nodes = make([]node, 0, s.seen.Load())
	return l.flatten(nodes), int(s.skipped.Load()), nil
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
	names, err := namesOf(root, &s.seen)
	if err != nil {
		return nil, err
	}
	l := &listing{nodes: make([]node, 0, len(names))}
	for _, name := range names {
		n, ok := s.look(root, dir, name, depth)
		if !ok {
			continue
		}
		if s.pathBytes.Add(int64(len(n.path))) > manifest.MaxTreePathBytes {
			return nil, stead.Errorf(stead.KindTooLarge, "the paths of the workspace's files have more than %d bytes together, which is the limit", manifest.MaxTreePathBytes)
		}
		l.nodes = append(l.nodes, n)
	}
	l.below = make([]*listing, len(l.nodes))
	return l, s.descend(root, l, depth)
}

// look makes the node of a name; false for what is no part of a checkpoint.
func (s *scanner) look(root *os.Root, dir, name string, depth int) (node, bool) {
	info, err := root.Lstat(name)
	if err != nil {
		return node{}, false // gone since
	}
	if strings.HasPrefix(name, temporaryPrefix) && info.Mode().IsRegular() {
		if s.now.Sub(info.ModTime()) > leftoverAge {
			_ = root.Remove(name) // of a server that was killed while it wrote; next time, if it fails
		}
		return node{}, false
	}
	n := node{path: name, mode: uint16(info.Mode().Perm()), size: info.Size(), mtime: info.ModTime().UnixNano()}
	if dir != "" {
		n.path = dir + "/" + name
	}
	n.stat, n.known = statOf(info)
	switch {
	case len(n.path) > manifest.MaxPathBytes || depth > manifest.MaxDepth:
	case info.IsDir():
		n.kind = manifest.Directory
	case info.Mode().IsRegular():
		n.kind = manifest.File
	case info.Mode()&fs.ModeSymlink != 0:
		if n.target, err = root.Readlink(name); err != nil {
			return node{}, false
		}
		n.kind = manifest.Link
	}
	if n.kind == 0 {
		s.skipped.Add(1)
	}
	return n, n.kind != 0
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
	l, err := s.list(sub, n.path, depth+1)
	if vanished(err) {
		return nil, nil
	}
	return l, err
}
