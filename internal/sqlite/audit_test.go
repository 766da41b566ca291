package sqlite

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/audit/audittest"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
)

func TestAuditSuite(t *testing.T) {
	audittest.Suite(t, func(t *testing.T) (audit.Store, audit.Store) {
		s := openNew(t) // one process owns the database: there is no second access
		t.Cleanup(func() { s.Close() })
		return s, s
	})
}

func TestAuditAppends(t *testing.T) {
	audittest.AppendSuite(t, func(t *testing.T) (audittest.Both, audittest.Both) {
		s := openNew(t)
		t.Cleanup(func() { s.Close() })
		return s, s
	})
}

func TestAuditRecordsStay(t *testing.T) {
	s := openNew(t)
	defer s.Close()
	if err := s.AppendAudit(t.Context(), "p", []audit.Record{{Action: "file.write"}}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"DELETE FROM audit_record", "UPDATE audit_record SET data = x'00'"} {
		err := s.do(t.Context(), &op{write: func(g *group) error { return g.execText(t.Context(), "tamper", text) }})
		if err == nil || !strings.Contains(err.Error(), "audit records are not") {
			t.Errorf("%s: %v, want a refusal", text, err)
		}
	}
}

// TestADamagedAuditLogFailsAlone: what can't be read of one log is an error of its own appends.
func TestADamagedAuditLogFailsAlone(t *testing.T) {
	s := openNew(t)
	add := func(p stead.ProjectID) error {
		return s.AppendAudit(t.Context(), p, []audit.Record{{Action: "file.write"}})
	}
	if err := add("p"); err != nil {
		t.Fatal(err)
	}
	if err := s.do(t.Context(), &op{write: func(g *group) error {
		return g.execText(t.Context(), "damage", "UPDATE audit_log SET size = size + 6")
	}}); err != nil {
		t.Fatal(err)
	}
	if err := add("p"); stead.KindOf(err) != stead.KindInternal {
		t.Errorf("an append to a damaged log: %v", err)
	}
	if err := add("q"); err != nil {
		t.Errorf("an append to another log: %v", err)
	}
}

// auditVariable makes the test binary act on the database that it names, until it is killed.
const auditVariable = "STEAD_SQLITE_AUDIT_HELPER"

// actForever is allowed one act after the other, prints each, and never gets to its effect.
func actForever(path string) int {
	s, err := Open(context.Background(), path, Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	gate := audit.NewAuthorizer(policy.AllowLocal{}, audit.NewLog(s), audit.LevelAll, time.Now, slog.Default())
	for i := 0; ; i++ {
		req := policy.Request{Principal: stead.LocalPrincipal(), Effect: policy.FileWrite, Resource: "file_" + strconv.Itoa(i)}
		if _, err := policy.Check(context.Background(), gate, req); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if _, err := fmt.Println(req.Resource); err != nil {
			return 1
		}
	}
}

// TestAKillBetweenRecordAndEffectLeavesTheRecord: whatever was allowed before SIGKILL is in the log, and
// the log goes on whole.
func TestAKillBetweenRecordAndEffectLeavesTheRecord(t *testing.T) {
	const allowed = 50
	path := filepath.Join(t.TempDir(), "stead.db")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), auditVariable+"="+path)
	acts := killAfter(t, cmd, allowed)
	s := open(t, path, Options{})
	rows, err := s.AuditRows(t.Context(), audit.Query{Project: stead.DefaultProject})
	if err != nil || len(rows) < len(acts) {
		t.Fatalf("%d acts were allowed, %d are recorded: %v", len(acts), len(rows), err)
	}
	for i, act := range acts {
		if r, err := audit.Decode(rows[i].Data); err != nil || r.Resource != act || r.Action != string(policy.FileWrite) {
			t.Fatalf("record %d is of %q, want %q: %v", i+1, r.Resource, act, err)
		}
	}
	if err := s.AppendAudit(t.Context(), stead.DefaultProject, []audit.Record{{Action: "file.write"}}); err != nil {
		t.Fatal(err)
	}
	if v, err := audit.Verify(strings.NewReader(string(audittest.Export(t, s, stead.DefaultProject))), nil, nil); err != nil || v.Records != int64(len(rows)+1) {
		t.Errorf("the log that goes on has %d records: %v", v.Records, err)
	}
}

// BenchmarkAuditAppend measures what records cost a step: appends of 64 sessions of one project, without and with two.
func BenchmarkAuditAppend(b *testing.B) {
	for _, records := range []int{0, 2} {
		b.Run(strconv.Itoa(records), func(b *testing.B) {
			const writers = 64
			s, leases := benchStore(b, writers)
			b.Cleanup(func() { s.Close() })
			d, err := audit.DraftOf("bench", audit.Record{At: 1, Principal: audit.Principal{Kind: "user", ID: "ada", Role: "owner"}, Agent: "agent_1", Session: leases[0].Key.Session,
				Action: "tool.call", Resource: "server/tool", Arguments: strings.Repeat("0", 64), Decision: audit.Allow, By: "role", Reason: "owner"})
			if err != nil {
				b.Fatal(err)
			}
			rate, p50 := drive(b, writers, b.N, func(w, n int) error {
				after := stead.Seq(n + 1)
				e := stead.Event{Seq: after + 1, At: 1, Kind: "tool.returned", Data: benchData}
				return s.Append(b.Context(), leases[w], journal.Batch{After: after, Events: []stead.Event{e}, Audit: [][]byte{d, d}[:records]})
			})
			b.ReportMetric(rate, "appends/s")
			b.ReportMetric(float64(p50.Microseconds()), "p50-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkAudit measures durable audit records of many writers in one project.
func BenchmarkAudit(b *testing.B) {
	for _, writers := range []int{1, 64, 1024} {
		b.Run(strconv.Itoa(writers), func(b *testing.B) {
			s := openNew(b)
			b.Cleanup(func() { s.Close() })
			log := audit.NewLog(s)
			rate, p50 := drive(b, writers, b.N, func(_, n int) error {
				return log.Append(b.Context(), audit.Record{At: 1, Project: "p", Principal: audit.Principal{Kind: "user", ID: "ada", Role: "owner", Key: "key_1"},
					Action: "file.write", Resource: "file_" + strconv.Itoa(n), Decision: audit.Allow, By: "role", Reason: "owner", Detail: "DELETE /v1/files/file_1"})
			})
			b.ReportMetric(rate, "records/s")
			b.ReportMetric(float64(p50.Microseconds()), "p50-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}
