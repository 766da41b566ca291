package gvisor

import (
	"context"
	"syscall"
	"time"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// countTime is how long a sandbox may take to say how many processes it has. It is asked before each command.
const countTime = 5 * time.Second

// sweepTime is how long a sandbox may take to kill what earlier commands left behind: to stop two thousand processes that fork
// takes seconds on a busy machine, and as long to look at each.
const sweepTime = 30 * time.Second

// makesRoom: see environment.Room. What belongs to no command that runs is killed. Commands that run are not: as long as they
// use all processes up, others are refused.
func (b *box) makesRoom() *environment.Room {
	return &environment.Room{Limit: b.spec.Limits.Processes, Free: b.free, Kills: []func() string{b.killRest}}
}

// free is how many processes commands can still have.
func (b *box) free() (n int, known bool) {
	ctx, cancel := context.WithTimeout(context.Background(), countTime)
	defer cancel()
	r, err := b.process.call(ctx, wire.Request{Count: &wire.Count{}})
	if err != nil || r.Counted == nil {
		return 0, false
	}
	n = b.spec.Limits.Processes - r.Counted.Processes
	b.mu.Lock()
	b.crammed = n < environment.RoomProcesses
	b.mu.Unlock()
	return n, true
}

// killRest kills what belongs to no command that runs.
func (b *box) killRest() string {
	ctx, cancel := context.WithTimeout(context.Background(), sweepTime)
	defer cancel()
	r, err := b.process.call(ctx, wire.Request{Sweep: &wire.Sweep{}})
	switch {
	case err != nil && !isRefusal(err):
		b.unkilled(ctx, err, "what earlier commands left behind", sweepTime)
		return ""
	case err != nil || r.Swept == nil || r.Swept.Killed <= 0:
		return ""
	}
	return environment.ClearedRest
}

// crowded refuses a command where too few processes are left. The sandbox's kernel would start it all the same, since
// whoever starts commands there is above the limit: and then it could start nothing itself.
func (b *box) crowded() error {
	if n, known := b.free(); known && n < environment.RoomProcesses {
		return environment.CannotRun("start it: commands that run use up the limit of processes", syscall.EAGAIN)
	}
	return nil
}
