package vectorstore

import (
	"context"
	"time"

	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/passage"
)

// What makes text of files meets documents that nobody foresaw. It may use up the memory of the process, which nothing in it
// can catch: so one file is read at a time, and before it is, the file says that it is being read. A process that dies over it
// leaves that behind, and after some of them the file has failed, instead of ending every node in turn.

const (
	// maxAttempts is how often the reading of a file may begin without an end.
	maxAttempts = 3
	// maxReadTime is how long a file may take to be read and cut, whatever it is.
	maxReadTime = 5 * time.Minute
	// readGrace is what a reader gets on top of that to notice that its time is over: then nobody waits for it any more.
	readGrace = 10 * time.Second
	// maxAway is how long what a file needs may be away, since it was attached, before it has failed.
	maxAway = 24 * time.Hour
	// endTimeout is how long a node tries to say that an attempt has ended.
	endTimeout = 2 * time.Second
)

// reading is what comes of a file.
type reading struct {
	text     string
	passages []passage.Passage
	charset  string   // passage.Document.Charset
	failure  *Failure // for good
	err      error    // for now
}

// attempt reads and cuts a file that is in progress, unless too many attempts at it have had no end. A file that is something
// else by now gives nothing.
func (s *Service) attempt(ctx context.Context, place memory.Place, f File) (reading, error) {
	done, err := s.turn(ctx)
	if err != nil {
		return reading{}, err
	}
	defer done()
	ours, spent := false, false
	_, err = s.change(ctx, place, f.ID, func(now *File) {
		ours = now.Attachment == f.Attachment && now.Status == InProgress
		if spent = now.Attempts >= maxAttempts; ours && !spent {
			now.Attempts++
		}
	})
	switch {
	case err != nil || !ours:
		return reading{}, gone(err)
	case spent:
		s.cfg.Log.Error("a file of a vector store ended whoever read it", "store", place.Store, "file", f.ID, "attempts", maxAttempts)
		return reading{failure: &Failure{"server_error", "the file could not be processed: the server ended while it read it, several times"}}, nil
	}
	r := s.timed(ctx, func(ctx context.Context) reading {
		return s.cut(ctx, f.ID, f.Plan, func() (passage.Document, error) { return s.read(ctx, place.Project, f.ID) })
	})
	if r.err != nil && ctx.Err() == nil && s.now()-f.CreatedAt > maxAway.Milliseconds() {
		r = reading{failure: &Failure{"server_error", "the file could not be read for " + maxAway.String() + ": " + r.err.Error()}}
	}
	if r.err != nil || len(r.passages) > writeSize { // else it is completed next, which says so as well
		s.ended(context.WithoutCancel(ctx), place, f)
	}
	return r, r.err
}

// ended takes an attempt back that did not end the process. That it can't makes the file fail sooner if others do.
func (s *Service) ended(ctx context.Context, place memory.Place, f File) {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	_, err := s.change(ctx, place, f.ID, func(now *File) {
		if now.Attachment == f.Attachment && now.Attempts > 0 {
			now.Attempts--
		}
	})
	if gone(err) != nil {
		s.cfg.Log.Warn("the reading of a file of a vector store has ended, and can't say so", "file", f.ID, "error", err)
	}
}

// turn waits until nobody on this node reads a file: one may take as much memory as a node has to spare.
func (s *Service) turn(ctx context.Context) (done func(), err error) {
	select {
	case s.reads <- struct{}{}:
		return func() { <-s.reads }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// timed reads within the time that a file may take, whether the reader looks at the clock or not.
func (s *Service) timed(ctx context.Context, read func(context.Context) reading) reading {
	within, cancel := context.WithTimeout(ctx, s.readTime)
	defer cancel()
	out := make(chan reading, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				s.cfg.Log.Error("a file of a vector store could not be read", "panic", v)
				out <- reading{failure: &Failure{"server_error", "the file could not be processed"}}
			}
		}()
		out <- read(within)
	}()
	late := time.NewTimer(s.readTime + s.readGrace)
	defer late.Stop()
	select {
	case r := <-out:
		if r.err == nil || within.Err() == nil || ctx.Err() != nil {
			return r
		}
	case <-ctx.Done(): // nobody waits any more
		return reading{err: ctx.Err()}
	case <-late.C:
		s.cfg.Log.Error("a file of a vector store is being read without an end")
	}
	return reading{failure: &Failure{"invalid_file", "to read the file took longer than " + s.readTime.String()}}
}
