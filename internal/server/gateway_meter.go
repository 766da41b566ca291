package server

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// Meter is told of each stateless call that passed the gate, once, when it has ended.
type Meter interface {
	Metered(Metered)
}

// Metered is a stateless call that has ended.
type Metered struct {
	Caller  model.Caller
	Dialect string       // the door: model.DialectChat, …
	Model   string       // as it was asked for
	Info    model.Info   // what that resolved to
	Route   *model.Route // nil when there was but one way
	Usage   *stead.Usage // nil when the upstream did not say; of an answer that is not Whole, what it said until then
	Guess   stead.Usage  // what it may have used, by what went in and came out
	Whole   bool         // the answer was
	Sent    bool         // an upstream had the request, and did not refuse it
	Finish  model.Finish // "": the upstream did not say, or in another way than is looked for
	Began   time.Time
	First   time.Duration // until the answer's first byte or delta; 0: there was none
	Took    time.Duration
	Outcome string // OutcomeDone, OutcomeGone, or the code of a model.Error
	Hold    string // of budgets; whoever records the call settles it. "": none
}

// How a call ended, when it did not fail.
const (
	OutcomeDone = "completed"
	OutcomeGone = "client_gone"
)

// end tells the meter.
func (c *call) end(err error) {
	c.ended = true
	if c.s.Meter == nil {
		return
	}
	c.meter.Took = time.Since(c.meter.Began)
	c.meter.Guess = c.guess()
	told, charged := c.tally.Used()
	c.meter.Sent = charged
	if c.meter.Usage == nil {
		c.meter.Usage = told
	}
	c.meter.Outcome = OutcomeDone
	if errors.Is(err, errClientGone) || errors.Is(err, context.Canceled) {
		c.meter.Outcome = OutcomeGone
	} else if me, ok := errors.AsType[*model.Error](err); ok {
		c.meter.Outcome = me.Code
		c.meter.Route = cmp.Or(me.Route, c.meter.Route) // what broke off later does not say again where it went
		if me.Route != nil {
			c.head(routeHeader, "failed at "+routeWords(me.Route))
		}
	} else if err != nil {
		c.meter.Outcome = model.CodeServer
	}
	if c.meter.Usage != nil && c.estimated > 0 {
		c.s.learned.told(learnedKey{c.meter.Caller.Project, c.name}, c.meter.Usage.Total(), c.estimated)
	}
	c.placed()
	c.s.Meter.Metered(c.meter)
}

// placed notes at the call's route which service tier was served or asked for, also where there was but one way.
func (c *call) placed() {
	route := model.Route{Provider: c.info.Provider, Model: c.info.Upstream, Region: c.info.Region}
	if c.meter.Route != nil {
		route = *c.meter.Route
	}
	route.Lost = append(slices.Clone(c.lost), route.Lost...)
	if route.Tier = cmp.Or(c.served, route.Tier, model.AskedTier("", c.asked)); c.meter.Route != nil || route.Tier != "" || len(route.Lost) > 0 {
		c.meter.Route = &route
	}
}

// linesAnEvent is how many lines an event of a stream has, with the empty one behind it.
const linesAnEvent = 2

// guess is what the call may have used, by what went in and came out. A streamed event that is passed on is about a token,
// or more where its text is longer.
func (c *call) guess() stead.Usage {
	said := int64(c.said.Bytes())
	u := stead.Usage{InputTokens: c.input(), OutputTokens: max(c.lines/linesAnEvent, (max(said, c.texts)+bytesPerToken-1)/bytesPerToken)}
	if c.lines == 0 && said == 0 {
		u.OutputTokens = c.bytes / bytesPerToken
	}
	if c.door == model.DialectEmbeddings {
		u.OutputTokens = 0
	}
	return u
}

// Used is what the call is taken to have used, and whether any of it is guessed.
func (m *Metered) Used() (u stead.Usage, guessed bool) { return model.Used(m.Usage, m.Guess, m.Whole) }

// Failure is the code of an upstream's error that the call ended with; "" when it did not.
func (m *Metered) Failure() string {
	if m.Outcome == OutcomeDone || m.Outcome == OutcomeGone {
		return ""
	}
	return m.Outcome
}
