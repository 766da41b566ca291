package session

import (
	"bytes"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// Lists of a session's past, straight from the journal: nothing but the journal is stored.
//
// Shape:
//
//	journal ── back to a safe point ──▶ fold forwards with the stream's own Projector ──▶ items
//
// A safe point is a place where a fold may begin without having seen what came before: between two
// turns, or before a step's model.called of a turn that has asked for no async call until then. At
// such a place no call is open and no text streams, and nothing later refers to anything earlier.
//
// Order: an item stands where the event stands that made it known for good: a message of the user
// at its input, what a model said (and the calls it asked for) at the reply or at what cut it off,
// an output at what settled the call. Places never change once taken, so that pages are stable;
// only text that is being streamed has none yet, and comes last.
//
// Limits: a page folds the events of its own items, from the safe point before to the outcome of
// its last call. To name the turn of a page, the kinds of that turn's earlier events are read (not
// decoded, not folded).

// EventReader reads a session's journal: events after a Seq in order, or with desc those below it
// from the newest (0: from the tail). limit is 1 … stead.MaxReadEvents; fewer than limit means that
// there are no more.
type EventReader func(after stead.Seq, limit int, desc bool) ([]stead.Event, error)

// OfThread reads one thread's events as if they were the root's, with those of the other threads blank, so that what is listed of it is made
// like what is listed of a session.
func OfThread(read EventReader, thread stead.Seq) EventReader {
	return func(after stead.Seq, limit int, desc bool) ([]stead.Event, error) {
		events, err := read(after, limit, desc)
		copied := false
		for i, e := range events {
			if e.Thread == 0 && (thread == 0 || sessionWide(e.Kind)) {
				continue
			}
			if !copied {
				events, copied = slices.Clone(events), true
			}
			events[i].Thread = 0
			if e.Thread != thread || thread == 0 {
				events[i] = stead.Event{Seq: e.Seq, At: e.At}
			}
		}
		return events, err
	}
}

// sessionWide reports whether what a kind of event without a thread says is so for every thread.
func sessionWide(kind string) bool {
	switch kind {
	case KindSessionCreated, KindSessionUpdated, KindSessionFailed, KindRunnerRecovered, KindItemDeleted:
		return true
	}
	return strings.HasPrefix(kind, "environment.") && kind != KindEnvironmentCopied
}

// readChunk is how many events are asked for at once.
const readChunk = 256

// ListItems lists the items of a session, or of one of its turns. They are those that the stream
// shows, with the same ids and contents, and the messages of a turn that waits to begin. It fails
// with KindInvalid for an After that is not an item of the list, KindNotFound for an unknown turn.
func ListItems(key stead.SessionKey, read EventReader, q ItemQuery, texts Texts) (Page[Item], error) {
	read = OfThread(read, q.Thread)
	l := &lister{key: key, read: read, texts: texts, limit: pageLimit(q.PageQuery), gone: q.Gone}
	if q.Turn != "" {
		begin, err := findTurn(key, read, q.Turn, 0)
		if err != nil {
			return Page[Item]{}, err
		}
		l.turn, l.begin = begin, begin
	}
	after := stead.Seq(0)
	if q.After != "" {
		_, seq, index, ok := stead.ParseDerivedID(key.Session, q.After)
		if !ok || index < 0 || seq < l.begin {
			return Page[Item]{}, unknownItem(q.After)
		}
		after = seq
	}
	if q.Desc {
		return l.desc(q.After, after)
	}
	return l.asc(q.After, after)
}

func unknownItem(id string) error {
	return stead.Invalid("after", "no item with id %.80q in this list", id)
}

func pageLimit(q PageQuery) int {
	if q.Limit <= 0 {
		return stead.DefaultPageSize
	}
	return min(q.Limit, stead.MaxPageSize)
}

// lister makes one page of items.
type lister struct {
	key   stead.SessionKey
	read  EventReader
	texts Texts
	limit int
	gone  map[string]bool
	turn  stead.Seq // list this turn only; 0: all
	begin stead.Seq // of that turn
}

func (l *lister) collector(v *View) *collector {
	c := newCollector(v, l.texts)
	c.gone = l.gone
	return c
}

// asc lists upwards: from the safe point before the cursor until the page is full and settled.
func (l *lister) asc(after string, seq stead.Seq) (Page[Item], error) {
	view := &View{Key: l.key}
	switch {
	case seq > 0:
		v, err := safePoint(l.key, l.read, seq, 0)
		if err != nil {
			return Page[Item]{}, err
		}
		view = v
	case l.turn > 0:
		view.Tail = l.begin - 1
	}
	c := l.collector(view)
	from := 0 // place of the page's first item
	found := after == ""
	err := forwards(l.read, view.Tail, func(e stead.Event) (bool, error) {
		if err := c.step(e); err != nil {
			return false, err
		}
		if !found {
			if n := c.place(after); n >= 0 {
				from, found = n+1, true
			} else if e.Seq >= seq && endsTurn(e) {
				return false, unknownItem(after)
			}
		}
		if l.turn > 0 && e.Seq > l.begin && endsTurn(e) {
			return false, nil
		}
		more := !found || len(c.items) <= from+l.limit || c.openIn(from, from+l.limit)
		return more, nil
	})
	if err != nil {
		return Page[Item]{}, err
	}
	if !found || len(c.items) <= from+l.limit {
		c.finish()
	}
	if !found {
		n := c.place(after)
		if n < 0 {
			return Page[Item]{}, unknownItem(after)
		}
		from = n + 1
	}
	if l.foreign(c, from) {
		return Page[Item]{}, unknownItem(after)
	}
	return page(c.items[from:], l.limit), nil
}

// foreign reports whether the cursor's item is of another turn than the listed one.
func (l *lister) foreign(c *collector, from int) bool {
	return l.turn > 0 && from > 0 && turnOf(c.items[from-1]) != TurnID(l.key.Session, l.turn)
}

// desc lists downwards: windows between safe points, from the cursor or the tail to the oldest.
func (l *lister) desc(after string, seq stead.Seq) (Page[Item], error) {
	end, err := l.descEnd(after, seq)
	if err != nil {
		return Page[Item]{}, err
	}
	view, err := safePoint(l.key, l.read, end.scan, l.limit+1)
	if err != nil {
		return Page[Item]{}, err
	}
	var items []Item // the newest last
	for {
		view = l.clamp(view)
		low := view.Tail
		window, err := l.window(view, after, end)
		if err != nil {
			return Page[Item]{}, err
		}
		items = append(window, items...)
		if len(items) > l.limit || low <= max(l.begin-1, 0) {
			break
		}
		after, end = "", bound{scan: low, last: low}
		if view, err = safePoint(l.key, l.read, low, l.limit+1-len(items)); err != nil {
			return Page[Item]{}, err
		}
	}
	slices.Reverse(items)
	return page(items, l.limit), nil
}

// bound is where a window ends.
type bound struct {
	scan stead.Seq // look for a safe point before this event
	last stead.Seq // fold up to this event; 0: to the tail
	tail bool      // what streams at the end belongs to the list
}

// descEnd says where the first window of a descending list ends.
func (l *lister) descEnd(after string, seq stead.Seq) (bound, error) {
	if after != "" {
		return bound{scan: seq, tail: true}, nil
	}
	if l.turn > 0 {
		last, ended := stead.Seq(0), false
		err := forwards(l.read, l.begin-1, func(e stead.Event) (bool, error) {
			last, ended = e.Seq, endsTurn(e)
			return !ended, nil
		})
		return bound{scan: last, last: last, tail: !ended}, err
	}
	events, err := l.read(0, 1, true)
	if err != nil || len(events) == 0 {
		return bound{tail: true}, err
	}
	return bound{scan: events[0].Seq, last: events[0].Seq, tail: true}, nil
}

// clamp keeps a window inside the listed turn.
func (l *lister) clamp(v *View) *View {
	if l.turn > 0 && v.Tail < l.begin-1 {
		return &View{Key: l.key, Tail: l.begin - 1}
	}
	return v
}

// window folds from a safe point to the bound: all items, or those before the cursor.
func (l *lister) window(view *View, after string, end bound) ([]Item, error) {
	c := l.collector(view)
	at := -1
	err := forwards(l.read, view.Tail, func(e stead.Event) (bool, error) {
		if end.last > 0 && e.Seq > end.last {
			return false, nil
		}
		if err := c.step(e); err != nil {
			return false, err
		}
		if after == "" {
			return end.last == 0 || e.Seq < end.last, nil
		}
		if at < 0 {
			at = c.place(after)
		}
		if at < 0 && e.Seq >= end.scan && endsTurn(e) {
			return false, unknownItem(after)
		}
		return at < 0 || c.openIn(0, at), nil
	})
	if err != nil {
		return nil, err
	}
	if after == "" {
		if end.tail {
			c.finish()
		}
		return c.items, nil
	}
	if at < 0 {
		c.finish()
		at = c.place(after)
	}
	if at < 0 || l.foreign(c, at+1) {
		return nil, unknownItem(after)
	}
	return c.items[:at], nil
}

func page(items []Item, limit int) Page[Item] {
	if len(items) > limit {
		return Page[Item]{Data: items[:limit:limit], HasMore: true}
	}
	return Page[Item]{Data: slices.Clip(append([]Item{}, items...))}
}

// forwards hands events after a Seq to yield until it says no, or there are no more.
func forwards(read EventReader, after stead.Seq, yield func(stead.Event) (bool, error)) error {
	for {
		events, err := read(after, readChunk, false)
		if err != nil {
			return err
		}
		for _, e := range events {
			if more, err := yield(e); err != nil || !more {
				return err
			}
			after = e.Seq
		}
		if len(events) < readChunk {
			return nil
		}
	}
}

// backwards hands events below a Seq (0: from the tail) to yield, the newest first.
func backwards(read EventReader, below stead.Seq, yield func(stead.Event) (bool, error)) error {
	for below != 1 {
		events, err := read(below, readChunk, true)
		if err != nil {
			return err
		}
		for _, e := range events {
			if more, err := yield(e); err != nil || !more {
				return err
			}
			below = e.Seq
		}
		if len(events) < readChunk {
			return nil
		}
	}
	return nil
}

// endsTurn reports whether an event ends a turn of the root's.
func endsTurn(e stead.Event) bool {
	if e.Thread != 0 {
		return false
	}
	switch e.Kind {
	case KindTurnCompleted, KindTurnFailed, KindTurnCancelled, KindSessionFailed:
		return true
	}
	return false
}

// safePoint returns a view from which a fold may begin: its Tail is below seq, and between it and
// seq there are about want items, or the journal's beginning.
func safePoint(key stead.SessionKey, read EventReader, seq stead.Seq, want int) (*View, error) {
	s := scan{want: want}
	start := seq + 1
	err := backwards(read, start, func(e stead.Event) (bool, error) { return s.down(e, seq) })
	if err != nil {
		return nil, err
	}
	v := &View{Key: key, Tail: s.boundary}
	if at, ok := s.step(); ok {
		v.Tail = at - 1
		v.Turn = &TurnView{Seq: s.turn, CreatedAt: 1, StartedAt: 1, Response: s.response}
	}
	return v, nil
}

// scan goes down a journal, looking for a safe point.
type scan struct {
	want     int
	items    int       // events seen that make items
	boundary stead.Seq // last event of the turn before, once it was reached
	turn     stead.Seq // input.message that made the turn being scanned
	response *ResponseAsk
	steps    []mark // safe model.called events of that turn, the newest first
}

// mark is a possible safe point, with the count of item-making events from there on.
type mark struct {
	seq   stead.Seq
	items int
}

// asyncMark is in every reply that asks for an async call (and in some others, which costs time
// only: the fold then begins earlier).
var asyncMark = []byte(`"async":true`)

// down takes the next older event and reports whether to go on.
func (s *scan) down(e stead.Event, seq stead.Seq) (bool, error) {
	if e.Seq < seq && endsTurn(e) {
		if s.items >= s.want {
			s.boundary = e.Seq
			return false, nil
		}
		s.turn, s.response, s.steps = 0, nil, nil
	}
	switch e.Kind {
	case KindInputMessage, KindSubagentInput:
		p, err := Decode[Message](e)
		if err != nil {
			return false, err
		}
		s.items++
		s.turn, s.response = e.Seq, p.Response
	case KindInputItems, KindToolsListed, KindMemoryRecalled, KindSubagentAnswered:
		s.items++
	case KindModelReplied:
		s.items++
		if bytes.Contains(e.Data, asyncMark) {
			s.steps = nil // it may be open at every later step
		}
	case KindToolRequested:
		s.items++
		s.steps = nil // it may be open at every later step
	case KindModelCalled:
		p, err := Decode[ModelCalled](e)
		if err != nil {
			return false, err
		}
		if p.Purpose == PurposeStep {
			s.steps = append(s.steps, mark{e.Seq, s.items})
		}
	}
	return true, nil
}

// step is the newest safe point inside the turn that leaves the wanted items after it.
func (s *scan) step() (stead.Seq, bool) {
	for _, m := range s.steps {
		if m.items >= s.want && s.turn > 0 && s.turn < m.seq {
			return m.seq, true
		}
	}
	return 0, false
}
