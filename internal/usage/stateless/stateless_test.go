package stateless_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/journal/journaltest"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/stateless"
)

const project stead.ProjectID = "proj"

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func record(n int64) usage.Record {
	r := usage.Record{Project: project, Kind: usage.ModelCall, Model: "m", Cost: n}
	r.Calls = 1
	return r
}

// stored are the records in the store.
func stored(t *testing.T, s journal.Usage) usage.Sum {
	t.Helper()
	var sum usage.Sum
	q := journal.UsageQuery{}
	for {
		rows, err := s.UsageRows(context.Background(), project, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			r, err := usage.FromRow(project, row)
			if err != nil {
				t.Fatal(err)
			}
			sum.Add(&r)
			q.AfterAt, q.After = row.At, row.UsageName
		}
		if len(rows) < q.PageLimit() {
			return sum
		}
	}
}

// What a kill can lose is FlushEvery's records: what is older is in the store.
func TestRecordsAreWrittenWithinTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := journaltest.NewMemory(time.Now)
		r := stateless.New(stateless.Config{Store: s, Log: quiet()})
		for i := range 10 {
			r.Add(record(int64(i)), "")
		}
		if n := stored(t, s).Records; n != 0 {
			t.Errorf("%d records were written on the call's way", n)
		}
		time.Sleep(stateless.FlushEvery + time.Millisecond)
		synctest.Wait()
		if sum := stored(t, s); sum.Records != 10 || sum.Cost != 45 {
			t.Errorf("after the interval: %+v", sum)
		}
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Whoever can't wait for the interval has written what is pending, and waits no longer than it wants to.
func TestCatchUpWritesWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := journaltest.NewMemory(time.Now)
		r := stateless.New(stateless.Config{Store: s, Log: quiet()})
		began := time.Now()
		for i := range int64(stateless.MaxGroup + 1) {
			r.Add(record(i), "")
		}
		if r.CatchUp(t.Context()); r.Pending() || stored(t, s).Records != stateless.MaxGroup+1 || time.Since(began) != 0 {
			t.Errorf("%d records after %s", stored(t, s).Records, time.Since(began))
		}
		s.Close()
		r.Add(record(1), "")
		if r.CatchUp(t.Context()); !r.Pending() {
			t.Error("what the store did not take is pending no more")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = r.Close(ctx) // the store is gone
		r.CatchUp(t.Context())
	})
}

// Close writes everything, from however many callers it came.
func TestCloseWritesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := journaltest.NewMemory(time.Now)
		r := stateless.New(stateless.Config{Store: s, Log: quiet()})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 1000 {
					if !r.Add(record(1), "") {
						t.Error("a record was dropped")
					}
				}
			})
		}
		wg.Wait()
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if n := stored(t, s).Records; n != 8000 {
			t.Errorf("%d records, want 8000", n)
		}
		if r.Add(record(1), "") {
			t.Error("a closed recorder takes records")
		}
	})
}

// flaky fails, before or after it stored, and loses the answer.
type flaky struct {
	*journaltest.Memory
	mu    sync.Mutex
	calls int
}

func (f *flaky) AddUsage(ctx context.Context, p stead.ProjectID, rows []journal.UsageRow) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	switch f.calls % 3 {
	case 1:
		return stead.Errorf(stead.KindUnavailable, "away")
	case 2:
		if err := f.Memory.AddUsage(ctx, p, rows); err != nil {
			return err
		}
		return stead.Errorf(stead.KindUnavailable, "the answer is lost")
	}
	return f.Memory.AddUsage(ctx, p, rows)
}

// A store that is away, or loses its answer, neither loses nor doubles a record, nor a settlement.
func TestAStoreThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &flaky{Memory: journaltest.NewMemory(time.Now)}
		settled := map[string]int{}
		r := stateless.New(stateless.Config{Store: s, Log: quiet(), Settle: func(_ context.Context, _ stead.ProjectID, all []usage.Settlement) error {
			for _, one := range all {
				settled[one.Hold]++
			}
			return nil
		}})
		for i := range 50 {
			held := record(1)
			held.Hold = fmt.Sprint("h", i)
			r.Add(held, "")
			time.Sleep(200 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if n := stored(t, s).Records; n != 50 || len(settled) != 50 {
			t.Errorf("%d records and %d settlements, want 50", n, len(settled))
		}
	})
}

// A store that never comes back does not keep the server from stopping.
func TestCloseGivesUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := journaltest.NewMemory(time.Now)
		r := stateless.New(stateless.Config{Store: s, Log: quiet()})
		r.Add(record(1), "")
		s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := r.Close(ctx); stead.KindOf(err) != stead.KindUnavailable {
			t.Errorf("error %v", err)
		}
	})
}

// An id holds the time of its record, so that a list can go on after it.
func TestIDsHoldTheirTime(t *testing.T) {
	before := time.Now().UnixMilli()
	id, at := usage.NewCallID("")
	if got, ok := usage.TimeOf(id); !ok || got != at || at < before || at > time.Now().UnixMilli() {
		t.Errorf("%s is of %d (%t), made at %d", id, got, ok, at)
	}
}

// The records of a call that was on two routes settle its hold together, wherever a group of records ends.
func TestRecordsOfOneHoldAreSettledTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settled := map[string]usage.Amount{}
		r := stateless.New(stateless.Config{Store: journaltest.NewMemory(time.Now), Log: quiet(),
			Settle: func(_ context.Context, _ stead.ProjectID, all []usage.Settlement) error {
				for _, s := range all {
					if _, again := settled[s.Hold]; !again { // a hold is settled once
						settled[s.Hold] = s.Used
					}
				}
				return nil
			}})
		const calls = stateless.MaxGroup // twice as many records: groups end within a call
		r.Add(record(1), "")
		for i := range calls {
			first, second := record(2), record(3)
			first.Hold = fmt.Sprint("hold_", i)
			second.Hold = first.Hold
			r.Add(first, "", second)
		}
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range calls {
			if got := settled[fmt.Sprint("hold_", i)]; got != (usage.Amount{Cost: 5, Calls: 2}) {
				t.Fatalf("call %d was settled with %+v", i, got)
			}
		}
	})
}
