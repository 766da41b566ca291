package main

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"github.com/stead-dev/stead/internal/environment"
)

// Owners on disk, where the supervisor is root of the host: no file of an agent ever belongs to root or
// to a user of the host, since a program of theirs that is set to run as its owner would be theirs on
// the host as well. The driver ns has the same numbers, so that workspaces and layers can go from one
// driver to the other; they are systemd's "foreign" range.
const (
	// diskID is the owner on disk of what is root's inside; diskID+n of what is user n's.
	diskID = 0x7ffe_0000
	// diskIDs is how many there are.
	diskIDs = 1 << 16
)

// give makes a tree the property of diskID+n, unless its root has an owner of the range: then the rest
// has too. Links are changed themselves and followed nowhere.
func give(dir string, n int) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	o, err := ownerOf(root, ".")
	if err != nil || o.uid >= diskID && o.uid < diskID+diskIDs {
		return err
	}
	owner := diskID + n
	err = environment.Walk(root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || name == "." { // the root comes last: a crash in between is mended by the next start
			return err
		}
		return root.Lchown(name, owner, owner)
	})
	if err != nil {
		return err
	}
	return root.Lchown(".", owner, owner)
}

type owner struct{ uid, gid int }

func ownerOf(root *os.Root, name string) (owner, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return owner{}, err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return owner{}, errors.ErrUnsupported
	}
	return owner{int(s.Uid), int(s.Gid)}, nil
}

func ownerOfDir(dir string) (owner, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return owner{}, err
	}
	defer root.Close()
	return ownerOf(root, ".")
}

// table says which ids on disk (ContainerID) are which inside (HostID).
type table []syscall.SysProcIDMap

// shifted maps the range on disk to 0…, and for root inside the agent's files to root and root's to the
// agent: what a set-up leaves in the workspace is the agent's.
func shifted(forRoot bool) table {
	if !forRoot {
		return table{{ContainerID: diskID, HostID: 0, Size: diskIDs}}
	}
	return table{
		{ContainerID: diskID, HostID: commandUID, Size: 1},
		{ContainerID: diskID + 1, HostID: 1, Size: commandUID - 1},
		{ContainerID: diskID + commandUID, HostID: 0, Size: 1},
		{ContainerID: diskID + commandUID + 1, HostID: commandUID + 1, Size: diskIDs - commandUID - 1},
	}
}

// alone maps one id.
func alone(disk, inside int) table { return table{{ContainerID: disk, HostID: inside, Size: 1}} }

// users makes a user namespace of tables. It is used as a table alone: the process that is needed to
// make it never runs.
func users(uids, gids table) (*os.File, error) {
	runtime.LockOSThread() // a traced process belongs to its thread
	defer runtime.UnlockOSThread()
	p, err := os.StartProcess("/proc/self/exe", []string{"users"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, Ptrace: true, Pdeathsig: syscall.SIGKILL, UidMappings: uids, GidMappings: gids,
	}})
	if err != nil {
		return nil, err
	}
	f, err := os.Open("/proc/" + strconv.Itoa(p.Pid) + "/ns/user") // it is stopped at its first instruction
	_ = p.Kill()
	_, _ = p.Wait()
	return f, err
}

// mapped translates the owners of a tree, and says whether the file system can.
func (t tree) mapped(uids, gids table) bool {
	f, err := users(uids, gids)
	if err != nil {
		return false
	}
	defer f.Close()
	return t.mapOwners(f) == nil
}
