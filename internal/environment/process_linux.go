package environment

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// Children is how many children a process of this machine has. The first process of a box has the first one of each
// command, and adopts what commands leave behind. Where the kernel does not tell (CONFIG_PROC_CHILDREN), it is 0.
//
// Source: proc(5), /proc/PID/task/TID/children.
func Children(pid int) int {
	tasks := filepath.Join("/proc", strconv.Itoa(pid), "task")
	threads, err := os.ReadDir(tasks)
	if err != nil {
		return 0 // it has ended
	}
	n := 0
	for _, t := range threads {
		if data, err := os.ReadFile(filepath.Join(tasks, t.Name(), "children")); err == nil {
			n += len(strings.Fields(string(data)))
		}
	}
	return n
}
