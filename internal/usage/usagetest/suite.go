// Package usagetest holds what every usage.Ledger must pass, and one in memory.
//
// Shape: Suite(open); Memory. open returns a new, empty ledger, and a second access to it such as
// another node has.
package usagetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/usage"
)

const project stead.ProjectID = "proj"

// Suite checks a ledger against its contract.
func Suite(t *testing.T, open func(t *testing.T) (here, there usage.Ledger)) {
	for name, test := range map[string]func(*fixture){
		"a hold is made in every counter or in none": allOrNone,
		"a counter must be opened first":             openedFirst,
		"settling replaces what was held":            settled,
		"a repeated call changes nothing":            repeated,
		"an adjustment counts for the decision only": adjusted,
		"holds are listed by age":                    listed,
		"projects do not share counters":             projects,
		"two nodes never overshoot":                  raced,
	} {
		t.Run(name, func(t *testing.T) {
			here, there := open(t)
			test(&fixture{t, here, there})
		})
	}
}

type fixture struct {
	t           *testing.T
	here, there usage.Ledger
}

func (f *fixture) open(counters ...string) {
	f.t.Helper()
	for _, c := range counters {
		f.ok(f.here.Open(f.t.Context(), project, c, usage.Amount{}))
	}
}

func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) reserve(hold string, amount usage.Amount, claims ...usage.Claim) usage.Verdict {
	f.t.Helper()
	v, err := f.here.Reserve(f.t.Context(), project, usage.Reservation{Hold: hold, Session: "sess_1", At: 1000, Amount: amount, Claims: claims})
	f.ok(err)
	return v
}

func (f *fixture) want(counter string, spent, held int64) {
	f.t.Helper()
	got, err := f.there.Counters(f.t.Context(), project, []string{counter})
	f.ok(err)
	if c := got[counter]; c.Spent.Tokens != spent || c.Held.Tokens != held {
		f.t.Fatalf("%s has spent %d and holds %d tokens, want %d and %d", counter, c.Spent.Tokens, c.Held.Tokens, spent, held)
	}
}

func tokens(n int64) usage.Amount { return usage.Amount{Tokens: n} }

func claim(counter string, limit int64) usage.Claim {
	return usage.Claim{Counter: counter, Limit: tokens(limit)}
}

func allOrNone(f *fixture) {
	f.open("a", "b")
	if v := f.reserve("h1", tokens(60), claim("a", 100), claim("b", 50)); !v.Reserved() {
		f.t.Fatalf("refused: %+v", v)
	}
	if v := f.reserve("h2", tokens(60), claim("a", 100), claim("b", 50)); v.Refused == nil || v.Refused.Counter != "b" {
		f.t.Fatalf("verdict %+v, want b refused: it holds 60 of 50", v)
	}
	f.want("a", 0, 60)
	f.want("b", 0, 60)
}

func openedFirst(f *fixture) {
	f.open("a")
	if v := f.reserve("h1", tokens(1), claim("a", 100), claim("b", 100)); v.Reserved() || len(v.Missing) != 1 || v.Missing[0] != "b" {
		f.t.Fatalf("verdict %+v, want b missing", v)
	}
	f.want("a", 0, 0)
	f.ok(f.there.Open(f.t.Context(), project, "b", tokens(99)))
	f.ok(f.there.Open(f.t.Context(), project, "b", tokens(7))) // too late: it is open
	f.want("b", 99, 0)
}

func settled(f *fixture) {
	f.open("a")
	f.reserve("h1", tokens(60), claim("a", 100))
	f.ok(f.there.Settle(f.t.Context(), project, []usage.Settlement{{Hold: "h1", Used: tokens(25)}}))
	f.want("a", 25, 0)
	f.reserve("h2", tokens(100), claim("a", 100))
	f.ok(f.here.Settle(f.t.Context(), project, []usage.Settlement{{Hold: "h2"}}))
	f.want("a", 25, 0)
}

func repeated(f *fixture) {
	f.open("a")
	f.reserve("h1", tokens(60), claim("a", 100))
	if v := f.reserve("h1", tokens(60), claim("a", 100)); !v.Reserved() {
		f.t.Fatalf("the same hold again: %+v", v)
	}
	f.want("a", 0, 60)
	for range 2 {
		f.ok(f.here.Settle(f.t.Context(), project, []usage.Settlement{{Hold: "h1", Used: tokens(30)}}))
	}
	f.want("a", 30, 0)
}

func adjusted(f *fixture) {
	f.open("a")
	f.reserve("h1", tokens(100), claim("a", 100))
	c := claim("a", 100)
	if v := f.reserve("h2", tokens(10), c); v.Reserved() {
		f.t.Fatal("the counter is full")
	}
	c.Adjust = usage.Counter{Held: tokens(-80)}
	if v := f.reserve("h2", tokens(10), c); !v.Reserved() {
		f.t.Fatalf("with what is known of the first hold: %+v", v)
	}
	f.want("a", 0, 110)
}

func listed(f *fixture) {
	f.open("a", "b")
	for i, at := range []int64{3000, 1000, 2000} {
		_, err := f.here.Reserve(f.t.Context(), project, usage.Reservation{
			Hold: fmt.Sprint("h", i), Session: "sess_1", At: at, Amount: tokens(1), Claims: []usage.Claim{claim("a", 100), claim("b", 100)},
		})
		f.ok(err)
	}
	got, err := f.there.Holds(f.t.Context(), 3000, 10)
	f.ok(err)
	if len(got) != 2 || got[0].Hold != "h1" || got[1].Hold != "h2" || got[0].Session != "sess_1" || got[0].Project != project || got[0].At != 1000 || got[0].Amount.Tokens == 0 {
		f.t.Fatalf("holds %+v", got)
	}
}

func projects(f *fixture) {
	f.open("a")
	f.reserve("h1", tokens(60), claim("a", 100))
	v, err := f.here.Reserve(f.t.Context(), "other", usage.Reservation{Hold: "h1", Amount: tokens(1), Claims: []usage.Claim{claim("a", 100)}})
	f.ok(err)
	if len(v.Missing) != 1 {
		f.t.Fatalf("the other project: %+v", v)
	}
	f.ok(f.here.Settle(f.t.Context(), "other", []usage.Settlement{{Hold: "h1", Used: tokens(5)}}))
	f.want("a", 0, 60)
}

// raced: many calls at two nodes share two counters, in different orders, and settle for all that
// they held. What was used is at most the limit and one reservation.
func raced(f *fixture) {
	const limit, each = 1000, 70
	f.open("a", "b")
	var wg sync.WaitGroup
	for n := range 8 {
		ledger, claims := f.here, []usage.Claim{claim("a", limit), claim("b", 10*limit)}
		if n%2 == 1 {
			ledger, claims = f.there, []usage.Claim{claims[1], claims[0]}
		}
		wg.Go(func() {
			for i := range 10 {
				hold := fmt.Sprintf("h%d-%d", n, i)
				v, err := ledger.Reserve(f.t.Context(), project, usage.Reservation{Hold: hold, At: 1, Amount: tokens(each), Claims: claims})
				if err == nil && v.Reserved() {
					err = ledger.Settle(f.t.Context(), project, []usage.Settlement{{Hold: hold, Used: tokens(each)}})
				}
				if err != nil {
					f.t.Errorf("%s: %v", hold, err)
				}
			}
		})
	}
	wg.Wait()
	const most = (limit + each - 1) / each * each // 15 calls: the fifteenth began at 980
	f.want("a", most, 0)
	f.want("b", most, 0)
}
