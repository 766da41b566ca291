package audit_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/audit/audittest"
)

func recordsOf(t *testing.T, store audit.Store) []audit.Record {
	t.Helper()
	rows, err := store.AuditRows(t.Context(), audit.Query{Project: stead.DefaultProject, Limit: audit.MaxRows})
	if err != nil {
		t.Fatal(err)
	}
	var out []audit.Record
	for _, row := range rows {
		r, err := audit.Decode(row.Data)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// The first of a source and a reason is recorded at once; the rest of a minute is one record with their number.
func TestStrangersAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &audittest.Memory{}
		s := audit.NewStrangers(audit.NewLog(store), time.Now, slog.New(slog.DiscardHandler))
		call := func(from string) audit.Call { return audit.Call{Request: "req_1", Act: "GET /v1/agents", From: from} }
		for range 5 {
			s.TurnedAway(call("192.0.2.1"), "invalid_api_key", "the API key is not known", "key_1")
		}
		synctest.Wait()
		s.TurnedAway(call("192.0.2.2"), "invalid_api_key", "the API key is not known", "key_1")
		s.TurnedAway(call("192.0.2.1"), "invalid_token", "the token has expired", "")
		s.TurnedAway(call("192.0.2.1"), "invalid_token", "the token's signature is none of its issuer's", "") // the same code, and another thing
		s.TurnedAway(call("2001:db8::1"), "invalid_token", "the token has expired", "")
		s.TurnedAway(call("2001:db8::2"), "invalid_token", "the token has expired", "") // the same subscriber's
		synctest.Wait()
		got := recordsOf(t, store)
		if len(got) != 5 || got[0].Action != audit.ActAuthenticate || got[0].From != "192.0.2.1" || got[0].Resource != "key_1" || got[0].Decision != audit.Deny || got[0].Detail != "GET /v1/agents" {
			t.Errorf("at once: %+v", got)
		}
		time.Sleep(audit.StrangerWindow)
		synctest.Wait()
		told := map[string]string{}
		for _, r := range recordsOf(t, store)[5:] {
			told[r.From] = r.Detail
		}
		if len(told) != 2 || told["192.0.2.1"] != "turned away 4 more times" || told["2001:db8::/64"] != "turned away 1 more times" {
			t.Errorf("after the window: %v", told)
		}
		s.TurnedAway(call("192.0.2.1"), "invalid_api_key", "x", "")
		s.TurnedAway(call("192.0.2.1"), "invalid_api_key", "x", "")
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := recordsOf(t, store); len(got) != 9 {
			t.Errorf("%d records when it is closed, want 9", len(got))
		}
	})
}

// Whoever calls, from however many places, a minute of it is a few records, and all of them are counted.
func TestAFloodOfStrangersIsAFewRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &audittest.Memory{}
		s := audit.NewStrangers(audit.NewLog(store), time.Now, slog.New(slog.DiscardHandler))
		const calls = 20_000
		for n := range calls {
			s.TurnedAway(audit.Call{From: fmt.Sprintf("10.0.%d.%d", n/256%256, n%256)}, fmt.Sprintf("reason %d", n%1000), "no", strings.Repeat("k", 1000))
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, counted := recordsOf(t, store), 0
		for _, r := range got {
			n := 1
			if r.Request == "" && strings.HasPrefix(r.Detail, "turned away") {
				_, _ = fmt.Sscanf(r.Detail, "turned away %d", &n)
			}
			counted += n
		}
		if len(got) > 100 || counted != calls {
			t.Errorf("%d records count %d calls", len(got), counted)
		}
	})
}
