package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Processes in the background write when nobody waits for them. While there are any, the host looks
// again and again whether the workspace differs from its last checkpoint, and tells the session, which
// has it stored: Opened.Changed.

// Limits of looking after processes in the background.
const (
	// BackgroundEvery is how often the workspace is looked at while any run.
	BackgroundEvery = 30 * time.Second
	// BackgroundShare bounds the cost: looking and storing are followed by as many times their duration
	// of rest.
	BackgroundShare = 20
	// MaxNamedBackground is the most processes that a checkpoint names.
	MaxNamedBackground = 16
)

// leftBehind stands for processes that a command left behind, so that no tool knows them.
const leftBehind = "(a process that a command left behind)"

// background is what is known of the processes of one box that outlive a call.
type background struct {
	mu       sync.Mutex
	last     int
	commands map[int]string // that were begun as such, by number

	ended chan struct{} // one of them has ended
	tell  chan struct{} // Opened.Changed
}

func newBackground() background {
	return background{commands: map[int]string{}, ended: make(chan struct{}, 1), tell: make(chan struct{}, 1)}
}

// poke leaves one value in a channel of capacity one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// began notes a process in the background of a session's environment; ended notes its end.
func (h *Host) began(key stead.SessionKey, command string) (ended func()) {
	b, err := h.box(key)
	if err != nil || b.remote {
		return func() {} // what runs on a user's machine is not stored here
	}
	g := &b.background
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last++
	n := g.last
	g.commands[n] = command
	return func() {
		g.mu.Lock()
		delete(g.commands, n)
		g.mu.Unlock()
		poke(g.ended)
	}
}

// Background implements environment.Host.
func (h *Host) Background(key stead.SessionKey) []string {
	b, err := h.box(key)
	if err != nil || b.remote {
		return nil
	}
	return b.inBackground()
}

// inBackground names what runs in the background, in the order of beginning.
func (b *box) inBackground() []string {
	b.background.mu.Lock()
	var numbers []int
	for n := range b.background.commands {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	var out []string
	for _, n := range numbers[:min(len(numbers), MaxNamedBackground)] {
		out = append(out, b.background.commands[n])
	}
	b.background.mu.Unlock()
	if more := len(numbers) - len(out); more > 0 {
		out = append(out, fmt.Sprintf("(and %d more)", more))
	}
	// More than the commands that are known: or a command of a call, and then its end brings a checkpoint anyway.
	if env, ok := b.env.(interface{ Children() int }); ok && env.Children() > len(numbers) {
		out = append(out, leftBehind)
	}
	return out
}

// attend tells the session that its workspace has changed, while processes run in the background and
// when one has ended.
func (h *Host) attend(b *box) {
	before, wait := false, h.cfg.BackgroundEvery
	for {
		ended := false
		select {
		case <-b.env.Done():
			return
		case <-b.background.ended:
			ended = true
		case <-time.After(wait):
		}
		now := len(b.inBackground()) > 0
		if !now && !before && !ended {
			continue
		}
		before = now
		changed, took := h.changed(b)
		if changed {
			poke(b.background.tell)
		}
		wait = max(h.cfg.BackgroundEvery, BackgroundShare*(took+time.Duration(b.took.Load())))
	}
}

// changed reports whether the workspace differs from its last checkpoint, and how long it took to see.
// It is a checkpoint that stops before it stores anything.
func (h *Host) changed(b *box) (changed bool, took time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), BackgroundEvery)
	defer cancel()
	b.saving.Lock()
	defer b.saving.Unlock()
	begin := time.Now()
	look := &onlooker{Blobs: h.blobs(b.key)}
	c, err := b.env.Checkpoint(ctx, look, b.stored)
	took = time.Since(begin)
	if look.differs.Load() {
		return true, took
	}
	if err != nil {
		h.log.Info("a workspace could not be looked at", "session", b.key.Session, "err", err)
		return false, took
	}
	return c.Digest != b.stored, took
}

// onlooker is blobs in which nothing is put.
type onlooker struct {
	environment.Blobs
	differs atomic.Bool
}

var errDiffers = errors.New("the workspace differs from its checkpoint")

// Put implements environment.Blobs.
func (o *onlooker) Put(context.Context, []byte) (string, error) {
	o.differs.Store(true)
	return "", errDiffers
}
