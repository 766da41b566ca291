// Package usage is the vocabulary of metering: what was used, what it cost, and what may be used.
//
// Shape: one Record for each thing that was used, named by the journal's event that it follows from:
//
//	usage_<session>_<seq>_<index>   a model call, a tool call, an environment's time, bytes, storage
//	usage_<uuid>                    a call of a stateless door, which has no journal
//
// A journal of records is in the store beside the log (journal.Usage). Package meter makes them of
// events; here is what is done with them: reports (Report), settlement statements (Settle), the
// price book (Book), commitments to providers (Commitment) and budgets (Budget, Ledger). All but the Ledger are pure functions.
//
// Units: money is micro-cents (1 US cent = 1,000,000) in int64, never a float; times are Unix
// milliseconds, durations milliseconds; sizes are bytes, storage is megabyte-seconds (10^6 bytes for
// a second), rounded up. Sums that leave int64 are marked (Sum.Capped), never silently
// wrong; a statement of who is paid is refused.
//
// Exactly once: a record of a session is stored in the transaction of its event, and derives from it
// alone. To fold the journal again gives the same records: `stead usage verify` does, and compares.
//
// Errors: KindInvalid of what a person wrote; KindInternal of a stored record that can't be read.
package usage

import (
	"math"
	"math/bits"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// Prefix begins the id of every record.
const Prefix = "usage_"

// prefixName is Prefix as stead.DerivedID takes it.
const prefixName = "usage"

// maxNameBytes bounds each name in a record: what is longer is cut, so that a record stays small.
const maxNameBytes = 512

// Kind is what was used.
type Kind string

// The kinds of record.
const (
	ModelCall   Kind = "model_call"
	ToolCall    Kind = "tool_call"
	Environment Kind = "environment" // time in which a hosted environment was resident
	Egress      Kind = "egress"      // bytes between an environment and the world
	Storage     Kind = "storage"     // what an environment's checkpoint held, for how long

	// Notes count nothing and cost nothing; they are selected by their kind alone.
	ModelFailure Kind = "model_failure" // an attempt on a route that brought nothing
	Feedback     Kind = "feedback"      // what an application thinks of an answer
)

// Kinds are all of them, in the order of reports.
func Kinds() []Kind {
	return []Kind{ModelCall, ToolCall, Environment, Egress, Storage, ModelFailure, Feedback}
}

// note reports whether a kind is of notes.
func (k Kind) note() bool { return k == ModelFailure || k == Feedback }

// Record is one thing that was used. Stores keep it as encode.go says; the JSON is that of records
// from before it, and is only read. The wire has names of its own.
type Record struct {
	// ID, At, Project and Session have columns of their own in stores.
	ID      string          `json:"-"`
	At      int64           `json:"-"` // Unix milliseconds: of the event
	Project stead.ProjectID `json:"-"`
	Session stead.SessionID `json:"-"` // "": a call of a stateless door

	Kind  Kind          `json:"k"`
	Agent stead.AgentID `json:"a,omitempty"`
	Turn  string        `json:"t,omitempty"` // id; "": outside of any
	User  string        `json:"u,omitempty"` // the principal's id
	// Subagent is the session's whose turn it is; "": the root agent's, or of no turn.
	Subagent string `json:"-"`

	Provider string `json:"p,omitempty"`
	Model    string `json:"m,omitempty"` // as it was asked for
	Upstream string `json:"n,omitempty"` // as the provider names it
	Region   string `json:"r,omitempty"`
	Tier     string `json:"s,omitempty"`
	Name     string `json:"f,omitempty"` // of a tool: "server/tool" or "tool"

	Quantities
	Cost   int64  `json:"x,omitempty"` // micro-cents, as journaled
	Prices string `json:"v,omitempty"` // version of the price book that Cost is by
	Hold   string `json:"h,omitempty"` // of budgets, that it settles

	// Asked is the model as it is configured at its provider, where Upstream says it otherwise.
	Asked string `json:"-"`
	// Outcome is how a model call ended: "" well, else length, filter or refusal, or GivenUp's; of a
	// ModelFailure the code of its error. One after which another route was tried has the Name FailedOver.
	Outcome string `json:"-"`
	First   int64  `json:"-"` // milliseconds until the first word of a model call; 0: not known
	Score   int64  `json:"-"` // of Feedback: thousandths, 0 … MaxScore
}

// Outcomes of model calls that did not end as calls do.
const (
	Estimated = "estimated" // its provider did not say what it used
	Broken    = "broken"    // an attempt that broke off before another route was tried, and whose provider said what it used
	Outrun    = "outrun"    // an attempt of a hedged call that was given up for a faster one, and said what it used
)

// OutcomeBeside is the outcome of an attempt that was given up beside a call, or broke off before it.
func OutcomeBeside(h *model.Hedged) string {
	switch {
	case h.Unknown:
		return Estimated
	case h.AfterMS == 0:
		return Broken
	}
	return Outrun
}

// GivenUp reports whether a record is of an attempt of a call that was given up for another: it used something, and
// answered nothing. Its time is the other attempt's: one that answered has its own.
func (r *Record) GivenUp() bool {
	return r.Kind == ModelCall && (r.Outcome == Outrun || r.Outcome == Broken || r.Outcome == Estimated && r.First == 0 && r.Millis == 0)
}

// FailedOver is the Name of a ModelFailure after which another route was tried.
const FailedOver = "failed_over"

// MaxScore is the best score.
const MaxScore = 1000

// Version is the place where a model call went, as a canary's versions are told apart: "provider/model".
func (r *Record) Version() string {
	if r.Asked != "" {
		return r.Provider + "/" + r.Asked
	}
	return r.Provider + "/" + r.Upstream
}

// Quantities are what can be counted. Those that a kind does not have are 0.
type Quantities struct {
	Calls            int64 `json:"c,omitempty"`
	InputTokens      int64 `json:"i,omitempty"`
	CachedTokens     int64 `json:"ic,omitempty"` // part of InputTokens
	CacheWriteTokens int64 `json:"iw,omitempty"` // part of InputTokens
	OutputTokens     int64 `json:"o,omitempty"`
	ReasoningTokens  int64 `json:"or,omitempty"` // part of OutputTokens
	Millis           int64 `json:"d,omitempty"`  // how long it took, was resident, was stored
	SentBytes        int64 `json:"bs,omitempty"` // out of an environment
	ReceivedBytes    int64 `json:"br,omitempty"`
	StoredBytes      int64 `json:"bk,omitempty"` // for Millis; a sum of it says nothing
	MegabyteSeconds  int64 `json:"bt,omitempty"` // StoredBytes for Millis, rounded up
	CPUMillis        int64 `json:"-"`            // that processes of an environment took of the processors
	Commands         int64 `json:"-"`            // that ended in it
	MemoryBytes      int64 `json:"-"`            // the most that it held at once since it was opened; a sum of it says nothing
}

// SetTokens takes over what a model said.
func (q *Quantities) SetTokens(u stead.Usage) {
	q.InputTokens, q.CachedTokens, q.CacheWriteTokens = u.InputTokens, u.CachedTokens, u.CacheWriteTokens
	q.OutputTokens, q.ReasoningTokens = u.OutputTokens, u.ReasoningTokens
}

// SetStored sets bytes that were stored for a time.
func (q *Quantities) SetStored(bytes, millis int64) {
	const perMegabyteSecond = 1_000_000 * 1000
	q.StoredBytes, q.Millis = bytes, millis
	hi, lo := bits.Mul64(uint64(max(bytes, 0)), uint64(max(millis, 0)))
	lo, carry := bits.Add64(lo, perMegabyteSecond-1, 0)
	hi += carry
	if hi >= perMegabyteSecond {
		q.MegabyteSeconds = math.MaxInt64 // 2^64 megabyte-seconds: not of this world
		return
	}
	n, _ := bits.Div64(hi, lo, perMegabyteSecond)
	q.MegabyteSeconds = int64(min(n, math.MaxInt64))
}

// firstFields is how many of Quantities.fields have the first bits of a stored record.
const firstFields = 11

// fields are the quantities in the order of Quantities, for sums and stores: new ones at the end.
func (q *Quantities) fields() [14]*int64 {
	return [14]*int64{
		&q.Calls, &q.InputTokens, &q.CachedTokens, &q.CacheWriteTokens, &q.OutputTokens, &q.ReasoningTokens, &q.Millis,
		&q.SentBytes, &q.ReceivedBytes, &q.StoredBytes, &q.MegabyteSeconds, &q.CPUMillis, &q.Commands, &q.MemoryBytes,
	}
}

// EventID is the id of the index-th record of an event.
func EventID(s stead.SessionID, seq stead.Seq, index int) string {
	return stead.DerivedID(prefixName, s, seq, index)
}

// Clean is the record as it reads back from a store: with names cut to what it may hold.
func (r Record) Clean() Record {
	for _, s := range r.names() {
		*s = short(*s)
	}
	r.Agent = stead.AgentID(short(string(r.Agent)))
	return r
}

func (r *Record) names() [12]*string {
	return [12]*string{&r.Asked, &r.Outcome, &r.Turn, &r.User, &r.Provider, &r.Model, &r.Upstream, &r.Region, &r.Tier, &r.Name, &r.Prices, &r.Hold}
}

// short cuts a name and mends what is not UTF-8, so that a record reads back as it was written.
func short(s string) string {
	if len(s) > maxNameBytes {
		s = s[:maxNameBytes]
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "")
	}
	return s
}

// turnPrefix begins the ids of turns, subagentPrefix those of subagents.
const (
	turnPrefix     = "turn"
	subagentPrefix = "subagent"
)

func turnID(s stead.SessionID, seq stead.Seq) string { return stead.DerivedID(turnPrefix, s, seq, -1) }
