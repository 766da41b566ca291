package workspace

import (
	"context"
	"io/fs"
	"os"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// An agent can make directories inside each other without end, and move them while somebody walks there.
// A walk therefore neither recurses nor holds a descriptor a level: below heldOpen levels only the lowest
// directory is open, and the way up is its "..", taken only if it leads to the directory that the walk
// came from.
const (
	// heldOpen is how many directories inside each other are held open.
	heldOpen = 64
	// maxLost is how many directories may be moved away under a walk before it gives up.
	maxLost = 256
)

// step is a directory on the way down.
type step struct {
	root *os.Root    // nil: let go, or lost
	name string      // in the directory above
	info fs.FileInfo // to know it again; nil for one that is held open
	was  fs.FileMode // its mode, if opened
	// opened: its mode was in the way, and is put back at the end.
	opened bool
	rel    string   // path from the workspace, "" for itself
	long   bool     // the path is longer than what can be stored; rel is ""
	depth  int      // names in the path
	names  []string // that are to be visited
}

// path is the path of a name in the directory; false when it is longer than what can be stored.
func (s *step) path(name string) (string, bool) {
	rel := name
	if s.rel != "" {
		rel = s.rel + "/" + name
	}
	return rel, !s.long && len(rel) <= manifest.MaxPathBytes
}

// walker visits what is below a directory, each directory before what is in it.
type walker struct {
	ctx context.Context
	// list gives the names of a directory in the order in which they are visited.
	list func(*os.Root) ([]string, error)
	// visit looks at a name; true: the walk goes into it.
	visit func(dir *step, name string, info fs.FileInfo) (bool, error)
	// leave comes behind everything that is in a directory; nil: nothing is to be done.
	leave func(dir *step, name string) error

	steps []*step
	lost  int
}

// walk visits everything below root, which stays open and is first.rel of the workspace. What vanishes
// meanwhile may be in or out.
func (w *walker) walk(root *os.Root, rel string, depth int) error {
	names, err := w.list(root)
	if err != nil {
		return err
	}
	w.steps = []*step{{root: root, rel: rel, depth: depth, names: names}}
	defer w.abandon()
	for {
		at := w.steps[len(w.steps)-1]
		if len(at.names) == 0 {
			if len(w.steps) == 1 {
				return nil
			}
			if err := w.up(); err != nil {
				return err
			}
			continue
		}
		name := at.names[0]
		at.names = at.names[1:]
		info, err := at.root.Lstat(name)
		if vanished(err) {
			continue
		}
		if err != nil {
			return err
		}
		into, err := w.visit(at, name, info)
		if err == nil && into {
			err = w.down(at, name)
		}
		if err != nil {
			return err
		}
	}
}

// down enters a directory. One that is gone, or something else by now, is left out.
func (w *walker) down(at *step, name string) error {
	if err := ended(w.ctx); err != nil {
		return err
	}
	sub, was, opened, err := enterOpened(at.root, name)
	if vanished(err) {
		return nil
	}
	if err != nil {
		return err
	}
	s := &step{root: sub, name: name, was: was, opened: opened, depth: at.depth + 1}
	if rel, ok := at.path(name); ok {
		s.rel = rel
	} else {
		s.long = true
	}
	if len(w.steps) >= heldOpen {
		s.info, err = sub.Stat(".")
	}
	if err == nil {
		s.names, err = w.list(sub)
	}
	w.steps = append(w.steps, s)
	if vanished(err) {
		return nil // it is left next, without names
	}
	if err == nil && at.info != nil {
		_ = at.root.Close()
		at.root = nil
	}
	return err
}

// up leaves the lowest directory.
func (w *walker) up() error {
	last := len(w.steps) - 1
	from, at := w.steps[last], w.steps[last-1]
	w.steps = w.steps[:last]
	if at.root == nil && from.root != nil {
		if err := w.back(from.root); err != nil {
			from.done()
			return err
		}
	}
	from.done()
	if w.leave == nil || at.root == nil {
		return nil
	}
	return w.leave(at, from.name)
}

// done puts a directory's mode back and closes it.
func (s *step) done() {
	if s.root == nil {
		return
	}
	if s.opened {
		_ = s.root.Chmod(".", s.was) // held open: the same directory wherever it is now
	}
	_ = s.root.Close()
}

// back opens the lowest directory again, from what was below it, or by the names of those that are held.
// One that is not there any more is lost, with what was to be visited in it.
func (w *walker) back(below *os.Root) error {
	at := w.steps[len(w.steps)-1]
	root, err := above(below)
	if err == nil && !at.is(root) {
		_ = root.Close()
	} else if err == nil {
		at.root = root
		return nil
	}
	if at.root, err = w.find(); err != nil || at.root != nil {
		return err
	}
	at.names = nil
	if w.lost++; w.lost > maxLost {
		return stead.Errorf(stead.KindUnavailable, "directories of the workspace are moved faster than they can be looked at")
	}
	return nil
}

// is reports whether root is the directory that the walk came through.
func (s *step) is(root *os.Root) bool {
	info, err := root.Stat(".")
	return err == nil && os.SameFile(info, s.info)
}

// find opens the lowest directory by names, from the last one that is held; nil when another one is there.
func (w *walker) find() (*os.Root, error) {
	at := w.steps[heldOpen-1].root
	for _, s := range w.steps[heldOpen:] {
		next, err := enter(at, s.name)
		if at != w.steps[heldOpen-1].root {
			_ = at.Close()
		}
		if vanished(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		at = next
	}
	if !w.steps[len(w.steps)-1].is(at) {
		_ = at.Close()
		return nil, nil
	}
	return at, nil
}

// abandon ends a walk wherever it is. The first directory is the caller's.
func (w *walker) abandon() {
	for len(w.steps) > 1 {
		last := len(w.steps) - 1
		from, at := w.steps[last], w.steps[last-1]
		w.steps = w.steps[:last]
		if at.root == nil && from.root != nil && at.opened {
			_ = w.back(from.root) // to put its mode back
		}
		from.done()
	}
}
