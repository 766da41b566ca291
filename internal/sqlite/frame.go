package sqlite

import (
	"encoding/binary"
	"slices"

	"github.com/stead-dev/stead"
)

// The events column of one log row is its events one after the other, each
//
//	varint At | uvarint length, StoredKind | uvarint length, Data
//
// Their Seqs follow from the row's first. Varints are those of encoding/binary.

// Bounds of one log row: a larger append becomes several rows of the same transaction, so that
// reading a part of a long import does not read all of it.
const (
	maxRowEvents = 512
	maxRowBytes  = 1 << 20
)

func appendEvent(b []byte, e stead.Event) []byte {
	b = binary.AppendVarint(b, e.At)
	kind := e.StoredKind()
	b = binary.AppendUvarint(b, uint64(len(kind)))
	b = append(b, kind...)
	b = binary.AppendUvarint(b, uint64(len(e.Data)))
	return append(b, e.Data...)
}

// encodeRow encodes as many of the events as fit one row and says how many these are.
func encodeRow(events []stead.Event) (row []byte, n int) {
	const overhead = 32 // bytes: three varints and a thread, generously
	size := 0
	for n < len(events) && n < maxRowEvents && (n == 0 || size < maxRowBytes) {
		size += overhead + len(events[n].Kind) + len(events[n].Data)
		n++
	}
	row = make([]byte, 0, size)
	for _, e := range events[:n] {
		row = appendEvent(row, e)
	}
	return row, n
}

// decodeRow appends the row's events to out.
func decodeRow(out []stead.Event, first stead.Seq, row []byte) ([]stead.Event, error) {
	for seq := first; len(row) > 0; seq++ {
		at, n := binary.Varint(row)
		if n <= 0 {
			return nil, damaged(first)
		}
		kind, rest, ok := cutBytes(row[n:])
		if !ok {
			return nil, damaged(first)
		}
		data, rest, ok := cutBytes(rest)
		if !ok {
			return nil, damaged(first)
		}
		row = rest
		e := stead.Event{Seq: seq, At: at}
		e.SetStoredKind(string(kind))
		if len(data) > 0 {
			e.Data = slices.Clone(data)
		}
		out = append(out, e)
	}
	return out, nil
}

// cutBytes cuts a length-prefixed run of bytes off b.
func cutBytes(b []byte) (run, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	end := n + int(size)
	return b[n:end], b[end:], true
}

func damaged(first stead.Seq) error {
	return stead.Errorf(stead.KindInternal, "the log row at event %d can't be read", first)
}
