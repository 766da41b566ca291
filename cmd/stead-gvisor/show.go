package main

import (
	"fmt"
	"path"

	"github.com/stead-dev/stead/cmd/stead-gvisor/inside"
	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// show makes the workspace and the services appear in the slot, and says who commands have to be so
// that the workspace is theirs.
//
// On disk the workspace belongs to an owner that it keeps, and the mount shows it as the commands'
// user. Where a file system can't do that, commands have the owner's own number. Without root there is
// one user, the server's, and it is number 0 inside: root without a single capability, in a kernel of
// its own.
func (l layout) show(c wire.Claim) (uid int, err error) {
	uid, err = l.showWorkspace(c)
	if err != nil {
		return 0, fmt.Errorf("show the workspace: %w", err)
	}
	if c.Services == "" {
		return uid, nil
	}
	if err := l.showServices(c.Services, uid); err != nil {
		return 0, fmt.Errorf("show the services: %w", err)
	}
	return uid, nil
}

func (l layout) showWorkspace(c wire.Claim) (uid int, err error) {
	if !rootless() {
		if err := give(c.Workspace, commandUID); err != nil {
			return 0, err
		}
	}
	t, err := cloneTree(c.Workspace, false)
	if err != nil {
		return 0, err
	}
	defer t.close()
	if err := t.set(readWrite); err != nil {
		return 0, err
	}
	switch {
	case rootless():
		uid = 0
	case t.mapped(shifted(c.AsRoot), shifted(c.AsRoot)):
		uid = commandUID
	default:
		o, err := ownerOfDir(c.Workspace)
		if err != nil {
			return 0, err
		}
		uid = o.uid
	}
	if c.AsRoot {
		uid = 0
	}
	return uid, t.attach(path.Join(l.slot, inside.SlotWorkspace))
}

// showServices shows what the server owns as the commands': they may connect to sockets that only
// their owner may.
func (l layout) showServices(dir string, uid int) error {
	o, err := ownerOfDir(dir)
	if err != nil {
		return err
	}
	t, err := cloneTree(dir, false)
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.set(readOnly); err != nil {
		return err
	}
	if !rootless() && o.uid != uid {
		_ = t.mapped(alone(o.uid, uid), alone(o.gid, uid)) // else everybody must be allowed to connect
	}
	return t.attach(path.Join(l.slot, inside.SlotServices))
}
