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
		"projects do not see each other":           usageProjects,
		"what is no record is refused":             usageRefused,
	}
}

// used makes the record of an event.
func used(key stead.SessionKey, seq stead.Seq, at int64) journal.UsageRow {
	return journal.UsageRow{ID: stead.DerivedID("usage", key.Session, seq, 0), Session: key.Session, At: at, Data: fmt.Appendf(nil, `{"seq":%d}`, seq)}
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

// wantUsage checks which records there are, by their ids, in order.
func (f *fixture) wantUsage(q journal.UsageQuery, want ...journal.UsageRow) {
	f.t.Helper()
	got := f.usage(q)
	same := slices.EqualFunc(got, want, func(a, b journal.UsageRow) bool {
		return a.ID == b.ID && a.At == b.At && a.Session == b.Session && string(a.Data) == string(b.Data)
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
	first, second := used(a, 1, 10), used(b, 1, 20)
	f.ok(f.s.AddUsage(f.ctx, project, []journal.UsageRow{first, second, {ID: "usage_free", At: 15, Data: []byte(`{}`)}}))
	f.wantUsage(journal.UsageQuery{Session: a.Session}, first)
	f.wantUsage(journal.UsageQuery{Session: b.Session}, second)
	f.wantUsage(journal.UsageQuery{Session: session(3).Session})
}

func usagePages(_ *testing.T, f *fixture) {
	key := session(1)
	// Two of the same moment: the id decides.
	all := []journal.UsageRow{used(key, 1, 10), used(key, 2, 20), used(key, 3, 20), used(key, 4, 30)}
	f.ok(f.s.AddUsage(f.ctx, project, all))
	f.wantUsage(journal.UsageQuery{Limit: 2}, all[:2]...)
	f.wantUsage(journal.UsageQuery{Limit: 2, AfterAt: 20, AfterID: all[1].ID}, all[2:]...)
	f.wantUsage(journal.UsageQuery{AfterAt: 30, AfterID: all[3].ID})
	back := slices.Clone(all)
	slices.Reverse(back)
	f.wantUsage(journal.UsageQuery{Desc: true, Limit: 2}, back[:2]...)
	f.wantUsage(journal.UsageQuery{Desc: true, AfterAt: 20, AfterID: all[2].ID}, back[2:]...)
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
	again := r
	again.Data = []byte(`{"other":1}`)
	f.ok(f.s.AddUsage(f.ctx, project, []journal.UsageRow{again}))
	f.wantUsage(journal.UsageQuery{}, r)
}

func usageProjects(t *testing.T, f *fixture) {
	f.ok(f.s.AddUsage(f.ctx, "other", []journal.UsageRow{used(session(1), 1, 10)}))
	f.wantUsage(journal.UsageQuery{})
	if rows, err := f.s.UsageRows(f.ctx, "other", journal.UsageQuery{}); err != nil || len(rows) != 1 {
		t.Fatalf("the other project has %d records: %v", len(rows), err)
	}
}

func usageRefused(_ *testing.T, f *fixture) {
	key := session(1)
	lease := f.held(key, 1)
	for _, id := range []string{"", "a b", "a\x00", "über"} {
		b := batch(1, "done", 1)
		b.Usage = []journal.UsageRow{{ID: id, At: 1, Data: []byte(`{}`)}}
		f.fails(stead.KindInvalid, f.s.Append(f.ctx, lease, b))
		f.fails(stead.KindInvalid, f.s.AddUsage(f.ctx, project, b.Usage))
	}
	b := batch(1, "done", 1)
	b.Usage = []journal.UsageRow{{ID: "large", At: 1, Data: make([]byte, journal.MaxUsageBytes+1)}}
	f.fails(stead.KindTooLarge, f.s.Append(f.ctx, lease, b))
	f.fails(stead.KindTooLarge, f.s.AddUsage(f.ctx, project, make([]journal.UsageRow, journal.MaxUsageRows+1)))
	f.wantUsage(journal.UsageQuery{})
	f.tail(key, 1)
}
