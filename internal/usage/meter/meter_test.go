package meter_test

import (
	"reflect"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/meter"
)

// Random journals: the records are the same whether a journal is folded at once or from any snapshot
// on, as holders do who take over; each has an id of its own; and they cost what the session says.
func TestFoldInPieces(t *testing.T) {
	kinds := map[usage.Kind]int{}
	for seed := range uint64(80) {
		events := sessiontest.Journal(seed, 150).Events
		if seed%4 == 0 {
			events = sessiontest.Subagents(seed, 150).Events
		}
		whole, err := meter.Fold(sessiontest.Key, events)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if pieces := inPieces(t, events, int(seed%7)+1); !reflect.DeepEqual(whole, pieces) {
			t.Fatalf("seed %d: at once %+v\nin pieces %+v", seed, whole, pieces)
		}
		checkSums(t, seed, events, whole)
		for _, r := range whole {
			kinds[r.Kind]++
		}
	}
	for _, k := range []usage.Kind{usage.ModelCall, usage.ToolCall} {
		if kinds[k] == 0 {
			t.Errorf("no journal made a record of kind %s: the test proves nothing of it", k)
		}
	}
}

// inPieces folds with a snapshot after every few events.
func inPieces(t *testing.T, events []stead.Event, every int) []usage.Record {
	t.Helper()
	s := session.NewState(sessiontest.Key)
	var all []usage.Record
	for i, e := range events {
		records, err := meter.Follow(&s.View, e)
		if err == nil {
			err = s.Apply(e)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, records...)
		if i%every != 0 {
			continue
		}
		data, err := s.Snapshot()
		if err == nil {
			s, err = session.LoadState(sessiontest.Key, data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func checkSums(t *testing.T, seed uint64, events []stead.Event, records []usage.Record) {
	t.Helper()
	v := session.NewView(sessiontest.Key)
	for _, e := range events {
		if err := v.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	ids := map[string]bool{}
	var sum usage.Sum
	for _, r := range records {
		if ids[r.ID] {
			t.Fatalf("seed %d: two records have the id %s", seed, r.ID)
		}
		ids[r.ID] = true
		sum.Add(&r)
		row, err := r.Row()
		if err == nil {
			err = row.Check()
		}
		if err != nil {
			t.Fatalf("seed %d: no store takes the record %s: %v", seed, r.ID, err)
		}
	}
	if sum.Cost != v.Cost || sum.InputTokens != v.Usage.InputTokens || sum.OutputTokens != v.Usage.OutputTokens {
		t.Fatalf("seed %d: the records cost %d and have %d+%d tokens; the session says %d and %d+%d", seed,
			sum.Cost, sum.InputTokens, sum.OutputTokens, v.Cost, v.Usage.InputTokens, v.Usage.OutputTokens)
	}
}

// A record reads back as it was written, whatever its names are.
func TestRowsReadBack(t *testing.T) {
	for seed := range uint64(20) {
		records, err := meter.Fold(sessiontest.Key, sessiontest.Journal(seed, 100).Events)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			r.User, r.Name, r.Hold = "nul\x00 and \xff", string(make([]byte, 5000)), usage.HoldPrefix+string(r.Session)+"_1_2"
			if seed%2 == 0 {
				r.Turn, r.Hold, r.StoredBytes = "no turn", "hold_other", -1<<63
			}
			row, err := r.Row()
			if err != nil {
				t.Fatal(err)
			}
			back, err := usage.FromRow(r.Project, row)
			if err != nil || back != r.Clean() {
				t.Fatalf("%+v reads back as %+v: %v", r, back, err)
			}
		}
	}
}

// A copy does not pay again for what it was copied from.
func TestCopiesAreFree(t *testing.T) {
	made := 0
	for seed := range uint64(50) {
		events := sessiontest.Journal(seed, 120).Events
		copied, err := session.Fork(sessiontest.Key, events, "", 1_800_000_000_000, session.Origin{Session: sessiontest.Key.Session, How: session.OriginFork}, nil)
		if err != nil {
			t.Fatal(err)
		}
		key := stead.SessionKey{Project: "default", Session: "sess_ffffffffffffffffffffffffffffffff"}
		records, err := meter.Fold(key, copied)
		if err != nil || len(records) != 0 {
			t.Fatalf("seed %d: a copy makes the records %+v: %v", seed, records, err)
		}
		paid, _ := meter.Fold(sessiontest.Key, events)
		made += len(paid)
	}
	if made == 0 {
		t.Error("nothing was used in any of the sources")
	}
}
