package postgres

import (
	"encoding/binary"
	"io"

	"github.com/stead-dev/stead"
)

const copySQL = `COPY log (project_id, session_id, last, first, events) FROM STDIN (FORMAT binary)`

const (
	copyColumns = 5
	// copyHeader opens the binary format: signature, flags, length of the extension area.
	copyHeader = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"
	// copyChunk is about how many bytes are encoded at a time.
	copyChunk = 64 << 10
)

// copyReader encodes the log rows of stored operations as binary COPY rows: a count of columns, then
// each column as a length and its bytes; integers are big-endian.
// Source: PostgreSQL 15 documentation, COPY, "Binary Format".
type copyReader struct {
	rest []stored
	next int // event of rest[0]
	buf  []byte
	off  int
	end  bool // the trailer is in buf
}

func newCopyReader(list []stored) *copyReader {
	return &copyReader{rest: list, buf: append(make([]byte, 0, copyChunk+copyChunk/2), copyHeader...)}
}

func (r *copyReader) Read(p []byte) (int, error) {
	if r.off == len(r.buf) {
		if r.end {
			return 0, io.EOF
		}
		r.buf, r.off = r.buf[:0], 0
	}
	for !r.end && len(r.buf)-r.off < len(p) && len(r.buf) < copyChunk {
		r.encodeNext()
	}
	n := copy(p, r.buf[r.off:])
	r.off += n
	return n, nil
}

func (r *copyReader) encodeNext() {
	for len(r.rest) > 0 && r.next == len(r.rest[0].events) {
		r.rest, r.next = r.rest[1:], 0
	}
	if len(r.rest) == 0 {
		r.buf = binary.BigEndian.AppendUint16(r.buf, 0xffff)
		r.end = true
		return
	}
	s := r.rest[0]
	events := s.events[r.next:]
	events = events[:rowEvents(events)]
	first := s.tail - stead.Seq(len(s.events)) + 1 + stead.Seq(r.next)
	r.buf = appendRow(r.buf, s.key, first, events)
	r.next += len(events)
}

func appendRow(b []byte, key stead.SessionKey, first stead.Seq, events []stead.Event) []byte {
	b = binary.BigEndian.AppendUint16(b, copyColumns)
	b = appendText(b, string(key.Project))
	b = appendText(b, string(key.Session))
	b = appendInt8(b, int64(first)+int64(len(events))-1)
	b = appendInt8(b, int64(first))
	b = binary.BigEndian.AppendUint32(b, uint32(rowSize(events)))
	return appendFrames(b, events)
}

func appendText(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

func appendInt8(b []byte, n int64) []byte {
	b = binary.BigEndian.AppendUint32(b, 8)
	return binary.BigEndian.AppendUint64(b, uint64(n))
}
