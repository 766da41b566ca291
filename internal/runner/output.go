package runner

import (
	"context"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/session"
)

// What is shown of a command while it runs.
const (
	// outputInterval is how long output is gathered before it is journaled and shown.
	outputInterval = 200 * time.Millisecond
	// maxStreamedOutput is how much of one command's output is shown while it runs; all of it comes
	// with its end.
	maxStreamedOutput = 64 << 10
)

// outputStream journals what a command prints, in pieces. Its pieces and the call's outcome pass
// through one channel, so that they stand in the journal in order.
type outputStream struct {
	c     *toolCall
	ctx   context.Context
	f     *flight
	mu    sync.Mutex
	text  []byte
	total int
	timer *time.Timer
	over  bool
	masks bool // secrets are masked, so that lines alone are shown, when they have ended
}

// stream makes the call's output known while it runs. Only calls in an environment print. What a guardrail must see first
// is not shown before the call has ended.
func (c *toolCall) stream(ctx context.Context, f *flight) *outputStream {
	s := &outputStream{c: c, ctx: ctx, f: f}
	if s.masks = c.checks.On(guardrail.ToolResult, c.title); s.masks {
		s.over = !c.checks.Lines(c.title)
	}
	if c.computer {
		c.call.Output = s.add
	}
	return s
}

func (s *outputStream) add(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.total > maxStreamedOutput {
		return
	}
	room := maxStreamedOutput - s.total
	s.total += len(text)
	s.text = append(s.text, text[:min(len(text), room)]...)
	if len(text) > room { // cut between characters
		s.text = append(s.text[:s.whole()], "\n[more output comes with the command's end]\n"...)
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(outputInterval, s.flush)
	}
}

// flush hands on what is there, up to its last whole character.
func (s *outputStream) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = nil
	if !s.over {
		s.send(s.whole())
	}
}

// whole is how much of what is there can be shown though it goes on.
func (s *outputStream) whole() int {
	if s.masks {
		return guardrail.WholeLines(s.text)
	}
	return wholeRunes(s.text)
}

// end hands on the rest: what comes after it is not shown.
func (s *outputStream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.over = true
	s.send(len(s.text))
}

func (s *outputStream) send(n int) {
	if n == 0 {
		return
	}
	text := strings.ToValidUTF8(string(s.text[:n]), "\uFFFD")
	if s.masks {
		text = guardrail.MaskSecrets(text)
	}
	s.text = s.text[n:]
	select {
	case s.c.a.outcomes <- outcome{of: s.f, more: true, events: []pending{happened(session.KindToolStreamed, session.ToolStreamed{CallID: s.c.id, Text: text})}}:
	case <-s.ctx.Done():
	}
}

// wholeRunes is how much of b can be shown: a character that is cut at the end waits for its rest.
func wholeRunes(b []byte) int {
	for n := len(b); n > 0 && n > len(b)-utf8.UTFMax; n-- {
		if utf8.RuneStart(b[n-1]) {
			if utf8.FullRune(b[n-1:]) {
				return len(b)
			}
			return n - 1
		}
	}
	return len(b)
}
