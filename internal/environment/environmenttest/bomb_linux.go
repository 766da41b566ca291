package environmenttest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// bombTime is how long a bomb that never ends by itself is let go on.
const bombTime = 3 * time.Second

// testBombs uses up everything. Where the report says that a limit does not hold, its bomb is not
// thrown: this machine would be what it hits.
func testBombs(t *testing.T, r *rig) {
	r.run(t, "processes", func(t *testing.T) {
		b := r.bombed(t, environment.ControlPIDs, func(l *environment.Limits) { l.Processes, l.MemoryBytes = 64, 256<<20 })
		b.limited(t, 64)
		before := hostTasks(t)
		res, err := b.try(environment.Command{Args: []string{"./probe", "try", "forkbomb"}, Timeout: bombTime})
		t.Logf("%v, %v", res, err)
		// Others work on this machine too, and may have opened twenty sandboxes meanwhile.
		if after, bombs := hostTasks(t), bombTasks(); bombs > 400 || after > before+4000 {
			t.Errorf("the host has %d threads, %d before it; bombs have %d", after, before, bombs)
		}
		r.open(t).sh(t, "true")
		b.close(t)
		b.gone(t)
	})
	r.run(t, "memory", func(t *testing.T) {
		b := r.bombed(t, environment.ControlMemory, func(l *environment.Limits) { l.MemoryBytes = 256 << 20 })
		b.bomb(t, "allocate", "2048")
		for range 3 { // each of many that die makes room for the next
			if _, err := b.try(environment.Command{Args: []string{"sh", "-c", "for i in 1 2 3 4 5 6; do ./probe try allocate 300 & done; wait"}}); err != nil {
				break // the environment may have died of it
			}
		}
		b.close(t)
	})
	r.run(t, "disk", func(t *testing.T) {
		b := r.bombed(t, environment.ControlDisk, func(l *environment.Limits) { l.DiskBytes = 32 << 20 })
		b.bomb(t, "fill", "512", "10")
	})
	r.run(t, "open files", func(t *testing.T) {
		b := r.bombed(t, environment.ControlOpenFiles, func(l *environment.Limits) { l.OpenFiles = 256 })
		b.bomb(t, "descriptors", "100000")
	})
	r.run(t, "many files", func(t *testing.T) { testManyFiles(t, r) })
	r.run(t, "deep directories", func(t *testing.T) { testDeep(t, r) })
	r.run(t, "output", func(t *testing.T) { testOutputBomb(t, r) })
	r.run(t, "zombies and daemons", func(t *testing.T) {
		b := r.open(t)
		for range 3 {
			b.sh(t, `for i in 1 2 3 4 5 6 7 8; do (sleep 0 & exec sleep 1000 >/dev/null 2>&1) >/dev/null 2>&1 & done`)
			b.daemons(t)
		}
		b.close(t)
		b.gone(t)
	})
}

// bombed opens an environment for a bomb, if its driver claims to stand it.
func (r *rig) bombed(t *testing.T, control string, change func(*environment.Limits)) *box {
	t.Helper()
	if !r.claims(control) {
		t.Skipf("the driver's report says that it does not limit %s here", control)
	}
	b := r.open(t, func(s *environment.Spec) { change(&s.Limits) })
	b.putProbe(t)
	return b
}

// bomb throws one that has to fail: it is refused, killed, or takes the environment with it.
func (b *box) bomb(t *testing.T, args ...string) {
	t.Helper()
	res, err := b.try(environment.Command{Args: append([]string{"./probe", "try"}, args...)})
	if err == nil && strings.Contains(res.out, "succeeded:") {
		t.Errorf("%q: %v", args, res)
	}
	t.Logf("%q: %.200s, exit %d %s, %v", args, strings.TrimSpace(res.out), res.Code, res.Reason, err)
}

// hostTasks counts the threads of this machine.
func hostTasks(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/loadavg") // 0.1 0.2 0.3 running/all last
	if err != nil {
		t.Fatal(err)
	}
	var n int
	_, all, _ := strings.Cut(strings.Fields(string(data))[3], "/")
	fmt.Sscan(all, &n)
	return n
}

// bombTasks counts the processes that the probe's fork bombs are made of; none are seen of a driver with a kernel of its own.
func bombTasks() (n int) {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if args := strings.ReplaceAll(string(data), "\x00", " "); err == nil && (strings.HasPrefix(args, "sh -c b() { b | b & b") || strings.HasPrefix(args, "sleep 1000")) {
			n++
		}
	}
	return n
}

// testManyFiles and testDeep throw bombs that no limit stops: the host's own calls have to stand them.
func testManyFiles(t *testing.T, r *rig) {
	const n = 20000
	b := r.open(t)
	b.putProbe(t)
	b.args(t, "./probe", "try", "inodes", fmt.Sprint(n))
	ctx, cancel := context.WithTimeout(t.Context(), r.wait())
	defer cancel()
	page, err := b.List(ctx, environment.ListQuery{Limit: 10, Dir: environment.WorkspaceDir + "/many"})
	if err != nil || len(page.Files) != 10 || !page.More {
		t.Errorf("list: %d files, %v", len(page.Files), err)
	}
	if c, err := b.Checkpoint(ctx, newMemory(), ""); err != nil || c.Files < n {
		t.Errorf("checkpoint: %+v, %v", c, err)
	}
}

func testDeep(t *testing.T, r *rig) {
	b := r.open(t)
	b.putProbe(t)
	t.Logf("%v", b.args(t, "./probe", "try", "deep", "2000"))
	b.write(t, "beside", "x")
	ctx, cancel := context.WithTimeout(t.Context(), r.wait())
	defer cancel()
	if _, err := b.List(ctx, environment.ListQuery{Limit: 10}); err != nil {
		t.Errorf("list: %v", err)
	}
	blobs := newMemory()
	c, err := b.Checkpoint(ctx, blobs, "")
	if err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
	if got := r.restored(t, blobs, c.Digest).read(t, "beside"); got != "x" {
		t.Errorf("beside the deep ones: %q", got)
	}
}

// testOutputBomb prints gigabytes at a reader that is slow: neither side may keep them.
func testOutputBomb(t *testing.T, r *rig) {
	b := r.open(t)
	b.putProbe(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var most uint64
	got := 0
	ctx, cancel := context.WithTimeout(t.Context(), r.wait())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		exit, err := b.Exec(ctx, environment.Command{Args: []string{"./probe", "try", "output", "100000"}, Timeout: bombTime}, func(c environment.Chunk) { got += len(c.Data) })
		if err != nil || exit.Code != -1 || exit.Reason != environment.ReasonTimeout {
			t.Errorf("%+v, %v", exit, err)
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(50 * time.Millisecond):
		}
		runtime.ReadMemStats(&after)
		most = max(most, after.HeapInuse)
	}
	if grown := int64(most) - int64(before.HeapInuse); grown > 64<<20 {
		t.Errorf("the server's memory grew by %d MiB", grown>>20)
	}
	limit := int(b.spec.Limits.OutputBytes)
	if got > limit+1024 || got < limit/2 {
		t.Errorf("%d bytes were passed on, the limit is %d", got, limit)
	}
	t.Logf("%d bytes were printed", b.Usage().OutputBytes)
}
