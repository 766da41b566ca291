package source

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

const (
	// leaseTime is how long a node has a source before it is due again; renewInterval is how often that is put off.
	leaseTime     = 10 * time.Second
	renewInterval = 2 * time.Second
	// pollInterval is how often a node looks for sources that are due.
	pollInterval = 2 * time.Second
	// releaseTimeout is how long a stopping node tries to give a source back.
	releaseTimeout = time.Second
	// workers is how many sources a node synchronises at once.
	workers = 2
	// firstRetry is when a source that could not be read is tried again; each time after that twice as long, up to its interval.
	firstRetry = time.Minute
)

// Run synchronises what is due, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	free := make(chan struct{}, workers)
	var running sync.WaitGroup
	defer running.Wait()
	for {
		due, err := s.cfg.Documents.ExpiredDocuments(ctx, kind, s.now(), workers)
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("look for sources that are due", "error", err)
		}
		for _, d := range due {
			select {
			case free <- struct{}{}:
			case <-ctx.Done():
				return
			}
			running.Go(func() {
				defer func() { <-free; s.nudge() }()
				s.work(ctx, d)
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.wake:
		}
	}
}

// work takes a source that is due, and does what is to be done. Who can't take it leaves it to whoever has.
func (s *Service) work(ctx context.Context, d document.Document) {
	h, err := s.take(ctx, d)
	if err != nil {
		if k := stead.KindOf(err); k != stead.KindConflict && k != stead.KindNotFound && ctx.Err() == nil {
			s.cfg.Log.Warn("take a source", "source", d.ID, "error", err)
		}
		return
	}
	if h.data.State.Deleting {
		err = s.bury(ctx, h.doc)
	} else {
		err = s.synchronise(ctx, h)
	}
	if ctx.Err() != nil {
		h.release(context.WithoutCancel(ctx))
	} else if k := stead.KindOf(err); err != nil && !errors.Is(err, context.Canceled) && k != stead.KindNotFound && k != stead.KindConflict {
		s.cfg.Log.Warn("synchronise a source; it is tried again", "source", d.ID, "error", err)
	}
}

// bury ends a deletion.
func (s *Service) bury(ctx context.Context, d document.Document) error {
	if err := s.clear(ctx, d); err != nil {
		return err
	}
	return s.cfg.Documents.DeleteDocument(ctx, d.Key, d.Version)
}

// held is a source that this node has. Its fields are guarded by mu.
type held struct {
	s    *Service
	mu   sync.Mutex
	doc  document.Document
	data stored
}

// take makes a source that is due this node's for leaseTime.
func (s *Service) take(ctx context.Context, d document.Document) (*held, error) {
	data, err := decode(d)
	if err != nil {
		return nil, err
	}
	st := &data.State
	if !st.Deleting {
		if st.Holder == "" {
			st.Run++
			st.Counts, st.Failures, st.Abandoned = Counts{}, nil, 0
			st.Began = s.now()
		} else { // its node died: what it did counts
			st.Abandoned++
			st.Version = "" // some of a later version may be there: one that is as the last whole walk was is walked again
		}
		st.Holder, st.Again = document.NewID(""), false
	}
	d.ExpiresAt = s.now() + leaseTime.Milliseconds()
	d, err = s.update(ctx, d, data)
	return &held{s: s, doc: d, data: data}, err
}

// keep renews the lease until ctx ends, with what is known of the work, and calls lost when somebody else has the source.
func (h *held) keep(ctx context.Context, progress func(*State), lost func()) {
	tick := time.NewTicker(renewInterval)
	defer tick.Stop()
	for until := time.Now().Add(leaseTime); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := h.write(ctx, func(d *document.Document, st *State) {
			progress(st)
			d.ExpiresAt = h.s.now() + leaseTime.Milliseconds()
		})
		switch k := stead.KindOf(err); {
		case err == nil:
			until = time.Now().Add(leaseTime)
		case k == stead.KindNotFound || k == stead.KindConflict || time.Now().After(until.Add(-renewInterval)):
			lost()
			return
		}
	}
}

// write changes the source while this node has it; what others said meanwhile (Again) is kept. KindConflict: it has it no more,
// or the source is being deleted.
func (h *held) write(ctx context.Context, change func(*document.Document, *State)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		d, data := h.doc, h.data
		change(&d, &data.State)
		d, err := h.s.update(ctx, d, data)
		if err == nil {
			h.doc, h.data = d, data
			return nil
		}
		if stead.KindOf(err) != stead.KindConflict {
			return err
		}
		now, readErr := h.s.cfg.Documents.GetDocument(ctx, h.doc.Key)
		if readErr != nil {
			return readErr
		}
		theirs, readErr := decode(now)
		if readErr != nil {
			return readErr
		}
		if theirs.State.Holder != h.data.State.Holder || theirs.State.Deleting {
			return err
		}
		h.doc, h.data.State.Again, h.data.Spec = now, theirs.State.Again, theirs.Spec
		h.data.Maker, h.data.Approved = theirs.Maker, theirs.Approved
	}
}

// still reads the source; it fails when somebody else has it, or it is being deleted.
func (h *held) still(ctx context.Context) (Spec, error) {
	h.mu.Lock()
	key, holder := h.doc.Key, h.data.State.Holder
	h.mu.Unlock()
	d, err := h.s.cfg.Documents.GetDocument(ctx, key)
	if err != nil {
		return Spec{}, err
	}
	data, err := decode(d)
	if err == nil && (data.State.Holder != holder || data.State.Deleting) {
		err = stead.Errorf(stead.KindConflict, "source %s was taken away", d.ID)
	}
	return data.Spec, err
}

// release gives a source back, unless all was done with it. That it can't only makes others wait until the lease is over.
func (h *held) release(ctx context.Context) {
	h.mu.Lock()
	done := h.data.State.Holder == ""
	h.mu.Unlock()
	if done {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	err := h.write(ctx, func(d *document.Document, _ *State) { d.ExpiresAt = h.s.now() }) // its Holder stays: the work goes on under the same number
	if k := stead.KindOf(err); err != nil && k != stead.KindNotFound && k != stead.KindConflict {
		h.s.cfg.Log.Warn("give back a source", "source", h.doc.ID, "error", err)
	}
}

// due is when a source is synchronised next; 0: when somebody asks.
func (s *Service) due(spec Spec, st *State) int64 {
	switch {
	case st.Again:
		return s.now()
	case spec.Interval == 0:
		return 0
	}
	wait := time.Duration(spec.Interval) * time.Second
	if st.Error != nil {
		wait = min(wait, firstRetry<<min(st.InARow-1, 16))
	}
	return s.now() + wait.Milliseconds()
}
