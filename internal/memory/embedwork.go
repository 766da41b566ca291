package memory

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory/recall"
)

const (
	// claimTime is how long a worker has a store, which it renews while a call is under way: what a dead node had waits so long.
	claimTime = 15 * time.Second
	renewTime = claimTime / 3
	callTime  = time.Minute
	// stopTime is how long a call may still take when the node stops.
	stopTime = 5 * time.Second
	// embedPoll is how often a node looks for what others left.
	embedPoll = 3 * time.Second
	// gatherTime is how long a write waits for others that go into its call.
	gatherTime = 50 * time.Millisecond
	// backoffLeast and backoffMost are how long a store waits after failures: twice as long each time.
	backoffLeast = time.Second
	backoffMost  = 10 * time.Minute
	// spaceLife is how long vectors of a model that nobody is configured with stay, and how often a node looks for them.
	spaceLife = 24 * time.Hour
	spacePoll = time.Hour
)

// embedPrincipal is who embeds what others wrote: the node itself, for the project. Policies decide on it, and usage is
// recorded for it.
func embedPrincipal(project stead.ProjectID) stead.Principal {
	return stead.Principal{Project: project, Kind: stead.PrincipalService, ID: "memory"}
}

// Run embeds what is owed until ctx ends. What a crash leaves is done by the next one, here or on another node: at most the
// call that was under way is paid twice.
func (e *Embedding) Run(ctx context.Context) {
	if e == nil {
		return
	}
	tick := time.NewTicker(embedPoll)
	defer tick.Stop()
	var swept time.Time
	for ctx.Err() == nil {
		worked, err := e.Once(ctx)
		if err != nil && ctx.Err() == nil {
			e.cfg.Log.Warn("embed memories", "err", err)
		}
		if worked && err == nil {
			continue
		}
		if now := e.cfg.Now(); now.Sub(swept) > spacePoll {
			swept = now
			e.sweep(ctx)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-e.wake:
			select {
			case <-ctx.Done():
			case <-time.After(gatherTime):
			}
		}
	}
}

// sweep drops vectors of other models.
func (e *Embedding) sweep(ctx context.Context) {
	keep := e.space()
	for keep != "" && ctx.Err() == nil {
		dropped, err := e.cfg.Store.DropVectors(ctx, keep, e.cfg.Now().Add(-spaceLife).UnixMilli())
		if err != nil && ctx.Err() == nil {
			e.cfg.Log.Warn("drop vectors of another embedding model", "err", err)
		}
		if err != nil || !dropped {
			return
		}
	}
}

// Once embeds what one store owes, and reports whether there was one.
func (e *Embedding) Once(ctx context.Context) (bool, error) {
	space, err := e.cfg.Embedder.Space()
	if err != nil {
		return false, err
	}
	now := e.cfg.Now()
	o, ok, err := e.cfg.Store.ClaimVectors(ctx, space, now.UnixMilli(), now.Add(claimTime).UnixMilli())
	if err != nil || !ok {
		return false, err
	}
	for {
		more, err := e.batch(ctx, &o)
		switch {
		case ctx.Err() != nil: // a stop is no failure: the next one goes on at once
			return true, e.cfg.Store.StoreVectors(context.WithoutCancel(ctx), o, nil, 0)
		case stead.KindOf(err) == stead.KindConflict:
			return true, nil // another worker has it
		case err != nil:
			return true, e.failed(ctx, o, err)
		case !more:
			return true, nil
		}
	}
}

// failed lets a store wait.
func (e *Embedding) failed(ctx context.Context, o Owing, cause error) error {
	wait := min(backoffMost, backoffLeast<<min(o.Failures, 16))
	o.Failures++
	e.cfg.Log.Warn("embed memories: tried again later", "store", o.Store, "project", o.Project, "failures", o.Failures, "wait", wait.String(), "err", cause)
	err := e.cfg.Store.StoreVectors(ctx, o, nil, e.cfg.Now().Add(wait).UnixMilli())
	if stead.KindOf(err) == stead.KindConflict {
		return nil
	}
	return err
}

// piece is a record that gets a vector.
type piece struct {
	Vector
	text string
}

// batch embeds the next records in one call, and reports whether there are more.
func (e *Embedding) batch(ctx context.Context, o *Owing) (more bool, err error) {
	changes, err := e.cfg.Store.MemoryChanges(ctx, o.Place, o.Revision, MaxChanges)
	if err != nil {
		return false, err
	}
	due := int64(0)
	if more = len(changes) > 0; more {
		due = e.cfg.Now().Add(claimTime).UnixMilli()
	}
	ready, todo, labels, upTo, err := e.gather(ctx, o, changes)
	if err != nil {
		return false, err
	}
	if len(todo) > 0 {
		within, cancel := paid(ctx)
		held := e.hold(within, *o)
		made, err := e.embed(within, o, labels, todo)
		held()
		cancel()
		if err != nil {
			return false, err
		}
		ready = append(ready, made...)
	}
	next := *o
	next.Revision, next.Failures = upTo, 0
	within, cancel := paid(ctx)
	defer cancel()
	if err := e.cfg.Store.StoreVectors(within, next, ready, due); err != nil {
		return false, err
	}
	*o = next
	return more, nil
}

// hold renews a claim until it is let go: a call may take longer than a claim lasts.
func (e *Embedding) hold(ctx context.Context, o Owing) (letGo func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(renewTime)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := e.cfg.Store.StoreVectors(ctx, o, nil, e.cfg.Now().Add(claimTime).UnixMilli()); err != nil && ctx.Err() == nil {
					e.cfg.Log.Warn("renew the claim of a store's vectors", "store", o.Store, "err", err)
				}
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// paid is a context for what has cost something, or is about to: a stop lets it end, for a while.
func paid(ctx context.Context) (context.Context, context.CancelFunc) {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	undo := context.AfterFunc(ctx, func() { time.AfterFunc(stopTime, cancel) })
	return within, func() {
		undo()
		cancel()
	}
}

// gather takes records until a call is full or their labels are others: those that have a vector of the same text
// already, and those that are to be embedded. upTo is the revision of the last one that was looked at.
func (e *Embedding) gather(ctx context.Context, o *Owing, changes []Record) (ready []Vector, todo []piece, labels []string, upTo int64, err error) {
	upTo = o.Revision
	have, err := e.have(ctx, o, changes)
	if err != nil {
		return nil, nil, nil, 0, err
	}
	size := 0
	for _, r := range changes {
		text, has := "", []string(nil)
		if r.Data != nil {
			if text, has, err = e.cfg.Text(r.Place, r.Data); err != nil {
				return nil, nil, nil, 0, err
			}
		}
		if text = cutText(strings.TrimSpace(text)); text == "" {
			upTo = r.Revision
			continue
		}
		digest := digestText(text)
		if v, ok := have[r.ID]; ok && bytes.Equal(v.Digest, digest) {
			v.Revision = r.Revision
			ready, upTo = append(ready, v), r.Revision
			continue
		}
		has = slices.DeleteFunc(slices.Clone(has), func(l string) bool { return l == LabelUntrusted })
		if len(todo) > 0 && (len(todo) == MaxBatchTexts || size+len(text) > MaxBatchBytes || !slices.Equal(labels, has)) {
			break
		}
		labels, size, upTo = has, size+len(text), r.Revision
		todo = append(todo, piece{Vector{ID: r.ID, Revision: r.Revision, Digest: digest}, text})
	}
	return ready, todo, labels, upTo, nil
}

// have are the vectors that records have already.
func (e *Embedding) have(ctx context.Context, o *Owing, changes []Record) (map[string]Vector, error) {
	var ids []string
	for _, r := range changes {
		if r.Version > 1 && r.Data != nil {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := e.cfg.Store.ReadVectors(ctx, o.Place, o.Space, ids)
	out := make(map[string]Vector, len(found))
	for _, v := range found {
		out[v.ID] = v
	}
	return out, err
}

// embed calls the model. Texts that it refuses by themselves are left without a vector, and so are those whose
// labels policies keep from it; what else is refused fails, and is tried again.
func (e *Embedding) embed(ctx context.Context, o *Owing, labels []string, todo []piece) ([]Vector, error) {
	texts := make([]string, len(todo))
	for i, t := range todo {
		texts[i] = t.text
	}
	got, err := e.cfg.Embedder.Embed(ctx, embedPrincipal(o.Project), labels, texts)
	switch kind := stead.KindOf(err); {
	case kind == stead.KindInvalid && len(todo) > 1:
		first, err := e.embed(ctx, o, labels, todo[:len(todo)/2])
		if err != nil {
			return nil, err
		}
		rest, err := e.embed(ctx, o, labels, todo[len(todo)/2:])
		return append(first, rest...), err
	case kind == stead.KindInvalid, kind == stead.KindForbidden && len(labels) > 0:
		if _, other := e.cfg.Embedder.Embed(ctx, embedPrincipal(o.Project), nil, []string{"memory"}); other != nil {
			return nil, err // it is not about these texts
		}
		e.cfg.Log.Warn("memories get no vector and are found by their words alone", "store", o.Store, "project", o.Project, "memories", len(todo), "err", err)
		return nil, nil
	case err != nil:
		return nil, err
	}
	out := make([]Vector, 0, len(todo))
	for i, t := range todo {
		if t.Data = recall.Pack(got[i]); t.Data == nil {
			continue
		}
		if len(t.Data) > MaxVectorBytes {
			return nil, stead.Errorf(stead.KindTooLarge, "the embedding model makes vectors of %d dimensions, the most is %d: set memory.embeddings.dimensions", len(got[i]), MaxVectorBytes-4)
		}
		out = append(out, t.Vector)
	}
	return out, nil
}
