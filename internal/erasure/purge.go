package erasure

import (
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
// are one purge; and once more when it is done. An erasure of which nothing but bytes is left has a mark of its own, and is certified behind
// the purge. A purge settles all marks that were there when it began, and one node at a time makes it: its turn is a document, too.

const (
	markKind   = document.Kind("purge")
	markPrefix = "purge_"
	// emptiedKind is of erasures that wait for a purge; the id is the erasure's.
	emptiedKind = document.Kind("purge erasure")
	// markEvery is the time that one mark is for, and markWait how much later it is due: by then what it announced is done.
	markEvery = 2 * time.Second
	markWait  = 3 * time.Second
	// marksAtOnce is the most of either kind that one purge settles: what they take in memory, not what a purge can do.
	marksAtOnce = 50_000
	// purgeShare is how many times as long as the last purge took the next one waits, at least purgePause: writes go on beside it.
	purgeShare = 4
	purgePause = 200 * time.Millisecond
	// purgeAgain is when one that failed is tried again, each time twice as late, up to purgeAtLast.
	purgeAgain  = 30 * time.Second
	purgeAtLast = time.Hour
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

	mu     sync.Mutex
	slot   int64     // of the last mark
	next   time.Time // when a purge may be made
	failed error     // of this node's last one
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

// emptied notes, durably, that nothing of an erasure is left but bytes.
func (p *Purges) emptied(ctx context.Context, e *Erasure) error {
	now := p.now().UnixMilli()
	d := document.Document{
		Key:     document.Key{Project: e.Principal.Project, Kind: emptiedKind, ID: e.ID},
		Version: 1, CreatedAt: now, UpdatedAt: now, ExpiresAt: e.Emptied, Data: []byte(`{}`),
	}
	_, err := p.documents.CreateDocument(ctx, d, "", "")
	if stead.KindOf(err) == stead.KindConflict { // it was noted already
		return nil
	}
	return err
}

// owed is what a purge would settle, and what not.
type owed struct{ marks, erasures []document.Document }

func (p *Purges) owed(ctx context.Context) (out owed, err error) {
	now := p.now().UnixMilli()
	if out.erasures, err = p.documents.ExpiredDocuments(ctx, emptiedKind, now, marksAtOnce); err == nil {
		out.marks, err = p.documents.ExpiredDocuments(ctx, markKind, now, marksAtOnce)
	}
	return out, err
}

// wait is how long no purge may be made.
func (p *Purges) wait() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.next.Sub(p.now()), 0)
}

// problem is why this node's last purge failed; nil: it did not.
func (p *Purges) problem() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// outcome notes how this node's turn ended, or that another has it, and when there may be another purge.
func (p *Purges) outcome(next time.Time, failed error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next, p.failed = next, failed
}

// run makes a purge in this node's turn, and says how, and how long nobody should make another.
func (p *Purges) run(ctx context.Context, t *turn) (how string, pause time.Duration, err error) {
	began := p.now()
	how, err = p.purge(ctx)
	if ctx.Err() != nil {
		return "", 0, ctx.Err() // another node may, at once
	}
	pause = max(purgeShare*p.now().Sub(began), purgePause)
	if failed := t.ended(err); failed > 0 {
		pause = max(pause, min(purgeAgain<<min(failed-1, 16), purgeAtLast))
	}
	return how, pause, err
}

// drop removes marks that are settled.
func (p *Purges) drop(ctx context.Context, marks []document.Document) {
	for _, m := range marks {
		if err := p.documents.DeleteDocument(ctx, m.Key, 0); err != nil && stead.KindOf(err) != stead.KindNotFound && ctx.Err() == nil {
			p.log.Warn("a purge was made and is noted as owed; it is made again", "err", err)
		}
	}
}
