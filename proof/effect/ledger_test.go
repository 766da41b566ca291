package effect

import (
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func count(t *testing.T, path, what, id string) int {
	t.Helper()
	records, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range records {
		if r.What == what && r.ID == id {
			n++
		}
	}
	return n
}

// The proofs rest on the ledger: it must show a doubled effect, and must not make one up.
func TestLedgerCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	do := func(class, key, id string) {
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				got, err := l.Do(Call{Class: class, Key: key, ID: id, Before: time.Millisecond}, func() (string, error) { return "done", nil })
				if err != nil || got != "done" {
					t.Errorf("%s: %q, %v", class, got, err)
				}
			})
		}
		wg.Wait()
	}
	do(Idempotent, "k1", "put")
	do(Unknown, "k2", "post")
	if n := count(t, path, Applied, "put"); n != 1 {
		t.Errorf("three calls under one key made %d effects", n)
	}
	if n := count(t, path, Replayed, "put"); n != 2 {
		t.Errorf("of three calls under one key %d were answered from memory", n)
	}
	if n := count(t, path, Applied, "post"); n != 3 {
		t.Errorf("three calls of class unknown made %d effects", n)
	}
	if o := l.Settled("k2"); o.Applied != 3 || o.Result != "done" {
		t.Errorf("settled: %+v", o)
	}
	if o := l.Settled("never"); o.Applied != 0 {
		t.Errorf("a key that never came is settled as %+v", o)
	}
}

// Settled waits for a call that is under way: an answer before its end would be a guess.
func TestSettledWaits(t *testing.T) {
	l, err := Open(filepath.Join(t.TempDir(), "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	inside, leave := make(chan struct{}), make(chan struct{})
	go func() {
		_, _ = l.Do(Call{Class: Unknown, Key: "k"}, func() (string, error) {
			close(inside)
			<-leave
			return "late", nil
		})
	}()
	<-inside
	settled := make(chan Outcome, 1)
	go func() { settled <- l.Settled("k") }()
	select {
	case o := <-settled:
		t.Fatalf("settled while the call was under way: %+v", o)
	case <-time.After(50 * time.Millisecond):
	}
	close(leave)
	if o := <-settled; o.Applied != 1 || o.Result != "late" {
		t.Errorf("settled: %+v", o)
	}
}
