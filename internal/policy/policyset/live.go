package policyset

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/cedar"
)

// Live is what projects uploaded, ready for decisions of this node. It is safe for concurrent use.
type Live struct {
	documents document.Store
	approvers map[string][]stead.Role
	now       func() time.Time
	log       *slog.Logger

	mu       sync.Mutex
	projects map[stead.ProjectID]*uploads
	bytes    atomic.Int64 // of the texts of all that is ready
}

// NewLive makes it. log may be nil.
func NewLive(documents document.Store, approvers map[string][]stead.Role, now func() time.Time, log *slog.Logger) *Live {
	return &Live{documents: documents, approvers: approvers, now: now, log: quiet(log), projects: map[stead.ProjectID]*uploads{}}
}

// uploads are one project's.
type uploads struct {
	reading sync.Mutex // held by whoever reads them
	ready   atomic.Pointer[ready]
	changes atomic.Int64 // by this node
}

// ready is what was read at a time. It never changes.
type ready struct {
	at      time.Time
	changes int64
	project *cedar.Project
	sets    map[string]compiled // by name
	bytes   int64
}

// compiled is a set in a version.
type compiled struct {
	vid string
	set *cedar.Set
}

// Project is what a project uploaded: see cedar.Uploads.
func (l *Live) Project(ctx context.Context, project stead.ProjectID) (*cedar.Project, error) {
	u := l.of(project)
	if r := u.fresh(l.now(), CacheFor); r != nil {
		return r.project, nil
	}
	if !u.reading.TryLock() {
		if r := u.fresh(l.now(), 2*CacheFor); r != nil { // one reads, and the others go on meanwhile
			return r.project, nil
		}
		u.reading.Lock()
	}
	defer u.reading.Unlock()
	if r := u.fresh(l.now(), CacheFor); r != nil { // somebody did meanwhile
		return r.project, nil
	}
	next, err := l.read(ctx, project, u)
	if err != nil {
		return nil, err
	}
	l.keep(project, u, next)
	return next.project, nil
}

// fresh is what is ready, if it was read less than age ago and nothing was written here since.
func (u *uploads) fresh(now time.Time, age time.Duration) *ready {
	r := u.ready.Load()
	if r == nil || now.Sub(r.at) >= age || r.changes != u.changes.Load() {
		return nil
	}
	return r
}

func (l *Live) of(project stead.ProjectID) *uploads {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.projects[project]
	if u == nil {
		if len(l.projects) >= MaxCachedProjects {
			l.clear()
		}
		u = &uploads{}
		l.projects[project] = u
	}
	return u
}

// clear forgets all projects: who reads one of them now reads it for itself.
func (l *Live) clear() {
	clear(l.projects)
	l.bytes.Store(0)
}

// keep has what was read ready for others.
func (l *Live) keep(project stead.ProjectID, u *uploads, next *ready) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.projects[project] != u { // forgotten meanwhile
		return
	}
	before := int64(0)
	if was := u.ready.Load(); was != nil {
		before = was.bytes
	}
	if l.bytes.Load()-before+next.bytes > MaxCachedBytes {
		l.clear()
		l.projects[project], before = u, 0
	}
	l.bytes.Add(next.bytes - before)
	u.ready.Store(next)
}

// Forget has a project's sets read again before the next decision: they were written here.
func (l *Live) Forget(project stead.ProjectID) { l.of(project).changes.Add(1) }

// read reads the heads of a project's sets, and of those that are new the texts.
func (l *Live) read(ctx context.Context, project stead.ProjectID, u *uploads) (*ready, error) {
	next := &ready{at: l.now(), changes: u.changes.Load(), sets: map[string]compiled{}}
	was := u.ready.Load()
	var heads []head
	err := each(ctx, l.documents, document.Query{Project: project, Kind: kindHead, Tag: tagLive}, func(d document.Document) bool {
		heads = append(heads, headOf(d))
		return true
	})
	if err != nil {
		return nil, err
	}
	same := was != nil && len(heads) == len(was.sets)
	var sets []*cedar.Set
	for _, h := range heads {
		c, known := compiled{}, false
		if was != nil {
			c, known = was.sets[h.name]
		}
		if !known || c.vid == "" || c.vid != h.VID {
			same = false
			if c, err = l.compile(ctx, project, h); err != nil {
				return nil, err
			}
		}
		next.sets[h.name] = c
		next.bytes += int64(h.Bytes)
		sets = append(sets, c.set)
	}
	if next.project = cedar.NewProject(sets); same {
		next.project = was.project
	}
	return next, nil
}

// compile makes a set ready. An error is that of a store that does not answer: what can't be read refuses.
func (l *Live) compile(ctx context.Context, project stead.ProjectID, h head) (compiled, error) {
	unreadable := func(why string) (compiled, error) {
		l.log.Error("a policy set can't be read: what it would be asked about is refused", "project", project, "set", h.name, "version", h.Version, "why", why)
		return compiled{set: cedar.Unreadable(h.name, h.Mode == policy.Shadow, why)}, nil
	}
	if h.problem != "" {
		return unreadable(h.problem)
	}
	t, err := text(ctx, l.documents, project, h.stored)
	if c, ok := errors.AsType[corrupt](err); ok {
		return unreadable(string(c))
	}
	if err != nil {
		return compiled{}, err
	}
	set, err := Compile(h.name, h.Mode, t, l.approvers)
	if err != nil { // it was right when it was uploaded
		return unreadable(err.Error())
	}
	return compiled{h.VID, set}, nil
}
