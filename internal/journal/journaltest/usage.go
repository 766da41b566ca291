package journaltest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

func usageTests() map[string]func(*testing.T, *fixture) {
	return map[string]func(*testing.T, *fixture){
		"an append stores its records":             usageStored,
		"many records of many rows of the log":     usageMany,
		"a fenced append stores no record":         usageFenced,
		"an append behind the tail stores none":    usageTail,
		"a repeated append stores none twice":      usageRepeated,
		"records outlive their session":            usageOutlives,
		"records of one session":                   usageOfSession,
		"pages in both directions":                 usagePages,
		"a time range begins with and ends before": usageRange,
		"adding is idempotent":                     usageAdded,
		"records of one time":                      usageSameTime,
		"what records share":                       usageShared,
		"projects do not see each other":           usageProjects,
		"what is no record is refused":             usageRefused,
	}
}

// used makes the record of an event.
func used(key stead.SessionKey, seq stead.Seq, at int64) journal.UsageRow {
	name := journal.UsageName{Session: key.Session, Seq: seq, Index: int(seq) % 3}
	return journal.UsageRow{UsageName: name, At: at, Shared: fmt.Sprintf("even %t", seq%2 == 0), Data: fmt.Appendf(nil, "\x01%d", seq)}
}

func withUsage(b journal.Batch, key stead.SessionKey) journal.Batch {
	for _, e := range b.Events {
		b.Usage = append(b.Usage, used(key, e.Seq, int64(1000+e.Seq)))
	}
	return b
}

func (f *fixture) usage(q journal.UsageQuery) []journal.UsageRow {
	f.t.Helper()
	rows, err := f.s.UsageRows(f.ctx, project, q)
	f.ok(err)
	return rows
}

// wantUsage checks which records there are, and what they say, in order.
func (f *fixture) wantUsage(q journal.UsageQuery, want ...journal.UsageRow) {
	f.t.Helper()
	got := f.usage(q)
	same := slices.EqualFunc(got, want, func(a, b journal.UsageRow) bool {
		return a.UsageName == b.UsageName && a.At == b.At && a.Shared == b.Shared && string(a.Data) == string(b.Data)
	})
	if !same {
		f.t.Fatalf("records %+v, want %+v", got, want)
	}
}

func usageStored(_ *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	b := withUsage(batch(1, "done", 2), key)
	f.ok(f.s.Append(f.ctx, lease, b))
	f.wantUsage(journal.UsageQuery{}, b.Usage...)
	f.ok(f.s.Append(f.ctx, lease, batch(3, "done", 1)))
	f.wantUsage(journal.UsageQuery{}, b.Usage...)
}

// usageMany appends as much as a store may write in another way than a little.
func usageMany(t *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	b := withUsage(batch(1, "done", 900), key)
	for i := range b.Events {
		b.Events[i].Data = []byte(`"` + strings.Repeat("x", 4000) + `"`)
	}
	f.ok(f.s.Append(f.ctx, lease, b))
	if got := f.usage(journal.UsageQuery{}); len(got) != 900 {
		t.Fatalf("%d records, want 900", len(got))
	}
	f.tail(key, 901)
}

func usageFenced(_ *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	lease.Epoch++
	f.fails(stead.KindFenced, f.s.Append(f.ctx, lease, withUsage(batch(1, "done", 1), key)))
	f.wantUsage(journal.UsageQuery{})
}

func usageTail(_ *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	f.send(key, 1)
	f.fails(stead.KindTail, f.s.Append(f.ctx, lease, withUsage(batch(1, "done", 1), key)))
	f.wantUsage(journal.UsageQuery{})
}

func usageRepeated(_ *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	b := withUsage(batch(1, "done", 1), key)
	f.ok(f.s.Append(f.ctx, lease, b))
	f.fails(stead.KindTail, f.s.Append(f.ctx, lease, b))
	f.wantUsage(journal.UsageQuery{}, b.Usage...)
}

func usageOutlives(_ *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	b := withUsage(batch(1, "done", 1), key)
	f.ok(f.s.Append(f.ctx, lease, b))
	f.ok(f.s.Delete(f.ctx, key))
	f.wantUsage(journal.UsageQuery{}, b.Usage...)
	f.wantUsage(journal.UsageQuery{Session: key.Session}, b.Usage...)
}

func usageOfSession(_ *testing.T, f *fixture) {
	a, b := session(1), session(2)
	first, second, free := used(a, 1, 10), used(b, 1, 20), journal.UsageRow{UsageName: journal.UsageName{Call: [16]byte{7}}, At: 15, Data: []byte("free")}
	f.ok(f.s.AddUsage(f.ctx, project, []journal.UsageRow{first, second, free}))
	f.wantUsage(journal.UsageQuery{}, first, free, second)
	f.wantUsage(journal.UsageQuery{Session: a.Session}, first)
	f.wantUsage(journal.UsageQuery{Session: b.Session}, second)
	f.wantUsage(journal.UsageQuery{Session: session(3).Session})
}

func usagePages(_ *testing.T, f *fixture) {
	key := session(1)
	// Two of the same moment: the event decides.
	all := []journal.UsageRow{used(key, 1, 10), used(key, 2, 20), used(key, 3, 20), used(key, 4, 30)}
	f.ok(f.s.AddUsage(f.ctx, project, all))
	f.wantUsage(journal.UsageQuery{Limit: 2}, all[:2]...)
	f.wantUsage(journal.UsageQuery{Limit: 2, AfterAt: 20, After: all[1].UsageName}, all[2:]...)
	f.wantUsage(journal.UsageQuery{AfterAt: 30, After: all[3].UsageName})
	back := slices.Clone(all)
	slices.Reverse(back)
	f.wantUsage(journal.UsageQuery{Desc: true, Limit: 2}, back[:2]...)
	f.wantUsage(journal.UsageQuery{Desc: true, AfterAt: 20, After: all[2].UsageName}, back[2:]...)
}

func usageRange(_ *testing.T, f *fixture) {
	key := session(1)
	all := []journal.UsageRow{used(key, 1, 10), used(key, 2, 20), used(key, 3, 30)}
	f.ok(f.s.AddUsage(f.ctx, project, all))
	f.wantUsage(journal.UsageQuery{From: 10, To: 30}, all[:2]...)
	f.wantUsage(journal.UsageQuery{From: 11}, all[1:]...)
}

func usageAdded(_ *testing.T, f *fixture) {
	key := session(1)
	r := used(key, 1, 10)
	f.ok(f.s.AddUsage(f.ctx, project, []journal.UsageRow{r}))
	free := journal.UsageRow{UsageName: journal.UsageName{Call: [16]byte{1, 2, 3}}, At: 11, Shared: r.Shared}
	f.ok(f.s.AddUsage(f.ctx, project, []journal.UsageRow{free}))
	for _, again := range []journal.UsageRow{r, free} {
		again.Shared, again.Data = "other", []byte("other")
		f.ok(f.s.AddUsage(f.ctx, project, []journal.UsageRow{again, again}))
	}
	f.wantUsage(journal.UsageQuery{}, r, free)
}

// usageSameTime: what is of one time is told once by pages of every size, whoever it is of.
func usageSameTime(t *testing.T, f *fixture) {
	var all []journal.UsageRow
	for n := range 5 {
		for seq := range stead.Seq(3) {
			all = append(all, used(session(n+1), 9+seq, 50)) // 9 before 10: they are no text
		}
		all = append(all, journal.UsageRow{UsageName: journal.UsageName{Call: [16]byte{byte(n + 1)}}, At: 50})
	}
	f.ok(f.s.AddUsage(f.ctx, project, all))
	for _, q := range []journal.UsageQuery{{Limit: 1}, {Limit: 3}, {Limit: 7, Desc: true}, {Limit: 20}} {
		seen, last := map[journal.UsageName]bool{}, map[stead.SessionID]int64{}
		for {
			page := f.usage(q)
			for _, r := range page {
				if seen[r.UsageName] {
					t.Fatalf("limit %d, desc %t: %+v is told twice", q.Limit, q.Desc, r.UsageName)
				}
				if before, ok := last[r.Session]; ok && r.Session != "" && (before < r.Place()) == q.Desc {
					t.Fatalf("limit %d, desc %t: event %d of %s is out of order", q.Limit, q.Desc, r.Seq, r.Session)
				}
				seen[r.UsageName], last[r.Session] = true, r.Place()
				q.AfterAt, q.After = r.At, r.UsageName
			}
			if len(page) < q.Limit {
				break
			}
		}
		if len(seen) != len(all) {
			t.Fatalf("limit %d, desc %t: %d records, want %d", q.Limit, q.Desc, len(seen), len(all))
		}
	}
}

// usageShared: what records share is long or short, text or not, and of one project.
func usageShared(_ *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	b := withUsage(batch(1, "done", 4), key)
	for i, shared := range []string{"", "\x00\xff", strings.Repeat("x", journal.MaxUsageBytes), strings.Repeat("x", journal.MaxUsageBytes-1)} {
		b.Usage[i].Shared = shared
	}
	f.ok(f.s.Append(f.ctx, lease, b))
	f.ok(f.s.AddUsage(f.ctx, "other", b.Usage))
	f.wantUsage(journal.UsageQuery{}, b.Usage...)
}

func usageProjects(t *testing.T, f *fixture) {
	projects := func(want ...stead.ProjectID) {
		t.Helper()
		if got, err := f.s.UsageProjects(f.ctx); err != nil || !slices.Equal(got, want) {
			t.Fatalf("the projects with records are %q, want %q: %v", got, want, err)
		}
	}
	projects()
	f.ok(f.s.AddUsage(f.ctx, "other", []journal.UsageRow{used(session(1), 1, 10)}))
	f.wantUsage(journal.UsageQuery{})
	if rows, err := f.s.UsageRows(f.ctx, "other", journal.UsageQuery{}); err != nil || len(rows) != 1 {
		t.Fatalf("the other project has %d records: %v", len(rows), err)
	}
	f.ok(f.s.AddUsage(f.ctx, project, []journal.UsageRow{used(session(1), 1, 10)}))
	projects("other", project)
}

func usageRefused(_ *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	for _, name := range []journal.UsageName{{}, {Session: key.Session}, {Seq: -1}, {Seq: 1},
		{Session: key.Session, Seq: 1, Index: journal.MaxUsageIndex + 1}, {Session: key.Session, Seq: 1, Index: -1}, {Session: key.Session, Seq: 1, Call: [16]byte{1}}} {
		b := batch(1, "done", 1)
		b.Usage = []journal.UsageRow{{UsageName: name, At: 1}}
		f.fails(stead.KindInvalid, f.s.Append(f.ctx, lease, b))
		f.fails(stead.KindInvalid, f.s.AddUsage(f.ctx, project, b.Usage))
	}
	b := batch(1, "done", 1)
	b.Usage = []journal.UsageRow{{UsageName: journal.UsageName{Session: key.Session, Seq: 2}, At: 1, Data: make([]byte, journal.MaxUsageBytes+1)}}
	f.fails(stead.KindTooLarge, f.s.Append(f.ctx, lease, b))
	f.fails(stead.KindTooLarge, f.s.AddUsage(f.ctx, project, make([]journal.UsageRow, journal.MaxUsageRows+1)))
	f.wantUsage(journal.UsageQuery{})
	f.tail(key, 1)
}
