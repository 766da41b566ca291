package session

import (
	"cmp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Metering is what a meter must know of an environment's past: up to when its seconds and its storage
// are on record. It is folded with the rest of the view, so that a meter needs no state of its own
// and can begin at any snapshot.
type Metering struct {
	Seconds int64             `json:"seconds,omitempty"` // Unix milliseconds: its residence is metered up to then; 0: it has none
	Stored  int64             `json:"stored,omitempty"`  // Unix milliseconds: what it stores is metered up to then; 0: it stores nothing
	Bytes   int64             `json:"bytes,omitempty"`   // what it stores
	Used    environment.Usage `json:"used"`              // of the residence, up to Seconds
}

// metered follows an event after it was folded; was is what the environment was before it.
func (e *EnvironmentView) metered(ev stead.Event, was environmentPlace) {
	if !e.Hosted() || e.place() == was && ev.Kind != KindEnvironmentCopied && ev.Kind != KindEnvironmentExtended {
		return
	}
	m := &e.Metering
	switch {
	case e.Checkpoint == nil:
		m.Stored, m.Bytes = 0, 0
	case e.Checkpointed != was.checkpointed, ev.Kind == KindEnvironmentCopied: // a copy pays from then on
		m.Stored, m.Bytes = ev.At, e.Checkpoint.Bytes
	}
	resident := e.Status == EnvironmentConnectedNow
	switch {
	case !resident:
		m.Seconds, m.Used = 0, environment.Usage{}
	case was.status != EnvironmentConnectedNow || e.Residence != was.residence:
		m.Seconds, m.Used = ev.At, environment.Usage{}
	case e.Checkpointed != was.checkpointed:
		m.Seconds, m.Used = ev.At, e.Since
	case ev.Kind == KindEnvironmentExtended:
		m.Seconds, m.Used = ev.At, e.Since
	}
}

// environmentPlace is what of an environment tells a meter that something has changed.
type environmentPlace struct {
	status       string
	residence    stead.Seq
	checkpointed stead.Seq
}

func (e *EnvironmentView) place() environmentPlace {
	if e == nil {
		return environmentPlace{}
	}
	return environmentPlace{e.Status, e.Residence, e.Checkpointed}
}

// used takes what a command's end says. What a hosted environment says counts from the beginning of its
// residence, so that nothing is counted twice.
func (e *EnvironmentView) used(p ToolReturned) {
	switch {
	case !e.Hosted() && p.Usage != nil:
		e.Past = e.Past.Plus(*p.Usage)
	case e.Hosted() && p.Resided != nil && e.Status == EnvironmentConnectedNow && e.Residence == p.Resided.Residence:
		e.Since = e.Since.Grown(p.Resided.Usage)
	}
}

// setUp: what a set-up used counts to what the environment has used, and nothing is held for it any more.
func (e *EnvironmentView) setUp(ran *environment.SetUp) {
	e.unheld()
	if ran != nil {
		e.Past = e.Past.Plus(ran.Usage)
	}
}

// Usage is what the environment has used in all, as of its last command or checkpoint; the disk of a
// hosted one is that of the last checkpoint.
func (e *EnvironmentView) Usage() environment.Usage {
	u := e.Past.Plus(e.Since)
	switch {
	case !e.Hosted():
	case e.Checkpoint == nil:
		u.DiskBytes = 0
	default:
		u.DiskBytes = cmp.Or(e.Checkpoint.Disk, e.Checkpoint.Bytes) // older ones do not say it
	}
	return u
}

// Copied reports whether an event was copied with the session's past from another session, which has
// paid for it.
func (v *View) Copied(seq stead.Seq) bool {
	o := v.Created.Origin
	if o == nil {
		return false
	}
	if o.Events > 0 {
		return seq <= o.Events
	}
	return seq <= o.Seq // a copy made before copies counted their events
}

// holds appends those of a thread's calls in flight.
func (v *View) holds(out []*Hold) []*Hold {
	if v.Turn != nil && v.Turn.Model != nil && v.Turn.Model.Hold != nil {
		out = append(out, v.Turn.Model.Hold)
	}
	if v.Compact != nil && v.Compact.Hold != nil {
		out = append(out, v.Compact.Hold)
	}
	if v.Turn != nil {
		for _, c := range v.Turn.Calls {
			if c.Hold != nil {
				out = append(out, c.Hold)
			}
		}
	}
	return out
}

// Holds are those of the calls in flight, and of the environment.
func (v *View) Holds() []*Hold {
	var out []*Hold
	if v.Learn.Extract != nil && v.Learn.Extract.Hold != nil {
		out = append(out, v.Learn.Extract.Hold)
	}
	v.each(func(u *View) bool {
		out = u.holds(out)
		return true
	})
	if v.Environment != nil && v.Environment.Slice.Hold != nil {
		out = append(out, v.Environment.Slice.Hold)
	}
	return out
}
