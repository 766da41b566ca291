package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// ErrTooLarge says that an event or a reply is above its limit.
var ErrTooLarge = errors.New("the upstream's reply is above the limit")

// ErrGarbled says that a frame is not what its checksum or its lengths say.
var ErrGarbled = errors.New("a frame of the upstream's reply is damaged")

// Event is one event of a stream: its name may be empty, its data is only valid until the next one.
type Event struct {
	Name  string
	Data  []byte
	Fault bool // the event is a failure, and Name its kind: frames tell that apart, server-sent events don't
}

// eventReader reads server-sent events as the HTML standard has them (section 9.2.6): lines end in
// LF, CRLF or CR, comments and unknown fields are skipped, data lines are joined. Unlike there, a
// last event without its blank line is handed out: the decoders know whether it was whole.
type eventReader struct {
	r     *bufio.Reader
	max   int // bytes of one event
	data  []byte
	line  []byte
	first bool // no line was read yet: a byte order mark may come
	lf    bool // the last line ended in CR: skip an LF
}

func newEventReader(r *bufio.Reader, maxBytes int) *eventReader {
	return &eventReader{r: r, max: maxBytes, first: true}
}

// Next returns the next event that has data. The error is io.EOF at the end, ErrTooLarge, or the reader's.
func (e *eventReader) Next() (Event, error) {
	ev, has := Event{}, false
	e.data = e.data[:0]
	for {
		line, err := e.readLine()
		if err != nil && (err != io.EOF || len(line) == 0 && !has) {
			return Event{}, err
		}
		if len(line) == 0 && has { // also at the end of the input
			ev.Data = bytes.TrimSuffix(e.data, []byte("\n"))
			return ev, nil
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			ev.Name = string(value)
		case "data":
			if len(e.data)+len(value) > e.max {
				return Event{}, ErrTooLarge
			}
			has = true
			e.data = append(append(e.data, value...), '\n')
		case "":
			if len(line) == 0 {
				ev.Name = ""
			}
		}
	}
}

// readLine returns the next line without its end. An error comes with the last, unended line.
func (e *eventReader) readLine() ([]byte, error) {
	e.line = e.line[:0]
	for {
		if _, err := e.r.Peek(1); err != nil {
			return e.mark(e.line), err
		}
		buf, _ := e.r.Peek(e.r.Buffered()) // cannot fail: all of it is there
		if e.lf && buf[0] == '\n' {
			buf = buf[:0]
			_, _ = e.r.Discard(1)
		}
		e.lf = false
		end := bytes.IndexAny(buf, "\r\n")
		part := buf
		if end >= 0 {
			part = buf[:end]
		}
		if len(e.line)+len(part) > e.max {
			return nil, ErrTooLarge
		}
		e.line = append(e.line, part...)
		if end < 0 {
			_, _ = e.r.Discard(len(buf))
			continue
		}
		// The LF of a CRLF may be in the next packet: it is skipped then, not waited for.
		e.lf = buf[end] == '\r'
		_, _ = e.r.Discard(end + 1)
		return e.mark(e.line), nil
	}
}

// mark cuts the byte order mark off the first line.
func (e *eventReader) mark(line []byte) []byte {
	if e.first {
		e.first = false
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	}
	return line
}
