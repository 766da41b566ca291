//go:build amd64 || arm64

package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"

	"github.com/stead-dev/stead/internal/environment"
)

// ids hands out user ids, one an environment. A server that is not root has none to give.
type ids struct {
	own bool // environments run as the server's user

	mu   sync.Mutex
	used map[int]bool
}

func newIDs() *ids { return &ids{own: os.Geteuid() != 0, used: map[int]bool{}} }

// problem says why a server that is root can't give ids, "" if it can. As root itself no command runs.
func (a *ids) problem() string {
	if a.own {
		return ""
	}
	const need = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER
	if capabilities()&need != need {
		return "The server is root without the capabilities to give environments users of their own."
	}
	if !mapped("/proc/self/uid_map") || !mapped("/proc/self/gid_map") {
		return "The server is root of a user namespace that has no ids to give."
	}
	return ""
}

func capabilities() uint64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(v), 16, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// mapped reports whether a map of ids has all of ours.
func mapped(file string) bool {
	data, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		var first, outside, count int64
		if _, err := fmt.Sscan(line, &first, &outside, &count); err == nil && first <= firstID && first+count >= firstID+slots {
			return true
		}
	}
	return false
}

// take returns an id that no other environment of this server has, -1 for the server's own. The one
// that a workspace has already is tried first: then nothing in it has to be given away.
func (a *ids) take(workspace string) (int, error) {
	if a.own {
		return -1, nil
	}
	first := firstID + rand.IntN(slots) // servers of one host begin at different ones
	var stat syscall.Stat_t
	if err := syscall.Stat(workspace, &stat); err == nil && int(stat.Uid) >= firstID && int(stat.Uid) < firstID+slots {
		first = int(stat.Uid)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range slots {
		id := firstID + (first-firstID+i)%slots
		if !a.used[id] {
			a.used[id] = true
			return id, nil
		}
	}
	return 0, stead.Errorf(stead.KindUnavailable, "%d environments run already: there are no ids for another", slots)
}

func (a *ids) release(id int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.used, id)
}

// give makes everything in a directory an environment's, without following links out of it.
func give(dir string, id int) error {
	if id < 0 {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return environment.Walk(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) == id && int(stat.Gid) == id {
			return nil
		}
		return root.Lchown(name, id, id)
	})
}
