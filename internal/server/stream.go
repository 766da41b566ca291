package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/session"
)

// errStreamOver ends Service.Stream when all that was asked for has been sent, errStopping when the
// server stops, and errClientGone when the client no longer reads.
var (
	errStreamOver = errors.New("the stream is over")
	errStopping   = errors.New("the server stops")
	errClientGone = errors.New("the client is gone")
)

func (s *server) streamEvents(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	after, err := resumePoint(r)
	if err != nil {
		return err
	}
	switch r.URL.Query().Get("include_obfuscation") {
	case "", "true", "false":
	default:
		return stead.Invalid("include_obfuscation", "include_obfuscation must be true or false")
	}
	return s.follow(w, r, p, sessionID(r), after, func(session.StreamEvent) bool { return false })
}

// resumePoint reads where the client left off. A browser that reconnects sends Last-Event-ID and
// still the URL it began with, so the header is the later word.
func resumePoint(r *http.Request) (*stead.Cursor, error) {
	field, text := "Last-Event-ID", r.Header.Get("Last-Event-ID")
	if text == "" {
		field, text = "after", r.URL.Query().Get("after")
	}
	if text == "" {
		return nil, nil
	}
	c, err := stead.ParseCursor(text)
	if err != nil {
		return nil, stead.Invalid(field, "%s %.40q is no cursor that this server gave: it looks like 12.0.0, and 0 is the beginning", field, text)
	}
	return &c, nil
}

// firstTurn tells the end of a stream that came with the creation of its session: the first idle
// after the end of a turn, or the session's failure.
func firstTurn() func(session.StreamEvent) bool {
	ended := false
	return func(e session.StreamEvent) bool {
		switch e.Type {
		case "agent.session.turn.completed", "agent.session.turn.failed", "agent.session.turn.cancelled":
			ended = ended || !session.OfSubagent(e)
		case "agent.session.idle":
			return ended
		case "agent.session.failed":
			return true
		}
		return false
	}
}

// follow answers with the session's events until last says that one was the last, the client goes,
// or the server stops. An error before the first byte is an error of the request; later ones are
// told as an event.
func (s *server) follow(w http.ResponseWriter, r *http.Request, p stead.Principal, id stead.SessionID, after *stead.Cursor, last func(session.StreamEvent) bool) error {
	answers := identity.HasScope(p.Scope, identity.ScopeApprove)
	return s.streamed(w, r, id, func(ctx context.Context, out *eventWriter) error {
		if r.Method == http.MethodHead {
			out.open()
			return nil
		}
		err := s.Sessions.Stream(ctx, p, id, after, out.open, func(e session.StreamEvent) error {
			if waits, ok := e.Body.(interface {
				Actions() []session.RequiredAction
			}); ok {
				s.withLinks(p, waits.Actions())
			}
			if p.Session != "" {
				e = e.Outlined(answers)
			}
			if err := out.event(e); err != nil {
				return err
			}
			s.metrics.events.Add(1)
			if last(e) {
				return errStreamOver
			}
			return nil
		})
		return s.streamEnded(ctx, out, id, err)
	})
}

// streamed has a stream of a session told: one of at most MaxStreams, kept alive while it is silent, and ended with the
// client, the server, or the right to read the session.
func (s *server) streamed(w http.ResponseWriter, r *http.Request, of stead.SessionID, tell func(context.Context, *eventWriter) error) error {
	done, err := s.countStream(callerOf(r).Principal)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	out := newEventWriter(w)
	defer out.close()
	go s.keepAlive(ctx, cancel, out, r, of)
	return tell(ctx, out)
}

// keepAlive sends comments into a silent stream, and ends it with the server, with what its client came with, or when its client may not read
// the session any more.
func (s *server) keepAlive(ctx context.Context, cancel context.CancelCauseFunc, out *eventWriter, r *http.Request, of stead.SessionID) {
	tick := time.NewTicker(KeepAliveInterval)
	defer tick.Stop()
	expired, stop := expiry(callerOf(r))
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.Stopping:
			cancel(errStopping)
			return
		case <-expired:
			cancel(overdue())
			return
		case <-tick.C:
			err := out.comment()
			if err == nil {
				err = s.stillKnown(r)
			}
			if err == nil {
				err = s.stillReads(r, of)
			}
			if err != nil {
				cancel(err)
				return
			}
		}
	}
}

// expiry fires when what a caller came with ends; never, if it does not.
func expiry(c identity.Caller) (<-chan time.Time, func()) {
	if c.Until.IsZero() {
		return nil, func() {}
	}
	t := time.NewTimer(time.Until(c.Until))
	return t.C, func() { t.Stop() }
}

func overdue() error {
	e := stead.Errorf(stead.KindUnauthenticated, "what the stream was opened with has expired")
	e.Code, e.Hint = "token_expired", "Go on with a new one, from the last event's id."
	return e
}

// stillKnown refuses who would not be let in any more: a key or token that was revoked. Who is somebody else by now, in another
// project or with another role, is let in by a new request. One that can't be looked at just now counts on.
func (s *server) stillKnown(r *http.Request) error {
	c, err := s.who(r)
	switch {
	case unknownNow(err):
		return err
	case err == nil && c.Principal != callerOf(r).Principal:
		return overdue()
	case err == nil && s.Stopped != nil:
		if err := s.Stopped(r.Context(), c.Principal); unknownNow(err) {
			return err
		}
	}
	return nil
}

// stillReads refuses whom policies do not let read the session any more.
func (s *server) stillReads(r *http.Request, of stead.SessionID) error {
	if s.StillReads == nil {
		return nil
	}
	if err := s.StillReads(r.Context(), callerOf(r).Principal, of); unknownNow(err) {
		return err
	}
	return nil
}

func unknownNow(err error) bool {
	k := stead.KindOf(err)
	return k == stead.KindUnauthenticated || k == stead.KindForbidden
}

func (s *server) streamEnded(ctx context.Context, out *eventWriter, id stead.SessionID, err error) error {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(err, errStreamOver), err == nil:
		return nil
	case errors.Is(err, errClientGone), errors.Is(cause, errClientGone):
		s.metrics.dropped.Add(1)
		return nil
	case unknownNow(cause):
		if !out.opened() {
			return cause
		}
		body, _, _ := wireErrorOf(cause)
		_ = out.failure(id, body) // the stream ends either way
		return nil
	case cause != nil: // the client hung up, or the server stops
		if !out.opened() {
			return stead.Wrap(stead.KindUnavailable, cause, "the server is stopping")
		}
		return nil
	case !out.opened():
		return err
	}
	body, f, _ := wireErrorOf(err)
	if f.status >= http.StatusInternalServerError {
		s.Log.Error("stream failed", "session", id, "error", err)
	}
	_ = out.failure(id, body) // the stream ends either way
	return nil
}

// eventWriter writes server-sent events. Its methods may be called at the same time.
type eventWriter struct {
	mu    sync.Mutex
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
	idle  bool // nothing was written since the last tick
	shut  bool // the handler returned: the connection is another request's
	buf   bytes.Buffer
}

func newEventWriter(w http.ResponseWriter) *eventWriter {
	return &eventWriter{w: w, rc: http.NewResponseController(w), idle: true}
}

// open sends the headers, so that the client knows that it misses nothing from now on.
func (o *eventWriter) open() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.openLocked() {
		_ = o.flush() // a client that is gone is noticed at the first event
	}
}

func (o *eventWriter) openLocked() bool {
	if o.begun || o.shut {
		return false
	}
	o.begun = true
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	h.Set("X-Content-Type-Options", "nosniff")
	o.w.WriteHeader(http.StatusOK)
	return true
}

// head sets a header, if the client does not have them yet.
func (o *eventWriter) head(name, value string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.begun && !o.shut {
		o.w.Header().Set(name, value)
	}
}

func (o *eventWriter) opened() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.begun
}

// event writes one event: its cursor, its type, its JSON on one line.
func (o *eventWriter) event(e session.StreamEvent) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Reset()
	o.buf.WriteString("id: " + e.Cursor.String() + "\n")
	return o.write(e.Type, e.Body)
}

// named writes an event that has its place in its data, and so no SSE id.
func (o *eventWriter) named(kind string, body any) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Reset()
	return o.write(kind, body)
}

// data writes an event that has no type, as chat completions have them.
func (o *eventWriter) data(body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "a chunk can't be written")
	}
	return o.text(string(b))
}

// text is data of one line that is written already.
func (o *eventWriter) text(line string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Reset()
	o.buf.WriteString("data: " + line + "\n\n")
	return o.send()
}

// failure writes the contract's error event. It has no SSE id: it is no place to resume from.
func (o *eventWriter) failure(id stead.SessionID, body wireError) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Reset()
	return o.write("error", errorEvent{
		EventID: "event_" + strings.TrimPrefix(newRequestID(), "req_"), SessionID: id, Type: "error", Error: body,
	})
}

type errorEvent struct {
	EventID   string          `json:"event_id"`
	SessionID stead.SessionID `json:"session_id"`
	Type      string          `json:"type"`
	Error     wireError       `json:"error"`
}

func (o *eventWriter) write(kind string, body any) error {
	o.buf.WriteString("event: " + kind + "\ndata: ")
	enc := json.NewEncoder(&o.buf) // ends with a newline, and has no other
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return stead.Wrap(stead.KindInternal, err, "an event of type %s can't be written", kind)
	}
	o.buf.WriteByte('\n')
	return o.send()
}

// comment keeps proxies from closing a stream that has been silent for a whole interval.
func (o *eventWriter) comment() error {
	if !o.mu.TryLock() {
		return nil // an event is being written: the stream is not silent
	}
	defer o.mu.Unlock()
	if !o.begun || !o.idle {
		o.idle = true
		return nil
	}
	o.buf.Reset()
	o.buf.WriteString(": keep-alive\n\n")
	err := o.send()
	o.idle = true
	return err
}

func (o *eventWriter) send() error {
	if o.shut {
		return errClientGone
	}
	o.openLocked()
	o.idle = false
	if _, err := o.w.Write(o.buf.Bytes()); err != nil {
		return errClientGone
	}
	if o.buf.Cap() > maxKeptBuffer {
		o.buf = bytes.Buffer{}
	}
	return o.flush()
}

// maxKeptBuffer is the most memory that an idle stream keeps for its next event.
const maxKeptBuffer = 16 << 10

func (o *eventWriter) flush() error {
	if err := o.rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return errClientGone
	}
	return nil
}

// close gives the connection back.
func (o *eventWriter) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shut = true
}
