package router

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"time"

	"github.com/stead-dev/stead/internal/model"
)

// Considered is a route and what became of it.
type Considered struct {
	Route Route
	Place int    // from 1: the order in which it is tried; 0: left out
	Why   string // one line
	Kept  bool   // left out by a residency rule
	// Hedge: the call begins here as well when the first route has said nothing for so long; 0: it does not.
	Hedge time.Duration
	// Breaker of the route on this node: BreakerClosed, BreakerOpen or BreakerHalfOpen.
	Breaker string
}

// Plan puts the routes in the order in which a call tries them, those that are left out last. key is
// what the call has in common with others that should go the same way: the same key and the same
// routes give the same draw.
func (a *Alias) Plan(call model.Caller, key string) []Considered {
	a.State.mu.Lock()
	now := a.State.now()
	open, states := map[string]time.Time{}, map[string]string{}
	for _, r := range a.Routes {
		b := a.State.breakers[r.Name()]
		if b != nil && b.closed(now) {
			open[r.Name()] = b.until
		}
		states[r.Name()] = b.state(now)
	}
	a.State.mu.Unlock()
	out := plan(a, call, key, open)
	for i := range out {
		out[i].Breaker = states[out[i].Route.Name()]
	}
	return out
}

// plan is pure: open holds the routes whose breakers are open, and until when.
func plan(a *Alias, call model.Caller, key string, open map[string]time.Time) []Considered {
	out := make([]Considered, len(a.Routes))
	fit := 0
	for i, r := range a.Routes {
		out[i] = Considered{Route: r, Place: 1}
		if why := r.When.fits(call); why != "" {
			out[i].Place, out[i].Why = 0, why
		} else if why := a.leaves(call, r.Region); why != "" {
			out[i].Place, out[i].Why, out[i].Kept = 0, why, true
		} else {
			fit++
		}
	}
	allOpen := fit > 0
	for _, c := range out {
		if _, is := open[c.Route.Name()]; c.Place > 0 && !is {
			allOpen = false
		}
	}
	for i := range out {
		until, is := open[out[i].Route.Name()]
		if out[i].Place == 0 || !is {
			continue
		}
		if allOpen {
			out[i].Why = "it failed lately, like all others"
			continue
		}
		out[i].Place, out[i].Why = 0, "it failed lately: it is tried again at "+until.UTC().Format(time.TimeOnly)
	}
	order(out, key, open, allOpen)
	if after := a.hedge(out); after > 0 {
		out[1].Hedge = after
	}
	return out
}

// order sorts: those that are taken first, by priority, then by a draw; numbers their places.
func order(out []Considered, key string, open map[string]time.Time, allOpen bool) {
	slices.SortStableFunc(out, func(x, y Considered) int {
		if (x.Place > 0) != (y.Place > 0) {
			return cmp.Compare(y.Place, x.Place)
		}
		if allOpen && x.Place > 0 { // the one that opens first
			return open[x.Route.Name()].Compare(open[y.Route.Name()])
		}
		return cmp.Or(cmp.Compare(x.Route.Priority, y.Route.Priority), cmp.Compare(score(y.Route, key), score(x.Route, key)))
	})
	alike := map[int]int{} // priority → how many are taken
	for _, c := range out {
		if c.Place > 0 {
			alike[c.Route.Priority]++
		}
	}
	for i := range out {
		c := &out[i]
		if c.Place == 0 {
			continue
		}
		c.Place = i + 1
		if c.Why != "" {
			continue
		}
		c.Why = fmt.Sprintf("priority %d", c.Route.Priority)
		if alike[c.Route.Priority] > 1 {
			c.Why += fmt.Sprintf(", drawn by weight %d", max(c.Route.Weight, 1))
		}
	}
}

// score is weighted rendezvous hashing: over many keys a route has the highest score as often as its
// weight says, and a route that comes or goes moves no other's keys.
//
// Source: D. G. Thaler, C. V. Ravishankar 1998; weights by -w/ln(u), J. Resch 2015.
func score(r Route, key string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.Name() + "\x00" + r.Region + "\x00" + key)) // never fails
	x := h.Sum64()
	x ^= x >> 33 // FNV's high bits are poor: mix as MurmurHash3 does
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	u := (float64(x>>11) + 0.5) / (1 << 53)
	return -float64(max(r.Weight, 1)) / math.Log(u)
}
