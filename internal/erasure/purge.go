package erasure

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

// What was deleted leaves its bytes in the database's files until these are purged. Whatever deletes says so beforehand, in a
// mark of its time: a document that is due a little later, so that a node that dies leaves it to another, and that many deletions
// are one purge; and once more when it is done. An erasure is a mark of its own, and certified behind the purge.

const (
	markKind   = document.Kind("purge")
	markPrefix = "purge_"
	// markEvery is the time that one mark is for, and markWait how much later it is due: by then what it announced is done.
	markEvery = 2 * time.Second
	markWait  = 3 * time.Second
	markLimit = 100
	// purgeShare is how many times as long as the last purge took the next one waits, at least purgePause: writes go on beside it.
	purgeShare = 4
	purgePause = 200 * time.Millisecond
	// purgeHold is how long an erasure that waits for a purge is its node's, which says so again and again meanwhile.
	purgeHold = 30 * time.Second
	// purgeAgain is when one that failed is tried again.
	purgeAgain = 30 * time.Second
	// purgeWithin is how long a certificate waits for a purge that fails. Then it says that the bytes are left.
	purgeWithin = time.Hour
	// BytesLeft is what a certificate says of a database that could not be purged.
	BytesLeft = "left"
)

// Purges keeps who is owed a purge, and makes it. It is safe for concurrent use, by several nodes too.
type Purges struct {
	documents document.Store
	purge     func(ctx context.Context) (string, error)
	now       func() time.Time
	log       *slog.Logger

	mu   sync.Mutex
	slot int64     // of the last mark
	next time.Time // when a purge may be made
}

// NewPurges makes Purges. purge takes what was deleted out of the database's files, and says how.
func NewPurges(documents document.Store, purge func(ctx context.Context) (string, error), now func() time.Time, log *slog.Logger) *Purges {
	return &Purges{documents: documents, purge: purge, now: now, log: log}
}

// Deleting runs a deletion that is no erasure, of which a purge follows.
func (p *Purges) Deleting(ctx context.Context, do func() error) error {
	if err := p.owe(ctx); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	if err := p.owe(context.WithoutCancel(ctx)); err != nil { // nothing happens where it was quick
		p.log.Warn("what was deleted may stand in the database's files for longer", "err", err)
	}
	return nil
}

// owe notes, durably, that something is about to be deleted.
func (p *Purges) owe(ctx context.Context) error {
	now := p.now()
	slot := now.UnixMilli() / markEvery.Milliseconds()
	p.mu.Lock()
	noted := p.slot == slot
	p.mu.Unlock()
	if noted {
		return nil
	}
	due := time.UnixMilli((slot + 1) * markEvery.Milliseconds()).Add(markWait)
	d := document.Document{
		Key:     document.Key{Project: stead.DefaultProject, Kind: markKind, ID: fmt.Sprint(markPrefix, slot)},
		Version: 1, CreatedAt: now.UnixMilli(), UpdatedAt: now.UnixMilli(), ExpiresAt: due.UnixMilli(), Data: []byte(`{}`),
	}
	if _, err := p.documents.CreateDocument(ctx, d, "", ""); err != nil && stead.KindOf(err) != stead.KindConflict { // another node's mark is as good
		return err
	}
	p.mu.Lock()
	p.slot = slot
	p.mu.Unlock()
	return nil
}

// wait is how long no purge may be made.
func (p *Purges) wait() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.next.Sub(p.now()), 0)
}

// run makes a purge, and says how.
func (p *Purges) run(ctx context.Context) (how string, err error) {
	began := p.now()
	how, err = p.purge(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	end := p.now()
	p.next = end.Add(max(purgeShare*end.Sub(began), purgePause))
	if err != nil {
		p.next = end.Add(purgeAgain)
	}
	return how, err
}

// sweep makes the purge that is owed by marks, or to erasures.
func (p *Purges) sweep(ctx context.Context, owed bool) (how string, err error) {
	if p.wait() > 0 {
		return "", nil
	}
	marks, err := p.documents.ExpiredDocuments(ctx, markKind, p.now().UnixMilli(), markLimit)
	if err != nil || len(marks) == 0 && !owed {
		return "", err
	}
	if how, err = p.run(ctx); err != nil {
		return "", err
	}
	for _, m := range marks {
		if err := p.documents.DeleteDocument(ctx, m.Key, 0); err != nil && stead.KindOf(err) != stead.KindNotFound {
			p.log.Warn("a purge was made and is noted as owed; it is made again", "err", err)
		}
	}
	return how, nil
}

// empty notes that nothing of an erasure is left but bytes.
func (s *Service) empty(ctx context.Context, e *Erasure) error {
	if err := s.unask(ctx, e); err != nil {
		return err
	}
	if s.cfg.Purges == nil {
		return s.certify(ctx, e)
	}
	e.Emptied, e.Problem = s.cfg.Now().UnixMilli(), ""
	if err := s.save(ctx, e); err != nil {
		return err
	}
	s.wake()
	return nil
}

// purge purges for those of which nothing else is left, and certifies them; or it leaves them for later, and says why.
func (s *Service) purge(ctx context.Context, emptied []*Erasure) error {
	if s.cfg.Purges == nil {
		return nil
	}
	var how string
	var failed, last error
	s.keeping(ctx, emptied, func() { how, failed = s.cfg.Purges.sweep(ctx, len(emptied) > 0) })
	for _, e := range emptied {
		if err := s.purged(ctx, e, how, failed); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("an erasure did not get to its end; it is tried again", "erasure", e.ID, "err", err)
			last = err // of this one alone: what the others are told is how the purge ended
		}
	}
	return cmp.Or(last, failed)
}

func (s *Service) purged(ctx context.Context, e *Erasure, how string, failed error) error {
	switch waited := s.cfg.Now().Sub(time.UnixMilli(e.Emptied)); {
	case how != "":
		e.So.Bytes = &Bytes{Database: how, At: s.cfg.Now().UnixMilli()}
	case failed != nil && waited >= purgeWithin:
		e.So.Bytes = &Bytes{Database: BytesLeft, At: s.cfg.Now().UnixMilli(), Problem: message(failed)}
	default: // later
		e.held = false
		if failed != nil {
			e.Problem = message(failed)
		}
		return s.save(ctx, e)
	}
	return s.certify(ctx, e)
}

// keeping keeps erasures this node's while something takes long.
func (s *Service) keeping(ctx context.Context, held []*Erasure, do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	tick := time.NewTicker(purgeHold / 3)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		for _, e := range held {
			if err := s.save(ctx, e); err != nil {
				s.cfg.Log.Warn("an erasure that waits for a purge may be another node's by now", "erasure", e.ID, "err", err)
			}
		}
	}
}
