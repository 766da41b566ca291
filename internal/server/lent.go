package server

import "github.com/stead-dev/stead/internal/model"

// The memory of long bodies is used again: 100 KB a call, cleared and collected each time, are a tenth of what it costs to
// forward one. A body is given back when its call was forwarded to the end and nobody who was given it reads it any more
// (model.Loan); of every other call it is left to the collector.

const (
	// minLentBytes is the shortest body that is worth it, maxAhead the longest.
	minLentBytes = 16 << 10
	// lentStep is what the memory of bodies is a multiple of, so that it fits others as well.
	lentStep = 32 << 10
)

// lend returns memory for a body of a length that the client says, and what it is given back as; nil: it is not lent.
func (s *server) lend(length int64) *[]byte {
	if length < minLentBytes || length >= maxAhead {
		return nil
	}
	if b, ok := s.lent.Get().(*[]byte); ok && int64(cap(*b)) > length {
		return b
	}
	b := make([]byte, 0, (length/lentStep+1)*lentStep)
	return &b
}

// lent is a body that is given back.
type lent struct {
	memory *[]byte // nil: it is not
	loan   model.Loan
}

// giveBack ends a call that was forwarded, after which nothing here reads its body.
func (c *call) giveBack() {
	if c.lent.memory == nil || !c.lent.loan.Over() {
		return
	}
	c.s.lent.Put(c.lent.memory)
	c.lent.memory, c.body = nil, nil
}

// loan is the call's, for whoever it is forwarded to; nil: the body is not lent.
func (c *call) loan() *model.Loan {
	if c.lent.memory == nil {
		return nil
	}
	return &c.lent.loan
}
