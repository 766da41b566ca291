package postgres_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/audit/audittest"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

func TestAuditSuite(t *testing.T) {
	audittest.Suite(t, func(t *testing.T) (audit.Store, audit.Store) {
		url := pgtest.URL(t)
		return open(t, url, postgres.Options{}), open(t, url, postgres.Options{})
	})
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
