package postgres_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/audit/audittest"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

func TestAuditSuite(t *testing.T) {
	audittest.Suite(t, func(t *testing.T) (audit.Store, audit.Store) {
		url := pgtest.URL(t)
		return open(t, url, postgres.Options{}), open(t, url, postgres.Options{})
	})
}

func TestAuditAppends(t *testing.T) {
	audittest.AppendSuite(t, func(t *testing.T) (audittest.Both, audittest.Both) {
		url := pgtest.URL(t)
		return open(t, url, postgres.Options{}), open(t, url, postgres.Options{})
	})
}

// BenchmarkAuditAppend measures what records cost a step: appends of 64 sessions of one project, without and with two, which
// get their places meanwhile.
func BenchmarkAuditAppend(b *testing.B) {
	for _, records := range []int{0, 2} {
		b.Run(strconv.Itoa(records), func(b *testing.B) {
			const writers = 64
			s := open(b, pgtest.URL(b), postgres.Options{})
			leases := benchLeases(b, s, writers)
			d, err := audit.DraftOf(stead.DefaultProject, audit.Record{At: 1, Principal: audit.Principal{Kind: "user", ID: "ada", Role: "owner"}, Agent: "agent_1",
				Session: leases[0].Key.Session, Action: "tool.call", Resource: "server/tool", Arguments: strings.Repeat("0", 64), Decision: audit.Allow, By: "role", Reason: "owner"})
			if err != nil {
				b.Fatal(err)
			}
			data := benchData()
			ctx, stop := context.WithCancel(context.Background())
			var chaining sync.WaitGroup
			chaining.Go(func() {
				for ctx.Err() == nil {
					_ = s.ChainAudit(ctx)
					time.Sleep(250 * time.Millisecond)
				}
			})
			b.ResetTimer()
			took := spread(b, b.N, writers, func(w int) error {
				l := &leases[w]
				l.Tail++
				batch := journal.Batch{After: l.Tail - 1, Events: []stead.Event{{Seq: l.Tail, Kind: "bench.event", Data: data}}, Audit: [][]byte{d, d}[:records]}
				return s.Append(b.Context(), *l, batch)
			})
			stop()
			chaining.Wait()
			b.ReportMetric(float64(b.N)/took.Seconds(), "appends/s")
		})
	}
}

// BenchmarkAudit measures durable audit records of 1024 writers on two nodes in one project.
func BenchmarkAudit(b *testing.B) {
	const writers = 1024
	url := pgtest.URL(b)
	logs := []*audit.Log{audit.NewLog(open(b, url, postgres.Options{})), audit.NewLog(open(b, url, postgres.Options{}))}
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for w := range writers {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				r := audit.Record{At: 1, Project: "p", Principal: audit.Principal{Kind: "user", ID: "ada"}, Action: "file.write", Decision: audit.Allow}
				if err := logs[w%len(logs)].Append(b.Context(), r); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
