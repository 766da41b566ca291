package server

import (
	"errors"
	"net/http"
	"time"

	"github.com/stead-dev/stead/internal/approval"
	"github.com/stead-dev/stead/internal/held"
)

const (
	// WriteTimeout ends the connection of a client that reads nothing for so long: what is held for its answer is given back.
	WriteTimeout = 30 * time.Second
	// writePiece is how much of an answer is written under one deadline: who reads as much within WriteTimeout is slow, and not gone.
	writePiece = 64 << 10
	// deadlineStep is how far a write deadline may lag: setting it costs, and a stream writes often.
	deadlineStep = time.Second
)

// response is the answer to a request. It remembers what was written, for metrics and for errors that come too late, and gives each write
// a deadline: here alone, for all answers, streams and downloads too.
type response struct {
	http.ResponseWriter
	id   string
	code int           // 0: nothing written yet
	body *held.Lease   // see MaxHeldBodyBytes; nil: not counted
	act  *approval.Act // what an approval of this request covers; nil: nobody approves any

	conn  *http.ResponseController
	eager bool      // the connection's protocol ends an answer whose deadline passes, though nothing is being written: HTTP/2
	due   time.Time // the deadline that is set; zero: none
}

// begin takes away the deadline that the last answer on the connection had.
func (w *response) begin(r *http.Request) {
	w.conn = http.NewResponseController(w.ResponseWriter)
	if w.eager = r.ProtoMajor > 1; !w.eager {
		w.deadline(time.Time{})
	}
}

// end leaves a deadline for what net/http has not written yet.
func (w *response) end() {
	if w.code != http.StatusSwitchingProtocols { // the connection is somebody else's
		w.deadline(time.Now().Add(WriteTimeout))
	}
}

func (w *response) deadline(t time.Time) {
	w.due = t
	_ = w.conn.SetWriteDeadline(t) // writers without a connection (in tests) have none
}

// timed does what writes, within WriteTimeout.
func (w *response) timed(write func() error) error {
	if w.conn == nil {
		return write()
	}
	if now := time.Now(); w.due.Sub(now) < WriteTimeout-deadlineStep {
		w.deadline(now.Add(WriteTimeout))
	}
	err := write()
	if w.eager {
		w.deadline(time.Time{})
	}
	return err
}

func (w *response) status() int {
	if w.code == 0 {
		return http.StatusOK
	}
	return w.code
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write implements io.Writer.
func (w *response) Write(b []byte) (written int, err error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	for {
		piece := b[:min(len(b), writePiece)]
		n := 0
		err = w.timed(func() error { n, err = w.ResponseWriter.Write(piece); return err })
		written += n
		if b = b[len(piece):]; err != nil || len(b) == 0 {
			return written, err
		}
	}
}

// FlushError implements what http.ResponseController looks for.
func (w *response) FlushError() error {
	if w.conn == nil {
		return http.NewResponseController(w.ResponseWriter).Flush()
	}
	err := w.timed(w.conn.Flush)
	if errors.Is(err, http.ErrNotSupported) {
		return http.ErrNotSupported
	}
	return err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }
