package gvisor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
)

// scratch is the directory with the mount points of this provider's sandboxes:
//
//	PARENT/owner-RANDOM/lock    held as long as the provider lives, by whatever way it ends
//	PARENT/owner-RANDOM/N       mount point of a sandbox; empty for everybody but its supervisor
//
// PARENT is this user's alone. A directory whose lock nobody holds belongs to a server that is dead.
type scratch struct {
	parent string

	mu   sync.Mutex
	dir  string
	lock *os.File
	next int
}

const (
	ownerPrefix = "owner-"
	lockName    = "lock"
	privateMode = 0o700
	lockMode    = 0o600
)

func defaultParent() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("stead-gvisor-%d", os.Geteuid()))
}

// make makes a mount point, and the first time the directory for it, after dead servers' are removed.
func (s *scratch) make() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		if err := s.open(); err != nil {
			return "", err
		}
	}
	s.next++
	dir := filepath.Join(s.dir, fmt.Sprint(s.next))
	return dir, os.Mkdir(dir, privateMode)
}

func (s *scratch) open() error {
	if err := os.MkdirAll(s.parent, privateMode); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(s.parent, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return stead.Errorf(stead.KindUnavailable, "%s must be a directory that nobody else can write to", s.parent)
	}
	s.sweep()
	dir, err := os.MkdirTemp(s.parent, ownerPrefix)
	if err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE|os.O_EXCL, lockMode)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return err
	}
	s.dir, s.lock = dir, lock
	return nil
}

// sweep removes the directories of dead servers. One that is just being made has no lock yet, and
// stays.
func (s *scratch) sweep() {
	entries, err := os.ReadDir(s.parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ownerPrefix) {
			continue
		}
		dir := filepath.Join(s.parent, e.Name())
		lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			removeOwner(dir)
		}
		_ = lock.Close()
	}
}

// removeOwner removes an owner's directory. The mount points in it are empty: a sandbox's mounts were
// never seen here, and are gone with it.
func removeOwner(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.Name() != lockName {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	_ = os.Remove(filepath.Join(dir, lockName)) // last: while it is there a sweep finds the directory
	_ = os.Remove(dir)
}

// close removes the directory.
func (s *scratch) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		return
	}
	removeOwner(s.dir)
	_ = s.lock.Close()
	s.dir = ""
}
