package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

const (
	benchNode       stead.NodeID = "bench"
	benchEventBytes              = 2 << 10
	benchSlices                  = 8
)

// BenchmarkAppend measures durable events a second by many holders, one event an append, beside
// the best that one file can do on the same disk: records written in groups, one fdatasync a group.
// The two take turns, so that what else the machine does meets both.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := open(b, pgtest.URL(b), postgres.Options{})
			leases := benchLeases(b, s, writers)
			data := benchData()
			raw := newRawLog(b, writers)
			var ours, theirs time.Duration
			b.ResetTimer()
			for slice := range benchSlices {
				n := b.N*(slice+1)/benchSlices - b.N*slice/benchSlices
				ours += spread(b, n, writers, func(w int) error {
					l := &leases[w]
					l.Tail++
					return s.Append(b.Context(), *l, journal.Batch{After: l.Tail - 1, Events: []stead.Event{{Seq: l.Tail, Kind: "bench.event", Data: data}}})
				})
				b.StopTimer()
				theirs += spread(b, n, writers, func(w int) error { return raw.append(w, data) })
				b.StartTimer()
			}
			rate, rawRate := float64(b.N)/ours.Seconds(), float64(b.N)/theirs.Seconds()
			b.ReportMetric(rate, "events/s")
			b.ReportMetric(rawRate, "raw-events/s")
			b.ReportMetric(rate/rawRate, "ratio")
		})
	}
}

func benchData() []byte {
	const open, end = `{"text":"`, `"}`
	return []byte(open + string(bytes.Repeat([]byte("0123456789abcdef"), benchEventBytes/16))[:benchEventBytes-len(open)-len(end)] + end)
}

func benchLeases(b *testing.B, s *postgres.Store, n int) []journal.Lease {
	b.Helper()
	ctx := context.Background()
	if err := s.Heartbeat(ctx, benchNode, time.Hour); err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			key := stead.SessionKey{Project: stead.DefaultProject, Session: stead.SessionID(fmt.Sprintf("sess_%032x", i*7919))}
			in := journal.Input{Create: &journal.Creation{Agent: "agent_1"}, Events: []stead.Event{{Kind: "session.created"}}, If: -1}
			if _, err := s.Send(ctx, key, in); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	leases, _, err := s.Acquire(ctx, benchNode, n)
	if err != nil || len(leases) != n {
		b.Fatalf("%d leases, %v; want %d", len(leases), err, n)
	}
	return leases
}

// spread calls f n times in all from so many goroutines and returns how long that took.
func spread(b *testing.B, n, writers int, f func(writer int) error) time.Duration {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for w := range writers {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				if err := f(w); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// rawLog is the baseline: one file, one committer.
type rawLog struct {
	f     *os.File
	queue chan rawRecord
	acks  []chan error // one a writer
	done  chan struct{}
}

type rawRecord struct {
	data   []byte
	stored chan error
}

func newRawLog(b *testing.B, writers int) *rawLog {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
	if err != nil {
		b.Fatal(err)
	}
	l := &rawLog{f: f, queue: make(chan rawRecord, writers), done: make(chan struct{})}
	for range writers {
		l.acks = append(l.acks, make(chan error, 1))
	}
	go l.commit()
	b.Cleanup(func() {
		close(l.queue)
		<-l.done
		f.Close()
	})
	return l
}

func (l *rawLog) append(writer int, data []byte) error {
	l.queue <- rawRecord{data, l.acks[writer]}
	return <-l.acks[writer]
}

func (l *rawLog) commit() {
	defer close(l.done)
	var buf []byte
	for first := range l.queue {
		group := append([]rawRecord(nil), first)
		buf = append(buf[:0], first.data...)
		for more := true; more; {
			select {
			case r, open := <-l.queue:
				if more = open; open {
					group, buf = append(group, r), append(buf, r.data...)
				}
			default:
				more = false
			}
		}
		_, err := l.f.Write(buf)
		if err == nil {
			err = unix.Fdatasync(int(l.f.Fd()))
		}
		for _, r := range group {
			r.stored <- err
		}
	}
}
