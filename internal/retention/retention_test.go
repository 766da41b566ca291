package retention_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/audit/audittest"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/retention"
	"github.com/stead-dev/stead/internal/session"
)

const day = 24 * time.Hour

// TestWhatWasKeptForLongEnoughGoes: each kind by its own time, once an Every on one of two nodes, and no more than that.
func TestWhatWasKeptForLongEnoughGoes(t *testing.T) {
	ctx := t.Context()
	now := time.UnixMilli(0).Add(1000 * day)
	ago := func(days int) int64 { return now.Add(-time.Duration(days) * day).UnixMilli() }
	logs := &audittest.Memory{}
	for _, p := range []stead.ProjectID{"p", "other", "free"} {
		if err := logs.AppendAudit(ctx, p, []audit.Record{{At: ago(100), Action: "old"}, {At: ago(90), Action: "old"}}); err != nil {
			t.Fatal(err)
		}
		tree, _ := logs.AuditTree(ctx, p)
		note := audittest.Signer(t).Sign(audit.Checkpoint{Project: p, Size: tree.Size, Root: tree.Root(), At: ago(90)})
		if err := logs.AddAuditNote(ctx, p, audit.Note{Size: tree.Size, Text: note}); err != nil {
			t.Fatal(err)
		}
	}
	heads := []journal.Head{}
	for _, h := range []struct {
		id      string
		made    int
		active  int
		status  string
		project stead.ProjectID
	}{
		{"s1-rests", 50, 40, session.StatusIdle, "p"}, {"s2-active", 50, 1, session.StatusIdle, "p"}, {"s3-works", 50, 40, session.StatusInProgress, "p"},
		{"s4-failed", 50, 31, session.StatusFailed, "p"}, {"s5-asks", 50, 40, session.StatusRequiresAction, "p"}, {"s6-new", 2, 2, session.StatusIdle, "p"},
		{"s7-other", 50, 40, session.StatusIdle, "other"}, {"s8-free", 500, 400, session.StatusIdle, "free"},
	} {
		heads = append(heads, journal.Head{Key: stead.SessionKey{Project: h.project, Session: stead.SessionID(h.id)}, CreatedAt: ago(h.made), Listing: journal.Listing{Status: h.status, LastActive: ago(h.active)}})
	}
	var did []string
	c := retention.Config{
		Rules: []retention.Rule{{Project: "p", Sessions: 30 * day, Audit: 60 * day}, {Sessions: 45 * day, Files: 10 * day, Memories: 20 * day}, {Project: "free"}},
		Heads: func(_ context.Context, project stead.ProjectID, q journal.Query) (out []journal.Head, _ error) {
			for _, h := range heads {
				if h.Key.Project == project && h.Key.Session > q.After {
					out = append(out, h)
				}
			}
			return out, nil
		},
		Logs: logs, Documents: documenttest.NewMemory(), Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
		Erase: func(_ context.Context, p stead.Principal, id stead.SessionID, _ int64) error {
			if p.Kind != stead.PrincipalNode {
				t.Errorf("%+v erases", p)
			}
			did = append(did, string(id))
			if id == "s4-failed" {
				return stead.Errorf(stead.KindUnavailable, "away")
			}
			return nil
		},
		Files: func(_ context.Context, p stead.Principal, before int64) (int, error) {
			did = append(did, "files of "+string(p.Project))
			if before != ago(10) {
				t.Errorf("files before %d", before)
			}
			return 2, nil
		},
		Memories: func(_ context.Context, p stead.Principal, before int64) (int, error) {
			did = append(did, "memories of "+string(p.Project))
			if before != ago(20) {
				t.Errorf("memories before %d", before)
			}
			return 0, nil
		},
		Record: func(ctx context.Context, r audit.Record) error {
			return logs.AppendAudit(ctx, r.Project, []audit.Record{r})
		},
	}
	one, two := retention.New(c), retention.New(c)
	if err := one.Pass(ctx); err == nil || !strings.Contains(err.Error(), "s4-failed") {
		t.Errorf("a failed deletion: %v", err)
	}
	if err := two.Pass(ctx); err != nil {
		t.Error(err)
	}
	want := []string{"files of other", "memories of other", "s1-rests", "s4-failed"}
	slices.Sort(did)
	if !slices.Equal(did, want) {
		t.Errorf("done was %q, want %q", did, want)
	}
	for p, want := range map[stead.ProjectID]string{"p": "3 audit", "other": "1 old 2 old 3 files", "free": "1 old 2 old"} {
		if got := said(t, logs, p); got != want {
			t.Errorf("the log of %s is %q, want %q", p, got, want)
		}
	}
	now = now.Add(2 * retention.Every)
	did = nil
	if err := two.Pass(ctx); err == nil || !slices.Contains(did, "s4-failed") {
		t.Errorf("what failed is not tried again: %q, %v", did, err)
	}
}

// said is what a log holds: places, and what they are about.
func said(t *testing.T, logs audit.Store, p stead.ProjectID) string {
	t.Helper()
	rows, err := logs.AuditRows(t.Context(), audit.Query{Project: p})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, row := range rows {
		r, err := audit.Decode(row.Data)
		if err != nil {
			t.Fatal(err)
		}
		what := r.Action
		if r.Action == audit.ActRetention {
			what = r.Resource
		}
		out = append(out, strings.TrimPrefix(audit.ID(r.Seq), audit.IDPrefix)+" "+what)
	}
	return strings.Join(out, " ")
}

// TestAHoldKeepsASession: what policies forbid is no failure, the rest goes on, and it is asked again.
func TestAHoldKeepsASession(t *testing.T) {
	now := time.UnixMilli(0).Add(1000 * day)
	old := now.Add(-90 * day).UnixMilli()
	var asked []stead.SessionID
	held := true
	s := retention.New(retention.Config{
		Rules: []retention.Rule{{Project: "p", Sessions: 30 * day}},
		Heads: func(_ context.Context, p stead.ProjectID, q journal.Query) (out []journal.Head, _ error) {
			for _, id := range []stead.SessionID{"s1", "s2"} {
				out = append(out, journal.Head{Key: stead.SessionKey{Project: p, Session: id}, CreatedAt: old, Listing: journal.Listing{Status: session.StatusIdle, LastActive: old}})
			}
			return out, nil
		},
		Logs: &audittest.Memory{}, Documents: documenttest.NewMemory(), Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
		Erase: func(_ context.Context, _ stead.Principal, id stead.SessionID, _ int64) error {
			asked = append(asked, id)
			if held && id == "s1" {
				return stead.Errorf(stead.KindForbidden, "policy hold forbids it")
			}
			return nil
		},
	})
	for range 2 {
		if err := s.Pass(t.Context()); err != nil {
			t.Error(err)
		}
		now, held = now.Add(2*retention.Every), false
	}
	if want := []stead.SessionID{"s1", "s2", "s1", "s2"}; !slices.Equal(asked, want) {
		t.Errorf("asked were %q", asked)
	}
}
