package ns

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// The numbers that matter are ratios: BenchmarkBare is the same command on the host, at the same load.

func BenchmarkBare(b *testing.B) {
	for b.Loop() {
		var out bytes.Buffer
		c := exec.Command("echo", "x")
		c.Stdout = &out
		if err := c.Run(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWarm(b *testing.B) {
	e := openBox(b, open(b), environment.Spec{})
	for b.Loop() {
		run(b, e, "echo", "x")
	}
}

// BenchmarkCold starts a box, sees the first output of a command, and ends the box: as the first one
// after a pause, when a spare waits, and in a burst, when none does.
func BenchmarkCold(b *testing.B) {
	for _, args := range [][]string{{"echo", "x"}, {"python3", "-c", "print(1)"}} {
		b.Run(args[0], func(b *testing.B) { cold(b, true, args) })
		b.Run("burst-"+args[0], func(b *testing.B) { cold(b, false, args) })
	}
}

func cold(b *testing.B, pause bool, args []string) {
	p := open(b)
	run(b, openBox(b, p, environment.Spec{}), "true")
	ws := b.TempDir()
	var first time.Duration
	for b.Loop() {
		if pause {
			spareOf(b, p)
		}
		begin := time.Now()
		e, err := p.Open(context.Background(), environment.Spec{ID: "env_cold", Workspace: ws})
		if err != nil {
			b.Fatal(err)
		}
		run(b, e, args...)
		first += time.Since(begin)
		if err := e.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(first.Microseconds())/float64(b.N)/1000, "ms-to-output")
}

// BenchmarkHundred starts a hundred boxes at once, runs a command in each, and ends them.
func BenchmarkHundred(b *testing.B) {
	p := open(b)
	dirs := make([]string, 100)
	for i := range dirs {
		dirs[i] = b.TempDir()
	}
	for b.Loop() {
		var all sync.WaitGroup
		for i := range dirs {
			all.Go(func() {
				e, err := p.Open(context.Background(), environment.Spec{ID: "env_" + strconv.Itoa(i), Workspace: dirs[i]})
				if err != nil {
					b.Error(err)
					return
				}
				run(b, e, "echo", "x")
				if err := e.Close(context.Background()); err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
	}
}

// BenchmarkIdle reports what one box holds of memory for itself when nothing runs in it.
func BenchmarkIdle(b *testing.B) {
	const boxes = 10
	p := open(b)
	var list []*box
	for range boxes {
		e := openBox(b, p, environment.Spec{})
		run(b, e, "true")
		list = append(list, e.(*box))
	}
	time.Sleep(2 * idleAfter)
	var private, proportional int
	for _, e := range list {
		private += memoryOf(b, e.init.Pid, "Private_Dirty:")
		proportional += memoryOf(b, e.init.Pid, "Pss:")
	}
	for b.Loop() {
		run(b, list[0], "true")
	}
	b.ReportMetric(float64(private)/boxes, "private-kB")
	b.ReportMetric(float64(proportional)/boxes, "PSS-kB")
}

// memoryOf reads a line of /proc/PID/smaps_rollup, in kB.
func memoryOf(b *testing.B, pid int, name string) int {
	b.Helper()
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatalf("no %q in %s", name, data)
	return 0
}

func run(t testing.TB, e environment.Environment, args ...string) string {
	t.Helper()
	var out strings.Builder
	x, err := e.Exec(context.Background(), environment.Command{Args: args}, func(c environment.Chunk) { out.Write(c.Data) })
	if err != nil || x.Code != 0 {
		t.Fatalf("%q: %+v, %v: %s", args, x, err, out.String())
	}
	return out.String()
}
