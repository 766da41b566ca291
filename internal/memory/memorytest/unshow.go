package memorytest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

// unshows is what takes things out of journals: of one session, as it is told to answer.
type unshows struct {
	of    stead.SessionID
	calls []memory.Unshowing
	say   func() (time.Duration, error)
}

func (u *unshows) unshow(_ context.Context, x memory.Unshowing) (time.Duration, error) {
	if x.Session != u.of {
		return 0, nil
	}
	u.calls = append(u.calls, x)
	return u.say()
}

// shownIsTakenOut: what is forgotten is taken out of the journals of sessions that were shown it, by whichever node, until that is done; an erasure
// knows which they were, through what was made of it too.
func shownIsTakenOut(f *serviceFixture) {
	now := time.Now()
	u := &unshows{of: sessionA}
	n := memory.NewService(memory.Config{Documents: f.s, Store: f.s, Policy: all{}, Now: func() time.Time { return now }, Unshow: u.unshow})
	look := func(wait time.Duration, later time.Duration, err error) int {
		f.Helper()
		now = now.Add(wait)
		u.calls, u.say = nil, func() (time.Duration, error) { return later, err }
		if got := n.Unshow(f.ctx); (got != nil) != (err != nil && stead.KindOf(err) == stead.KindUnavailable) {
			f.Errorf("it says %v of %v", got, err)
		}
		return len(u.calls)
	}
	secret, other := f.add(note("Ada earns ninety."))[0].ID, f.add(note("Bob earns seventy."))[0].ID
	f.show(sessionA, 5, secret)
	f.show(sessionA, 3, other)
	if look(0, 0, nil) != 0 {
		f.Error("what is there is taken out")
	}
	place := memory.Place{Project: f.me.Project, Store: f.store}
	gone := func(cause, id string) {
		f.Helper()
		c := memory.Change{Record: memory.Record{Place: place, ID: id, UpdatedAt: now.UnixMilli()}, Expected: memory.AnyVersion}
		if _, err := f.s.WriteMemories(memory.Because(f.ctx, cause), place, []memory.Change{c}); err != nil { // and here it dies
			f.Fatal(err)
		}
	}
	gone("erasure_1", secret)
	gone("erasure_1", other)
	for _, step := range []struct {
		what        string
		wait, later time.Duration
		err         error
		calls       int
	}{
		{"the session is in use", 0, 0, stead.Errorf(stead.KindConflict, "in use"), 1},
		{"it is not its time yet", 0, 0, nil, 0},
		{"the database is away", time.Minute, 0, stead.Errorf(stead.KindUnavailable, "away"), 1},
		{"a policy keeps it", 2 * time.Minute, 0, stead.Errorf(stead.KindForbidden, "no"), 1},
		{"it keeps it", time.Minute, 0, nil, 0},
		{"something is too young", time.Hour, time.Hour, nil, 1},
		{"it is", time.Minute, 0, nil, 0},
		{"it is done", time.Hour, 0, nil, 1},
		{"it was", 10 * time.Hour, 0, nil, 0},
	} {
		if got := look(step.wait, step.later, step.err); got != step.calls {
			f.Errorf("%s: asked %d times", step.what, got)
		} else if got == 1 {
			if c := u.calls[0]; c.Since != 3 || len(c.Refs) != 2 || !slices.Contains(c.Refs, memory.Ref{Store: f.store, ID: secret}) {
				f.Errorf("%s: asked for %+v", step.what, c)
			}
		}
	}
	// A copy that is made of it is looked through as well, and once more when it is there.
	const copied stead.SessionID = "sess_0000000000000000000000000000000d"
	for range 2 {
		if err := n.Copied(f.ctx, f.me.Project, sessionA, copied); err != nil {
			f.Fatal(err)
		}
		if u.of = copied; look(0, 0, nil) != 1 {
			f.Error("a copy is not looked through")
		}
	}
	// What is made of it goes for the same erasure, and not for another one.
	u.of = sessionB
	first, second := f.add(note("Zed likes tapirs."))[0].ID, f.add(note("Zed is tall."))[0].ID
	const third stead.SessionID = "sess_0000000000000000000000000000000e"
	f.show(third, 8, first)
	f.ingest(spoken(third, 9, stead.RoleAssistant, "Tapirs it is."))
	f.show(sessionB, 1, f.id("Tapirs it is."))
	f.show(sessionB, 1, second)
	gone("erasure_2", first)
	gone("", second)
	u.say = func() (time.Duration, error) { return 0, stead.Errorf(stead.KindConflict, "in use") }
	caused, err := n.UnshowFor(f.ctx, memory.Unshowable{By: f.me, Cause: "erasure_2", Most: 10})
	if err != nil || len(caused.Shown) != 2 || caused.Left[memory.WhyInUse] != 1 {
		f.Errorf("the erasure finds %+v, %v", caused, err)
	}
	if caused, err = n.UnshowFor(f.ctx, memory.Unshowable{By: f.me, Cause: "erasure_2", Most: 0}); err != nil || caused.Left[memory.WhyLater] != 1 {
		f.Errorf("of no session it finds %+v, %v", caused, err)
	}
	u.say = func() (time.Duration, error) { return 0, nil }
	caused, err = n.UnshowFor(f.ctx, memory.Unshowable{By: f.me, Cause: "erasure_2", Most: 10})
	if err != nil || len(caused.Shown) != 2 || len(caused.Left) != 0 || len(caused.Shown[0].Refs) != 1 {
		f.Errorf("in the end the erasure finds %+v, %v", caused, err)
	}
	if caused, err = n.UnshowFor(f.ctx, memory.Unshowable{By: f.me, Cause: "erasure_1", Most: 10}); err != nil || len(caused.Shown) != 2 || len(caused.Left) != 0 {
		f.Errorf("the other one finds %+v, %v", caused, err)
	}
	// Of very many a page follows the other.
	var refs []memory.Ref
	for i := range memory.MaxUnshowings + 1 {
		refs = append(refs, memory.Ref{Store: f.store, ID: fmt.Sprintf("mem_never%d", i)})
	}
	in, _ := f.in(sessionB, 2)
	if err := in.Show(f.ctx, refs); err != nil { // they are not there, and so are taken out at once
		f.Fatal(err)
	}
	if look(time.Minute, 0, nil) != 2 {
		f.Errorf("of many it is asked %d times", len(u.calls))
	}
}

// severalAreTakenOut: sessions whose workspaces must be stored first are waited for together, and no more of them than there are places; those that were
// not begun with in time are left as they are, to whoever comes next.
func severalAreTakenOut(f *serviceFixture) {
	const sessions = 2*memory.MaxUnshowingSessions + 3
	var mu sync.Mutex
	now := time.Now()
	var under, most, asked int
	var full chan struct{} // closed when all places are taken; nil: nobody waits
	unshow := func(_ context.Context, u memory.Unshowing) (time.Duration, error) {
		mu.Lock()
		if under, asked = under+1, asked+1; full != nil && under == memory.MaxUnshowingSessions {
			now = now.Add(5 * time.Minute) // while these wait
			close(full)
			full = nil
		}
		most = max(most, under)
		wait := full
		mu.Unlock()
		if wait != nil {
			select {
			case <-wait:
			case <-time.After(10 * time.Second): // they don't come together
			}
		}
		mu.Lock()
		defer mu.Unlock()
		under--
		if u.Wait <= 0 || u.Wait > time.Minute {
			f.Errorf("each may wait for %s", u.Wait)
		}
		return 0, nil
	}
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	n := memory.NewService(memory.Config{Documents: f.s, Store: f.s, Policy: all{}, Now: clock, Unshow: unshow})
	secret := f.add(note("Ada earns ninety."))[0].ID
	for i := range sessions {
		f.show(stead.SessionID(fmt.Sprintf("sess_%032x", 0xabc000+i)), 5, secret)
	}
	place := memory.Place{Project: f.me.Project, Store: f.store}
	c := memory.Change{Record: memory.Record{Place: place, ID: secret, UpdatedAt: now.UnixMilli()}, Expected: memory.AnyVersion}
	if _, err := f.s.WriteMemories(memory.Because(f.ctx, "erasure_3"), place, []memory.Change{c}); err != nil {
		f.Fatal(err)
	}
	full = make(chan struct{})
	ask := memory.Unshowable{By: f.me, Cause: "erasure_3", Most: sessions}
	caused, err := n.UnshowFor(f.ctx, ask)
	if err != nil || most != memory.MaxUnshowingSessions || caused.Left[memory.WhyLater] != sessions-asked || asked > memory.MaxUnshowingSessions {
		f.Errorf("at first %d at a time, of %d sessions: %+v, %v", most, asked, caused.Left, err)
	}
	for range 2 {
		caused, err = n.UnshowFor(f.ctx, ask)
	}
	if err != nil || len(caused.Left) > 0 || asked != sessions || len(caused.Shown) != sessions {
		f.Errorf("in the end %d of %d were asked for: %+v, %v", asked, sessions, caused.Left, err)
	}
}
