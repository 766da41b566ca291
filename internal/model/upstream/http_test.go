package upstream

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stead-dev/stead/internal/model"
)

// A body in pieces reads like one, and says once that it is over.
func TestPiecesReadLikeOne(t *testing.T) {
	for _, parts := range [][][]byte{nil, {nil, []byte("a"), nil, []byte("bcd"), {}}, {[]byte("whole")}} {
		if err := iotest.TestReader(io.Reader(&pieces{rest: parts}), slices.Concat(parts...)); err != nil {
			t.Errorf("%q: %v", parts, err)
		}
	}
}

// The loan of a body is over when it was sent, and when an upstream answers before it has read it; nothing of a body is
// read when it was closed.
func TestALoanIsOverWhenNothingIsReadAnyMore(t *testing.T) {
	body := bytes.Repeat([]byte("x"), 4<<20)
	for _, reads := range []bool{true, false} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if reads {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			_, _ = io.WriteString(w, "{}")
		}))
		defer s.Close()
		var loan model.Loan
		res, e := New(Config{Name: "p"}).PostLent(t.Context(), &loan, s.URL, nil, body)
		if e == nil { // else the connection broke off, as it may where nobody reads
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		} else if reads {
			t.Fatal(e)
		}
		for deadline := time.Now().Add(10 * time.Second); !loan.Over(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("read by the upstream: %t; the loan is not over", reads)
			}
		}
	}
	var loan model.Loan
	loan.Take()
	p := &pieces{rest: [][]byte{body}, loan: &loan}
	if n, err := p.Read(make([]byte, 10)); n != 10 || err != nil || loan.Over() {
		t.Errorf("%d, %v", n, err)
	}
	p.Close()
	p.Close()
	if n, err := p.Read(make([]byte, 10)); n != 0 || err == nil || !loan.Over() {
		t.Errorf("closed: %d, %v", n, err)
	}
}
