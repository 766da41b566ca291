package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace/manifest"
)

// List lists regular files below a directory, in the order of their paths' components. Symbolic links
// are neither listed nor followed. KindNotFound when the directory is not there.
func (d *Dir) List(ctx context.Context, q environment.ListQuery) (environment.FilePage, error) {
	dir, err := clean(q.Dir)
	if err != nil {
		return environment.FilePage{}, err
	}
	if q.Limit < 1 || q.Limit > environment.MaxListed {
		return environment.FilePage{}, stead.Invalid("limit", "the limit of a page is 1 … %d, not %d", environment.MaxListed, q.Limit)
	}
	l := lister{desc: q.Desc, want: q.Limit + 1}
	if q.After != "" {
		if l.after, err = cleanFile(q.After); err != nil {
			return environment.FilePage{}, err
		}
	}
	err = d.unlocked(dir, func() error {
		root, err := enter(d.root, dir)
		if err != nil {
			return err
		}
		defer root.Close()
		l.found = nil
		w := walker{ctx: ctx, list: l.list, visit: l.visit}
		if dir == "." {
			dir = ""
		}
		if err := w.walk(root, dir, 0); !errors.Is(err, errEnough) {
			return err
		}
		return nil
	})
	if err != nil {
		return environment.FilePage{}, d.fault(err, inside(dir), "list")
	}
	page := environment.FilePage{Files: l.found, More: len(l.found) > q.Limit}
	if page.More {
		page.Files = page.Files[:q.Limit]
	}
	return page, nil
}

// lister walks in order and stops when it has enough.
type lister struct {
	after string
	desc  bool
	want  int
	seen  atomic.Int64
	found []environment.File
}

// list gives the names of a directory in the order of the page.
func (l *lister) list(root *os.Root) ([]string, error) {
	names, err := namesOf(root, &l.seen)
	if l.desc {
		slices.Reverse(names)
	}
	return names, err
}

func (l *lister) visit(at *step, name string, info fs.FileInfo) (bool, error) {
	rel, ok := at.path(name)
	if !ok || l.past(rel) || isTemporary(name) {
		return false, nil
	}
	if !info.Mode().IsRegular() {
		return info.IsDir(), nil
	}
	if c := manifest.Compare(rel, l.after); l.after == "" || c > 0 && !l.desc || c < 0 && l.desc {
		l.found = append(l.found, environment.File{Path: inside(rel), Size: info.Size()})
	}
	if len(l.found) >= l.want {
		return false, errEnough
	}
	return false, nil
}

// past says that neither rel nor anything below it comes behind the page before.
func (l *lister) past(rel string) bool {
	if l.after == "" || strings.HasPrefix(l.after, rel+"/") {
		return false
	}
	c := manifest.Compare(rel, l.after)
	if l.desc {
		// What is below a directory comes behind the directory in order, so before it here.
		return c >= 0
	}
	return c <= 0
}

// namesOf reads the names of a directory, sorted. seen counts up to environment.MaxWorkspaceFiles,
// so that no directory fills the memory.
func namesOf(root *os.Root, seen *atomic.Int64) ([]string, error) {
	names, err := readNames(root, func(n int) error {
		if seen.Add(int64(n)) > environment.MaxWorkspaceFiles {
			return tooMany()
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

// readNames reads the names of a directory, as they come. more is told of how many came, and may end it.
func readNames(root *os.Root, more func(n int) error) ([]string, error) {
	f, err := root.OpenFile(".", os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var names []string
	for {
		some, err := f.Readdirnames(namesAtOnce)
		names = append(names, some...)
		if err := more(len(some)); err != nil {
			return nil, err
		}
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func tooMany() error {
	return &stead.Error{Kind: stead.KindTooLarge,
		Message: fmt.Sprintf("the workspace has more than %d files and directories, which is the limit", environment.MaxWorkspaceFiles),
		Hint:    "Remove what is not needed, such as caches that can be made again."}
}
