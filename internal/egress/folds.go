package egress

import (
	"sync"
	"time"
)

// folds tell of refusals of a kind together, so that code that tries in a loop can't fill the disk on which records
// are kept. The first of a kind is recorded at once. Those that follow are counted, and told by one record when the
// window (Timeouts.Fold) is over, or the proxy is closed. None is left out of the count; a crash loses a window's.
type folds struct {
	mu     sync.Mutex
	kinds  map[kind]*fold // of this window; nil: none is open
	window *time.Timer
}

// kind is what refusals that are told together have in common. Without a host: by a limit, or no request, or towards
// one host more than MaxRefusedKinds of this window.
type kind struct {
	rule string // there are few
	host string
	port uint16
}

type fold struct {
	of    Record // of the first
	count int    // of those that were not recorded
}

// pass reports whether a refusal is to be recorded by itself. flood: its host does not matter. end is called once
// when the window is over, d after it began.
func (f *folds) pass(r *Record, flood bool, d time.Duration, end func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kinds == nil {
		f.kinds = map[kind]*fold{}
		f.window = time.AfterFunc(d, end)
	}
	k := kind{r.Rule, r.Host, r.Port}
	if flood {
		k = kind{rule: r.Rule}
	}
	if one := f.kinds[k]; one != nil {
		one.count++
		return false
	}
	if flood || len(f.kinds) < MaxRefusedKinds {
		f.kinds[k] = &fold{of: *r}
		return true
	}
	k = kind{rule: r.Rule}
	if f.kinds[k] == nil {
		f.kinds[k] = &fold{of: Record{Kind: r.Kind, Rule: r.Rule, Reason: "refused like others, towards more hosts than are recorded by themselves"}}
	}
	f.kinds[k].count++
	return false
}

// over ends the window and returns what there is to tell of it.
func (f *folds) over() []Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kinds == nil {
		return nil
	}
	f.window.Stop()
	var out []Record
	for k, one := range f.kinds {
		if one.count == 0 {
			continue
		}
		out = append(out, Record{
			Phase: PhaseDecided, Kind: one.of.Kind, Host: k.host, Port: k.port, Rule: one.of.Rule, Reason: one.of.Reason, Repeated: one.count, Cause: one.of.Cause,
		})
	}
	f.kinds, f.window = nil, nil
	return out
}

// unfold ends the window by its time.
func (p *Proxy) unfold() {
	if p.hold() { // else Close tells
		defer p.work.Done()
		p.tellFolded()
	}
}

// tellFolded records what was counted.
func (p *Proxy) tellFolded() {
	for _, r := range p.folds.over() {
		r.ID = p.ids.Add(1)
		_ = p.record(&r) // logged there: a no stays a no
	}
}
