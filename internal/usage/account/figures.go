package account

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/usage"
)

// What versions of a model have done, and what applications think of their answers. Both are records:
// they outlive restarts, and are the same at every node.

// Limits of finding the call that is judged.
const (
	// maxCallMillis is the longest that a stateless call may have taken for its feedback to find it.
	maxCallMillis = 60 * 60 * 1000
	// maxLookups is the most records that are looked at for it.
	maxLookups = 200_000
	// indexFeedback is that of a record of feedback among those of its turn's first event.
	indexFeedback = journal.MaxUsageIndex
)

// Figures adds up what each version of a model has done in a time, of all models when it is "".
func (s *Service) Figures(ctx context.Context, p stead.Principal, f usage.Filter) ([]*usage.Figures, error) {
	if err := s.allow(ctx, p, policy.UsageRead); err != nil {
		return nil, err
	}
	if err := f.Check(); err != nil {
		return nil, err
	}
	f = seen(p, f)
	f.Notes = true
	var c usage.Canary
	err := s.each(ctx, p.Project, f, journal.UsageQuery{}, func(r *usage.Record) (bool, error) { return true, c.Add(r) })
	return c.Figures(), err
}

// Judgement is what an application thinks of an answer.
type Judgement struct {
	Model string // the name that was asked for
	Turn  string // id of the session's turn that brought the answer; or
	Call  string // id of the request to a stateless door, as its answer's header has it
	Score int64  // thousandths, 0 … usage.MaxScore
}

// Judge stores a judgement, once an answer: the same again changes nothing, and another score of the
// same answer is a KindConflict. KindNotFound when the model has given no such answer here.
func (s *Service) Judge(ctx context.Context, p stead.Principal, j Judgement) (usage.Record, error) {
	if _, err := policy.Check(ctx, s.Policy, policy.Request{Principal: p, Effect: policy.ModelCall, Resource: j.Model}); err != nil {
		return usage.Record{}, err
	}
	note, err := s.judged(ctx, p, j)
	if err != nil {
		return note, err
	}
	note.Kind, note.User, note.Score = usage.Feedback, p.ID, j.Score
	row, err := note.Row()
	if err != nil {
		return note, err
	}
	if err := s.Store.AddUsage(ctx, p.Project, []journal.UsageRow{row}); err != nil {
		return note, err
	}
	return s.settled(ctx, p, note)
}

// settled reads what is stored now: what came first.
func (s *Service) settled(ctx context.Context, p stead.Principal, note usage.Record) (usage.Record, error) {
	stored := note
	at := usage.Filter{From: note.At, To: note.At + 1, Session: note.Session, Kind: usage.Feedback}
	err := s.each(ctx, p.Project, at, journal.UsageQuery{}, func(r *usage.Record) (bool, error) {
		if r.ID == note.ID {
			stored = *r
		}
		return r.ID != note.ID, nil
	})
	if err == nil && stored.Score != note.Score {
		err = stead.Errorf(stead.KindConflict, "this answer was judged before, with %g", float64(stored.Score)/usage.MaxScore)
	}
	return stored, err
}

// judged is the record of a judgement's answer, under the name and time that are the judgement's own.
func (s *Service) judged(ctx context.Context, p stead.Principal, j Judgement) (usage.Record, error) {
	call, first, err := s.lastCall(ctx, p.Project, j)
	if err == nil && p.Bound && call.User != p.ID { // to it, others' answers are not there
		err = unknownAnswer(j)
	}
	if err != nil {
		return call, err
	}
	note := usage.Record{
		At: first, Project: p.Project, Session: call.Session, Turn: call.Turn, Agent: call.Agent,
		Model: call.Model, Provider: call.Provider, Upstream: call.Upstream, Asked: call.Asked, Region: call.Region, Tier: call.Tier,
	}
	if _, seq, _, ok := stead.ParseDerivedID(call.Session, j.Turn); ok {
		note.ID = usage.EventID(call.Session, seq, indexFeedback)
		return note, nil
	}
	const timeDigits = 12 // of a UUIDv7: an id sorts by them, and is looked for by them
	sum := sha256.Sum256([]byte("feedback " + call.ID))
	head := strings.TrimPrefix(call.ID, usage.Prefix)[:timeDigits]
	note.ID = usage.Prefix + head + hex.EncodeToString(sum[:])[:32-timeDigits]
	return note, nil
}

// lastCall finds the call that brought the answer, and the time of the first one of its turn. An attempt
// that was given up beside it brought nothing, though its record is the later one.
func (s *Service) lastCall(ctx context.Context, project stead.ProjectID, j Judgement) (last usage.Record, first int64, err error) {
	f := usage.Filter{Kind: usage.ModelCall, Model: j.Model}
	is := func(r *usage.Record) bool { return r.Turn == j.Turn }
	if j.Turn != "" {
		f.Session, _ = stead.SessionOf(j.Turn)
	} else {
		at, ok := usage.RequestTime(j.Call)
		if !ok {
			return last, 0, unknownAnswer(j)
		}
		f.From, f.To = at, at+maxCallMillis
		is = func(r *usage.Record) bool { return usage.OfRequest(r.ID, j.Call) }
	}
	looked := 0
	err = s.each(ctx, project, f, journal.UsageQuery{}, func(r *usage.Record) (bool, error) {
		looked++
		if is(r) && !r.GivenUp() {
			if first == 0 {
				first = r.At
			}
			last = *r
		}
		return looked < maxLookups && (j.Turn != "" || first == 0), nil
	})
	if err == nil && first == 0 {
		err = unknownAnswer(j)
	}
	return last, first, err
}

func unknownAnswer(j Judgement) error {
	e := stead.Errorf(stead.KindNotFound, "the model %.80q has given no answer of that id in this project", j.Model)
	e.Param = "id"
	if j.Turn == "" {
		e.Hint = "What a stateless call used is on record within a second of its end."
	}
	return e
}
