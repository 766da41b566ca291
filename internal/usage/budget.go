package usage

import (
	"net/url"
	"slices"
	"time"

	"github.com/stead-dev/stead"
)

// Amount is what budgets limit: what everything costs that has a price, and of model calls their tokens, number
// and time. A limit of 0 is no limit.
type Amount struct {
	Cost   int64 `json:"cost,omitempty"`   // micro-cents
	Tokens int64 `json:"tokens,omitempty"` // input and output
	Calls  int64 `json:"calls,omitempty"`  // of models
	Millis int64 `json:"millis,omitempty"` // from a model call to its end
}

// Plus and Minus calculate in each of the four.
func (a Amount) Plus(b Amount) Amount {
	return Amount{a.Cost + b.Cost, a.Tokens + b.Tokens, a.Calls + b.Calls, a.Millis + b.Millis}
}

// Minus is the inverse of Plus.
func (a Amount) Minus(b Amount) Amount {
	return Amount{a.Cost - b.Cost, a.Tokens - b.Tokens, a.Calls - b.Calls, a.Millis - b.Millis}
}

// AmountOf is what a record counts against budgets: what it cost, and what else a model call used.
func AmountOf(r *Record) Amount {
	if r.Kind != ModelCall {
		return Amount{Cost: r.Cost}
	}
	return Amount{Cost: r.Cost, Tokens: r.InputTokens + r.OutputTokens, Calls: r.Calls, Millis: r.Millis}
}

// Scope is whose calls a budget limits.
type Scope string

// The scopes.
const (
	ScopeProject Scope = "project"
	ScopeAgent   Scope = "agent"
	ScopeSession Scope = "session"
	ScopeUser    Scope = "user"
)

// Scopes are all of them.
func Scopes() []Scope { return []Scope{ScopeProject, ScopeAgent, ScopeSession, ScopeUser} }

// Period is the time after which a budget begins anew. Days and months are UTC.
type Period string

// The periods.
const (
	PeriodTotal Period = "total"
	PeriodDay   Period = "day"
	PeriodMonth Period = "month"
)

// Periods are all of them.
func Periods() []Period { return []Period{PeriodTotal, PeriodDay, PeriodMonth} }

// Budget is a limit on what model calls, priced tools and environments may use.
type Budget struct {
	ID     string `json:"-"`              // "budget_…" of the API, "config_NAME" of the configuration
	Name   string `json:"name,omitempty"` // for people
	Scope  Scope  `json:"scope"`
	Of     string `json:"of,omitempty"` // whose, by id; "": each agent, session or user has one of its own
	Period Period `json:"period"`
	Limit  Amount `json:"limit"` // what is 0 has no limit; at least one has
	// OnLimit is what becomes of a session's turn whose next call has no room. A stateless call and a
	// response fail in either case: there is nobody to wait.
	OnLimit OnLimit `json:"on_limit,omitempty"`
}

// OnLimit is what happens at a limit.
type OnLimit string

// What can happen.
const (
	LimitFails OnLimit = ""     // the turn fails
	LimitWaits OnLimit = "wait" // the turn waits until somebody decides, or there is room
)

// WireFail is LimitFails in the API and in the configuration.
const WireFail = "fail"

// Wire is its name in the API.
func (o OnLimit) Wire() string {
	if o == LimitFails {
		return WireFail
	}
	return string(o)
}

// OnLimitOf is the inverse of Wire; "" is WireFail.
func OnLimitOf(wire string) OnLimit {
	if wire == WireFail {
		return LimitFails
	}
	return OnLimit(wire)
}

// MaxBudgets is the most budgets of a project, those of the configuration counted as well.
const MaxBudgets = 256

// Check says what is wrong with a budget, naming the field.
func (b *Budget) Check() error {
	l := b.Limit
	switch {
	case !slices.Contains(Scopes(), b.Scope):
		return stead.Invalid("scope", "scope must be one of %v, not %.40q", Scopes(), b.Scope)
	case !slices.Contains(Periods(), b.Period):
		return stead.Invalid("period", "period must be one of %v, not %.40q", Periods(), b.Period)
	case b.Scope == ScopeProject && b.Of != "":
		return stead.Invalid("of", "a budget of the project is of all its calls: leave of out")
	case b.OnLimit != LimitFails && b.OnLimit != LimitWaits:
		return stead.Invalid("on_limit", "on_limit must be %s or %s, not %.40q", WireFail, LimitWaits, b.OnLimit)
	case len(b.Of) > maxNameBytes || len(b.Name) > maxNameBytes:
		return stead.Invalid("of", "of and name have at most %d bytes", maxNameBytes)
	case min(l.Cost, l.Tokens, l.Calls, l.Millis) < 0:
		return stead.Invalid("limit", "a limit is a whole number above 0")
	case l == Amount{}:
		return stead.Invalid("limit", "a budget needs a limit: of money, tokens, calls or time")
	}
	return nil
}

// Subject is who makes a call, as far as budgets can tell.
type Subject struct {
	Project stead.ProjectID
	Agent   stead.AgentID   // "" of a stateless call
	Session stead.SessionID // "" of a stateless call
	User    string
}

// SubjectOf is who made the call of a record.
func SubjectOf(r *Record) Subject { return Subject{r.Project, r.Agent, r.Session, r.User} }

// Counter names what a call of the subject counts in, at a time; false: the budget is not about it.
func (b *Budget) Counter(s Subject, at int64) (string, bool) {
	who := ""
	switch b.Scope {
	case ScopeAgent:
		who = string(s.Agent)
	case ScopeSession:
		who = string(s.Session)
	case ScopeUser:
		who = s.User
	}
	if b.Scope != ScopeProject && (who == "" || b.Of != "" && b.Of != who) {
		return "", false
	}
	return b.ID + "/" + url.PathEscape(who) + "/" + b.Period.key(at), true
}

func (p Period) key(at int64) string {
	switch p {
	case PeriodDay:
		return Day(at)
	case PeriodMonth:
		return Month(at)
	}
	return string(PeriodTotal)
}

// Ends is when the period that a time is in ends, so that the next one begins; 0: never. Unix
// milliseconds.
func (p Period) Ends(at int64) int64 {
	_, end := p.bounds(at)
	return end
}

// bounds are those of the period that a time is in; 0: it has no such bound. Unix milliseconds.
func (p Period) bounds(at int64) (begin, end int64) {
	t := time.UnixMilli(at).UTC()
	switch p {
	case PeriodDay:
		d := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
		return d.UnixMilli(), d.AddDate(0, 0, 1).UnixMilli()
	case PeriodMonth:
		m := time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
		return m.UnixMilli(), m.AddDate(0, 1, 0).UnixMilli()
	}
	return 0, 0
}

// Records selects what a budget's counter of a subject adds up at a time, beyond which the counter
// itself must be compared: see Counter.
func (b *Budget) Records(s Subject, at int64) Filter {
	f := Filter{}
	f.From, f.To = b.Period.bounds(at)
	switch b.Scope {
	case ScopeAgent:
		f.Agent = s.Agent
	case ScopeSession:
		f.Session = s.Session
	case ScopeUser:
		f.User = s.User
	}
	return f
}

// Admits reports whether a counter lets another call begin: as long as what was spent and is held
// has not reached a limit. What the call then reserves may lie beyond it, so that a budget is used up
// and never overshot by more than that one reservation, however many calls run at once.
func Admits(limit, used Amount) bool {
	below := func(limit, used int64) bool { return limit == 0 || used < limit }
	return below(limit.Cost, used.Cost) && below(limit.Tokens, used.Tokens) && below(limit.Calls, used.Calls) && below(limit.Millis, used.Millis)
}

// Wider is the wider of two limits, in each of the four: 0 is no limit.
func Wider(a, b Amount) Amount {
	wider := func(a, b int64) int64 {
		if a == 0 || b == 0 {
			return 0
		}
		return max(a, b)
	}
	return Amount{wider(a.Cost, b.Cost), wider(a.Tokens, b.Tokens), wider(a.Calls, b.Calls), wider(a.Millis, b.Millis)}
}

// Ask asks whether a call may be made.
type Ask struct {
	Subject
	Hold   string // id of the hold to be
	At     int64  // Unix milliseconds
	Amount Amount // the most that the call should use
	// Ended corrects counters by outcomes that are known and not settled yet: counter → difference.
	Ended map[string]Counter
	// Environment is what the session's own environment holds: counter → amount. It is for the words of a refusal alone.
	Environment map[string]Amount
	// Over lets the call go over budgets: id → its limit for this call, 0 for none.
	Over map[string]Amount
	// Anyway makes the hold also where there is no room: what ends a use is not refused.
	Anyway bool
}

// Grant is the answer.
type Grant struct {
	Refused     *Budget  // the budget that has no room; nil: the call may be made
	Claim       Claim    // of it: the counter, and the limit for this call
	Have        Counter  // the counter as it was decided by
	Environment Amount   // of what is held: by the session's own environment
	Counters    []string // in which the hold is; none: no budget is about the call
}
