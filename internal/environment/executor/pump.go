package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coder/websocket"
)

// socket is one connection: frames over a WebSocket.
type socket struct {
	ws      *websocket.Conn
	timing  Timing
	parting chan bye // why part was called
}

func newSocket(ws *websocket.Conn, t Timing) *socket {
	ws.SetReadLimit(MaxMessageBytes)
	return &socket{ws, t, make(chan bye, 1)}
}

// read waits for a frame, at most for as long as the other side may be silent.
func (s *socket) read(ctx context.Context, patience time.Duration) (frame, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errSilent)
	defer cancel()
	typ, b, err := s.ws.Read(ctx)
	if err != nil {
		if errors.Is(err, websocket.ErrMessageTooBig) {
			return frame{}, &ruleError{err}
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return frame{}, err
	}
	if typ != websocket.MessageBinary {
		return frame{}, &ruleError{errors.New("a message is text")}
	}
	f, err := decode(b)
	if err != nil {
		return frame{}, &ruleError{err}
	}
	return f, nil
}

var errSilent = errors.New("the other side says nothing any more")

// ruleError says that the other side broke a rule of the protocol.
type ruleError struct{ err error }

func (e *ruleError) Error() string { return "the other side broke the protocol: " + e.err.Error() }
func (e *ruleError) Unwrap() error { return e.err }

func (s *socket) write(ctx context.Context, f frame) error {
	ctx, cancel := context.WithTimeout(ctx, s.timing.Write)
	defer cancel()
	return s.ws.Write(ctx, websocket.MessageBinary, f.encode())
}

// say sends a frame with JSON.
func (s *socket) say(ctx context.Context, k kind, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.write(ctx, frame{kind: k, payload: b})
}

// hear waits for a frame of a kind, and reads its JSON. A bye instead is its error.
func (s *socket) hear(ctx context.Context, k kind, v any) error {
	f, err := s.read(ctx, s.timing.Handshake)
	if err != nil {
		return err
	}
	switch f.kind {
	case kindBye:
		return byeOf(f)
	case k:
		if err := json.Unmarshal(f.payload, v); err != nil {
			return &ruleError{err}
		}
		return nil
	}
	return &ruleError{fmt.Errorf("a frame of kind %d came where one of kind %d is due", f.kind, k)}
}

func byeOf(f frame) error {
	var b bye
	if err := json.Unmarshal(f.payload, &b); err != nil {
		return &ruleError{err}
	}
	b.Code, b.Message = clip(line1(b.Code)), clip(line1(b.Message))
	return &b
}

// byeTime is how long a farewell may take.
const byeTime = 2 * time.Second

// An ack goes out alone when nothing else does: at once for so many frames, else after a while.
const (
	ackFrames = 16
	ackDelay  = 20 * time.Millisecond
)

// pump carries a conversation over the connection until that breaks, ctx ends, part was called or the
// conversation ends; the error says which. When it returns, the connection is closed and nothing of it
// runs any more. One pump of a conversation runs at a time.
func (s *socket) pump(ctx context.Context, c *conversation, farewell func(why error) bye) error {
	read := make(chan error, 1)
	go func() { read <- s.readAll(c) }()
	c.poke()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if err := s.flush(ctx, c); err != nil {
			return s.cut(read, err)
		}
		timer.Reset(c.pause(s.timing.Heartbeat))
		select {
		case <-c.wake:
		case <-timer.C:
			if err := s.write(ctx, c.ack()); err != nil {
				return s.cut(read, err)
			}
		case err := <-read:
			read <- err // for leave and cut
			if _, broken := errors.AsType[*ruleError](err); broken {
				s.leave(read, bye{codeProtocol, err.Error()})
			}
			return s.cut(read, err)
		case <-c.done:
			err := c.cause()
			s.leave(read, farewell(err))
			return s.cut(read, err)
		case b := <-s.parting:
			s.leave(read, b)
			return s.cut(read, &b)
		case <-ctx.Done():
			return s.cut(read, context.Cause(ctx))
		}
	}
}

// part makes the pump say why and end, once what was queued is sent. It does not wait.
func (s *socket) part(b bye) {
	select {
	case s.parting <- b:
	default: // somebody else was first
	}
}

// cut ends the connection.
func (s *socket) cut(read chan error, err error) error {
	_ = s.ws.CloseNow() // nobody is left to tell
	<-read
	return err
}

// leave says why the connection ends, and waits until the other side has closed it: a close from here
// could overtake the bye.
func (s *socket) leave(read chan error, b bye) {
	ctx, cancel := context.WithTimeout(context.Background(), byeTime)
	defer cancel()
	if s.say(ctx, kindBye, b) != nil {
		return
	}
	select {
	case err := <-read:
		read <- err
		if _, broken := errors.AsType[*ruleError](err); broken { // it was read no further
			for err = nil; err == nil; {
				_, _, err = s.ws.Read(ctx)
			}
		}
	case <-ctx.Done():
	}
}

// refuse is leave for a connection that never had a pump.
func (s *socket) refuse(b bye) {
	read := make(chan error, 1)
	read <- &ruleError{&b} // nobody reads it
	s.leave(read, b)
	_ = s.cut(read, nil)
}

// flush writes what is queued.
func (s *socket) flush(ctx context.Context, c *conversation) error {
	for {
		c.mu.Lock()
		f, ok := c.line.take()
		c.mu.Unlock()
		if !ok {
			return nil
		}
		if err := s.write(ctx, f); err != nil {
			return err
		}
	}
}

// readAll takes what comes. It ends the connection with its own end, unless a bye is to be said.
func (s *socket) readAll(c *conversation) error {
	for {
		f, err := s.read(context.Background(), s.timing.Silence)
		if err == nil {
			err = s.handle(c, f)
		}
		if err == nil {
			continue
		}
		if _, broken := errors.AsType[*ruleError](err); !broken {
			_ = s.ws.CloseNow() // so that a write does not wait any more
		}
		return err
	}
}

func (s *socket) handle(c *conversation, f frame) error {
	switch f.kind {
	case kindBye:
		return byeOf(f)
	case kindHello, kindWelcome:
		return &ruleError{errors.New("a second greeting came")}
	}
	if err := c.receive(f); err != nil {
		return &ruleError{err}
	}
	if f.numbered() {
		c.poke() // an ack may be due
	}
	return nil
}

// pause is how long the writer may rest.
func (c *conversation) pause(heartbeat time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.line.owed >= ackFrames:
		return 0
	case c.line.owed > 0:
		return min(ackDelay, heartbeat)
	}
	return heartbeat
}

// ack is a frame that only says what has come.
func (c *conversation) ack() frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return frame{kind: kindAck, ack: c.line.acked()}
}
