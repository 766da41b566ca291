//go:build unix

package environment_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// tapped makes a tap whose output is collected, slowly if that is asked for.
func tapped(t *testing.T, pause time.Duration) (w *os.File, tap *environment.Tap, o *environment.Output, got *bytes.Buffer) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	got = new(bytes.Buffer)
	o = environment.NewOutput(environment.Unbounded, func(c environment.Chunk) {
		time.Sleep(pause)
		got.Write(c.Data)
	})
	if tap, err = environment.NewTap(r, environment.Stdout, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tap.Stop(); w.Close(); <-tap.Done() })
	return w, tap, o, got
}

func TestSettleReadsToTheEnd(t *testing.T) {
	w, tap, o, got := tapped(t, environment.OutputGrace)
	text := strings.Repeat("0123456789abcdef", 4096) // 64 KiB: two chunks, each as slow as the grace
	if _, err := w.WriteString(text); err != nil {
		t.Fatal(err)
	}
	w.Close()
	environment.Settle(tap)
	o.Close()
	if got.String() != text {
		t.Errorf("%d bytes came of %d", got.Len(), len(text))
	}
}

func TestSettleWaitsTheGraceForAHolder(t *testing.T) {
	w, tap, o, got := tapped(t, 0)
	if _, err := w.WriteString("before"); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	environment.Settle(tap) // w is open
	if took := time.Since(begin); took < environment.OutputGrace {
		t.Errorf("it waited %v, the grace is %v", took, environment.OutputGrace)
	}
	o.Close()
	if _, err := w.WriteString("after"); err != nil {
		t.Fatalf("a process in the background can't write on: %v", err)
	}
	if got.String() != "before" {
		t.Errorf("%q", got)
	}
}

// TestSettleEndsThoughSomebodyWritesOn: a writer that never rests holds the end up by no more than a pipe.
func TestSettleEndsThoughSomebodyWritesOn(t *testing.T) {
	w, tap, o, _ := tapped(t, 0)
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}()
	environment.Settle(tap)
	o.Close()
	tap.Stop()
	<-tap.Done()
	<-stop // the pipe has no reader any more
}
