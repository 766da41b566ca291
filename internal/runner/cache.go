package runner

import (
	"container/list"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
)

// stateCache keeps the states of sessions that were just released, bounded by count and size, so
// that the next turn of a busy session need not read its journal. A state has one owner: it is
// taken out to be used.
type stateCache struct {
	mu    sync.Mutex
	order *list.List // of *cachedState, the newest first
	byKey map[stead.SessionKey]*list.Element
	bytes int
}

type cachedState struct {
	key   stead.SessionKey
	state *session.State
	saved saved
	bytes int
}

// saved is the last snapshot of a state: of which event, and its size in bytes.
type saved struct {
	seq   stead.Seq
	bytes int
}

// due reports whether the next one is.
func (s saved) due(tail stead.Seq) bool {
	return tail-s.seq >= stead.SnapshotEvery+stead.Seq(s.bytes/stead.SnapshotBytesPerEvent)
}

func newStateCache() *stateCache {
	return &stateCache{order: list.New(), byKey: map[stead.SessionKey]*list.Element{}}
}

func (c *stateCache) put(key stead.SessionKey, s *session.State, snapshot saved) {
	const fixedBytes = 4 << 10
	size := fixedBytes + s.Bytes() + agentBytes(&s.View)
	if size > maxCachedStateBytes/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key)
	c.byKey[key] = c.order.PushFront(&cachedState{key, s, snapshot, size})
	c.bytes += size
	for c.order.Len() > maxCachedStates || c.bytes > maxCachedStateBytes {
		c.remove(c.order.Back().Value.(*cachedState).key)
	}
}

// take removes and returns the state, and its last snapshot, if it is not ahead of the tail.
func (c *stateCache) take(key stead.SessionKey, tail stead.Seq) (*session.State, saved) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.byKey[key]
	if !ok {
		return nil, saved{}
	}
	found := el.Value.(*cachedState)
	c.remove(key)
	if found.state.Tail > tail {
		return nil, saved{}
	}
	return found.state, found.saved
}

func (c *stateCache) remove(key stead.SessionKey) {
	if el, ok := c.byKey[key]; ok {
		c.bytes -= el.Value.(*cachedState).bytes
		c.order.Remove(el)
		delete(c.byKey, key)
	}
}

// waitCache remembers at which tail this node released a session to wait for a time. Leased again
// with nothing new, its time has come by the store's clock, whatever this node's clock says.
type waitCache struct {
	mu    sync.Mutex
	waits map[stead.SessionKey]waited
}

// waited is at which tail a session was released, and for which time (Unix milliseconds).
type waited struct {
	tail stead.Seq
	wake int64
	// stored tells whether the release was stored, or may have been, once that is known; else nothing was waited for. nil: nothing was.
	stored <-chan bool
}

const (
	// maxWaits bounds the cache; forgetting one costs a lease that comes to nothing.
	maxWaits = 8192
	// MaxClockSkew is how far this node's clock may be behind the store's.
	MaxClockSkew = 5 * time.Minute
)

// came is the time that has come for a session which is leased again with nothing new, in Unix milliseconds; 0: none is known.
func (w waited) came(ctx context.Context, now int64) int64 {
	if w.stored == nil || w.wake > now+MaxClockSkew.Milliseconds() {
		return 0
	}
	select {
	case stored := <-w.stored:
		if stored {
			return w.wake
		}
	case <-ctx.Done():
	}
	return 0
}

func newWaitCache() *waitCache { return &waitCache{waits: map[stead.SessionKey]waited{}} }

func (c *waitCache) put(key stead.SessionKey, w waited) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waits) >= maxWaits {
		clear(c.waits)
	}
	c.waits[key] = w
}

// take forgets the session and returns what it waited for, zero when there is none.
func (c *waitCache) take(key stead.SessionKey) waited {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.waits[key]
	delete(c.waits, key)
	return w
}

// agentBytes is about the size of the agent that a view holds.
func agentBytes(v *session.View) int {
	spec := v.Created.Agent.Spec
	n := len(spec.Text.Format.Schema)
	if spec.Instructions != nil {
		n += len(*spec.Instructions)
	}
	for _, t := range spec.Tools {
		n += len(t.Name) + len(t.Description) + len(t.Parameters)
	}
	return n
}

// maxCachedAgentBytes is the largest agent whose session's view is kept: 1,024 of them stay below
// 64 MiB.
const maxCachedAgentBytes = 64 << 10

// maxCachedTaskBytes is the same of what its subagents were told: 256 MiB.
const maxCachedTaskBytes = 256 << 10

// taskBytes is the size of what the subagents of a view were told when they were made.
func taskBytes(v *session.View) (n int) {
	for _, s := range v.Subagents {
		for _, c := range s.Task {
			n += len(c.Text.Inline)
		}
	}
	return n
}

// viewCache keeps views for the doors. Views are shared: they are replaced, never changed.
type viewCache struct {
	mu    sync.Mutex
	order *list.List // of *session.View, the newest first
	byKey map[stead.SessionKey]*list.Element
}

func newViewCache() *viewCache {
	return &viewCache{order: list.New(), byKey: map[stead.SessionKey]*list.Element{}}
}

func (c *viewCache) get(key stead.SessionKey) *session.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.byKey[key]
	if !ok {
		return nil
	}
	c.order.MoveToFront(el)
	return el.Value.(*session.View)
}

func (c *viewCache) put(v *session.View) {
	if agentBytes(v) > maxCachedAgentBytes || taskBytes(v) > maxCachedTaskBytes {
		c.drop(v.Key)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.byKey[v.Key]; ok {
		if el.Value.(*session.View).Tail < v.Tail {
			el.Value = v
		}
		c.order.MoveToFront(el)
		return
	}
	c.byKey[v.Key] = c.order.PushFront(v)
	if c.order.Len() > maxCachedViews {
		old := c.order.Back()
		c.order.Remove(old)
		delete(c.byKey, old.Value.(*session.View).Key)
	}
}

func (c *viewCache) drop(key stead.SessionKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.byKey[key]; ok {
		c.order.Remove(el)
		delete(c.byKey, key)
	}
}

// view folds a session to its tail. The result is shared: it must not be changed.
func (r *Runner) view(ctx context.Context, key stead.SessionKey) (*session.View, error) {
	cached := r.views.get(key)
	v, err := r.viewFrom(ctx, key, cached)
	if err != nil {
		return nil, err
	}
	read := v.Tail
	for {
		events, err := r.cfg.Store.Read(ctx, key, journal.ReadOptions{After: v.Tail})
		if err != nil {
			return nil, err
		}
		if len(events) > 0 && v == cached {
			if v, err = copyView(cached); err != nil {
				return nil, err
			}
		}
		if slices.ContainsFunc(events, func(e stead.Event) bool { return session.Stale(e, read) }) {
			head, err := r.cfg.Store.Head(ctx, key)
			if err != nil {
				return nil, err
			}
			r.views.drop(key)
			v, cached, read = session.NewView(key), nil, head.Tail
			continue
		}
		for _, e := range events {
			if err := v.Apply(e); err != nil {
				return nil, err
			}
		}
		if len(events) < stead.MaxReadEvents {
			break
		}
	}
	if v.Tail == 0 {
		return nil, stead.NotFound("session", string(key.Session))
	}
	r.views.put(v)
	return v, nil
}

// viewFrom is where to begin: the cached view (shared), else the snapshot's, else an empty one.
func (r *Runner) viewFrom(ctx context.Context, key stead.SessionKey, cached *session.View) (*session.View, error) {
	if cached != nil {
		return cached, nil
	}
	seq, data, err := r.cfg.Store.LoadSnapshot(ctx, key)
	if err != nil {
		return nil, err
	}
	if v := snapshotView(key, seq, data); v != nil {
		return v, nil
	}
	return session.NewView(key), nil
}

// snapshotView is the view of a snapshot, nil when it is of no use.
func snapshotView(key stead.SessionKey, seq stead.Seq, data []byte) *session.View {
	if seq == 0 {
		return nil
	}
	s, err := session.LoadState(key, data)
	if err != nil || s.Tail != seq {
		return nil
	}
	v := s.View // a copy: the context is not kept alive
	return &v
}

// viewAt folds a session up to and including an event, for a watcher that starts there.
func (r *Runner) viewAt(ctx context.Context, key stead.SessionKey, seq stead.Seq) (*session.View, error) {
	v := session.NewView(key)
	if cached, err := r.fresh(ctx, key); err != nil {
		return nil, err
	} else if cached != nil && cached.Tail <= seq {
		own, err := copyView(cached)
		if err != nil {
			return nil, err
		}
		v = own
	} else if at, data, err := r.cfg.Store.LoadSnapshot(ctx, key); err == nil && at <= seq {
		if saved := snapshotView(key, at, data); saved != nil {
			v = saved
		}
	}
	read := v.Tail
	for v.Tail < seq {
		limit := min(int(seq-v.Tail), stead.MaxReadEvents)
		events, err := r.cfg.Store.Read(ctx, key, journal.ReadOptions{After: v.Tail, Limit: limit})
		if err != nil {
			return nil, err
		}
		if len(events) == 0 {
			return nil, stead.Invalid("after", "the session has %d events; the cursor is beyond them", v.Tail)
		}
		if slices.ContainsFunc(events, func(e stead.Event) bool { return session.Stale(e, read) }) {
			v, read = session.NewView(key), seq // what is read from now on was written anew before that event
			continue
		}
		for _, e := range events {
			if err := v.Apply(e); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// fresh is the cached view, unless what it may hold was redacted since; nil: there is none.
func (r *Runner) fresh(ctx context.Context, key stead.SessionKey) (*session.View, error) {
	cached := r.views.get(key)
	if cached == nil {
		return nil, nil
	}
	for after := cached.Tail; ; {
		events, err := r.cfg.Store.Read(ctx, key, journal.ReadOptions{After: after})
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if session.Stale(e, cached.Tail) {
				r.views.drop(key)
				return nil, nil
			}
			after = e.Seq
		}
		if len(events) < stead.MaxReadEvents {
			return cached, nil
		}
	}
}

// copyView copies a view. What subagents were told never changes, and is not copied: it may be megabytes.
func copyView(v *session.View) (*session.View, error) {
	bare := *v
	bare.Subagents = make([]*session.Subagent, len(v.Subagents))
	for i, s := range v.Subagents {
		own := *s
		own.Task = nil
		bare.Subagents[i] = &own
	}
	data, err := json.Marshal(&bare)
	if err != nil {
		return nil, err
	}
	out := &session.View{}
	if err := json.Unmarshal(data, out); err != nil {
		return nil, err
	}
	for i, s := range v.Subagents {
		out.Subagents[i].Task = s.Task
	}
	return out, nil
}
