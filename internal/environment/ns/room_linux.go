package ns

import (
	"context"
	"os"
	"strconv"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// An environment whose processes are used up, by a fork bomb that somebody left behind, would run no
// command any more: room is made for the next one. What belongs to the session of a command that
// somebody waits for, or that a tool knows as running in the background, is spared as long as that helps.

// launch starts a command, with room made for it if it must be: see environment.WithRoom.
func (b *box) launch(ctx context.Context, c environment.Command, streams *environment.Streams) (x *execution, cleared int, err error) {
	swept := b.scarce() && b.killRest() && b.settles(ctx)
	cleared, err = environment.WithRoom(ctx, func() error {
		x = &execution{box: b, replies: make(chan reply, 2), over: make(chan struct{}), streams: streams}
		return x.begin(ctx, c)
	}, func() { b.killRest() }, b.killCommands)
	if swept {
		cleared = max(cleared, 1)
	}
	return x, cleared, err
}

// scarce reports whether hardly any process can be had any more: a command that begins then could not
// begin another one.
func (b *box) scarce() bool {
	own, err := os.ReadDir("/proc/" + strconv.Itoa(b.init.Pid) + "/task")
	if err != nil {
		return false
	}
	return b.group.Processes()-len(own)+environment.RoomProcesses > b.spec.Limits.Processes
}

// settles waits until the dead are reaped. It is true either way: there were some.
func (b *box) settles(ctx context.Context) bool {
	for end := time.Now().Add(environment.RoomTime); b.scarce() && ctx.Err() == nil && time.Now().Before(end); {
		time.Sleep(environment.RoomPause)
	}
	return true
}

// killRest kills what is of no session of a command that runs, and reports whether there was anything.
func (b *box) killRest() bool {
	b.sweeping.Lock()
	defer b.sweeping.Unlock()
	b.mu.Lock()
	b.resting = true
	b.mu.Unlock()
	if err := b.tell(request{Rest: true}, nil); err != nil {
		b.end()
	}
	select {
	case n := <-b.rested:
		return n > 0
	case <-b.dead:
	case <-time.After(killTime):
		b.end() // init does not do what it is told
	}
	return false
}

// killCommands kills everything.
func (b *box) killCommands() {
	b.mu.Lock()
	for _, x := range b.running {
		x.mark(environment.ReasonProcesses)
	}
	b.mu.Unlock()
	if err := b.tell(request{All: true}, nil); err != nil {
		b.end()
	}
}
