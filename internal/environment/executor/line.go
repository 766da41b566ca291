package executor

import (
	"errors"
	"fmt"
)

// line is one end of a conversation's numbered frames: what the other end has not acknowledged is
// kept, and given out again after resume. Not safe for concurrent use: the conversation's lock guards it.
type line struct {
	kept     []frame // sent or to be sent, not acknowledged, by number
	bytes    int     // of kept
	next     int     // index in kept of the first that the present connection has not been given
	last     uint64  // number of the last frame put in
	received uint64  // number of the last frame that came
	owed     int     // frames that came since an ack went out
}

var errOverfull = errors.New("the other side acknowledges nothing")

// put numbers a frame and keeps it until it is acknowledged.
func (l *line) put(f frame) error {
	if l.bytes+len(f.payload) > MaxUnackedBytes {
		return errOverfull
	}
	l.last++
	f.seq = l.last
	l.kept = append(l.kept, f)
	l.bytes += len(f.payload) + headerBytes
	return nil
}

// take gives out the next frame for the present connection.
func (l *line) take() (frame, bool) {
	if l.next == len(l.kept) {
		return frame{}, false
	}
	f := l.kept[l.next]
	l.next++
	f.ack = l.acked()
	return f, true
}

// acked is the ack of a frame that goes out now.
func (l *line) acked() uint64 {
	l.owed = 0
	return l.received
}

// receive takes a frame's ack and number. fresh says that it did not come before.
func (l *line) receive(f frame) (fresh bool, err error) {
	if err := l.drop(f.ack); err != nil {
		return false, err
	}
	switch {
	case !f.numbered():
		return true, nil
	case f.seq <= l.received:
		l.owed++ // the other side does not know that it is here
		return false, nil
	case f.seq > l.received+1:
		return false, fmt.Errorf("frame %d came after frame %d", f.seq, l.received)
	}
	l.received++
	l.owed++
	return true, nil
}

// drop forgets what the other side has.
func (l *line) drop(ack uint64) error {
	if ack > l.last {
		return fmt.Errorf("frame %d is acknowledged, and %d is the last that was sent", ack, l.last)
	}
	n := 0
	for n < len(l.kept) && l.kept[n].seq <= ack {
		l.bytes -= len(l.kept[n].payload) + headerBytes
		l.kept[n] = frame{}
		n++
	}
	l.kept = l.kept[n:]
	l.next = max(l.next-n, 0)
	return nil
}

// resume begins a new connection to an end that has received frames up to a number.
func (l *line) resume(received uint64) error {
	first := l.last - uint64(len(l.kept)) // the last that was acknowledged
	if received < first {
		return fmt.Errorf("the other side has forgotten frames %d to %d", received+1, first)
	}
	if err := l.drop(received); err != nil {
		return err
	}
	l.next = 0
	return nil
}
