package gvisor

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// clockTick is the unit of times in /proc, the same on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// cpuBelow sums up the CPU time of a process and of all below it, with that of children whose end was
// waited for: what is known where no control group counts.
func cpuBelow(root int) time.Duration {
	type process struct {
		parent int
		used   time.Duration
	}
	all := map[int]process{}
	names, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// Behind the program's name, which may hold anything: state, parent, …, utime, stime, and both of
		// waited children as fields 14 to 17 of proc_pid_stat(5).
		const parent, firstTime, lastTime = 1, 11, 14
		f := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
		if len(f) <= lastTime {
			continue
		}
		number := func(i int) int {
			n, _ := strconv.Atoi(string(f[i])) // the kernel wrote it
			return n
		}
		p := process{parent: number(parent)}
		for i := firstTime; i <= lastTime; i++ {
			p.used += time.Duration(number(i)) * clockTick
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		all[pid] = p
	}
	var sum time.Duration
	for pid, p := range all {
		for at, steps := pid, 0; at > 1 && steps < len(all); at, steps = all[at].parent, steps+1 {
			if at == root {
				sum += p.used
				break
			}
		}
	}
	return sum
}
