package main

import (
	"context"
	"fmt"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/ballast"
	"github.com/stead-dev/stead/internal/config"
)

// recordEvery is how often a start's records are tried again on a full disk.
const recordEvery = time.Second

// tendRoom keeps the journal's reserve, which this node owns from now on. What else a start writes gets room as well.
func (n *node) tendRoom() {
	n.room.Ready()
	n.beside(n.room.Tend)
}

// reserveOf is how much of the data directory's disk is kept for the journal, in bytes; none where that is elsewhere.
func reserveOf(cfg *config.Config) int64 {
	if cfg.Database != "" {
		return 0
	}
	return ballast.Bytes
}

// beside runs something until the node stops.
func (n *node) beside(run func(context.Context)) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); run(ctx) }()
	n.onStop(func(context.Context) error { stop(); <-done; return nil })
}

// orWhenThereIsRoom does what a start does first, and on a full disk as soon as there is room: whoever makes
// room needs a server. Until then nothing can be recorded, and so nothing is done that has to be.
func (n *node) orWhenThereIsRoom(ctx context.Context, do func(context.Context) error) error {
	err := do(ctx)
	if stead.KindOf(err) != stead.KindUnavailable || n.room.Full() == nil {
		return err
	}
	n.log.Error("the start can't be recorded on a full disk; it is tried again", "err", err)
	n.beside(func(ctx context.Context) {
		tick := time.NewTicker(recordEvery)
		defer tick.Stop()
		for do(ctx) != nil {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return nil
}

// checkRoom says how much of the data directory's disk is free, and what is kept of it.
func checkRoom(dir string, most int64) finding {
	f := finding{Check: "disk", Verdict: verdictOK}
	s := ballast.Open(dir, most, nil).Status()
	if !s.Known {
		f.Detail = "this system does not say how much of it is free"
		return f
	}
	f.Detail = fmt.Sprintf("%s are free, of which the journal keeps %s", mebibytes(s.Free), mebibytes(2*s.Floor))
	if s.Whole > 0 {
		f.Detail += fmt.Sprintf("; its reserve has %s of %s", mebibytes(s.Ballast), mebibytes(s.Whole))
	}
	// Before its first start a node has no reserve, and needs the room for one.
	if s.Free-(s.Whole-s.Ballast) < 2*s.Floor {
		f.Verdict = verdictFail
		f.Detail = "too full: " + f.Detail
		f.Remedy = fmt.Sprintf("Delete sessions or files that are not needed, or give the disk more room: with %s free work goes on by itself.", mebibytes(2*s.Floor+s.Whole-s.Ballast))
	}
	return f
}

func mebibytes(n int64) string {
	const mebi = 1 << 20
	return fmt.Sprintf("%d MiB", n/mebi)
}
