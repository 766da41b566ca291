package environmenttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stead-dev/stead/internal/environment"
)

func testStreams(t *testing.T, r *rig) {
	b := r.open(t)
	r.run(t, "output arrives before the command ends", func(t *testing.T) { testLive(t, b) })
	r.run(t, "both streams are told apart and each is in order", func(t *testing.T) {
		res := b.args(t, "sh", "-c", `i=0; while [ $i -lt 500 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done`)
		var out, errs strings.Builder
		for i := range 500 {
			fmt.Fprintf(&out, "o%d\n", i)
			fmt.Fprintf(&errs, "e%d\n", i)
		}
		if res.out != out.String() || res.err != errs.String() {
			t.Errorf("%v", res)
		}
	})
	r.run(t, "every byte arrives", func(t *testing.T) {
		b.write(t, "bytes", everyByte())
		if res := b.args(t, "cat", "bytes"); res.out != everyByte() {
			t.Errorf("%v", res)
		}
		big := strings.Repeat(everyByte(), 3000) // 750 KiB, below the limit
		b.write(t, "big", big)
		if res := b.args(t, "cat", "big"); sha256.Sum256([]byte(res.out)) != sha256.Sum256([]byte(big)) {
			t.Errorf("%d bytes came of %d, or others", len(res.out), len(big))
		}
	})
	r.run(t, "chunks come one at a time and never after the end", func(t *testing.T) { testSerial(t, b) })
	r.run(t, "output above the limit keeps head and tail", func(t *testing.T) { testCut(t, r) })
	r.run(t, "nobody has to listen", func(t *testing.T) {
		exit, err := b.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", "echo x; exit 3"}}, nil)
		if err != nil || exit.Code != 3 {
			t.Errorf("a nil receiver: exit %d, %v", exit.Code, err)
		}
	})
}

// testLive answers the command's first line: a driver that keeps output back never sees the second.
func testLive(t *testing.T, b *box) {
	ctx, cancel := context.WithTimeout(t.Context(), b.rig.wait())
	defer cancel()
	in, answer := io.Pipe()
	defer answer.Close()
	var got bytes.Buffer
	exit, err := b.Exec(ctx, environment.Command{Args: []string{"sh", "-c", "echo first; read x; echo got $x"}, Stdin: in}, func(c environment.Chunk) {
		got.Write(c.Data)
		if strings.HasSuffix(got.String(), "first\n") {
			go io.WriteString(answer, "answer\n") // to the end of the command, or of the deferred Close
		}
	})
	if err != nil || exit.Code != 0 || got.String() != "first\ngot answer\n" {
		t.Errorf("exit %d %s, %q, %v", exit.Code, exit.Reason, got.String(), err)
	}
}

func testSerial(t *testing.T, b *box) {
	for range 20 {
		var inside, ended atomic.Bool
		_, err := b.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", "for i in 1 2 3 4 5; do echo o; echo e >&2; done; (sleep 0.3; echo late) &"}}, func(environment.Chunk) {
			if !inside.CompareAndSwap(false, true) {
				t.Error("two chunks at once")
			}
			if ended.Load() {
				t.Error("a chunk after the end")
			}
			inside.Store(false)
		})
		ended.Store(true)
		if err != nil {
			t.Fatal(err)
		}
	}
}

func testCut(t *testing.T, r *rig) {
	const limit = 64 << 10
	b := r.open(t, func(s *environment.Spec) { s.Limits.OutputBytes = limit })
	res := b.args(t, "sh", "-c", `echo BEGIN; head -c 3000000 /dev/zero | tr '\0' x; echo; echo END`)
	if res.Code != 0 || !strings.HasPrefix(res.out, "BEGIN\nx") || !strings.HasSuffix(res.out, "x\nEND\n") {
		t.Errorf("exit %d, %d bytes: %.40q … %q", res.Code, len(res.out), res.out, res.out[max(len(res.out)-20, 0):])
	}
	if len(res.out) > limit+200 || len(res.out) < limit/2 {
		t.Errorf("%d bytes were passed on, the limit is %d", len(res.out), limit)
	}
	if !strings.Contains(res.out, "cut") {
		t.Error("the cut is not said")
	}
	if n := b.Usage().OutputBytes; n < 3000000 {
		t.Errorf("usage counts %d bytes of output of 3000011", n)
	}
	if res := b.args(t, "sh", "-c", `echo only`); res.out != "only\n" {
		t.Errorf("output below the limit is changed: %v", res)
	}
}
