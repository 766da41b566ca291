package environment

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// MakeThreads has the runtime make so many threads now, for a process that shares the limit of processes
// with the commands that it starts: when they have used it up, one that can't be made would end it.
func MakeThreads(n int) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			t := syscall.NsecToTimespec(int64(2 * time.Millisecond))
			_ = syscall.Nanosleep(&t, nil) // a system call that holds a thread each; an early end does no harm
		})
	}
	all.Wait()
}

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
