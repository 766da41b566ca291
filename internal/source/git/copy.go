package git

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/source"
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
		if status := at.status(ctx, repo.URL); refuses(status) {
			return at, source.Refused(stead.Errorf(stead.KindForbidden, "repository %q is not there for us (status %d): is its token one that may read it?", repo.Name, status))
		}
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

// refuses reports the statuses by which hosts say that whoever asks may not, or that there is nothing: of what is private, most say the latter.
func refuses(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return true
	}
	return false
}

// recvStatus is a line of git's trace: the status that a host answers with.
var recvStatus = regexp.MustCompile(`<= Recv header:? HTTP/[0-9.]+ ([0-9]{3})`)

// status is what a host answers when it is asked for a repository: git's words do not say it reliably, its trace does. 0: it does not answer.
func (p place) status(ctx context.Context, url string) int {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	copies := filepath.Dir(p.dir)
	c := place{dir: copies, token: p.token}.command(ctx, "ls-remote", "--quiet", "--end-of-options", url, "HEAD")
	c.Env = append(c.Env, "GIT_CEILING_DIRECTORIES="+filepath.Dir(copies), "GIT_TRACE_CURL=2", "GIT_TRACE_CURL_NO_DATA=1") // to stderr; secrets are left out
	told := &trace{}
	c.Stderr = told
	_ = c.Run()
	all := recvStatus.FindAllSubmatch(told.b.Bytes(), -1)
	if len(all) == 0 {
		return 0
	}
	status, _ := strconv.Atoi(string(all[len(all)-1][1])) // behind what a proxy says
	return status
}

// trace keeps the beginning of a trace.
type trace struct{ b bytes.Buffer }

func (t *trace) Write(b []byte) (int, error) {
	t.b.Write(b[:min(len(b), maxTraceBytes-t.b.Len())])
	return len(b), nil
}

// copied is the last part of a branch's name in our copy.
func copied(branch string) string {
	if branch == "" {
		return "head"
	}
	return "branch/" + branch
}
