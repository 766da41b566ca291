package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tmaxmax/go-sse"
)

// maxEventBytes is the longest event of a stream that is read.
const maxEventBytes = 8 << 20

// WireEvent is what the proofs read of a stream's event.
type WireEvent struct {
	Type    string `json:"type"`
	EventID string `json:"event_id"`
	TurnID  string `json:"turn_id"`
	ItemID  string `json:"item_id"`
	Delta   string `json:"delta"`
	Text    string `json:"text"`
	Item    *Item  `json:"item"`
	Cursor  string `json:"-"` // the SSE id
}

// Types of WireEvent that the watcher weighs.
const (
	eventItemAdded = "agent.session.turn.item.added"
	eventItemDone  = "agent.session.turn.item.done"
	eventTextDelta = "agent.session.turn.output_text.delta"
	eventTextDone  = "agent.session.turn.output_text.done"
)

// Watcher follows one session's stream, comes back with its last event id
// whenever the stream breaks, and keeps everything it saw.
type Watcher struct {
	client  *Client
	session string
	stop    context.CancelFunc
	done    chan struct{}

	mu     sync.Mutex
	events []WireEvent
	breaks int    // how often the stream ended before it should
	fault  error  // an answer that can't be mended by coming back
	last   string // cursor to come back with
}

// Watch follows a session from its first event.
func (c *Client) Watch(ctx context.Context, session string) *Watcher {
	return c.WatchFrom(ctx, session, "0.0.0")
}

// WatchFrom follows a session from what comes after a cursor.
func (c *Client) WatchFrom(ctx context.Context, session, cursor string) *Watcher {
	ctx, stop := context.WithCancel(ctx)
	w := &Watcher{client: c, session: session, stop: stop, done: make(chan struct{}), last: cursor}
	go w.follow(ctx)
	return w
}

func (w *Watcher) follow(ctx context.Context) {
	defer close(w.done)
	for ctx.Err() == nil {
		err := w.read(ctx)
		w.mu.Lock()
		w.breaks++
		if err != nil && !Again(err) && ctx.Err() == nil {
			w.fault = err
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(pollInterval):
		}
	}
}

// read follows one connection until it ends.
func (w *Watcher) read(ctx context.Context) error {
	w.mu.Lock()
	last := w.last
	w.mu.Unlock()
	resp, err := w.client.open(ctx, http.MethodGet, SessionPath(w.session, "/events?after="+last), "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
		return apiError(resp.StatusCode, body)
	}
	for e, err := range sse.Read(resp.Body, &sse.ReadConfig{MaxEventSize: maxEventBytes}) {
		if err != nil {
			return err
		}
		if e.Data == "" || e.Data == "[DONE]" {
			continue
		}
		var we WireEvent
		if err := json.Unmarshal([]byte(e.Data), &we); err != nil {
			return &APIError{Status: http.StatusOK, Body: fmt.Sprintf("event that is no JSON: %.200q", e.Data)}
		}
		we.Cursor = e.LastEventID
		w.mu.Lock()
		w.events = append(w.events, we)
		if we.Cursor != "" {
			w.last = we.Cursor
		}
		w.mu.Unlock()
	}
	return io.ErrUnexpectedEOF
}

// Close ends the watching. The stream must have come to the session's last event before: see
// AwaitQuiet.
func (w *Watcher) Close() {
	w.stop()
	<-w.done
}

// Events are those seen so far.
func (w *Watcher) Events() []WireEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

// Breaks is how often the stream was taken up again.
func (w *Watcher) Breaks() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(0, w.breaks-1)
}

// AwaitTurns waits until the stream has shown the end of n turns and then the session at rest.
func (w *Watcher) AwaitTurns(n int, timeout time.Duration) error {
	return Poll(timeout, fmt.Sprintf("the stream of %s to show the end of %d turns", w.session, n), func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.fault != nil {
			return w.fault
		}
		ended, rest := 0, false
		for _, e := range w.events {
			switch e.Type {
			case "agent.session.turn.completed", "agent.session.turn.failed", "agent.session.turn.cancelled":
				ended++
			}
			rest = e.Type == "agent.session.idle" || e.Type == "agent.session.failed"
		}
		if ended < n || !rest {
			return fmt.Errorf("%d turns ended in %d events, at rest: %v", ended, len(w.events), rest)
		}
		return nil
	})
}

// CheckStream weighs what a watcher saw, over all its connections, against the session's items as
// they are in the end: every event once, every turn and item begun and ended once and in that order,
// and the deltas of every message the whole of its text. Of a message that a crash cut off, the
// watcher may have seen more than the journal kept; what it kept must be the beginning of that.
func CheckStream(events []WireEvent, items []Item) error {
	c := streamCheck{seen: map[string]int{}, text: map[string]string{}, said: map[string]string{}, added: map[string]bool{}, done: map[string]bool{}, turns: map[string][]string{}}
	for i, e := range events {
		c.identity(events, i)
		c.event(e)
	}
	for id, steps := range c.turns {
		if !lifecycle(steps) {
			c.fault("turn %s went through %v", id, steps)
		}
	}
	for _, it := range items {
		if it.Role == "user" || it.Type == "agent_message" && c.added[it.ID] { // which come whole
			continue
		}
		if !c.added[it.ID] || !c.done[it.ID] {
			c.fault("item %s (%s %s) in the list: added %v and done %v in the stream", it.ID, it.Type, it.Status, c.added[it.ID], c.done[it.ID])
		}
		if it.Type == "message" && !adds(c.text[it.ID], it) {
			c.fault("item %s (%s): deltas add up to %q, the list says %q", it.ID, it.Status, c.text[it.ID], it.Text())
		}
	}
	return errors.Join(c.faults...)
}

// adds reports whether deltas add up to a message's text.
func adds(deltas string, it Item) bool {
	if it.Status == "incomplete" {
		return strings.HasPrefix(deltas, it.Text())
	}
	return deltas == it.Text()
}

type streamCheck struct {
	seen        map[string]int      // event id → position
	text        map[string]string   // item id → sum of its deltas
	said        map[string]string   // item id → the text that its end says
	added, done map[string]bool     // item id
	turns       map[string][]string // turn id → its lifecycle
	faults      []error
}

func (c *streamCheck) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf(format, args...))
}

// identity: every event has an id that no other has, and a cursor of its own.
func (c *streamCheck) identity(events []WireEvent, i int) {
	e := events[i]
	if e.EventID == "" || e.Cursor == "" || (i > 0 && e.Cursor == events[i-1].Cursor) {
		c.fault("event %d (%s) has id %q and cursor %q", i, e.Type, e.EventID, e.Cursor)
	}
	if j, twice := c.seen[e.EventID]; twice {
		c.fault("event id %s came twice, at %d (%s) and %d (%s)", e.EventID, j, events[j].Type, i, e.Type)
	}
	c.seen[e.EventID] = i
}

func (c *streamCheck) event(e WireEvent) {
	switch e.Type {
	case eventItemAdded:
		if c.added[e.Item.ID] {
			c.fault("item %s was added twice", e.Item.ID)
		}
		c.added[e.Item.ID] = true
	case eventTextDelta:
		if !c.added[e.ItemID] || c.done[e.ItemID] {
			c.fault("a delta of item %s came outside its life (added %v, done %v)", e.ItemID, c.added[e.ItemID], c.done[e.ItemID])
		}
		c.text[e.ItemID] += e.Delta
	case eventTextDone:
		c.said[e.ItemID] = e.Text
	case eventItemDone:
		if c.done[e.Item.ID] {
			c.fault("item %s was done twice", e.Item.ID)
		}
		c.done[e.Item.ID] = true
		if e.Item.Type == "message" && (e.Item.Text() != c.said[e.Item.ID] || !adds(c.text[e.Item.ID], *e.Item)) {
			c.fault("item %s (%s): deltas add up to %q, its text ends as %q, the item says %q", e.Item.ID, e.Item.Status, c.text[e.Item.ID], c.said[e.Item.ID], e.Item.Text())
		}
	}
	if step, ok := strings.CutPrefix(e.Type, "agent.session.turn."); ok && !strings.Contains(step, ".") {
		c.turns[e.TurnID] = append(c.turns[e.TurnID], step)
	}
}

// lifecycle reports whether a turn was created once, ran, and ended once.
func lifecycle(steps []string) bool {
	if len(steps) < 2 || steps[0] != "created" {
		return false
	}
	for i, s := range steps[1:] {
		last := i+2 == len(steps)
		ended := s == "completed" || s == "failed" || s == "cancelled"
		if ended != last || s == "created" {
			return false
		}
	}
	return true
}
