package model

import "sync/atomic"

// Loan counts who may still read a request's body, whose memory is used again for another request when nobody does: what a
// connection has not sent yet when the answer is there, an attempt that was given up. Whoever reads a body that is lent takes
// a share before Forward returns, and gives it back, once, when it will read no more; a share that is never given back costs
// nothing but the memory's use. A nil Loan counts nothing. It is safe for concurrent use.
type Loan struct{ readers atomic.Int64 }

// Take takes a share.
func (l *Loan) Take() {
	if l != nil {
		l.readers.Add(1)
	}
}

// Give gives a share back.
func (l *Loan) Give() {
	if l != nil {
		l.readers.Add(-1)
	}
}

// Over reports whether every share was given back. It says so for good only when Forward has returned.
func (l *Loan) Over() bool { return l.readers.Load() == 0 }
