package runner

import (
	"context"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// controlsAtOnce is how many sessions of one request are changed at the same time: their appends share commits.
const controlsAtOnce = 16

// Control implements session.Service. The whole is one act, which is asked for and recorded before anything is done, and
// each session is one of its own, which policies may deny. Sessions that are made meanwhile may be missed: a kill switch
// stops those.
func (r *Runner) Control(ctx context.Context, p stead.Principal, req session.ControlRequest) (session.Controlled, error) {
	out := session.Controlled{Last: req.After}
	if err := r.allow(ctx, p, policy.SessionControl, stead.SessionKey{}, string(req.Action)); err != nil {
		return out, err
	}
	for looked := 0; ; {
		heads, err := r.cfg.Store.Heads(ctx, p.Project, journal.Query{
			Agent: req.Agent, Status: req.Status, Metadata: req.Metadata, After: out.Last, Limit: stead.MaxPageSize,
		})
		if err != nil {
			return out, err
		}
		if err := r.controlAll(ctx, p, req, heads, &out); err != nil {
			return out, err
		}
		looked += len(heads)
		if len(heads) > 0 {
			out.Last = heads[len(heads)-1].Key.Session
		}
		if out.More = len(heads) == stead.MaxPageSize; !out.More || looked >= session.MaxControlled {
			return out, nil
		}
	}
}

// controlAll does a page. An error is of the whole: what was done is done, and a repeated request finds it so.
func (r *Runner) controlAll(ctx context.Context, p stead.Principal, req session.ControlRequest, heads []journal.Head, out *session.Controlled) error {
	var work sync.WaitGroup
	var mu sync.Mutex // guards out and broken
	var broken error
	room := make(chan struct{}, controlsAtOnce)
	for _, h := range heads {
		room <- struct{}{}
		work.Go(func() {
			defer func() { <-room }()
			matched, changed, err := r.controlOne(ctx, p, req, h.Key)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case ctx.Err() != nil:
				broken = ctx.Err()
			case err != nil:
				out.Matched, out.Failed = out.Matched+1, out.Failed+1
				if len(out.Failures) < session.MaxControlFailures {
					out.Failures = append(out.Failures, session.ControlFailure{Session: h.Key.Session, Err: err})
				}
			case changed:
				out.Matched, out.Changed = out.Matched+1, out.Changed+1
			case matched:
				out.Matched++
			}
		})
	}
	work.Wait()
	return broken
}

func (r *Runner) controlOne(ctx context.Context, p stead.Principal, req session.ControlRequest, key stead.SessionKey) (matched, changed bool, err error) {
	v, err := r.view(ctx, key)
	if stead.KindOf(err) == stead.KindNotFound {
		return false, false, nil // deleted meanwhile
	}
	if err != nil {
		return false, false, err
	}
	if p.Bound && !madeBy(v, p) || !req.Fits(v) {
		return false, false, nil
	}
	if !req.Needs(v) {
		return true, false, nil
	}
	if req.Dry {
		return true, true, nil
	}
	id := key.Session
	switch req.Action {
	case session.ControlPause:
		_, err = r.Pause(ctx, p, id)
	case session.ControlResume:
		_, err = r.Resume(ctx, p, id)
	case session.ControlCancel:
		err = r.Send(ctx, p, id, session.SendRequest{Inputs: []session.Input{{Cancel: true}}})
	}
	if stead.KindOf(err) == stead.KindNotFound {
		return false, false, nil
	}
	return true, err == nil, err
}
