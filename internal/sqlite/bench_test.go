package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// benchEventBytes is the size of one event's data, as in the project's targets.
const benchEventBytes = 2 << 10

// BenchmarkAppend measures durable appends of one 2 KB event each, every writer in a session of its
// own, beside a raw file with group commit and fdatasync on the same disk. It reports events a second
// of both, their ratio, the median latency of ours, and the bytes that the process wrote an event.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64, 1024} {
		b.Run(strconv.Itoa(writers), func(b *testing.B) {
			raw := benchRaw(b, writers)
			s, leases := benchStore(b, writers)
			before := writtenBytes(b)
			rate, p50 := drive(b, writers, b.N, func(w, n int) error {
				after := stead.Seq(n + 1)
				e := stead.Event{Seq: after + 1, At: 1, Kind: "tool.returned", Data: benchData}
				return s.Append(b.Context(), leases[w], journal.Batch{After: after, Events: []stead.Event{e}})
			})
			b.ReportMetric(float64(writtenBytes(b)-before)/float64(b.N), "written-B/event")
			b.ReportMetric(raw, "raw/s")
			b.ReportMetric(rate, "events/s")
			b.ReportMetric(rate/raw, "ratio")
			b.ReportMetric(float64(p50.Microseconds()), "p50-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}

var benchData = []byte(`{"x":"` + strings.Repeat("y", benchEventBytes-8) + `"}`)

func benchStore(b *testing.B, sessions int) (*Store, []journal.Lease) {
	s := openNew(b)
	const node = "bench"
	if err := s.Heartbeat(b.Context(), node, time.Hour); err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range sessions {
		wg.Go(func() {
			key := stead.SessionKey{Project: "bench", Session: stead.SessionID(fmt.Sprintf("sess_%032x", i))}
			in := journal.Input{Create: &journal.Creation{}, Events: []stead.Event{{Kind: "session.created"}}, If: -1}
			if _, err := s.Send(b.Context(), key, in); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	leases, _, err := s.Acquire(b.Context(), node, sessions)
	if err != nil || len(leases) != sessions {
		b.Fatalf("%d leases, %v", len(leases), err)
	}
	return s, leases
}

// drive runs total calls of f over the writers and returns calls a second and the median latency.
func drive(b *testing.B, writers, total int, f func(writer, n int) error) (float64, time.Duration) {
	var next atomic.Int64
	took := make([][]time.Duration, writers)
	var wg sync.WaitGroup
	b.ResetTimer()
	start := time.Now()
	for w := range writers {
		wg.Go(func() {
			for n := 0; next.Add(1) <= int64(total); n++ {
				t := time.Now()
				if err := f(w, n); err != nil {
					b.Error(err)
					return
				}
				took[w] = append(took[w], time.Since(t))
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	return float64(total) / elapsed.Seconds(), all[len(all)/2]
}

// benchRaw is the baseline: one file, one writer that takes what waits, one write and one fdatasync.
func benchRaw(b *testing.B, writers int) float64 {
	f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	type entry struct{ done chan error }
	queue := make(chan entry, writers)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		var buf []byte
		for first := range queue {
			group := []entry{first}
			buf = append(buf[:0], benchData...)
			for len(queue) > 0 {
				group = append(group, <-queue)
				buf = append(buf, benchData...)
			}
			_, err := f.Write(buf)
			if err == nil {
				err = unix.Fdatasync(int(f.Fd()))
			}
			for _, e := range group {
				e.done <- err
			}
		}
	}()
	rate, _ := drive(b, writers, max(b.N, 1), func(int, int) error {
		e := entry{make(chan error, 1)}
		queue <- e
		return <-e.done
	})
	close(queue)
	<-stopped
	return rate
}

// writtenBytes is what the process has sent to disks so far, by the kernel's account.
func writtenBytes(b *testing.B) int64 {
	unix.Sync() // what waits in the page cache counts, too
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Skipf("no account of written bytes on this system: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no write_bytes in /proc/self/io")
	return 0
}

// benchFill appends events to every session until each has that many.
func benchFill(b *testing.B, s *Store, leases []journal.Lease, events stead.Seq) {
	var wg sync.WaitGroup
	for _, l := range leases {
		wg.Go(func() {
			for after := l.Tail; after < events; after++ {
				e := stead.Event{Seq: after + 1, At: 1, Kind: "tool.returned", Data: benchData}
				if err := s.Append(b.Context(), l, journal.Batch{After: after, Events: []stead.Event{e}}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkRead reads sessions of 200 events out of 200,000 interleaved ones: always the same one
// (hot), or one after the other, whose pages are in the system's cache but not in SQLite's (warm).
func BenchmarkRead(b *testing.B) {
	const sessions, events = 1000, 200
	s, leases := benchStore(b, sessions)
	benchFill(b, s, leases, events)
	for name, spread := range map[string]int{"hot": 1, "warm": sessions} {
		b.Run(name, func(b *testing.B) {
			for n := range b.N {
				got, err := s.Read(b.Context(), leases[n%spread].Key, journal.ReadOptions{})
				if err != nil || len(got) != events {
					b.Fatalf("%d events, %v", len(got), err)
				}
			}
		})
	}
}

// BenchmarkOpen opens a database of 100,000 events with 1,000 sessions interrupted, and leases them.
func BenchmarkOpen(b *testing.B) {
	const sessions, events = 1000, 100
	s, leases := benchStore(b, sessions)
	benchFill(b, s, leases, events)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	var opening time.Duration
	b.ResetTimer()
	for range b.N {
		start := time.Now()
		s, err := Open(b.Context(), s.path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		opening += time.Since(start)
		if err := s.Heartbeat(b.Context(), "again", time.Hour); err != nil {
			b.Fatal(err)
		}
		if leases, _, err := s.Acquire(b.Context(), "again", sessions); err != nil || len(leases) != sessions {
			b.Fatalf("%d leases, %v", len(leases), err)
		}
		b.StopTimer()
		s.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(opening.Microseconds())/float64(b.N)/1000, "open-ms")
}
