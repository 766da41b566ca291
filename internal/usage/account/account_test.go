package account_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/journal/journaltest"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/account"
	"github.com/stead-dev/stead/internal/usage/meter"
)

var me = stead.Principal{Project: sessiontest.Key.Project, Kind: stead.PrincipalUser, ID: "local"}

// kept is a store with the journal of a seed, and the service over it.
type kept struct {
	*journaltest.Memory
	*account.Service
	t       *testing.T
	records []usage.Record // that the journal makes
}

func keep(t *testing.T, seed uint64) *kept {
	t.Helper()
	events := sessiontest.Journal(seed, 200).Events
	store := journaltest.NewMemory(time.Now)
	in := journal.Input{Create: &journal.Creation{Agent: "agent_1"}, Events: events, If: -1, Quiet: true}
	if _, err := store.Send(t.Context(), sessiontest.Key, in); err != nil {
		t.Fatal(err)
	}
	records, err := meter.Fold(sessiontest.Key, events)
	if err != nil || len(records) < 5 {
		t.Fatalf("%d records: %v", len(records), err)
	}
	return &kept{store, account.New(account.Config{Store: store, Policy: policy.AllowLocal{}}), t, records}
}

func (k *kept) add(records ...usage.Record) {
	k.t.Helper()
	rows, err := usage.Rows(records)
	if err == nil {
		err = k.AddUsage(context.Background(), me.Project, rows)
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *kept) verify(repair bool) *account.Verification {
	k.t.Helper()
	v, err := k.Verify(context.Background(), me, false, repair)
	if err != nil {
		k.t.Fatal(err)
	}
	return v
}

// What is missing, surplus or different is found and named, one by one.
func TestVerifyFindsEveryDifference(t *testing.T) {
	k := keep(t, 3)
	wrong := k.records[1]
	wrong.Cost++
	surplus := k.records[2]
	surplus.ID = usage.EventID(sessiontest.Key.Session, 1, 7)
	k.add(append([]usage.Record{wrong, surplus}, k.records[2:]...)...)
	v := k.verify(false)
	got := map[string]string{}
	for _, d := range v.Differences {
		got[d.ID] = d.What
	}
	want := map[string]string{k.records[0].ID: usage.Missing, wrong.ID: usage.Different, surplus.ID: usage.Surplus}
	if v.OK() || v.Count != 3 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("ok %t, %d differences: %v, want %v", v.OK(), v.Count, got, want)
	}
	if v.Journal.Equal(v.Store) {
		t.Error("the sums are said to be equal")
	}
}

// Records of a time before there were any are made by a repair, and then all is well.
func TestRepairStoresWhatIsMissing(t *testing.T) {
	k := keep(t, 4)
	if v := k.verify(true); !v.OK() || v.Repaired != len(k.records) {
		t.Fatalf("repaired %d of %d, ok %t", v.Repaired, len(k.records), v.OK())
	}
	if v := k.verify(false); !v.OK() || v.Count != 0 || v.Sessions != 1 {
		t.Errorf("after the repair: %+v", v)
	}
}

// What a deleted session used stays, and is counted apart: its journal is gone.
func TestDeletedSessionsStayOnTheBill(t *testing.T) {
	k := keep(t, 5)
	k.add(k.records...)
	if err := k.Memory.Delete(t.Context(), sessiontest.Key); err != nil {
		t.Fatal(err)
	}
	v := k.verify(false)
	if !v.OK() || int(v.Kept.Records) != len(k.records) || v.Sessions != 0 {
		t.Errorf("%+v, want %d records kept", v, len(k.records))
	}
}

// A list gives each record once, whatever the page's size and the direction.
func TestListPages(t *testing.T) {
	k := keep(t, 6)
	k.add(k.records...)
	for _, desc := range []bool{false, true} {
		seen, after := 0, ""
		for {
			page, more, err := k.List(t.Context(), me, account.ListQuery{Filter: usage.Filter{Notes: true}, After: after, Desc: desc, Limit: 3})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page {
				want := k.records[seen]
				if desc {
					want = k.records[len(k.records)-1-seen]
				}
				if r.At != want.At {
					t.Fatalf("record %d is of %d, want %d", seen, r.At, want.At)
				}
				seen++
				after = r.ID
			}
			if !more {
				break
			}
		}
		if seen != len(k.records) {
			t.Errorf("desc %t: %d records, want %d", desc, seen, len(k.records))
		}
	}
	if _, _, err := k.List(t.Context(), me, account.ListQuery{After: "usage_nonsense", Limit: 3}); stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("after nonsense: %v", err)
	}
}

// However a report is grouped, its rows add up to its total, which is what the session says it cost.
func TestReportsAddUp(t *testing.T) {
	k := keep(t, 7)
	k.add(k.records...)
	v := session.NewView(sessiontest.Key)
	events, err := k.Read(t.Context(), sessiontest.Key, journal.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if err := v.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	for _, by := range [][]string{nil, {"kind"}, {"day", "model"}, {"session", "user", "turn"}, {"month", "provider", "region", "name"}} {
		r, err := k.Report(t.Context(), me, false, usage.Filter{Notes: true}, by)
		if err != nil {
			t.Fatal(err)
		}
		var sum usage.Sum
		for _, row := range r.Rows {
			sum.Merge(&row.Sum)
		}
		if sum != r.Total || int(sum.Records) != len(k.records) || sum.Cost != v.Cost {
			t.Errorf("by %v: rows %+v, total %+v, the session cost %d", by, sum, r.Total, v.Cost)
		}
	}
}

// A commitment is over the records of all projects; whoever asks hears the sum, and its own part.
func TestCommitmentsAreOfAllProjects(t *testing.T) {
	store := journaltest.NewMemory(time.Now)
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	at := start.AddDate(0, 0, 15).UnixMilli()
	for i, project := range []stead.ProjectID{me.Project, "other", "other"} {
		r := usage.Record{ID: fmt.Sprintf("usage_%032x", i+1), At: start.UnixMilli() + int64(i), Project: project, Kind: usage.ModelCall, Provider: "p", Cost: 100}
		r.InputTokens = 7
		row, err := r.Row()
		if err == nil {
			err = store.AddUsage(t.Context(), project, []journal.UsageRow{row})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s := account.New(account.Config{Store: store, Policy: policy.AllowLocal{}, Now: func() time.Time { return time.UnixMilli(at) }, Terms: account.Terms{Commitments: []usage.Commitment{
		{Name: "money", Provider: "p", Start: start, Months: 1, Cost: 1000},
		{Name: "tokens", Provider: "p", Start: start, Months: 12, Tokens: 10},
		{Name: "later", Provider: "p", Start: start.AddDate(1, 0, 0), Months: 1, Cost: 5},
	}}})
	for range 2 { // the same again
		all, err := s.Commitments(t.Context(), me, 0)
		if err != nil || len(all) != 3 {
			t.Fatalf("%d commitments: %v", len(all), err)
		}
		if m := all[0]; m.Used != 300 || m.Own != 100 || m.Remaining != 700 || m.Projected != 600 || m.Owed != 400 {
			t.Errorf("of money: %+v", m)
		}
		if m := all[1]; m.Used != 21 || m.Own != 7 || m.Over != 11 {
			t.Errorf("of tokens: %+v", m)
		}
		if m := all[2]; m.Used != 0 || m.Committed != 5 {
			t.Errorf("that has not begun: %+v", m)
		}
	}
	if all, err := s.Commitments(t.Context(), me, start.UnixMilli()+1); err != nil || all[0].Used != 100 {
		t.Errorf("as of its first moment: %+v, %v", all, err)
	}
}
