package postgres

import (
	"bytes"
	"encoding/binary"

	"github.com/stead-dev/stead"
)

// The events column of one log row is its events one after the other, each
//
//	8 bytes At | StoredKind | a zero byte | 4 bytes length of Data | Data
//
// Numbers are big-endian, so that SQL can write the form with int8send and int4send. A kind holds no
// zero byte: it is text. The Seqs follow from the row's first.

// Bounds of one log row: a larger append becomes several rows of the same transaction, so that
// reading a part of a long import does not read all of it.
const (
	maxRowEvents = 512
	maxRowBytes  = 1 << 20
)

// rowEvents says how many of the events the next row takes.
func rowEvents(events []stead.Event) int {
	n, size := 0, 0
	for n < len(events) && n < maxRowEvents && (n == 0 || size < maxRowBytes) {
		size += len(events[n].Kind) + len(events[n].Data)
		n++
	}
	return n
}

// rowCount says how many rows an append of the events becomes.
func rowCount(events []stead.Event) int {
	rows := 0
	for ; len(events) > 0; rows++ {
		events = events[rowEvents(events):]
	}
	return rows
}

const frameBytes = 8 + 1 + 4 // of an event, beside its kind and data

func rowSize(events []stead.Event) int {
	size := 0
	for i := range events {
		size += frameBytes + len(events[i].StoredKind()) + len(events[i].Data)
	}
	return size
}

func appendFrames(b []byte, events []stead.Event) []byte {
	for i := range events {
		e := &events[i]
		b = binary.BigEndian.AppendUint64(b, uint64(e.At))
		b = append(b, e.StoredKind()...)
		b = append(b, 0)
		b = binary.BigEndian.AppendUint32(b, uint32(len(e.Data)))
		b = append(b, e.Data...)
	}
	return b
}

// decodeRow appends the row's events to out.
func decodeRow(out []stead.Event, first stead.Seq, row []byte) ([]stead.Event, error) {
	for seq := first; len(row) > 0; seq++ {
		kind := -1
		if len(row) > 8 {
			kind = bytes.IndexByte(row[8:], 0)
		}
		if kind < 0 || len(row) < frameBytes+kind {
			return nil, damaged(first)
		}
		e := stead.Event{Seq: seq, At: int64(binary.BigEndian.Uint64(row))}
		e.SetStoredKind(string(row[8 : 8+kind]))
		size := binary.BigEndian.Uint32(row[8+kind+1:])
		row = row[frameBytes+kind:]
		if uint64(size) > uint64(len(row)) {
			return nil, damaged(first)
		}
		if size > 0 {
			e.Data = bytes.Clone(row[:size])
		}
		row = row[size:]
		out = append(out, e)
	}
	return out, nil
}

func damaged(first stead.Seq) error {
	return stead.Errorf(stead.KindInternal, "the log row at event %d can't be read", first)
}
