//go:build unix

package environment

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Room makes room for commands where whoever was there before uses up all processes, a fork bomb for
// example: an environment in which nothing can be run any more would be of no use. It is safe for
// concurrent use; one command at a time has something killed.
type Room struct {
	Limit int // Limits.Processes
	// Free is how many processes can still be had. Where nobody knows that, a command that does not start
	// is all that there is to see.
	Free func() (n int, known bool)
	// Kills kill what is in the way, the mildest first, and say for people who that was; "": nobody.
	Kills []func() string

	mu sync.Mutex // held while something is killed
}

// The limits of making room.
const (
	// RoomProcesses is how few processes may be left to a command that begins: with fewer a pipeline fails.
	RoomProcesses = 4
	// A bomb whose processes fail at the limit collapses and begins anew, again and again: one look can find
	// enough. So it is looked again, up to calmLooks times where less than 1/roomNear of the limit is left, and up to
	// roomLooks times where from one look to the next the number moves by more than 1/roomMove of it, which nothing
	// does that is not forking for its life. Where no more than that is used, one look is enough.
	roomNear  = 4
	roomMove  = 16
	calmLooks = 5
	roomLooks = 60
	// roomPause lies between two looks or tries, and roomTime is how long it takes at most until those
	// that were killed are gone.
	roomPause = 5 * time.Millisecond
	roomTime  = 2 * time.Second
	// roomName is the most that is said of a command's name, in bytes.
	roomName = 80
)

// Start starts a command by start, with room made for it if there is none. cleared says who had to be
// killed for that, "" if nobody: see Cleared.
func (r *Room) Start(ctx context.Context, start func() error) (cleared string, err error) {
	if !r.scarce(ctx) {
		if err = start(); !crowded(err) {
			return "", err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	kills := r.Kills
	for ; len(kills) > 0 && r.scarce(ctx); kills = kills[1:] {
		if who := kills[0](); who != "" {
			cleared = who
			r.settle(ctx)
		}
	}
	for err = start(); len(kills) > 0 && crowded(err); kills = kills[1:] {
		if who := kills[0](); who != "" {
			cleared = who
			err = again(ctx, start, err)
		}
	}
	return cleared, err
}

// scarce reports whether hardly any process can be had, now or again and again.
func (r *Room) scarce(ctx context.Context) bool {
	move, before := r.Limit/roomMove, 0
	for look := range roomLooks {
		n, known := r.Free()
		moved := look > 0 && max(n-before, before-n) > move
		switch {
		case !known || n >= r.Limit-move:
			return false
		case n < RoomProcesses, moved && n < 2*move:
			return true
		case look > 0 && !moved && (n > r.Limit/roomNear || look >= calmLooks):
			return false
		}
		before = n
		if !pause(ctx) {
			return false
		}
	}
	return false
}

// settle waits until those that were killed are gone.
func (r *Room) settle(ctx context.Context) {
	for end := time.Now().Add(roomTime); time.Now().Before(end); {
		if n, known := r.Free(); !known || n >= RoomProcesses || !pause(ctx) {
			return
		}
	}
}

// again repeats start while it fails for want of processes, which are being given back.
func again(ctx context.Context, start func() error, err error) error {
	for end := time.Now().Add(roomTime); crowded(err) && time.Now().Before(end) && pause(ctx); {
		err = start()
	}
	return err
}

// pause is false when ctx has ended.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(roomPause):
		return true
	}
}

// crowded reports whether a command was not started because the limit of processes is used up.
func crowded(err error) bool {
	_, not := errors.AsType[*NotStartedError](err)
	return not && errors.Is(err, syscall.EAGAIN)
}

// Cleared tells whoever reads a command's output who was killed so that the command could run.
func (r *Room) Cleared(who string) Chunk {
	return Chunk{Stream: Stderr, Data: fmt.Appendf(nil, "[the limit of %d processes was used up: %s were killed, so that this command could run]\n", r.Limit, who)}
}

// Whom a driver kills for Room, in the words of Cleared.
const (
	ClearedRest = "the processes that earlier commands left behind, and that no tool knows,"
	ClearedAll  = "all processes of the environment"
)

// ClearedCommand is the third of them: one command that is known.
func ClearedCommand(args []string) string {
	name := ""
	if len(args) > 0 {
		name = strings.Join(strings.Fields(args[len(args)-1]), " ") // what a shell was given, mostly
	}
	return fmt.Sprintf("the processes of the command that had most of them, %q,", strings.ToValidUTF8(name[:min(len(name), roomName)], ""))
}
