package cgroup

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/stead-dev/stead/internal/environment"
)

// Host is what this machine's control groups can do for this process. It is safe for concurrent use.
type Host struct {
	own  owner
	v2   string            // the group below which ours are made; "": none
	v2by map[string]bool   // controllers that v2 hands to groups below it
	v1   map[string]string // controller → the group below which ours are made
}

// The controllers that are used.
const (
	memory  = "memory"
	pids    = "pids"
	cpu     = "cpu"
	cpuacct = "cpuacct" // v1 alone: counts CPU time
	freezer = "freezer" // v1 alone: stops a group so that it can be killed whole
)

// Detect finds the hierarchies in which this process may make groups. It tries each one by making a
// group and removing it. The first call of a process may move it into a group below its own: see the
// package.
func Detect() *Host {
	mounts, err1 := os.ReadFile("/proc/self/mountinfo")
	groups, err2 := os.ReadFile("/proc/self/cgroup")
	own, err3 := self()
	if errors.Join(err1, err2, err3) != nil {
		return &Host{}
	}
	h := &Host{own: own, v1: map[string]string{}, v2by: map[string]bool{}}
	for _, m := range parseMounts(string(mounts), string(groups)) {
		if m.v2 {
			h.addV2(m.dir, m.top)
			continue
		}
		for _, c := range m.controllers {
			if h.writable(m.dir) {
				h.v1[c] = m.dir
			}
		}
	}
	return h
}

// hierarchy is a mounted hierarchy and the group of this process in it.
type hierarchy struct {
	v2          bool
	controllers []string // v1
	dir         string   // of the process's own group
	top         string   // of the mount
}

// parseMounts joins /proc/self/mountinfo, which says where hierarchies are, and /proc/self/cgroup,
// which says where this process is in them.
func parseMounts(mountinfo, groups string) []hierarchy {
	own := map[string]string{} // "" for v2, or a controller → path of the group in its hierarchy
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 {
			for _, c := range strings.Split(parts[1], ",") {
				own[c] = parts[2]
			}
		}
	}
	var found []hierarchy
	for line := range strings.Lines(mountinfo) {
		front, back, ok := strings.Cut(strings.TrimSpace(line), " - ")
		f, b := strings.Fields(front), strings.Fields(back)
		if !ok || len(f) < 5 || len(b) < 3 {
			continue
		}
		root, top := f[3], f[4]
		switch b[0] {
		case "cgroup2":
			if dir, ok := within(top, root, own[""]); ok {
				found = append(found, hierarchy{v2: true, dir: dir, top: top})
			}
		case "cgroup":
			var cs []string
			dir := ""
			for _, c := range strings.Split(b[2], ",") {
				if d, ok := within(top, root, own[c]); ok && own[c] != "" {
					cs, dir = append(cs, c), d
				}
			}
			if dir != "" {
				found = append(found, hierarchy{controllers: cs, dir: dir, top: top})
			}
		}
	}
	return found
}

// within is where a group is in the file system: a mount shows its hierarchy from root on.
func within(top, root, group string) (string, bool) {
	if group == "" {
		return "", false
	}
	rest, ok := strings.CutPrefix(group, strings.TrimSuffix(root, "/"))
	return path.Join(top, rest), ok && (rest == "" || rest[0] == '/')
}

// addV2 chooses the group below which version 2 groups are made: the own one if it can hand out
// controllers, or the nearest above that does.
func (h *Host) addV2(dir, top string) {
	if _, id, ok := parseName(path.Base(dir)); ok && id == serverID {
		dir = path.Dir(dir) // this process, or one that started it, has moved already
	}
	if h.writable(dir) {
		h.v2 = dir
		h.handOut(dir)
	}
	if h.v2by[memory] && h.v2by[pids] {
		return
	}
	for up := dir; up != top && len(up) > len(top); {
		up = path.Dir(up)
		by := words(path.Join(up, "cgroup.subtree_control"))
		// A process may be moved by who may write to the common group above: see "Delegation".
		if by[memory] && by[pids] && h.writable(up) && canWrite(path.Join(up, "cgroup.procs")) {
			h.v2, h.v2by = up, by
			return
		}
	}
}

// handOut makes a group give controllers to the groups below it, and notes which it gives.
func (h *Host) handOut(dir string) {
	has := words(path.Join(dir, "cgroup.controllers"))
	control := path.Join(dir, "cgroup.subtree_control")
	for _, c := range []string{memory, pids, cpu} {
		if !has[c] || words(control)[c] {
			continue
		}
		err := write(control, "+"+c)
		if errors.Is(err, syscall.EBUSY) && h.stepDown(dir) {
			_ = write(control, "+"+c) // what it came to is read below
		}
	}
	h.v2by = words(control)
}

// stepDown moves this process into a group below its own, if nobody else is in its own.
func (h *Host) stepDown(dir string) bool {
	for pid := range words(path.Join(dir, "cgroup.procs")) {
		if pid != strconv.Itoa(h.own.pid) {
			return false
		}
	}
	leaf := path.Join(dir, h.own.name(serverID))
	if err := os.Mkdir(leaf, groupMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return false
	}
	if write(path.Join(leaf, "cgroup.procs"), strconv.Itoa(h.own.pid)) != nil {
		_ = os.Remove(leaf) // it is empty: nobody moved
		return false
	}
	return true
}

// writable tries whether a group can be made in dir.
func (h *Host) writable(dir string) bool {
	trial := path.Join(dir, h.own.name("trial"))
	if err := os.Mkdir(trial, groupMode); err != nil {
		return errors.Is(err, fs.ErrExist) // of a trial that runs at the same time
	}
	return os.Remove(trial) == nil || !exists(trial)
}

// By says what enforces a control (environment.ControlMemory, ControlPIDs, ControlCPU): "cgroup v2",
// "cgroup v1", or "" when nothing does.
func (h *Host) By(control string) string {
	c, ok := map[string]string{environment.ControlMemory: memory, environment.ControlPIDs: pids, environment.ControlCPU: cpu}[control]
	switch {
	case !ok:
		return ""
	case h.v2by[c]:
		return "cgroup v2"
	case h.v1[c] != "":
		return "cgroup v1"
	}
	return ""
}

// Remedy says how to get the controls that By says "" for.
func (h *Host) Remedy() string {
	if os.Getuid() == 0 {
		return "Give the server a writable cgroup v2 hierarchy: under systemd, Delegate=yes in its unit; in a container, a private cgroup namespace with /sys/fs/cgroup mounted read-write."
	}
	return "Start the server in a delegated control group: `systemd-run --user --scope -p Delegate=yes stead serve`, or Delegate=yes in its unit."
}

// words reads a file of words.
func words(file string) map[string]bool {
	data, err := os.ReadFile(file)
	set := map[string]bool{}
	if err == nil {
		for _, w := range bytes.Fields(data) {
			set[string(w)] = true
		}
	}
	return set
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func canWrite(file string) bool {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	return err == nil && f.Close() == nil
}

// write writes to a control file, which is there already and takes a value in one call.
func write(file, value string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
