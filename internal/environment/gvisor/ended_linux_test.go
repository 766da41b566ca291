package gvisor

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// forkBomb never ends, and each of its processes wants the CPU.
const forkBomb = `python3 -c '
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
'`

// TestForkBombIsSurvived: its processes let the first process inside do hardly anything, and are killed all the same.
func TestForkBombIsSurvived(t *testing.T) {
	for _, how := range []string{"in the foreground", "in the background"} {
		t.Run(how, func(t *testing.T) {
			s := spec(t)
			s.Limits.Processes, s.Limits.CPUMilli = 64, 500
			b := start(t, open(t, Config{}), s)
			bomb := forkBomb
			if how == "in the background" {
				bomb += " >/dev/null 2>&1 & sleep 1"
			}
			exit, err := b.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", bomb}, Timeout: 2 * time.Second}, func(environment.Chunk) {})
			if err != nil {
				t.Fatalf("the bomb: %+v, %v", exit, err)
			}
			// While a bomb grows a command may fail at the limit: it is to be repeated.
			until(t, "a command runs", func() bool {
				exit, err := b.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", "echo alive | cat"}}, func(environment.Chunk) {})
				if b.ended() {
					t.Fatalf("the environment ended: %v, %q", err, b.WhyEnded())
				}
				return err == nil && exit.Code == 0
			})
			until(t, "nothing is left of the bomb", func() bool { n, _ := b.free(); return n == s.Limits.Processes })
		})
	}
}

// TestWhyEnded: who asks why an environment ended by itself hears of the limit that was reached.
func TestWhyEnded(t *testing.T) {
	p := open(t, Config{})
	t.Run("memory", func(t *testing.T) {
		s := spec(t)
		s.Limits.MemoryBytes = 128 << 20
		b := start(t, p, s)
		// Nobody can be killed for a file in memory: see the kernel's documentation of control groups.
		const fill = `for d in /tmp /dev/shm; do cat /dev/zero > $d/x & done
			for i in 1 2 3 4 5 6; do python3 -c 'a = bytearray(b"x" * (100 << 20)); import time; time.sleep(60)' & done; wait`
		for range 10 {
			if _, err := b.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", fill}, Timeout: 5 * time.Second}, func(environment.Chunk) {}); err != nil || b.ended() {
				break
			}
		}
		if why := b.WhyEnded(); !b.ended() || !strings.Contains(why, "the limit of 128 MiB of memory") {
			t.Errorf("ended: %t, since %q", b.ended(), why)
		}
	})
	t.Run("what was measured last", func(t *testing.T) {
		s := spec(t)
		b := start(t, p, s)
		b.mu.Lock()
		b.crammed = true
		b.mu.Unlock()
		b.giveUp("it did nothing")
		want := fmt.Sprintf("it did nothing, and the limit of %d processes was used up when it was last looked at", s.Limits.Processes)
		if why := b.WhyEnded(); why != want {
			t.Errorf("%q", why)
		}
	})
	t.Run("while something was killed", func(t *testing.T) {
		b := start(t, p, spec(t))
		if err := b.process.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		b.killRest()
		b.killCommand(1)
		if why := b.WhyEnded(); !b.ended() || why != "" {
			t.Errorf("ended: %t, since %q: nothing had the time that is said", b.ended(), why)
		}
	})
	t.Run("it was told to", func(t *testing.T) {
		b := start(t, p, spec(t))
		if err := errors.Join(b.Close(t.Context())); err != nil || b.WhyEnded() != "" {
			t.Errorf("%q, %v", b.WhyEnded(), err)
		}
	})
}
