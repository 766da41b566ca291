package erasure

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

const (
	turnKind = document.Kind("purge turn")
	turnID   = "purge"
	// turnHold is how long a turn is its node's, which says so again and again meanwhile.
	turnHold = 30 * time.Second
)

// turn is who makes purges, for the whole database: while it has not expired, nobody else does, and no other purge is made.
type turn struct {
	Failed int `json:"failed,omitempty"` // purges in a row

	mu  sync.Mutex
	doc document.Document
}

// turn takes this node's, or returns nil: another has it, or the last one was not long ago.
func (p *Purges) turn(ctx context.Context) (*turn, error) {
	now := p.now()
	t, d := &turn{}, document.Document{Key: document.Key{Project: stead.DefaultProject, Kind: turnKind, ID: turnID}, CreatedAt: now.UnixMilli()}
	old, err := p.documents.GetDocument(ctx, d.Key)
	switch {
	case stead.KindOf(err) == stead.KindNotFound:
		t.doc, err = p.documents.CreateDocument(ctx, t.until(d, now, turnHold), "", "")
	case err != nil:
	case old.ExpiresAt > now.UnixMilli():
		p.outcome(now.Add(min(time.UnixMilli(old.ExpiresAt).Sub(now), lookEvery)), nil) // whoever made the last one gives up what it failed for
		return nil, nil
	default:
		if json.Unmarshal(old.Data, t) != nil {
			t.Failed = 0
		}
		t.doc, err = p.documents.UpdateDocument(ctx, t.until(old, now, turnHold))
	}
	if stead.KindOf(err) == stead.KindConflict { // another was faster
		return nil, nil
	}
	return t, err
}

// ended counts a purge, and returns how many failed in a row.
func (t *turn) ended(err error) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.Failed++; err == nil {
		t.Failed = 0
	}
	return t.Failed
}

// until is the next version of a turn's document, that nobody else has it for a while.
func (t *turn) until(d document.Document, now time.Time, wait time.Duration) document.Document {
	d.Data, _ = json.Marshal(t)
	d.Version++
	d.UpdatedAt, d.ExpiresAt = now.UnixMilli(), now.Add(wait).UnixMilli()
	return d
}

// hold says that this node has its turn for a while longer. That it can't only lets another make the same purge.
func (p *Purges) hold(ctx context.Context, t *turn, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d, err := p.documents.UpdateDocument(ctx, t.until(t.doc, p.now(), wait))
	if err == nil {
		t.doc = d
	} else if ctx.Err() == nil {
		p.log.Warn("a purge may be made by another node as well", "err", err)
	}
}

// holding holds a turn while something takes long.
func (p *Purges) holding(ctx context.Context, t *turn, do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	tick := time.NewTicker(turnHold / 3)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			p.hold(ctx, t, turnHold)
		}
	}
}
