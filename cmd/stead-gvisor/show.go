package main

import (
	"fmt"
	"os"
	"path"
	"syscall"

	"github.com/stead-dev/stead/cmd/stead-gvisor/inside"
	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// show makes the workspace and the services appear in the slot, and says who commands have to be so
// that the workspace is theirs.
//
// Owners on disk do not change: the mount shows the workspace's owner as the commands' user, and what
// they make is that owner's on disk. Where a file system can't do that, commands have the owner's own
// number, which may be that of root: root without a single capability, in a kernel of its own.
func (l layout) show(c wire.Claim) (uid int, err error) {
	uid = commandUID
	if c.AsRoot {
		uid = 0
	}
	workspace := path.Join(l.slot, inside.SlotWorkspace)
	owner, err := ownerOf(c.Workspace)
	if err != nil {
		return 0, err
	}
	mapped, err := showAs(c.Workspace, workspace, owner, uid, readWrite)
	if err != nil {
		return 0, fmt.Errorf("show the workspace: %w", err)
	}
	if !mapped && !c.AsRoot {
		uid = owner.uid
	}
	if c.Services == "" {
		return uid, nil
	}
	owner, err = ownerOf(c.Services)
	if err != nil {
		return 0, err
	}
	if _, err := showAs(c.Services, path.Join(l.slot, inside.SlotServices), owner, uid, readOnly); err != nil {
		return 0, fmt.Errorf("show the services: %w", err)
	}
	return uid, nil
}

type owner struct{ uid, gid int }

func ownerOf(dir string) (owner, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return owner{}, err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() {
		return owner{}, fmt.Errorf("%s is no directory", dir)
	}
	return owner{int(s.Uid), int(s.Gid)}, nil
}

// showAs binds source at target with o shown as the user and group uid, if it can.
func showAs(source, target string, o owner, uid int, attributes uint64) (mapped bool, err error) {
	t, err := cloneTree(source, false)
	if err != nil {
		return false, err
	}
	defer t.close()
	if err := t.set(attributes); err != nil {
		return false, err
	}
	mapped = o.uid == uid && o.gid == uid
	if !mapped && !rootless() {
		if table, err := users(o.uid, o.gid, uid); err == nil {
			mapped = t.mapOwners(table) == nil
		}
	}
	return mapped, t.attach(target)
}
