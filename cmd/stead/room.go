package main

import (
	"context"
	"fmt"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/ballast"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/volume"
)

// recordEvery is how often a start's records are tried again on a full disk.
const recordEvery = time.Second

// tendRoom keeps the journal's reserve, which this node owns from now on. What else a start writes gets room as well.
func (n *node) tendRoom() {
	n.room.Ready()
	n.beside(n.room.Tend)
}

// journalIsHere reports whether the journal is on the data directory's disk.
func journalIsHere(cfg *config.Config) bool { return cfg.Database == "" }

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

// checkRoom says how much of the data directory's disk is free, and what is kept of it: of bytes, and of inodes where it has a
// fixed number of them.
func checkRoom(dir string, journal bool) finding {
	f := finding{Check: "disk", Verdict: verdictOK}
	s := ballast.Open(dir, journal, nil).Status()
	if !s.Known {
		f.Detail = "this system does not say how much of it is free"
		return f
	}
	f.Detail = room(s.Bytes, mebibytes)
	if s.Files.Floor > 0 {
		f.Detail += ". " + room(s.Files, inodes)
	}
	tooFull := func(what, more string, lacks ballast.Level, show func(int64) string) {
		f.Verdict = verdictFail
		f.Detail = what + ": " + f.Detail
		f.Remedy = fmt.Sprintf("Delete sessions or files that are not needed, or give the disk more %s: with %s free work goes on by itself.", more, show(lacks.Free+lacks.Lacks()))
	}
	switch {
	case s.Bytes.Lacks() > 0:
		tooFull("too full", "room", s.Bytes, mebibytes)
	case s.Files.Lacks() > 0:
		tooFull("it "+volume.NoFiles, "inodes", s.Files, inodes)
	}
	return f
}

func room(l ballast.Level, show func(int64) string) string {
	text := fmt.Sprintf("%s are free, of which the journal keeps %s", show(l.Free), show(2*l.Floor))
	if l.Whole > 0 {
		text += fmt.Sprintf("; its reserve has %s of %s", show(l.Ballast), show(l.Whole))
	}
	return text
}

func inodes(n int64) string { return fmt.Sprintf("%d inodes", n) }

func mebibytes(n int64) string {
	const mebi = 1 << 20
	return fmt.Sprintf("%d MiB", n/mebi)
}
