package trace

import (
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// folder makes the spans of one root turn. After each event it compares the view with the spans that are open: what the view
// has and no span stands for begins, what it does not have any more has ended. So a late answer, a second one or an outcome that nobody waits
// for any more begins and ends nothing here either.
type folder struct {
	v       *session.View
	begin   stead.Seq // of the root turn
	trace   string
	remote  *Parent
	now     Time        // of the latest event, or of one before if clocks disagree
	e       stead.Event // the one that was just applied
	threads []*thread   // the root's first
	actions []*action   // with the environment
	opened  map[string]bool
	spans   []Span // that have ended, in the order in which they did
	dropped int64  // spans beyond MaxSpans
	cost    int64  // micro-cents of its model calls
	done    bool
}

// thread is what is open of a thread's turn.
type thread struct {
	id      stead.Seq
	turn    *session.TurnView // nil: there is none
	span    *open             // of it
	model   *modelSpan
	compact *modelSpan
	recall  *open
	recalls stead.Seq // its memory.called
	calls   []*callSpan
	waits   []*wait
}

// modelSpan is a call of a model.
type modelSpan struct {
	*open
	seq stead.Seq
}

// wait is something that the turn, and no call of it, waits for.
type wait struct {
	*open
	seq stead.Seq // of the question
}

// action is something that is done with the environment.
type action struct {
	*open
	call stead.Seq
}

// open is a span that has not ended.
type open struct{ Span }

func (o *open) set(attributes ...KeyValue) { o.Attributes = append(o.Attributes, attributes...) }

func newFolder(v *session.View, begin stead.Seq) *folder {
	return &folder{v: partial(v, begin), begin: begin, trace: traceID(v.Key.Session, begin), opened: map[string]bool{}}
}

// step takes the next event of the journal.
func (f *folder) step(e stead.Event) error {
	f.now = max(f.now, Time(e.At))
	f.e = e
	if e.Kind == session.KindModelStreamed || e.Kind == session.KindToolStreamed {
		return f.v.Apply(stead.Event{Seq: e.Seq, At: e.At}) // texts are no part of this
	}
	if e.Seq == f.begin {
		if err := f.adopt(e); err != nil {
			return err
		}
	}
	if err := f.v.Apply(e); err != nil {
		return err
	}
	if err := f.environment(e); err != nil {
		return err
	}
	if e.Kind == session.KindRunnerRecovered || e.Kind == session.KindSessionFailed {
		return f.syncAll()
	}
	return f.syncOn(e.Thread)
}

// adopt makes the turn a part of the trace that its message names.
func (f *folder) adopt(e stead.Event) error {
	p, err := session.Decode[session.Message](e)
	if err != nil {
		return err
	}
	if remote, ok := ParseParent(p.Traceparent); ok {
		f.remote, f.trace = &remote, remote.TraceID
	}
	return nil
}

// syncAll looks at all threads, the subagents' before the root's: what they do ends in it.
func (f *folder) syncAll() error {
	for _, s := range slices.Backward(slices.Clone(f.v.Subagents)) {
		if err := f.syncOn(s.ID); err != nil {
			return err
		}
	}
	return f.syncOn(0)
}

func (f *folder) syncOn(id stead.Seq) error {
	return f.v.On(id, func() error { return f.sync(f.thread(id)) })
}

func (f *folder) thread(id stead.Seq) *thread {
	for _, th := range f.threads {
		if th.id == id {
			return th
		}
	}
	th := &thread{id: id}
	f.threads = append(f.threads, th)
	return th
}

// sync brings the spans of the thread that the view is looked at from up to date.
func (f *folder) sync(th *thread) error {
	if th.turn != nil && th.turn != f.v.Turn {
		if err := f.endTurn(th); err != nil || f.done {
			return err
		}
	}
	if th.turn == nil && f.v.Turn != nil {
		if err := f.beginTurn(th); err != nil {
			return err
		}
	}
	if th.turn == nil {
		return nil
	}
	for _, look := range []func(*thread) error{f.models, f.memory, f.calls, f.waits, f.marks} {
		if err := look(th); err != nil {
			return err
		}
	}
	return nil
}

// start begins a span below another; nil: it is the root.
func (f *folder) start(kind string, seq stead.Seq, at string, parent *open, name string, spanKind int, attributes ...KeyValue) *open {
	o := &open{Span{
		TraceID: f.trace, SpanID: spanID(f.v.Key.Session, kind, seq, at), Name: session.Shorten(name, maxValueRunes), Kind: spanKind, Start: f.now,
		Attributes: []KeyValue{text("gen_ai.conversation.id", string(f.v.Key.Session))},
	}}
	if parent != nil {
		o.Parent = parent.SpanID
	}
	f.opened[o.SpanID] = true
	o.set(attributes...)
	return o
}

// end ends a span; failure is the code of an error, "": there was none.
func (f *folder) end(o *open, failure string) {
	if failure != "" {
		o.Status = &Status{statusError}
		o.set(text("error.type", failure))
	}
	o.End = f.now
	if len(f.spans) >= MaxSpans-1 && !f.isRoot(o) {
		f.dropped++
		return
	}
	f.spans = append(f.spans, o.Span)
}

func (f *folder) isRoot(o *open) bool {
	root := f.thread(0).span
	return root != nil && root.SpanID == o.SpanID
}

// note adds an event to a span.
func (f *folder) note(o *open, name string, attributes ...KeyValue) {
	if o != nil && len(o.Events) < maxEvents {
		o.Events = append(o.Events, Event{f.now, name, attributes})
	}
}

// maxEvents bounds the events of a span, and its links.
const maxEvents = 128
