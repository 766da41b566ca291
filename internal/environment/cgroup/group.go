package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

const (
	groupMode = 0o755
	// leastMemory is below what a process needs to start: a limit under it would only fail in
	// strange ways.
	leastMemory = 4 << 20
)

// Group is the control group of one environment. It is safe for concurrent use.
type Group struct {
	v2   string            // directory; "": none
	v2by map[string]bool   // controllers of v2
	v1   map[string]string // controller → directory
	fd   *os.File          // of v2, nil without

	mu   sync.Mutex
	last Usage
}

// New makes the group of an environment. Limits of zero are not set. The caller removes it.
func (h *Host) New(id string, l environment.Limits) (*Group, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	g := &Group{v2by: h.v2by, v1: map[string]string{}}
	err := g.make(h, h.own.name(id))
	if err == nil {
		err = g.limit(l)
	}
	if err != nil {
		_ = g.Remove() // of what was made; the first error is the one that matters
		return nil, stead.Wrap(stead.KindUnavailable, err, "make the control group of %s", id)
	}
	return g, nil
}

// Limit sets the limits of a group that was made without, before anything of an agent runs in it.
// Those of zero are left as they are.
func (g *Group) Limit(l environment.Limits) error {
	if err := g.limit(l); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "limit a control group")
	}
	return nil
}

func (g *Group) limit(l environment.Limits) error {
	for _, s := range g.settings(l) {
		if err := write(s.file, s.value); err != nil && !(s.optional && errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

func (g *Group) make(h *Host, name string) error {
	if h.v2 != "" {
		dir := path.Join(h.v2, name)
		if err := os.Mkdir(dir, groupMode); err != nil {
			return err
		}
		g.v2 = dir
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		g.fd = f
	}
	for c, parent := range h.v1 {
		if h.v2by[c] || c != memory && c != pids && c != cpu && c != cpuacct && c != freezer {
			continue
		}
		if c == freezer && g.v2 != "" && exists(path.Join(g.v2, "cgroup.kill")) {
			continue // it is there for Kill alone
		}
		dir := path.Join(parent, name)
		if err := os.Mkdir(dir, groupMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err // it exists where controllers share a hierarchy
		}
		g.v1[c] = dir
	}
	return nil
}

type setting struct {
	file, value string
	optional    bool // kernels may lack the file
}

// settings are the control files of the limits, in the order in which they must be written.
func (g *Group) settings(l environment.Limits) []setting {
	var s []setting
	add := func(dir, file, value string, optional bool) {
		s = append(s, setting{path.Join(dir, file), value, optional})
	}
	if l.MemoryBytes > 0 {
		bytes := strconv.FormatInt(max(l.MemoryBytes, leastMemory), 10)
		if g.v2by[memory] {
			add(g.v2, "memory.max", bytes, false)
			add(g.v2, "memory.swap.max", "0", true)
		} else if dir := g.v1[memory]; dir != "" {
			add(dir, "memory.limit_in_bytes", bytes, false)
			add(dir, "memory.memsw.limit_in_bytes", bytes, true)
		}
	}
	if l.Processes > 0 {
		if g.v2by[pids] {
			add(g.v2, "pids.max", strconv.Itoa(l.Processes), false)
		} else if dir := g.v1[pids]; dir != "" {
			add(dir, "pids.max", strconv.Itoa(l.Processes), false)
		}
	}
	if l.CPUMilli > 0 {
		period := cpuPeriod.Microseconds()
		quota := max(period*int64(l.CPUMilli)/1000, 1000) // the kernel's least is a millisecond
		if g.v2by[cpu] {
			add(g.v2, "cpu.max", strconv.FormatInt(quota, 10)+" "+strconv.FormatInt(period, 10), false)
		} else if dir := g.v1[cpu]; dir != "" {
			add(dir, "cpu.cfs_period_us", strconv.FormatInt(period, 10), true)
			add(dir, "cpu.cfs_quota_us", strconv.FormatInt(quota, 10), true)
		}
	}
	return s
}

// FD is a directory to fork into (syscall.SysProcAttr.UseCgroupFD), or -1. It is open until Remove.
func (g *Group) FD() int {
	if g.fd == nil {
		return -1
	}
	return int(g.fd.Fd())
}

// Place puts a running process with all its threads into the group, and so what it starts from now
// on. forked says that it was forked into FD already.
func (g *Group) Place(pid int, forked bool) error {
	dirs := g.dirs()
	if forked && g.v2 != "" {
		dirs = dirs[1:]
	}
	for _, dir := range dirs {
		if err := write(path.Join(dir, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return stead.Wrap(stead.KindUnavailable, err, "put process %d into its control group", pid)
		}
	}
	return nil
}

// dirs are the group's directories, that of v2 first.
func (g *Group) dirs() []string {
	var dirs []string
	if g.v2 != "" {
		dirs = append(dirs, g.v2)
	}
	seen := map[string]bool{}
	for _, c := range []string{memory, pids, cpu, cpuacct, freezer} {
		if dir := g.v1[c]; dir != "" && !seen[dir] {
			seen[dir] = true
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// Usage reads what the group has used so far.
func (g *Group) Usage() Usage {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := &g.last
	if dir := g.v1[cpuacct]; dir != "" {
		keep(&u.CPU, time.Duration(number(path.Join(dir, "cpuacct.usage"))))
	} else if g.v2 != "" {
		keep(&u.CPU, time.Duration(field(path.Join(g.v2, "cpu.stat"), "usage_usec"))*time.Microsecond)
	}
	if g.v2by[memory] {
		keep(&u.MemoryBytes, number(path.Join(g.v2, "memory.peak"))) // since Linux 5.19
		keep(&u.MemoryBytes, number(path.Join(g.v2, "memory.current")))
		keep(&u.OOMKills, field(path.Join(g.v2, "memory.events"), "oom_kill"))
	} else if dir := g.v1[memory]; dir != "" {
		keep(&u.MemoryBytes, number(path.Join(dir, "memory.max_usage_in_bytes")))
		keep(&u.OOMKills, field(path.Join(dir, "memory.oom_control"), "oom_kill"))
	}
	if dir := g.pids(); dir != "" {
		keep(&u.Refusals, field(path.Join(dir, "pids.events"), "max"))
	}
	return *u
}

// pids is the directory in which processes are counted; "": nobody counts them.
func (g *Group) pids() string {
	if g.v2by[pids] {
		return g.v2
	}
	return g.v1[pids]
}

// Processes reads how many processes and threads are in the group now; 0: not known.
func (g *Group) Processes() int {
	dir := g.pids()
	if dir == "" {
		return 0
	}
	return int(number(path.Join(dir, "pids.current")))
}

// keep raises a value: all that is counted only grows, and a file that is gone reads as 0.
func keep[T ~int64](value *T, read T) { *value = max(*value, read) }

func number(file string) int64 {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// field reads "NAME NUMBER" out of a file with one such pair a line.
func field(file, name string) int64 {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}
