package executor

import (
	"encoding/binary"
	"fmt"
)

// kind says what a frame is.
type kind uint8

// The kinds. Those below kindOpen belong to one connection and have no number.
const (
	kindHello   kind = 1
	kindWelcome kind = 2
	kindAck     kind = 3
	kindBye     kind = 4

	kindOpen   kind = 16
	kindReady  kind = 17
	kindData   kind = 18
	kindCredit kind = 19
	kindEnd    kind = 20
	kindCancel kind = 21
	kindResult kind = 22
)

// Channels of data.
const (
	channelIn     uint8 = 0 // stdin; a file's or connection's bytes, in either direction
	channelStdout uint8 = 1
	channelStderr uint8 = 2
)

const headerBytes = 26

// frame is one message.
type frame struct {
	kind    kind
	channel uint8
	stream  uint64 // 0: of the connection
	seq     uint64 // 0: has no number
	ack     uint64 // the last number that the sender has received
	payload []byte
}

func (f frame) numbered() bool { return f.kind >= kindOpen }

// encode makes the message of a frame.
func (f frame) encode() []byte {
	b := make([]byte, headerBytes, headerBytes+len(f.payload))
	b[0], b[1] = byte(f.kind), f.channel
	binary.BigEndian.PutUint64(b[2:], f.stream)
	binary.BigEndian.PutUint64(b[10:], f.seq)
	binary.BigEndian.PutUint64(b[18:], f.ack)
	return append(b, f.payload...)
}

// decode reads a message from a stranger. The payload is b's.
func decode(b []byte) (frame, error) {
	if len(b) < headerBytes {
		return frame{}, fmt.Errorf("a message of %d bytes is no frame", len(b))
	}
	if len(b) > MaxMessageBytes {
		return frame{}, fmt.Errorf("a frame has at most %d bytes, not %d", MaxMessageBytes, len(b))
	}
	f := frame{
		kind: kind(b[0]), channel: b[1],
		stream: binary.BigEndian.Uint64(b[2:]), seq: binary.BigEndian.Uint64(b[10:]), ack: binary.BigEndian.Uint64(b[18:]),
		payload: b[headerBytes:],
	}
	return f, f.check()
}

func (f frame) check() error {
	wrong := func(what string) error { return fmt.Errorf("a frame of kind %d has %s", f.kind, what) }
	if f.kind < kindHello || f.kind > kindBye && f.kind < kindOpen || f.kind > kindResult {
		return fmt.Errorf("frames have no kind %d", f.kind)
	}
	if f.numbered() != (f.seq != 0) || f.numbered() != (f.stream != 0) {
		return wrong("a number and a stream, or neither, against the rule")
	}
	if f.channel > channelStderr || f.channel != 0 && f.kind != kindData {
		return wrong("a wrong channel")
	}
	switch n := len(f.payload); f.kind {
	case kindAck, kindEnd, kindCancel:
		if n != 0 {
			return wrong("a payload")
		}
	case kindData:
		if n == 0 || n > MaxDataBytes {
			return wrong("a wrong amount of data")
		}
	case kindCredit:
		if n != 4 {
			return wrong("no amount")
		}
		if c := binary.BigEndian.Uint32(f.payload); c == 0 || c > WindowBytes {
			return wrong("a wrong amount of credit")
		}
	}
	return nil
}

func creditFrame(stream uint64, n int) frame {
	return frame{kind: kindCredit, stream: stream, payload: binary.BigEndian.AppendUint32(nil, uint32(n))}
}
