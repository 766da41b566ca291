package gvisor

import (
	"context"
	"fmt"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// nearly is how much of the limit of memory is called nearly all of it, in hundredths: where nothing says why a sandbox ended.
const nearly = 95

// giveUp ends the environment since it did not do what it was told, in the words of a clause.
func (b *box) giveUp(what string) {
	b.mu.Lock()
	if b.gaveUp == "" {
		b.gaveUp = what
	}
	b.mu.Unlock()
	_ = b.end()
}

// unkilled ends the environment since something in it could not be killed. That it took too long is said where ctx, which bounds it, has ended; a
// sandbox that ended before that knows itself of what, such as a first process that did not answer.
func (b *box) unkilled(ctx context.Context, err error, what string, within time.Duration) {
	switch {
	case ctx.Err() != nil:
		b.giveUp(fmt.Sprintf("%s could not be killed within %v", what, within))
	case isRefusal(err):
		b.giveUp(what + " could not be killed")
	default:
		_ = b.end()
	}
}

// WhyEnded implements environment.Explained: what the driver decided, what the kernel counted, what the supervisor said, and
// at last what was measured before the end.
func (b *box) WhyEnded() string {
	why := b.whyEnded()
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.spec.Limits
	if said := l.Reached(why); said != "" {
		return said
	}
	used := b.process.group.Usage()
	measured := ""
	switch {
	case used.Refusals > 0:
		return fmt.Sprintf("the limit of %d threads on the host, which is that of %d processes inside and what the sandbox needs itself, was used up", hostLimits(l).Processes, l.Processes)
	case b.crammed:
		measured = l.Reached(environment.ReasonProcesses) + " when it was last looked at"
	case used.MemoryBytes > l.MemoryBytes/100*nearly:
		measured = fmt.Sprintf("it had used %d of %d MiB of memory", used.MemoryBytes>>20, l.MemoryBytes>>20)
	}
	what := b.gaveUp
	if what == "" && b.process.silent {
		what = "its first process did not answer any more"
	}
	if what != "" && measured != "" {
		return what + ", and " + measured
	}
	return what + measured
}
