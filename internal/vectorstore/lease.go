package vectorstore

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

// job is the data of a job: who works on it, or did.
type job struct {
	Owner string `json:"owner,omitempty"`
}

func ownerOf(d document.Document) string {
	var j job
	_ = json.Unmarshal(d.Data, &j) // a job of an older node has none
	return j.Owner
}

// lease takes a job for as long as a lease lasts.
func (s *Service) lease(ctx context.Context, d document.Document, owner string) (document.Document, error) {
	data, err := json.Marshal(job{owner})
	if err != nil {
		return d, stead.Wrap(stead.KindInternal, err, "encode a job")
	}
	d.Version++
	d.ExpiresAt, d.Data = s.now()+s.leaseTime.Milliseconds(), data
	return s.cfg.Documents.UpdateDocument(ctx, d)
}

// renew goes on with a lease, and reports whether somebody has brought more work meanwhile. If another worker has the job
// by now, it is not there: KindNotFound. KindConflict: work is brought faster than it can be told; d is as it was read last.
func (s *Service) renew(ctx context.Context, d document.Document, owner string) (document.Document, bool, error) {
	for try := 0; ; try++ {
		next, err := s.lease(ctx, d, owner)
		if err == nil {
			return next, try > 0, nil
		}
		if stead.KindOf(err) != stead.KindConflict || try == maxTries {
			return d, try > 0, err
		}
		if next, err = s.cfg.Documents.GetDocument(ctx, d.Key); err != nil {
			return d, false, err
		}
		if ownerOf(next) != owner {
			return d, false, d.NotFound()
		}
		d = next
	}
}

// kept does a round of work while it keeps the lease, however long that takes. When another worker has taken the job, because
// this one was away for so long, the round ends.
func (s *Service) kept(ctx context.Context, d *document.Document, owner string, do func(context.Context, document.Key) (bool, error)) (bool, error) {
	within, lose := context.WithCancel(ctx)
	defer lose()
	moved := false
	k := d.Key
	done := make(chan struct{})
	var renewing sync.WaitGroup
	renewing.Go(func() {
		tick := time.NewTicker(s.leaseTime / renewals)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			next, more, err := s.renew(within, *d, owner)
			switch {
			case err == nil:
				*d, moved = next, moved || more
			case stead.KindOf(err) == stead.KindNotFound:
				lose()
				return
			} // else the next renewal may do it
		}
	})
	more, err := do(within, k)
	close(done)
	renewing.Wait()
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		err = k.NotFound()
	}
	return more || moved, err
}

// release gives a job back. That it can't only makes others wait until the lease is over.
func (s *Service) release(ctx context.Context, k document.Key, owner string) {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	d, err := s.cfg.Documents.GetDocument(ctx, k)
	if err == nil && ownerOf(d) == owner {
		d.Version++
		d.ExpiresAt = s.now()
		_, err = s.cfg.Documents.UpdateDocument(ctx, d)
	}
	if k := stead.KindOf(err); err != nil && k != stead.KindNotFound && k != stead.KindConflict {
		s.cfg.Log.Warn("give back the work on a vector store", "store", d.ID, "error", err)
	}
}
