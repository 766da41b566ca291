package cgroup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strconv"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
)

const (
	// firstWait is how long Kill waits before it looks again; each wait is twice the one before.
	firstWait = 200 * time.Microsecond
	// lastWait is the longest such wait.
	lastWait = 50 * time.Millisecond
	// sweepTime bounds what Sweep spends on one group.
	sweepTime = 2 * time.Second
)

// Kill kills every process of the group, those that are being born too, and waits until none is left
// or ctx ends.
func (g *Group) Kill(ctx context.Context) error {
	dirs := g.dirs()
	if len(dirs) == 0 {
		return nil
	}
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		whole := g.v2 != "" && write(path.Join(g.v2, "cgroup.kill"), "1") == nil // since Linux 5.14
		if empty(dirs) {
			return nil
		}
		if !whole || wait > firstWait {
			g.killEach(dirs)
		}
		select {
		case <-ctx.Done():
			return stead.Wrap(stead.KindUnavailable, ctx.Err(), "processes of %s are still there", path.Base(dirs[0]))
		case <-time.After(wait):
		}
	}
}

// killEach kills processes one by one, stopped meanwhile where there is a freezer.
func (g *Group) killEach(dirs []string) {
	if dir := g.v1[freezer]; dir != "" {
		state := path.Join(dir, "freezer.state")
		_ = write(state, "FROZEN") // without it a fork bomb takes some more rounds
		defer func() { _ = write(state, "THAWED") }()
	}
	for _, dir := range dirs {
		procs := path.Join(dir, "cgroup.procs")
		for pid := range words(procs) {
			killIf(pid, func() bool { return words(procs)[pid] })
		}
	}
}

func empty(dirs []string) bool {
	for _, dir := range dirs {
		if len(words(path.Join(dir, "cgroup.procs"))) > 0 {
			return false
		}
	}
	return true
}

// Remove removes the group, which must be empty of processes. Usage stays as it was read last.
func (g *Group) Remove() error {
	g.Usage()
	err := removeAll(g.dirs())
	if g.fd != nil {
		err = errors.Join(err, g.fd.Close())
		g.fd = nil
	}
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "remove a control group")
	}
	return nil
}

// removeAll removes groups. One whose last process has just died can be busy for a moment.
func removeAll(dirs []string) error {
	var all error
	for _, dir := range dirs {
		var err error
		for wait := firstWait; wait <= lastWait; wait *= 2 {
			if err = syscall.Rmdir(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
				err = nil
				break
			}
			time.Sleep(wait)
		}
		all = errors.Join(all, err)
	}
	return all
}

// Sweep kills and removes the groups of servers that are dead, and returns how many environments had
// left one. Groups of live servers are not touched.
func (h *Host) Sweep(ctx context.Context) int {
	left := map[string]*Group{} // name → what is found of it
	parents := map[string]string{}
	if h.v2 != "" {
		parents[""] = h.v2
	}
	for c, dir := range h.v1 {
		parents[c] = dir
	}
	for c, dir := range parents {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if o, _, ok := parseName(e.Name()); !e.IsDir() || !ok || o.ns != h.own.ns || o.alive() {
				continue
			}
			g := left[e.Name()]
			if g == nil {
				g = &Group{v1: map[string]string{}}
				left[e.Name()] = g
			}
			if c == "" {
				g.v2 = path.Join(dir, e.Name())
			} else {
				g.v1[c] = path.Join(dir, e.Name())
			}
		}
	}
	n := 0
	for _, g := range left {
		ctx, cancel := context.WithTimeout(ctx, sweepTime)
		if g.Kill(ctx) == nil && g.Remove() == nil {
			n++
		}
		cancel()
	}
	return n
}

// killIf kills a process if it is still the one that is meant when a handle on it is held.
func killIf(pid string, still func() bool) {
	n, err := strconv.Atoi(pid)
	if err != nil || n <= 1 || n == os.Getpid() {
		return
	}
	p, err := os.FindProcess(n) // holds a pidfd where the kernel has them
	if err != nil {
		return
	}
	if still() {
		_ = p.Kill() // it may be gone: what is left is looked at again
	}
	_ = p.Release()
}
