package executor

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// conversation is one end of the operations between a server and one executor process. It outlives
// connections: see pump.go for one connection of it. The server's end opens streams, the executor's
// end serves them.
type conversation struct {
	id    string
	serve func(*stream, request) // the executor's end: runs one operation; nil: the server's end
	wake  chan struct{}          // holds a token when there may be something to send
	done  chan struct{}          // closed when the conversation has ended

	mu      sync.Mutex
	line    line
	streams map[uint64]*stream // by id, those that have no outcome
	opened  uint64             // id of the last stream that was opened
	err     error              // why it has ended
	served  int                // operations that run here
	idle    chan struct{}      // closed, and made anew, when one of them has ended
	closing bool               // nothing more is begun here
}

var errStreamOver = errors.New("the operation is over")

func newConversation(id string, serve func(*stream, request)) *conversation {
	return &conversation{id: id, serve: serve, wake: make(chan struct{}, 1), done: make(chan struct{}), idle: make(chan struct{}), streams: map[uint64]*stream{}}
}

// end ends the conversation, with all its operations. The first reason stays.
func (c *conversation) end(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(why)
}

func (c *conversation) endLocked(why error) {
	if c.err != nil {
		return
	}
	c.err = why
	for _, s := range c.streams {
		s.cancel()
		s.changed()
	}
	c.line.kept, c.line.next = nil, 0
	close(c.done)
}

// cause is why the conversation has ended; nil: it goes on.
func (c *conversation) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// resume begins a new connection to an end that has received frames up to a number, and returns the
// number up to which they are here.
func (c *conversation) resume(received uint64) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	return c.line.received, c.line.resume(received)
}

// received is the number of the last frame that is here.
func (c *conversation) received() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.line.received
}

// put queues a frame. It never waits: what has no window is bounded by the number of streams.
func (c *conversation) put(f frame) {
	if c.err != nil {
		return
	}
	if err := c.line.put(f); err != nil {
		c.endLocked(err)
		return
	}
	c.poke()
}

func (c *conversation) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// open begins an operation: of the server's end.
func (c *conversation) open(r request) (*stream, error) {
	payload, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	if len(c.streams) >= MaxStreams {
		return nil, stead.Errorf(stead.KindLimited, "the environment does %d things at once already, which is the most", MaxStreams)
	}
	c.opened++
	s := newStream(c, c.opened)
	c.streams[s.id] = s
	c.put(frame{kind: kindOpen, stream: s.id, payload: payload})
	return s, nil
}

// receive takes a frame from the connection. An error means that the other side broke a rule.
func (c *conversation) receive(f frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil
	}
	fresh, err := c.line.receive(f)
	if err != nil || !fresh || !f.numbered() {
		return err
	}
	if f.kind == kindOpen {
		return c.begin(f)
	}
	s := c.streams[f.stream]
	if s == nil {
		if f.stream > c.opened {
			return fmt.Errorf("stream %d was never opened", f.stream)
		}
		return nil // it is over; this was on its way
	}
	switch f.kind {
	case kindData:
		return s.receive(f.channel, f.payload)
	case kindCredit:
		s.credit += int(binary.BigEndian.Uint32(f.payload))
		if s.credit > WindowBytes {
			return fmt.Errorf("stream %d got more credit than a window", f.stream)
		}
		s.changed()
	case kindEnd:
		s.ended = true
		s.changed()
	case kindCancel:
		if c.serve == nil {
			return errors.New("an executor cancelled an operation")
		}
		s.cancel()
	case kindReady, kindResult:
		return c.outcome(s, f)
	}
	return nil
}

// begin starts to serve an operation: of the executor's end.
func (c *conversation) begin(f frame) error {
	if c.serve == nil || f.stream != c.opened+1 {
		return fmt.Errorf("stream %d can't be opened", f.stream)
	}
	c.opened++
	var r request
	if err := json.Unmarshal(f.payload, &r); err != nil {
		return fmt.Errorf("a request can't be read: %w", err)
	}
	if len(c.streams) >= MaxStreams {
		return errors.New("too many streams are open")
	}
	s := newStream(c, f.stream)
	c.streams[s.id] = s
	c.served++
	closing := c.closing
	go func() {
		defer c.leave(s)
		if closing {
			s.sayResult(failed(&environment.NotStartedError{Err: errStopped}))
			return
		}
		c.serve(s, r)
	}()
	return nil
}

// leave says that an operation has ended here.
func (c *conversation) leave(s *stream) {
	s.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.served--
	close(c.idle)
	c.idle = make(chan struct{})
}

// windUp cancels all that runs here, begins nothing more, and waits for its end, or ctx.
func (c *conversation) windUp(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	for _, s := range c.streams {
		s.cancel()
	}
	for c.served > 0 && ctx.Err() == nil {
		idle := c.idle
		c.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
		}
		c.mu.Lock()
	}
}

// outcome takes what the executor says of an operation: of the server's end.
func (c *conversation) outcome(s *stream, f frame) error {
	if c.serve != nil {
		return errors.New("a server sent an outcome")
	}
	var o outcome
	if err := json.Unmarshal(f.payload, &o); err != nil {
		return fmt.Errorf("an outcome can't be read: %w", err)
	}
	if f.kind == kindReady {
		s.ready = true
	} else {
		s.result, s.ended = &o, true
		delete(c.streams, s.id)
		s.cancel()
	}
	s.changed()
	return nil
}
