package git

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/stead-dev/stead"
)

// fetched returns the copy of a repository with a URL, in which it has fetched a branch (a refspec).
//
// A copy saves bytes, and nothing depends on it: where it can't be fetched into, because a git that was killed left a lock or half a
// repository, because a branch's name is now a directory's, or because a disk lost something, a new one is made, and takes its place.
func (r *Reader) fetched(ctx context.Context, repo Repository, refspec string) (place, error) {
	defer r.alone(repo.Name)()
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	at := place{dir: filepath.Join(r.copies, repo.Name+".git"), token: repo.Token, copy: true}
	_, err := os.Stat(at.dir)
	if err == nil {
		err = at.fetch(ctx, repo.URL, refspec)
	}
	if err != nil && ctx.Err() == nil {
		err = at.anew(ctx, repo.URL, refspec)
	}
	if err != nil && !errors.Is(err, errNoGit) {
		err = stead.Wrap(stead.KindUnavailable, err, "repository %q can't be fetched", repo.Name)
	}
	return at, err
}

// alone waits until nobody else fetches a repository, and returns what lets others.
func (r *Reader) alone(name string) (done func()) {
	r.mu.Lock()
	busy := r.busy[name]
	if busy == nil {
		busy = &sync.Mutex{}
		r.busy[name] = busy
	}
	r.mu.Unlock()
	busy.Lock()
	return busy.Unlock
}

// anew makes a copy. One that is there already stays until the new one is whole: the repository may be what can't be reached.
func (p place) anew(ctx context.Context, url, refspec string) error {
	fresh := place{p.dir + ".new", p.token, true} // of a node that died at it, the same name again
	if err := os.RemoveAll(fresh.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(fresh.dir, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(fresh.dir) // it is not there any more if it took its place
	if _, err := fresh.call(ctx, callTimeout, "init", "--quiet", "--bare", "--template=", "."); err != nil {
		return err
	}
	if err := fresh.fetch(ctx, url, refspec); err != nil {
		return err
	}
	if err := os.RemoveAll(p.dir); err != nil { // half of it: it is made anew the next time
		return err
	}
	return os.Rename(fresh.dir, p.dir)
}

func (p place) fetch(ctx context.Context, url, refspec string) error {
	_, err := p.call(ctx, fetchTimeout, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance", "--end-of-options", url, refspec)
	return err
}

// copied is the last part of a branch's name in our copy.
func copied(branch string) string {
	if branch == "" {
		return "head"
	}
	return "branch/" + branch
}
