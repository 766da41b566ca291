package guest

import (
	"encoding/binary"
	"fmt"
	"io"
)

type kind uint8

const (
	kindHello kind = iota + 1
	kindConfig
	kindReady
	kindOpen
	kindData
	kindCredit
	kindEnd
	kindKill
	kindResult
	kindLast = kindResult
)

const headerBytes = 10

type frame struct {
	kind    kind
	channel uint8
	stream  uint32
	payload []byte
}

// appendFrame encodes f behind b.
func appendFrame(b []byte, f frame) []byte {
	b = append(b, byte(f.kind), f.channel)
	b = binary.BigEndian.AppendUint32(b, f.stream)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.payload)))
	return append(b, f.payload...)
}

// readFrame reads one frame. io.EOF means that the stream ended between two. The payload is fresh.
func readFrame(r io.Reader) (frame, error) {
	var h [headerBytes]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return frame{}, err
	}
	f := frame{kind: kind(h[0]), channel: h[1], stream: binary.BigEndian.Uint32(h[2:])}
	n := binary.BigEndian.Uint32(h[6:])
	if f.kind == 0 || f.kind > kindLast {
		return frame{}, fmt.Errorf("a frame of the unknown kind %d", f.kind)
	}
	if n > MaxFrameBytes || f.kind == kindData && n > MaxDataBytes || f.kind == kindCredit && n != 4 {
		return frame{}, fmt.Errorf("a frame of kind %d has %d bytes", f.kind, n)
	}
	f.payload = make([]byte, n)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	return f, nil
}
