package main

import (
	"github.com/stead-dev/stead/cmd/stead-gvisor/inside"
	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// count counts what the limit of processes does: threads, and the dead that nobody has waited for. It asks the sandbox's
// kernel, not the inside.
func (x *box) count() (*wire.Counted, error) {
	all, err := x.container.Processes()
	if err != nil {
		return nil, err
	}
	n := 0
	for _, p := range all {
		if p.PID != 1 || x.uid == 0 { // the kernel counts by user, and the first process is root's
			n += len(p.Threads)
		}
	}
	return &wire.Counted{Processes: n}, nil
}

// sweep kills what belongs to no command that runs, while none starts.
func (x *box) sweep() (*wire.Swept, error) {
	x.starts.Lock()
	defer x.starts.Unlock()
	s := inside.Sweep{Running: []int{}}
	x.mu.Lock()
	for _, pid := range x.pids {
		s.Running = append(s.Running, int(pid))
	}
	x.mu.Unlock()
	a, err := x.order(inside.Order{Sweep: &s})
	if err != nil {
		return nil, err
	}
	return &wire.Swept{Killed: a.Killed}, nil
}
