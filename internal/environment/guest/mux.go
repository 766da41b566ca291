package guest

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/stead-dev/stead"
)

// mux is one end of a conversation: many streams over one pair of a reader and a writer.
type mux struct {
	r      *bufio.Reader
	accept func(*stream, request) // serves a stream that the other side opened, in a goroutine

	write sync.Mutex // one frame at a time
	w     io.Writer
	buf   []byte
	cut   func() // breaks the line when the conversation ends; nil: the guest's end, which exits then

	mu       sync.Mutex
	streams  map[uint32]*stream
	accepted int    // of streams, those that the other side opened
	last     uint32 // the id of the last stream that we opened
	err      error
	done     chan struct{} // closed when the conversation has ended
	work     sync.WaitGroup
}

var (
	errSilent   = errors.New("the guest does not answer")
	errOver     = errors.New("the stream is over")
	errTooMany  = stead.Errorf(stead.KindLimited, "%d things are under way in the environment already, which is the most", MaxStreams)
	errProtocol = errors.New("the other side broke the rules")
)

// newMux makes an end; the host's streams are odd.
func newMux(r io.Reader, w io.Writer, host bool, accept func(*stream, request)) *mux {
	m := &mux{r: bufio.NewReaderSize(r, 64<<10), w: w, accept: accept, streams: map[uint32]*stream{}, done: make(chan struct{})}
	if host {
		m.last = ^uint32(0) // the first is 1, and the guest's first 2
	}
	return m
}

// send writes one frame. An error ends the conversation.
func (m *mux) send(f frame) error {
	m.write.Lock()
	defer m.write.Unlock()
	m.buf = appendFrame(m.buf[:0], f)
	if m.cut != nil { // a guest that does not read must not hold the host up for ever
		defer time.AfterFunc(WriteTime, func() { m.end(errSilent) }).Stop()
	}
	_, err := m.w.Write(m.buf)
	if err != nil {
		m.end(err)
	}
	return err
}

func (m *mux) sendJSON(k kind, id uint32, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(payload) > MaxFrameBytes {
		return stead.Errorf(stead.KindTooLarge, "a request of %d bytes is above the limit of %d", len(payload), MaxFrameBytes)
	}
	return m.send(frame{kind: k, stream: id, payload: payload})
}

// expect reads the one frame that the handshake has next.
func (m *mux) expect(k kind, v any) error {
	f, err := readFrame(m.r)
	if err != nil {
		return err
	}
	if f.kind != k {
		return fmt.Errorf("frame %d came in place of %d: %w", f.kind, k, errProtocol)
	}
	return json.Unmarshal(f.payload, v)
}

// run reads frames until the conversation ends. It never waits for anything else, so that the other
// side can always write.
func (m *mux) run() error {
	for {
		f, err := readFrame(m.r)
		if err == nil {
			err = m.receive(f)
		}
		if err != nil {
			m.end(err)
			return err
		}
	}
}

// end ends the conversation with all its streams. The first reason stays.
func (m *mux) end(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return
	}
	m.err = why
	if m.cut != nil {
		go m.cut() // which may take its time
	}
	for _, s := range m.streams {
		s.changed.Broadcast()
		s.killedLocked()
	}
	close(m.done)
}

// open begins a stream.
func (m *mux) open(r request) (*stream, error) {
	m.mu.Lock()
	if m.err != nil {
		m.mu.Unlock()
		return nil, m.err
	}
	if len(m.streams)-m.accepted >= MaxStreams {
		m.mu.Unlock()
		return nil, errTooMany
	}
	m.last += 2
	s := newStream(m, m.last)
	m.streams[s.id] = s
	m.mu.Unlock()
	if err := m.sendJSON(kindOpen, s.id, r); err != nil {
		m.forget(s)
		return nil, err
	}
	return s, nil
}

func (m *mux) forget(s *stream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgetLocked(s)
}

func (m *mux) forgetLocked(s *stream) {
	if m.streams[s.id] == s {
		delete(m.streams, s.id)
		if s.theirs {
			m.accepted--
		}
	}
}

func (m *mux) receive(f frame) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.kind == kindOpen {
		return m.acceptLocked(f)
	}
	if f.kind < kindOpen {
		return fmt.Errorf("frame %d after the handshake: %w", f.kind, errProtocol)
	}
	s := m.streams[f.stream]
	if s == nil {
		return nil // over; this was on its way
	}
	switch f.kind {
	case kindData:
		if s.queued += len(f.payload); s.queued > WindowBytes {
			return fmt.Errorf("more data than the window allows: %w", errProtocol)
		}
		if !s.ended && !s.over {
			s.queue = append(s.queue, chunk{f.channel, f.payload})
		}
	case kindCredit:
		if s.credit += int(binary.BigEndian.Uint32(f.payload)); s.credit > WindowBytes {
			return fmt.Errorf("more credit than the window: %w", errProtocol)
		}
	case kindEnd:
		s.ended = true
	case kindKill:
		if !s.theirs {
			return fmt.Errorf("a kill of what we opened: %w", errProtocol)
		}
		s.killedLocked()
	case kindResult:
		if s.theirs {
			return fmt.Errorf("a result of what we serve: %w", errProtocol)
		}
		var o outcome
		if err := json.Unmarshal(f.payload, &o); err != nil {
			return fmt.Errorf("a result can't be read: %w", err)
		}
		s.result, s.over = &o, true
		m.forgetLocked(s)
	}
	s.changed.Broadcast()
	return nil
}

func (m *mux) acceptLocked(f frame) error {
	if f.stream%2 == m.last%2 {
		return fmt.Errorf("stream %d is ours to open: %w", f.stream, errProtocol)
	}
	if _, ok := m.streams[f.stream]; ok {
		return fmt.Errorf("stream %d is open: %w", f.stream, errProtocol)
	}
	var r request
	if err := json.Unmarshal(f.payload, &r); err != nil {
		return fmt.Errorf("a request can't be read: %w", err)
	}
	if m.accepted >= MaxStreams {
		return fmt.Errorf("more than %d streams: %w", MaxStreams, errProtocol)
	}
	s := newStream(m, f.stream)
	s.theirs = true
	m.streams[s.id] = s
	m.accepted++
	m.work.Go(func() { m.accept(s, r) })
	return nil
}

// chunk is data of one channel.
type chunk struct {
	channel uint8
	data    []byte
}

// stream is one operation. Its fields are the mux's lock's.
type stream struct {
	m       *mux
	id      uint32
	theirs  bool // the other side opened it
	changed *sync.Cond
	kill    chan struct{} // closed when the opener, or the end of the conversation, kills it

	queue  []chunk // received and not read
	queued int     // bytes received and not given back as credit
	credit int     // bytes that we may send
	ended  bool    // the other side sends no more
	over   bool    // there is a result
	killed bool
	result *outcome
}

func newStream(m *mux, id uint32) *stream {
	return &stream{m: m, id: id, credit: WindowBytes, changed: sync.NewCond(&m.mu), kill: make(chan struct{})}
}

func (s *stream) killedLocked() {
	if !s.killed {
		s.killed = true
		close(s.kill)
	}
}

// send sends data of a channel, as the other side takes it.
func (s *stream) send(channel uint8, p []byte) error {
	for len(p) > 0 {
		s.m.mu.Lock()
		for s.credit == 0 && !s.over && s.m.err == nil && !s.killed {
			s.changed.Wait()
		}
		if s.over || s.m.err != nil || s.killed && s.credit == 0 {
			s.m.mu.Unlock()
			return errOver
		}
		n := min(len(p), s.credit, MaxDataBytes)
		s.credit -= n
		s.m.mu.Unlock()
		if err := s.m.send(frame{kind: kindData, channel: channel, stream: s.id, payload: p[:n]}); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// end says that we send no more.
func (s *stream) end() error { return s.m.send(frame{kind: kindEnd, stream: s.id}) }

// stop kills what we opened.
func (s *stream) stop() { _ = s.m.send(frame{kind: kindKill, stream: s.id}) }

// finish sends the outcome of what we serve.
func (s *stream) finish(o outcome) {
	s.m.mu.Lock()
	s.over = true
	s.m.forgetLocked(s)
	s.changed.Broadcast()
	s.m.mu.Unlock()
	_ = s.m.sendJSON(kindResult, s.id, o)
}

// next returns the next data. io.EOF: there is no more, of any channel. Its credit goes back with
// the call of used.
func (s *stream) next() (chunk, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	for {
		if len(s.queue) > 0 {
			c := s.queue[0]
			s.queue = s.queue[1:]
			return c, nil
		}
		switch {
		case s.ended || s.over:
			return chunk{}, io.EOF
		case s.m.err != nil:
			return chunk{}, s.m.err
		}
		s.changed.Wait()
	}
}

// used gives the credit of n bytes back.
func (s *stream) used(n int) {
	s.m.mu.Lock()
	s.queued -= n
	over := s.over
	s.m.mu.Unlock()
	if n > 0 && !over {
		_ = s.m.send(frame{kind: kindCredit, stream: s.id, payload: binary.BigEndian.AppendUint32(nil, uint32(n))})
	}
}

// outcome waits for the result of what we opened.
func (s *stream) outcome() (outcome, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	for s.result == nil && s.m.err == nil {
		s.changed.Wait()
	}
	if s.result != nil {
		return *s.result, nil
	}
	return outcome{}, s.m.err
}

// isOver says that there is a result: nobody reads what we send.
func (s *stream) isOver() bool {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return s.over
}
