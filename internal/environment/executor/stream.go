package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// stream is one operation, at either end. Everything below change is guarded by the conversation's lock.
type stream struct {
	c      *conversation
	id     uint64
	ctx    context.Context // ends with the operation: it was cancelled, has its outcome, or the conversation ended
	cancel context.CancelFunc

	change  chan struct{} // closed, and made anew, when something here changes
	chunks  []chunk       // that came and were not taken
	window  int           // bytes that may still come
	used    int           // bytes that were used since credit was given for the last of them
	ended   bool          // no more data comes
	credit  int           // bytes that may still go
	closed  bool          // no more data goes
	ready   bool
	result  *outcome // at the server's end
	stopped bool     // a cancel was sent
}

// chunk is data that came.
type chunk struct {
	channel uint8
	data    []byte
}

func newStream(c *conversation, id uint64) *stream {
	s := &stream{c: c, id: id, change: make(chan struct{}), window: WindowBytes, credit: WindowBytes}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *stream) changed() {
	close(s.change)
	s.change = make(chan struct{})
}

// receive keeps data until it is taken.
func (s *stream) receive(channel uint8, data []byte) error {
	if s.ended {
		return fmt.Errorf("stream %d got data after its end", s.id)
	}
	if s.window -= len(data); s.window < 0 {
		return fmt.Errorf("stream %d got more data than it had credit for", s.id)
	}
	s.chunks = append(s.chunks, chunk{channel, data})
	s.changed()
	return nil
}

// wait waits, with the lock held before and after, until ready says so or ctx or the conversation ends.
func (s *stream) wait(ctx context.Context, ready func() bool) error {
	for !ready() {
		if s.c.err != nil {
			return s.c.err
		}
		change := s.change
		s.c.mu.Unlock()
		var err error
		select {
		case <-change:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		s.c.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// take returns the next data, io.EOF behind the last. Whoever takes it calls use once it is used up.
func (s *stream) take(ctx context.Context) (chunk, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if err := s.wait(ctx, func() bool { return len(s.chunks) > 0 || s.ended }); err != nil {
		return chunk{}, err
	}
	if len(s.chunks) == 0 {
		return chunk{}, io.EOF
	}
	first := s.chunks[0]
	s.chunks[0] = chunk{}
	s.chunks = s.chunks[1:]
	return first, nil
}

// use gives the other side credit for n bytes more, a quarter of a window at a time.
func (s *stream) use(n int) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.used += n; s.used < WindowBytes/4 || s.ended || s.c.streams[s.id] != s {
		return
	}
	s.window += s.used
	s.c.put(creditFrame(s.id, s.used))
	s.used = 0
}

// write sends data, and waits for credit to do so.
func (s *stream) write(ctx context.Context, channel uint8, data []byte) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for len(data) > 0 {
		if err := s.wait(ctx, func() bool { return s.credit > 0 || s.over() }); err != nil {
			return err
		}
		if s.over() {
			return errStreamOver
		}
		n := min(len(data), s.credit, MaxDataBytes)
		s.credit -= n
		s.c.put(frame{kind: kindData, channel: channel, stream: s.id, payload: append([]byte(nil), data[:n]...)})
		data = data[n:]
	}
	return nil
}

func (s *stream) over() bool { return s.closed || s.c.streams[s.id] != s }

// finish says that no more data comes from here.
func (s *stream) finish() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.over() {
		return
	}
	s.closed = true
	s.c.put(frame{kind: kindEnd, stream: s.id})
}

// stop asks the executor to stop the operation.
func (s *stream) stop() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.streams[s.id] == s && !s.stopped {
		s.stopped = true
		s.c.put(frame{kind: kindCancel, stream: s.id})
	}
}

// forget ends what this end wants of the operation: what still comes is dropped.
func (s *stream) forget() {
	s.stop()
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	delete(s.c.streams, s.id)
	s.chunks = nil
	s.cancel()
	s.changed()
}

// isReady waits until the executor said that what was asked for is there. An outcome instead is its error.
func (s *stream) isReady(ctx context.Context) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if err := s.wait(ctx, func() bool { return s.ready || s.result != nil }); err != nil {
		return err
	}
	if !s.ready {
		return s.result.err()
	}
	return nil
}

// await waits for the outcome.
func (s *stream) await(ctx context.Context) (outcome, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if err := s.wait(ctx, func() bool { return s.result != nil }); err != nil {
		return outcome{}, err
	}
	return *s.result, nil
}

// sayReady and sayResult are the executor's answers.
func (s *stream) sayReady() { s.answer(kindReady, outcome{}) }

func (s *stream) sayResult(o outcome) { s.answer(kindResult, o) }

func (s *stream) answer(k kind, o outcome) {
	payload, err := json.Marshal(o)
	if err != nil {
		payload = []byte("{}") // an outcome without a value is an error at the other end
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.streams[s.id] != s {
		return
	}
	s.c.put(frame{kind: k, stream: s.id, payload: payload})
	if k == kindResult {
		delete(s.c.streams, s.id)
	}
}

// reader reads a stream's data as a file is read.
type reader struct {
	s    *stream
	ctx  context.Context
	rest []byte
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		c, err := r.s.take(r.ctx)
		if err != nil {
			return 0, err
		}
		r.rest = c.data
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	r.s.use(n)
	return n, nil
}
