package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
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
	l := lister{ctx: ctx, desc: q.Desc, want: q.Limit + 1}
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
		return l.list(root, dir, 0)
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
	ctx   context.Context
	after string
	desc  bool
	want  int
	seen  atomic.Int64
	found []environment.File
}

func (l *lister) list(root *os.Root, dir string, depth int) error {
	if err := ended(l.ctx); err != nil {
		return err
	}
	names, err := namesOf(root, &l.seen)
	if err != nil {
		return err
	}
	if l.desc {
		slices.Reverse(names)
	}
	for _, name := range names {
		rel := path.Join(dir, name)
		if l.past(rel) || strings.HasPrefix(name, temporaryPrefix) {
			continue
		}
		info, err := root.Lstat(name)
		switch {
		case err != nil:
			continue // gone since
		case info.Mode().IsRegular():
			if c := manifest.Compare(rel, l.after); l.after == "" || c > 0 && !l.desc || c < 0 && l.desc {
				l.found = append(l.found, environment.File{Path: inside(rel), Size: info.Size()})
			}
		case info.IsDir() && depth < manifest.MaxDepth:
			if err := l.enter(root, name, rel, depth); err != nil {
				return err
			}
		}
		if len(l.found) >= l.want {
			return nil
		}
	}
	return nil
}

func (l *lister) enter(root *os.Root, name, rel string, depth int) error {
	sub, leave, err := enterLocked(root, name)
	if vanished(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer leave()
	if err := l.list(sub, rel, depth+1); !vanished(err) {
		return err
	}
	return nil
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
	f, err := root.OpenFile(".", os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var names []string
	for {
		some, err := f.Readdirnames(namesAtOnce)
		names = append(names, some...)
		if seen.Add(int64(len(some))) > environment.MaxWorkspaceFiles {
			return nil, tooMany()
		}
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
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
