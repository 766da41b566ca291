package runner

import (
	"slices"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// liveHub holds the text of model calls in flight, for watchers on this node. Watchers pull: a slow
// one holds up nobody.
type liveHub struct {
	mu   sync.Mutex
	text map[stead.SessionKey]*liveText
}

func newLiveHub() *liveHub { return &liveHub{text: map[stead.SessionKey]*liveText{}} }

func (h *liveHub) set(key stead.SessionKey, t *liveText) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text[key] = t
}

func (h *liveHub) get(key stead.SessionKey) *liveText {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text[key]
}

// drop forgets an actor's text, unless the session's next holder has put its own there.
func (h *liveHub) drop(key stead.SessionKey, t *liveText) {
	if t == nil {
		return
	}
	t.end()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.text[key] == t {
		delete(h.text, key)
	}
}

// segmentBytes bounds a segment, so that adding to one stays cheap.
const segmentBytes = 4 << 10

// liveText is all text of one model call, from its begin, in the order of arrival.
type liveText struct {
	call  stead.Seq
	nudge func() // asks the actor to look at flushDue

	mu       sync.Mutex
	segments []session.Segment
	bytes    int
	flushed  int // bytes that were handed to the journal
	armed    bool
	due      bool
	ended    bool
	timer    *time.Timer
	changed  chan struct{} // closed on the next change; nil when nobody asked for it
}

func newLiveText(call stead.Seq, nudge func()) *liveText {
	return &liveText{call: call, nudge: nudge}
}

// add takes a delta. The first text of an item is journaled soon, so that it can be shown at all;
// after that, text is shown at once and journaled in larger pieces.
func (t *liveText) add(s session.Segment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	n := len(t.segments)
	fresh := n == 0 || t.segments[n-1].Index != s.Index || t.segments[n-1].Part != s.Part
	if fresh || len(t.segments[n-1].Text) >= segmentBytes {
		t.segments = append(t.segments, s)
	} else {
		t.segments[n-1].Text += s.Text
	}
	t.bytes += len(s.Text)
	switch {
	case t.bytes-t.flushed >= stead.DeltaFlushBytes:
		t.ask()
	case fresh:
		t.arm(stead.FirstDeltaDelay)
	case !t.armed:
		t.arm(stead.DeltaFlushInterval)
	}
	t.tell()
}

func (t *liveText) arm(d time.Duration) {
	if t.timer != nil {
		t.timer.Stop()
	}
	t.armed = true
	t.timer = time.AfterFunc(d, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.ask()
	})
}

func (t *liveText) ask() {
	if !t.ended {
		t.due = true
		t.nudge()
	}
}

func (t *liveText) tell() {
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// takeDue reports whether a flush was asked for, and takes it on.
func (t *liveText) takeDue() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.due {
		return false // its timer runs on
	}
	due := t.bytes > t.flushed
	t.due, t.armed, t.flushed = false, false, t.bytes
	return due
}

// snapshot is the text so far; changed is closed when there is more.
func (t *liveText) snapshot() (call stead.Seq, segments []session.Segment, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.call, slices.Clone(t.segments), t.changed
}

// texts is the text so far.
func (t *liveText) texts() []session.Segment {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.segments)
}

// done reports that no more text will come.
func (t *liveText) done() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended
}

func (t *liveText) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	t.ended = true
	if t.timer != nil {
		t.timer.Stop()
	}
	t.tell()
}

// after is the part of the segments beyond the first n bytes, at most max bytes of it.
func after(segments []session.Segment, n, most int) []session.Segment {
	var out []session.Segment
	for _, s := range segments {
		if n >= len(s.Text) {
			n -= len(s.Text)
			continue
		}
		s.Text = s.Text[n:]
		n = 0
		if len(s.Text) > most {
			break // a whole segment: pieces end where deltas did, between characters
		}
		most -= len(s.Text)
		out = append(out, s)
	}
	return out
}

// flushDue turns text that waits to be journaled into pending events.
func (a *actor) flushDue() {
	for f := range a.flights {
		if f.live != nil && f.live.takeDue() {
			a.pending = append(a.pending, f.flushed(false))
		}
	}
}

// flushed is the model.streamed event for all text that is not journaled yet. What is missing is
// counted when the event gets its place, so that it is right after a replay too. With shownOnly
// there is none unless watchers know of the stream already: a call that was cut off before that
// leaves nothing behind.
func (f *flight) flushed(shownOnly bool) pending {
	t := f.live
	return pending{thread: f.thread, kind: session.KindModelStreamed, make: func(s *session.State) (any, error) {
		if t == nil || s.Turn == nil || s.Turn.Model == nil || s.Turn.Model.Seq != t.call {
			return nil, nil
		}
		if shownOnly && len(s.Turn.Model.Stream) == 0 {
			return nil, nil
		}
		segments := after(t.texts(), s.Turn.Model.Bytes, stead.MaxEventBytes/4)
		if len(segments) == 0 {
			return nil, nil
		}
		return session.ModelStreamed{Call: t.call, Segments: segments}, nil
	}}
}
