package gvisor

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// hello runs the smallest command.
func hello(b *testing.B, e *box) {
	b.Helper()
	if out := run(b, e, "echo", "hello"); out != "hello\n" {
		b.Fatalf("%q", out)
	}
}

// least is the shortest of times: on a machine that does other things too it says more than the mean.
type least time.Duration

func (l *least) see(d time.Duration) {
	if *l == 0 || d < time.Duration(*l) {
		*l = least(d)
	}
}

func (l *least) report(b *testing.B) {
	b.ReportMetric(time.Duration(*l).Seconds()*1000, "least-ms")
}

func shut(b *testing.B, e *box) {
	b.Helper()
	if err := e.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCold is Open without a pool, and the first command.
func BenchmarkCold(b *testing.B) {
	p := open(b, Config{})
	var least least
	defer least.report(b)
	for b.Loop() {
		b.StopTimer()
		s := spec(b)
		b.StartTimer()
		begin := time.Now()
		e := start(b, p, s)
		hello(b, e)
		least.see(time.Since(begin))
		b.StopTimer()
		shut(b, e)
		b.StartTimer()
	}
}

// BenchmarkPooled is Open with a sandbox that waits, and the first command.
func BenchmarkPooled(b *testing.B) {
	p := open(b, Config{Pool: 1, PoolLimits: environment.LimitsOf(environment.SizeSmall)})
	shut(b, start(b, p, spec(b))) // the first one has the pool filled
	var least least
	defer least.report(b)
	for b.Loop() {
		b.StopTimer()
		s := spec(b)
		until(b, "a sandbox waits", func() bool { return p.pool.size() == 1 })
		b.StartTimer()
		begin := time.Now()
		e := start(b, p, s)
		hello(b, e)
		least.see(time.Since(begin))
		b.StopTimer()
		shut(b, e)
		b.StartTimer()
	}
}

// BenchmarkWarm is a command in an environment that is open.
func BenchmarkWarm(b *testing.B) {
	e := start(b, open(b, Config{}), spec(b))
	for _, c := range [][]string{{"echo", "hello"}, {"/usr/bin/python3", "-c", "print(1)"}} {
		b.Run(c[0], func(b *testing.B) {
			var least least
			defer least.report(b)
			for b.Loop() {
				begin := time.Now()
				run(b, e, c...)
				least.see(time.Since(begin))
			}
		})
	}
}

// BenchmarkFiles is work that touches many small files, which is where gVisor is slow.
func BenchmarkFiles(b *testing.B) {
	e := start(b, open(b, Config{}), spec(b))
	for b.Loop() {
		run(b, e, "sh", "-c", `mkdir d && i=0; while [ $i -lt 1000 ]; do echo x > d/$i; i=$((i+1)); done; rm -r d`)
	}
}

// BenchmarkMemory reports what sandboxes that wait take: the memory of all their processes, what they
// share divided among them.
func BenchmarkMemory(b *testing.B) {
	const n = 4
	p := open(b, Config{Pool: n, PoolLimits: environment.LimitsOf(environment.SizeSmall)})
	shut(b, start(b, p, spec(b)))
	until(b, "the pool is full", func() bool { return p.pool.size() == n })
	for b.Loop() {
		total, processes := 0, 0
		for _, x := range p.pool.ready {
			root := strconv.Itoa(x.cmd.Process.Pid)
			for _, pid := range append(descendants(x.cmd.Process.Pid), root) {
				total += pss(b, pid)
				processes++
			}
		}
		b.ReportMetric(float64(total)/n/1024, "MB/sandbox")
		b.ReportMetric(float64(processes)/n, "processes/sandbox")
	}
}

// pss is a process's proportional set size in KiB.
func pss(b *testing.B, pid string) int {
	b.Helper()
	data, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
	if err != nil {
		b.Skip("the memory of other processes can't be read here")
	}
	for line := range bytes.Lines(data) {
		var kb int
		if n, _ := fmt.Sscanf(string(line), "Pss: %d kB", &kb); n == 1 {
			return kb
		}
	}
	return 0
}
