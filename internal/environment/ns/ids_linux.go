package ns

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
)

// ids hands out ranges of host ids. A server that may not map others than its own hands out that one,
// to all boxes.
type ids struct {
	own   bool // only the server's own id
	plain bool // no mount translates ids: in tests, for file systems that can't

	mu    sync.Mutex
	first int           // slot that is tried first: servers of one host begin at different ones
	used  map[int]bool  // slot → taken
	kept  map[int]*slot // slot → what was made for it once
}

// slot is one range of host ids.
type slot struct {
	all   *ids
	n     int
	base  int                      // host id of the box's id 0
	users map[translation]*os.File // user namespaces that translate ids for mounts
}

// translation says which ids on disk are which of a box: count ids from disk on are those from box on.
type translation struct{ disk, box, count int }

func newIDs() *ids {
	a := &ids{own: !mayMap(), used: map[int]bool{}, kept: map[int]*slot{}}
	var random [4]byte
	rand.Read(random[:]) // never fails
	a.first = int(binary.LittleEndian.Uint32(random[:]) % slots)
	return a
}

// mayMap reports whether this process may map ids that are not its own, and translate those of mounts:
// whether it is root with the capabilities, of a user namespace that has the ids.
func mayMap() bool {
	const need = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE
	status, err := os.ReadFile("/proc/self/status")
	if err != nil || os.Geteuid() != 0 {
		return false
	}
	var caps uint64
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, _ = strconv.ParseUint(strings.TrimSpace(v), 16, 64) // 0 is answer enough
		}
	}
	return caps&need == need && hasRange("/proc/self/uid_map") && hasRange("/proc/self/gid_map")
}

// hasRange reports whether a map of ids has all those of boxes, and those on disk.
func hasRange(file string) bool {
	data, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		var first, outside, count int64
		if _, err := fmt.Sscan(line, &first, &outside, &count); err == nil && first <= firstID && first+count >= diskID+idRange {
			return true
		}
	}
	return false
}

// take returns a range that no other box of this server has.
func (a *ids) take() (*slot, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.own {
		return &slot{all: a, n: -1, base: os.Geteuid()}, nil
	}
	for i := range slots {
		n := (a.first + i) % slots
		if a.used[n] {
			continue
		}
		a.used[n] = true
		if a.kept[n] == nil {
			a.kept[n] = &slot{all: a, n: n, base: firstID + n*idRange, users: map[translation]*os.File{}}
		}
		return a.kept[n], nil
	}
	return nil, stead.Errorf(stead.KindUnavailable, "%d environments run already: there are no ids for another", slots)
}

// release gives the range back.
func (s *slot) release() {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	delete(s.all.used, s.n)
}

func (a *ids) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.kept {
		for _, f := range s.users {
			_ = f.Close() // a handle: nothing is written by it
		}
	}
	a.kept = map[int]*slot{}
}

// translate makes a mount show ids of the disk as those of the box. The same range is used again and
// again, so that most boxes find the namespace made.
func (s *slot) translate(p *Provider, tree int, t translation) error {
	if s.all.plain {
		return unix.EINVAL
	}
	users := s.users[t]
	if users == nil {
		var err error
		p.onForker(func() { users, err = userNamespace(t.disk, s.base+t.box, t.count) })
		if err != nil {
			return err
		}
		s.users[t] = users
	}
	return unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(users.Fd()),
	})
}

// userNamespace makes a user namespace with one range in its maps. It takes a process to make one:
// this binary, which is stopped before its first instruction, and killed.
func userNamespace(inside, outside, count int) (*os.File, error) {
	m := []syscall.SysProcIDMap{{ContainerID: inside, HostID: outside, Size: count}}
	pid, err := syscall.ForkExec("/proc/self/exe", []string{Argv0}, &syscall.ProcAttr{
		Sys: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWUSER, UidMappings: m, GidMappings: m,
			Ptrace: true, Pdeathsig: syscall.SIGKILL,
		},
	})
	if err != nil {
		return nil, os.NewSyscallError("clone", err)
	}
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/user")
	err = errors.Join(err, syscall.Kill(pid, syscall.SIGKILL))
	for {
		var status syscall.WaitStatus
		_, werr := syscall.Wait4(pid, &status, 0, nil)
		if werr == syscall.EINTR || werr == nil && !status.Exited() && !status.Signaled() {
			continue
		}
		break
	}
	if err != nil && f != nil {
		_ = f.Close()
		f = nil
	}
	return f, err
}
