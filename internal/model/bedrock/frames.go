package bedrock

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/stead-dev/stead/internal/model/upstream"
)

// A frame, all numbers big-endian:
//
//	4 bytes   length of the whole frame
//	4 bytes   length of the headers
//	4 bytes   CRC-32 of the eight bytes before
//	headers   {1 byte length, name, 1 byte type, value}*
//	payload   one JSON document
//	4 bytes   CRC-32 of all before
const (
	preludeBytes  = 12
	checksumBytes = 4
	// maxHeaderBytes is the most that the format allows.
	maxHeaderBytes = 128 << 10
)

// frames implements upstream.Frames for application/vnd.amazon.eventstream.
type frames struct {
	r   *bufio.Reader
	buf []byte
}

// Next implements upstream.Frames.
func (f *frames) Next() (upstream.Event, error) {
	var prelude [preludeBytes]byte
	if _, err := io.ReadFull(f.r, prelude[:]); err != nil {
		return upstream.Event{}, err
	}
	total, headers := binary.BigEndian.Uint32(prelude[:]), binary.BigEndian.Uint32(prelude[4:])
	if crc32.ChecksumIEEE(prelude[:8]) != binary.BigEndian.Uint32(prelude[8:]) {
		return upstream.Event{}, fmt.Errorf("%w: the prelude's checksum is wrong", upstream.ErrGarbled)
	}
	if total > upstream.MaxEventBytes {
		return upstream.Event{}, upstream.ErrTooLarge
	}
	if headers > maxHeaderBytes || uint64(total) < uint64(headers)+preludeBytes+checksumBytes {
		return upstream.Event{}, fmt.Errorf("%w: its lengths are impossible", upstream.ErrGarbled)
	}
	rest := int(total) - preludeBytes
	if cap(f.buf) < rest {
		f.buf = make([]byte, rest)
	}
	f.buf = f.buf[:rest]
	if _, err := io.ReadFull(f.r, f.buf); err == io.EOF {
		return upstream.Event{}, io.ErrUnexpectedEOF
	} else if err != nil {
		return upstream.Event{}, err
	}
	body := f.buf[:rest-checksumBytes]
	check := crc32.Update(crc32.ChecksumIEEE(prelude[:]), crc32.IEEETable, body)
	if check != binary.BigEndian.Uint32(f.buf[rest-checksumBytes:]) {
		return upstream.Event{}, fmt.Errorf("%w: its checksum is wrong", upstream.ErrGarbled)
	}
	return event(body[:headers], body[headers:])
}

// event names what a frame holds. The kinds of frame: event, exception (a modelled failure, with a JSON
// payload), and error (any other, with its code and message in the headers).
func event(headers, payload []byte) (upstream.Event, error) {
	values := map[string]string{}
	for len(headers) > 0 {
		name, value, rest, ok := header(headers)
		if !ok {
			return upstream.Event{}, fmt.Errorf("%w: its headers are", upstream.ErrGarbled)
		}
		values[name] = value
		headers = rest
	}
	switch values[":message-type"] {
	case "exception":
		return upstream.Event{Name: values[":exception-type"], Data: payload, Fault: true}, nil
	case "error":
		message, err := json.Marshal(map[string]string{"message": values[":error-message"]})
		if err != nil {
			return upstream.Event{}, err // cannot be: strings always marshal
		}
		return upstream.Event{Name: values[":error-code"], Data: message, Fault: true}, nil
	}
	return upstream.Event{Name: values[":event-type"], Data: payload}, nil
}

// header takes the first header off. Values that are no strings are passed over.
func header(b []byte) (name, value string, rest []byte, ok bool) {
	n := int(b[0])
	if len(b) < 1+n+1 {
		return "", "", nil, false
	}
	name, kind, b := string(b[1:1+n]), b[1+n], b[2+n:]
	const bytesKind, stringKind = 6, 7
	// By kind: true, false, byte, short, integer, long, bytes, string, timestamp, UUID.
	fixed := [...]int{0, 0, 1, 2, 4, 8, 0, 0, 8, 16}
	if int(kind) >= len(fixed) {
		return "", "", nil, false
	}
	size := fixed[kind]
	if kind == bytesKind || kind == stringKind {
		if len(b) < 2 {
			return "", "", nil, false
		}
		size, b = int(binary.BigEndian.Uint16(b)), b[2:]
	}
	if len(b) < size {
		return "", "", nil, false
	}
	if kind == stringKind {
		value = string(b[:size])
	}
	return name, value, b[size:], true
}
