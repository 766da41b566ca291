package environment

import (
	"os"
	"path/filepath"
	"strconv"
)

// HasChildren reports whether a process of this machine has any child. The first process of a box
// adopts what its commands leave behind, so that for it this means: somebody is alive in there. Where
// the kernel does not tell (CONFIG_PROC_CHILDREN), the answer is no.
//
// Source: proc(5), /proc/PID/task/TID/children.
func HasChildren(pid int) bool {
	tasks := filepath.Join("/proc", strconv.Itoa(pid), "task")
	threads, err := os.ReadDir(tasks)
	if err != nil {
		return false // it has ended
	}
	for _, t := range threads {
		data, err := os.ReadFile(filepath.Join(tasks, t.Name(), "children"))
		if err == nil && len(data) > 0 {
			return true
		}
	}
	return false
}
