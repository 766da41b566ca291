package main

import (
	"errors"

	"golang.org/x/sys/unix"

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
	var a inside.Answer
	err := x.still(func() (err error) {
		a, err = x.order(inside.Order{Sweep: &s})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &wire.Swept{Killed: a.Killed}, nil
}

// still stops everything inside but its first process while that does something, and has what is left go on. Among the
// processes of a fork bomb, which all want the CPU, each of its system calls takes part of a second: it would not find
// and kill them within the time that it has; and those that are stopped fork no others. The sandbox's kernel pauses as a
// whole while it hands the signal out (boot.Loader.signalAllProcesses), so that nobody is being born who does not get it.
func (x *box) still(f func() error) error {
	x.stillMu.Lock()
	defer x.stillMu.Unlock()
	s := x.container.Sandbox
	if err := s.SignalContainer(boxID, unix.SIGSTOP, true); err != nil {
		return err
	}
	err := s.SignalContainer(boxID, unix.SIGCONT, false) // the first process alone
	if err == nil {
		err = f()
	}
	return errors.Join(err, s.SignalContainer(boxID, unix.SIGCONT, true))
}
