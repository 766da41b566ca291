package ns

import (
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// An environment whose processes are used up would run no command any more: room is made for the next
// one, see environment.Room. What belongs to no command that runs is killed first, then whoever has most
// of the processes, up to mostSweeps times, then everything.

// A command is not killed for its processes when it has less than 1/mostShare of those that may be.
const (
	mostSweeps = 3
	mostShare  = 8
)

func (b *box) makesRoom() *environment.Room {
	return &environment.Room{
		Limit: b.spec.Limits.Processes, Free: b.free,
		Kills: slices.Concat([]func() string{b.killRest}, slices.Repeat([]func() string{b.killMost}, mostSweeps), []func() string{b.killCommands}),
	}
}

// free is how many processes commands can still have: init is in the control group as well. Without one the limit is
// RLIMIT_NPROC of the box's own user, and they are counted one by one.
func (b *box) free() (n int, known bool) {
	if b.group.Processes() == 0 {
		return b.spec.Limits.Processes - environment.Below(b.init.Pid).Threads, true
	}
	own, err := os.ReadDir("/proc/" + strconv.Itoa(b.init.Pid) + "/task")
	all := b.group.Processes()
	if err != nil || all == 0 {
		return 0, false
	}
	return b.spec.Limits.Processes - (all - len(own)), true
}

// killRest kills what belongs to no command that runs.
func (b *box) killRest() string {
	if r := b.sweep(request{Sweep: sweepRest}); r.Killed > 0 {
		return environment.ClearedRest
	}
	return ""
}

// killMost kills the command that has most of the processes, with all that it has begun, or the rest if
// that has.
func (b *box) killMost() string {
	r := b.sweep(request{Sweep: sweepMost, Least: b.spec.Limits.Processes / mostShare})
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case r.Killed == 0:
		return ""
	case b.swept == nil:
		return environment.ClearedRest
	}
	return environment.ClearedCommand(b.swept)
}

// sweep has init kill some of what runs, and returns its answer. Room has it called once at a time.
func (b *box) sweep(q request) reply {
	b.mu.Lock()
	b.sweeping = true
	b.mu.Unlock()
	if err := b.tell(q, nil); err != nil {
		b.end()
	}
	select {
	case r := <-b.sweeps:
		return r
	case <-b.dead:
	case <-time.After(killTime):
		b.end() // init does not do what it is told
	}
	return reply{}
}

// sweptOf takes init's answer to a sweep, with b.mu held. The command whose processes they were ends with
// that reason: its end is told later.
func (b *box) sweptOf(r reply) {
	b.sweeping, b.swept = false, nil
	if x := b.running[r.Of]; x != nil {
		x.mark(environment.ReasonProcesses)
		b.swept = x.args
	}
	b.sweeps <- r // there is room
}

// killCommands kills everything.
func (b *box) killCommands() string {
	b.mu.Lock()
	for _, x := range b.running {
		x.mark(environment.ReasonProcesses)
	}
	b.mu.Unlock()
	if err := b.tell(request{All: true}, nil); err != nil {
		b.end()
	}
	return environment.ClearedAll
}
