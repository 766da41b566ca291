package vectorstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/passage"
)

const (
	// jobKind are documents that say that there is work on a store, whose id is theirs; they expire when it is due.
	jobKind document.Kind = "vector store job"
	// leaseTime is how long a worker has a job before it is due again; while it works it renews that, renewals times in it.
	leaseTime = 10 * time.Second
	renewals  = 3
	// pollInterval is how often a node looks for jobs that another one left.
	pollInterval = 5 * time.Second
	// releaseTimeout is how long a stopping node tries to give a job back.
	releaseTimeout = time.Second
	// workers is how many stores a node works on at once.
	workers = 2
	// writeSize is how many passages are written in one transaction.
	writeSize = 200
)

func jobKey(project stead.ProjectID, store string) document.Key {
	return document.Key{Project: project, Kind: jobKind, ID: store}
}

// nudge sees to it that somebody works on a store: a job that is there learns by its next version that there is more.
func (s *Service) nudge(ctx context.Context, project stead.ProjectID, store string) error {
	k := jobKey(project, store)
	var err error
	for range maxTries {
		var d document.Document
		now := s.now()
		switch d, err = s.cfg.Documents.GetDocument(ctx, k); {
		case stead.KindOf(err) == stead.KindNotFound:
			_, err = s.cfg.Documents.CreateDocument(ctx, document.Document{Key: k, CreatedAt: now, UpdatedAt: now, ExpiresAt: now, Data: []byte("{}")}, "", "")
		case err == nil:
			d.Version++
			_, err = s.cfg.Documents.UpdateDocument(ctx, d)
		}
		if err == nil {
			select {
			case s.wake <- struct{}{}:
			default:
			}
			return nil
		}
		if kind := stead.KindOf(err); kind != stead.KindConflict && kind != stead.KindNotFound {
			return err
		}
	}
	return err
}

// Run works on what is due, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	free := make(chan struct{}, workers)
	var running sync.WaitGroup
	defer running.Wait()
	for {
		due, err := s.cfg.Documents.ExpiredDocuments(ctx, jobKind, s.now(), workers)
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("look for work on vector stores", "error", err)
		}
		for _, d := range due {
			select {
			case free <- struct{}{}:
			case <-ctx.Done():
				return
			}
			owner := document.NewID("")
			if d, err = s.lease(ctx, d, owner); err != nil {
				<-free
				continue // somebody else has it, or it is there the next time
			}
			running.Go(func() {
				defer func() { <-free }()
				s.work(ctx, d, owner)
			})
		}
		if len(due) > 0 && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.wake:
		}
	}
}

// work does everything that there is to do on a store. What fails for now is tried again when the lease is over;
// when the node stops, the job is due at once.
func (s *Service) work(ctx context.Context, d document.Document, owner string) {
	defer func() {
		if ctx.Err() != nil {
			s.release(context.WithoutCancel(ctx), d.Key, owner)
		}
	}()
	for ctx.Err() == nil {
		more, err := s.kept(ctx, &d, owner, s.round)
		if err == nil && !more { // nothing was left: has nobody brought anything since the job was read?
			if err = gone(s.cfg.Documents.DeleteDocument(ctx, d.Key, d.Version)); err == nil {
				return
			}
		}
		if err == nil || stead.KindOf(err) == stead.KindConflict {
			d, _, err = s.renew(ctx, d, owner)
		}
		if k := stead.KindOf(err); k == stead.KindNotFound {
			return // another worker has done it, or has it
		} else if err != nil && k != stead.KindConflict {
			if ctx.Err() == nil {
				s.cfg.Log.Warn("work on a vector store", "store", d.ID, "error", err)
			}
			return
		}
	}
}

// round handles the files that need it now, and reports whether there were any.
func (s *Service) round(ctx context.Context, k document.Key) (bool, error) {
	var todo []File
	if err := s.tables.With(ctx, filesOf(k.Project, k.ID), func(t *table) {
		for _, f := range t.files {
			if f.Status == InProgress && f.Origin == nil || f.Status == removed || len(f.Stale) > 0 {
				todo = append(todo, f)
			}
		}
	}); err != nil {
		return false, err
	}
	for _, f := range todo {
		if err := s.handle(ctx, k.Project, k.ID, f); err != nil {
			return true, err
		}
	}
	return len(todo) > 0, nil
}

// handle does what is to be done about one file.
func (s *Service) handle(ctx context.Context, project stead.ProjectID, store string, f File) error {
	if f.Status == removed {
		return s.bury(ctx, project, store, f)
	}
	place := filesOf(project, store)
	if len(f.Stale) > 0 {
		if err := s.forget(ctx, passagesOf(project, store), f.Stale...); err != nil {
			return err
		}
		if _, err := s.change(ctx, place, f.ID, func(now *File) {
			now.Stale = slices.DeleteFunc(slices.Clone(now.Stale), func(a string) bool { return slices.Contains(f.Stale, a) })
		}); err != nil {
			return gone(err)
		}
	}
	if f.Status != InProgress || f.Origin != nil { // documents are written by who synchronises their source
		return nil
	}
	read, err := s.attempt(ctx, place, f)
	if err != nil {
		return err
	}
	failure := read.failure
	bytes, err := s.writePassages(ctx, project, store, f, read.passages)
	if k := stead.KindOf(err); k == stead.KindTooLarge || k == stead.KindInvalid { // it will be so the next time
		failure, bytes = &Failure{"invalid_file", err.Error()}, 0
		err = s.forget(ctx, passagesOf(project, store), f.Attachment)
	}
	if err != nil {
		return err
	}
	ours := false
	_, err = s.change(ctx, place, f.ID, func(now *File) {
		if ours = now.Attachment == f.Attachment && now.Status == InProgress; ours {
			now.Status, now.Failure, now.Bytes, now.Attempts, now.Charset = Completed, failure, bytes, 0, read.charset
			if failure != nil {
				now.Status = Failed
			}
		}
	})
	if err == nil && !ours || stead.KindOf(err) == stead.KindNotFound {
		return s.forgetUnlessCurrent(ctx, project, store, f)
	}
	return err
}

// forgetUnlessCurrent removes what was written for an attachment that somebody cancelled, replaced or removed
// meanwhile; if another worker has completed it, the passages are needed.
func (s *Service) forgetUnlessCurrent(ctx context.Context, project stead.ProjectID, store string, f File) error {
	now, err := s.file(ctx, filesOf(project, store), f.ID)
	if gone(err) != nil || err == nil && now.Attachment == f.Attachment && now.Status == Completed {
		return gone(err)
	}
	return s.forget(ctx, passagesOf(project, store), f.Attachment)
}

// cut reads and cuts a file. A failure is the file's own; an error is to be tried again.
func (s *Service) cut(ctx context.Context, id string, plan passage.Plan, read func() (passage.Document, error)) (r reading) {
	defer func() {
		if v := recover(); v != nil { // a document that nobody foresaw must not end the process
			s.cfg.Log.Error("a file of a vector store could not be cut", "file", id, "panic", v)
			r = reading{failure: &Failure{"server_error", "the file could not be processed"}}
		}
	}()
	d, err := read()
	if err == nil {
		return reading{passages: d.Cut(plan), charset: d.Charset}
	}
	switch stead.KindOf(err) {
	case stead.KindUnavailable:
		return reading{err: err}
	case stead.KindNotImplemented:
		return reading{failure: &Failure{"unsupported_file", err.Error()}}
	case stead.KindInvalid, stead.KindTooLarge, stead.KindNotFound:
		return reading{failure: &Failure{"invalid_file", err.Error()}}
	}
	if ctx.Err() != nil {
		return reading{err: err}
	}
	s.cfg.Log.Error("read a file of a vector store", "file", id, "error", err)
	return reading{failure: &Failure{"server_error", "the file could not be read"}}
}

// writePassages stores the passages of an attachment, each once however often it is called, and says how
// many bytes they are.
func (s *Service) writePassages(ctx context.Context, project stead.ProjectID, store string, f File, passages []passage.Passage) (int64, error) {
	place := passagesOf(project, store)
	now := s.now()
	bytes := int64(0)
	for from := 0; from < len(passages); from += writeSize {
		if at, err := s.file(ctx, filesOf(project, store), f.ID); err != nil || at.Attachment != f.Attachment || at.Status != InProgress {
			return bytes, gone(err) // the caller finds out what it is now
		}
		var changes []memory.Change
		for i, p := range passages[from:min(from+writeSize, len(passages))] {
			data, err := json.Marshal(storedPassage{f.ID, f.Attachment, p})
			if err != nil {
				return 0, stead.Wrap(stead.KindInternal, err, "encode a passage")
			}
			bytes += int64(len(p.Text))
			changes = append(changes, memory.Change{Once: true, Record: memory.Record{
				Place: place, ID: fmt.Sprintf("%s_%07d", f.Attachment, from+i), CreatedAt: now, UpdatedAt: now, Data: data,
			}})
		}
		if _, err := s.cfg.Records.WriteMemories(ctx, place, changes); err != nil {
			return 0, err
		}
	}
	return bytes, nil
}
