package session

import (
	"slices"

	"github.com/stead-dev/stead"
)

// ListTurns lists the turns of a session, or of the subagent that v is looked at from. v is the view at the tail: it gives what all turns have
// in common, and the turn that runs. It fails with KindInvalid for an After that is no turn.
func ListTurns(v *View, read EventReader, q PageQuery) (Page[Turn], error) {
	read = OfThread(read, v.focus)
	l := &turnLister{view: v, read: read, limit: pageLimit(q)}
	begin := stead.Seq(0)
	if q.After != "" {
		seq, err := findTurn(v.Key, read, q.After, v.Tail)
		if stead.KindOf(err) == stead.KindNotFound {
			return Page[Turn]{}, stead.Invalid("after", "no turn with id %.80q", q.After)
		}
		if err != nil {
			return Page[Turn]{}, err
		}
		begin = seq
	}
	var turns []Turn
	var err error
	if q.Desc {
		turns, err = l.desc(begin)
	} else {
		turns, err = l.asc(begin)
	}
	if err != nil {
		return Page[Turn]{}, err
	}
	if len(turns) > l.limit {
		return Page[Turn]{Data: turns[:l.limit:l.limit], HasMore: true}, nil
	}
	return Page[Turn]{Data: append([]Turn{}, turns...)}, nil
}

// FindTurn returns one turn; KindNotFound. v is the view at the tail.
func FindTurn(v *View, read EventReader, id string) (Turn, error) {
	read = OfThread(read, v.focus)
	begin, err := findTurn(v.Key, read, id, v.Tail)
	if err != nil {
		return Turn{}, err
	}
	l := &turnLister{view: v, read: read, limit: 1}
	turns, err := l.fold(begin-1, 0, 1)
	if err != nil {
		return Turn{}, err
	}
	if len(turns) == 0 {
		return Turn{}, stead.NotFound("turn", id)
	}
	return turns[0], nil
}

// findTurn returns the Seq of the message that made a turn; KindNotFound. tail > 0 leaves out what
// came after it.
func findTurn(key stead.SessionKey, read EventReader, id string, tail stead.Seq) (stead.Seq, error) {
	prefix, seq, index, ok := stead.ParseDerivedID(key.Session, id)
	if !ok || prefix != "turn" || index >= 0 || tail > 0 && seq > tail {
		return 0, stead.NotFound("turn", id)
	}
	events, err := read(seq-1, 1, false)
	if err != nil {
		return 0, err
	}
	if len(events) == 0 || events[0].Seq != seq || !makesTurn(events[0].Kind) {
		return 0, stead.NotFound("turn", id)
	}
	// It made a turn only if none was running.
	made := true
	err = backwards(read, seq, func(e stead.Event) (bool, error) {
		if makesTurn(e.Kind) {
			made = false
		}
		return made && !endsTurn(e), nil
	})
	if err != nil {
		return 0, err
	}
	if !made {
		return 0, stead.NotFound("turn", id)
	}
	return seq, nil
}

// makesTurn reports whether events of a kind make a turn where none is.
func makesTurn(kind string) bool { return kind == KindInputMessage || kind == KindSubagentInput }

// turnLister makes one page of turns.
type turnLister struct {
	view  *View
	read  EventReader
	limit int
}

// asc lists the turns after the one that begins at a Seq; 0: from the first.
func (l *turnLister) asc(begin stead.Seq) ([]Turn, error) {
	if begin == 0 {
		return l.fold(0, 0, l.limit+1)
	}
	turns, err := l.fold(begin-1, 0, l.limit+2)
	return turns[min(1, len(turns)):], err
}

// desc lists the turns before the one that begins at a Seq, the newest first; 0: from the tail.
func (l *turnLister) desc(begin stead.Seq) ([]Turn, error) {
	// Every turn but the last has an end: past limit+2 ends there are enough turns. A session that
	// fails may have no turn to end, so that doesn't count.
	ends, low := 0, stead.Seq(0)
	err := backwards(l.read, begin, func(e stead.Event) (bool, error) {
		if !endsTurn(e) || e.Kind == KindSessionFailed {
			return true, nil
		}
		if ends++; ends <= l.limit+1 {
			return true, nil
		}
		low = e.Seq
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	turns, err := l.fold(low, begin, 0)
	slices.Reverse(turns)
	return turns, err
}

// fold makes the turns of the events after a Seq (a place between turns) and below another
// (0: to the tail), at most limit of them (0: all).
func (l *turnLister) fold(after, below stead.Seq, limit int) ([]Turn, error) {
	v := l.view
	part := &View{Key: v.Key, Created: v.Created}
	var turns []Turn
	err := forwards(l.read, after, func(e stead.Event) (bool, error) {
		if e.Seq > v.Tail || below > 0 && e.Seq >= below {
			return false, nil
		}
		t := part.Turn
		if err := part.countTurn(e); err != nil {
			return false, err
		}
		if t == nil || part.Turn != nil {
			return true, nil
		}
		turns = append(turns, l.named(endedTurn(part, t, e)))
		return limit == 0 || len(turns) < limit, nil
	})
	if err != nil {
		return nil, err
	}
	full := limit > 0 && len(turns) >= limit
	if t, ok := v.CurrentTurn(); ok && !full && part.Turn != nil && part.Turn.Seq == v.Turn.Seq {
		turns = append(turns, t)
	}
	return turns, nil
}

// named says whose turn it is.
func (l *turnLister) named(t Turn) Turn {
	if l.view.focus != 0 {
		id := l.view.AgentOf(l.view.focus)
		t.AgentID, t.SubagentID = stead.AgentID(id), &id
	}
	return t
}

// countTurn folds what a turn's object shows of an event; calls and streamed text are no part of it.
func (v *View) countTurn(e stead.Event) error {
	switch e.Kind {
	case KindContextCompacted:
		p, err := Decode[ContextCompacted](e)
		if err != nil {
			return err
		}
		v.Compact = &ModelCall{Seq: p.Call} // it may have begun in a turn before
		return v.fold(e)
	case KindInputMessage, KindSubagentInput, KindTurnStarted, KindTurnCompleted, KindTurnFailed, KindTurnCancelled, KindSessionFailed,
		KindModelCalled, KindModelReplied, KindModelFailed, KindModelCut, KindRunnerRecovered:
		return v.fold(e)
	}
	return nil
}

// endedTurn is the wire's turn of one that event e ended.
func endedTurn(v *View, t *TurnView, e stead.Event) Turn {
	var failure *TurnError
	if end, err := Decode[TurnEnded](e); err == nil {
		failure = end.Error
	}
	return v.turnObject(t, endStatus(e.Kind), e.At, failure)
}
