package environment

import (
	"fmt"
	"math"
	"sync"
)

// Output passes what one command prints on to a reader, within Limits.OutputBytes: the first half of
// the limit goes on as it comes; of all that follows the last half is kept, and goes on at the end.
// When something between them had to be dropped, a line on the stream that was cut says how much:
//
//	head ─ as it comes ─▶ out │ "[1234 bytes of output were cut here]" │ tail ─ at Close ─▶ out
//
// It holds at most the limit in memory, and the order of both streams is kept. Write blocks
// while out does, which is what slows a command down whose reader is slow. All methods may be called
// from many goroutines; out is called by one of them at a time, and never after Close.
type Output struct {
	mu     sync.Mutex
	out    func(Chunk)
	head   int64 // bytes that may still go on at once
	tail   tail
	total  int64
	closed bool
}

// NewOutput makes the output of one command. Limit is a number of bytes, at least 2, or Unbounded; out
// may be nil.
func NewOutput(limit int64, out func(Chunk)) *Output {
	if out == nil {
		out = func(Chunk) {}
	}
	half := max(limit/2, 1)
	if limit == Unbounded {
		half = math.MaxInt64
	}
	return &Output{out: out, head: half, tail: tail{size: int(min(half, math.MaxInt/2))}}
}

// Write takes what was read from a stream. It keeps nothing of p.
func (o *Output) Write(s Stream, p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.total += int64(len(p))
	if n := min(o.head, int64(len(p))); n > 0 {
		o.out(Chunk{s, p[:n:n]})
		o.head -= n
		p = p[n:]
	}
	o.tail.write(s, p)
}

// Close passes on the tail, and returns how many bytes were written. Bytes that come later are
// dropped. A second call does nothing more.
func (o *Output) Close() (total int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return o.total
	}
	o.closed = true
	o.tail.trim()
	if o.tail.dropped > 0 {
		o.out(Chunk{o.tail.runs[0].stream, fmt.Appendf(nil, "\n[%d bytes of output were cut here]\n", o.tail.dropped)})
	}
	data := o.tail.data
	for _, r := range o.tail.runs {
		o.out(Chunk{r.stream, data[:r.n:r.n]})
		data = data[r.n:]
	}
	o.tail = tail{}
	return o.total
}

// tail keeps the last size bytes of both streams in their order, and up to as many again until it
// has to tidy up.
type tail struct {
	size    int
	data    []byte
	runs    []run
	dropped int64
}

// run says that the next n bytes belong to one stream.
type run struct {
	stream Stream
	n      int
}

func (t *tail) write(s Stream, p []byte) {
	if over := len(p) - t.size; over > 0 { // it replaces everything
		t.drop(len(t.data))
		t.dropped += int64(over)
		p = p[over:]
	}
	if len(p) == 0 {
		return
	}
	t.data = append(t.data, p...)
	if last := len(t.runs) - 1; last >= 0 && t.runs[last].stream == s {
		t.runs[last].n += len(p)
	} else {
		t.runs = append(t.runs, run{s, len(p)})
	}
	if len(t.data) >= 2*t.size {
		t.trim()
	}
}

// trim drops what is above the size.
func (t *tail) trim() { t.drop(max(len(t.data)-t.size, 0)) }

// drop forgets the oldest n bytes.
func (t *tail) drop(n int) {
	t.dropped += int64(n)
	t.data = t.data[:copy(t.data, t.data[n:])]
	whole := 0
	for whole < len(t.runs) && t.runs[whole].n <= n {
		n -= t.runs[whole].n
		whole++
	}
	t.runs = t.runs[:copy(t.runs, t.runs[whole:])]
	if n > 0 {
		t.runs[0].n -= n
	}
}
