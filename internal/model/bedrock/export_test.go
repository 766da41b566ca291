package bedrock

import (
	"bufio"
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"iter"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// Decode reads a reply, as Generate does once it has one.
func Decode(req model.Request, body io.Reader) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		out := upstream.NewOutput("up", req.Items, yield)
		if err := upstream.Decode(context.Background(), body, newDecoder(out, req), newFrames); err != nil && !out.Stopped() {
			yield(model.Delta{}, err)
		}
	}
}

// Frames reads all frames.
func Frames(r io.Reader) ([]upstream.Event, error) {
	var out []upstream.Event
	f := newFrames(bufio.NewReader(r))
	for {
		ev, err := f.Next()
		if err != nil {
			return out, err
		}
		ev.Data = append([]byte(nil), ev.Data...)
		out = append(out, ev)
	}
}

// Frame writes a frame; pairs are the names and values of its headers, all of them strings.
func Frame(payload string, pairs ...string) string {
	var headers []byte
	for i := 0; i < len(pairs); i += 2 {
		headers = append(append(headers, byte(len(pairs[i]))), pairs[i]...)
		headers = append(headers, 7)
		headers = append(binary.BigEndian.AppendUint16(headers, uint16(len(pairs[i+1]))), pairs[i+1]...)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(16+len(headers)+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(headers)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(append(b, headers...), payload...)
	return string(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b)))
}
