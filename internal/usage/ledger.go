package usage

import (
	"context"
	"strings"

	"github.com/stead-dev/stead"
)

// Ledger keeps the counters of budgets, and what calls under way hold of them. All nodes of a database
// share it.
//
// Shape: counter → spent, held;  hold → for each counter, what it holds
//
// Delivery: each call is one transaction. Two nodes that reserve at once are put in an order by the
// counters' rows. Reserve and Settle may be repeated: a hold is made and settled once.
type Ledger interface {
	// Reserve makes a hold in every counter of the claims, or none. The verdict says which claim
	// refused, or which counters must be opened first.
	Reserve(ctx context.Context, project stead.ProjectID, r Reservation) (Verdict, error)
	// Settle replaces holds by what was used. A hold that is not there was settled already.
	Settle(ctx context.Context, project stead.ProjectID, all []Settlement) error
	// Open makes a counter with what was spent before; one that is there stays.
	Open(ctx context.Context, project stead.ProjectID, counter string, spent Amount) error
	// Counters returns those of the names that are there.
	Counters(ctx context.Context, project stead.ProjectID, names []string) (map[string]Counter, error)
	// Holds lists holds of all projects that were made before a time (Unix milliseconds), the oldest
	// first, one entry a hold.
	Holds(ctx context.Context, before int64, limit int) ([]Held, error)
}

// HoldPrefix begins the id of every hold. That of a session's call goes on with the session's id and "_".
const HoldPrefix = "hold_"

// MaxClaims is the most counters of one reservation.
const MaxClaims = MaxBudgets

// Reservation asks for a hold.
type Reservation struct {
	Hold    string // its id, unique in the project
	Session stead.SessionID
	At      int64  // Unix milliseconds
	Amount  Amount // held in each counter
	Claims  []Claim
}

// Claim is one counter of a reservation.
type Claim struct {
	Counter string
	Limit   Amount
	// Adjust corrects what is used, for the decision alone: the caller knows outcomes that are not
	// settled yet.
	Adjust Counter
}

// Verdict is the answer to a reservation: reserved if both fields are empty.
type Verdict struct {
	Refused *Claim   // the first claim that has no room
	Have    Counter  // its counter, adjusted
	Missing []string // counters that must be opened
}

// Reserved reports whether the hold is made.
func (v Verdict) Reserved() bool { return v.Refused == nil && len(v.Missing) == 0 }

// Settlement ends a hold.
type Settlement struct {
	Hold string
	Used Amount
}

// Counter is what a budget has used.
type Counter struct {
	Spent, Held Amount
}

// Used is what counts against a limit: spent and held.
func (c Counter) Used() Amount { return c.Spent.Plus(c.Held) }

// Plus calculates in both.
func (c Counter) Plus(d Counter) Counter { return Counter{c.Spent.Plus(d.Spent), c.Held.Plus(d.Held)} }

// Held is a hold.
type Held struct {
	Project stead.ProjectID
	Hold    string
	Session stead.SessionID // "": of a stateless call
	At      int64           // Unix milliseconds
	Amount  Amount          // held in each counter
}

// Orphaned is the record of a stateless call whose node died: nobody knows what it used, so it counts what it held, at
// the time when it began. It is named by its hold, so that there is one however often it is made; false for a hold
// that is of no stateless call.
func (h Held) Orphaned() (Record, bool) {
	digits, ok := strings.CutPrefix(h.Hold, HoldPrefix)
	at, named := TimeOf(Prefix + digits)
	if !ok || !named || h.Session != "" {
		return Record{}, false
	}
	r := Record{ID: Prefix + digits, At: at, Project: h.Project, Kind: ModelCall, Cost: h.Amount.Cost, Hold: h.Hold, Outcome: Estimated}
	r.Calls, r.InputTokens, r.Millis = h.Amount.Calls, h.Amount.Tokens, max(h.Amount.Millis, 1)
	return r, true
}

// Judge decides a reservation by the counters as they are: the one rule of every ledger.
func Judge(r Reservation, counters map[string]Counter) Verdict {
	var v Verdict
	for i, c := range r.Claims {
		have, ok := counters[c.Counter]
		if !ok {
			v.Missing = append(v.Missing, c.Counter)
		} else if have = have.Plus(c.Adjust); v.Refused == nil && !Admits(c.Limit, have.Used()) {
			v.Refused, v.Have = &r.Claims[i], have
		}
	}
	return v
}
