package environment

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// MakeThreads has the runtime make so many threads now, for a process that shares the limit of processes
// with the commands that it starts: when they have used it up, one that can't be made would end it.
func MakeThreads(n int) {
	var locked, all sync.WaitGroup
	release := make(chan struct{})
	locked.Add(n)
	for range n {
		all.Go(func() {
			runtime.LockOSThread() // a thread each: none is another's before all are there
			defer runtime.UnlockOSThread()
			locked.Done()
			<-release
		})
	}
	locked.Wait()
	close(release)
	all.Wait()
}

// Highest keeps the larger value, and returns it.
func Highest(kept *atomic.Int64, now int64) int64 {
	for {
		was := kept.Load()
		if now <= was {
			return was
		}
		if kept.CompareAndSwap(was, now) {
			return now
		}
	}
}

// Children is how many children a process of this machine has. The first process of a box has the first one of each
// command, and adopts what commands leave behind. Where the kernel does not tell (CONFIG_PROC_CHILDREN), it is 0.
//
// Source: proc(5), /proc/PID/task/TID/children.
func Children(pid int) int {
	pids, _ := children(pid)
	return len(pids)
}

// children are those of a process, and how many threads it has.
func children(pid int) (pids []int, threads int) {
	tasks := filepath.Join("/proc", strconv.Itoa(pid), "task")
	entries, err := os.ReadDir(tasks)
	if err != nil {
		return nil, 0 // it has ended
	}
	for _, t := range entries {
		data, err := os.ReadFile(filepath.Join(tasks, t.Name(), "children"))
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(data)) {
			if n, err := strconv.Atoi(field); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids, len(entries)
}

// Living is what the processes below another one have and hold, those left out that have ended.
type Living struct {
	Threads     int
	CPU         time.Duration
	MemoryBytes int64 // resident, what they share counted for each
}

// Below looks at all descendants of a process, where no control group counts them. Processes that come and go meanwhile
// may be in or out.
//
// Source: proc(5), /proc/PID/stat: utime, stime and rss are the fields 14, 15 and 24.
func Below(pid int) Living {
	var sum Living
	next, _ := children(pid)
	seen := map[int]bool{pid: true}
	for len(next) > 0 {
		p := next[0]
		if next = next[1:]; seen[p] {
			continue
		}
		seen[p] = true
		more, threads := children(p)
		next = append(next, more...)
		sum.Threads += threads
		data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p), "stat"))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(data[strings.LastIndexByte(string(data), ')')+1:]), " ") // the name may hold anything
		const utime, stime, rss, tick = 11, 12, 21, 10 * time.Millisecond
		if f := strings.Fields(rest); len(f) > rss {
			user, _ := strconv.ParseInt(f[utime], 10, 64)
			system, _ := strconv.ParseInt(f[stime], 10, 64)
			pages, _ := strconv.ParseInt(f[rss], 10, 64)
			sum.CPU += time.Duration(user+system) * tick
			sum.MemoryBytes += pages * int64(os.Getpagesize())
		}
	}
	return sum
}
