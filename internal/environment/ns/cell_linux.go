package ns

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/cgroup"
	"github.com/stead-dev/stead/internal/environment/packet"
)

// cell is what every box is made of: an init in namespaces of its own, with ids that no other box has,
// in a control group, waiting for the message that says what it is to build.
type cell struct {
	ids   *slot
	group *cgroup.Group
	init  *os.Process
	conn  *net.UnixConn
	dead  chan struct{} // init has been reaped: no process is left
}

// newCell makes a cell, all of it or nothing. id names its control group. asRoot is Spec.AsRoot.
func (p *Provider) newCell(id string, l environment.Limits, asRoot bool) (*cell, error) {
	c := &cell{dead: make(chan struct{})}
	err := c.make(p, id, l, asRoot)
	if err != nil {
		_ = c.discard() // the error that matters is the first
		return nil, err
	}
	return c, nil
}

func (c *cell) make(p *Provider, id string, l environment.Limits, asRoot bool) (err error) {
	if c.ids, err = p.ids.take(); err != nil {
		return err
	}
	if c.group, err = p.groups.New(id, l); err != nil {
		return err
	}
	return c.fork(p, asRoot)
}

// fork starts init in new namespaces and in the control group.
func (c *cell) fork(p *Provider, asRoot bool) error {
	conn, child, err := packet.Pair(maxRequestBytes)
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "start an environment")
	}
	defer child.Close()
	c.conn = conn
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "start an environment")
	}
	defer null.Close()
	attr := &os.ProcAttr{
		Dir: "/", Env: []string{"GOMAXPROCS=2", "GOTRACEBACK=none"}, // nothing of the server's own
		Files: []*os.File{null, null, null, child}, Sys: c.attributes(asRoot),
	}
	p.onForker(func() {
		c.init, err = os.StartProcess("/proc/self/exe", []string{Argv0}, attr)
		if errors.Is(err, syscall.ENOSYS) && attr.Sys.UseCgroupFD { // no clone3: the group is entered later
			attr.Sys.UseCgroupFD = false
			c.init, err = os.StartProcess("/proc/self/exe", []string{Argv0}, attr)
		}
	})
	if err != nil {
		return denied(err)
	}
	go func() {
		_, _ = c.init.Wait() // returns when every process of its pid namespace is gone
		close(c.dead)
	}()
	return c.group.Place(c.init.Pid, attr.Sys.UseCgroupFD)
}

// attributes are what a clone of init needs.
func (c *cell) attributes(asRoot bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
			unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		Pdeathsig: syscall.SIGKILL,
		Setsid:    true,
	}
	if fd := c.group.FD(); fd >= 0 {
		a.UseCgroupFD, a.CgroupFD = true, fd
	}
	if c.ids.all.own {
		inside := agentID
		if asRoot {
			inside = 0
		}
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: inside, HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: inside, HostID: os.Getegid(), Size: 1}}
		for c := range uintptr(unix.CAP_LAST_CAP + 1) { // an id that is not 0 keeps them over exec only so
			a.AmbientCaps = append(a.AmbientCaps, c)
		}
		return a
	}
	m := []syscall.SysProcIDMap{{ContainerID: 0, HostID: c.ids.base, Size: idRange}}
	a.UidMappings, a.GidMappings, a.GidMappingsEnableSetgroups = m, m, true
	a.Credential = &syscall.Credential{Uid: 0, Gid: 0}
	return a
}

// end kills everything inside. What follows it happens when init is reaped.
func (c *cell) end() { _ = c.init.Kill() }

// discard ends a cell and gives back what was taken for it so far.
func (c *cell) discard() (err error) {
	if c.init != nil {
		c.end()
		<-c.dead
	}
	if c.conn != nil {
		_ = c.conn.Close() // the other end is gone
	}
	if c.group != nil {
		ctx, cancel := context.WithTimeout(context.Background(), killTime)
		err = errors.Join(c.group.Kill(ctx), c.group.Remove())
		cancel()
	}
	if c.ids != nil {
		c.ids.release()
	}
	return err
}

// alive says whether init still runs.
func (c *cell) alive() bool {
	select {
	case <-c.dead:
		return false
	default:
		return true
	}
}
