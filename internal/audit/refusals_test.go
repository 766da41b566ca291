package audit_test

import (
	"errors"
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

// refusedCall is the record of one.
func refusedCall(who, act string) audit.Record {
	return audit.Record{
		Project: stead.DefaultProject, Principal: audit.Principal{Kind: stead.PrincipalUser, ID: who, Key: "key_1"}, Action: audit.ActCall, Decision: audit.Deny, By: "kill_switch",
		Reason: "her laptop is lost", Quotes: "boss", About: who, Policies: []string{"kill_1"}, Request: "req_1", From: "192.0.2.1", Detail: act,
	}
}

// TestRefusalsAreCounted: the first of a caller and a call is recorded before it is answered, and the rest of a minute is one record with their number.
func TestRefusalsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &audittest.Memory{}
		s := audit.NewRefusals(audit.NewLog(store), time.Now, slog.New(slog.DiscardHandler))
		refuse := func(who, act string, times int) {
			t.Helper()
			for range times {
				if err := s.Refused(t.Context(), refusedCall(who, act)); err != nil {
					t.Fatal(err)
				}
			}
		}
		refuse("eve", "GET /v1/agents", 1000)
		refuse("eve", "DELETE /v1/agents/a", 1)
		refuse("bob", "GET /v1/agents", 2)
		if got := recordsOf(t, store); len(got) != 3 || got[0].Detail != "GET /v1/agents" || got[1].Detail != "DELETE /v1/agents/a" || got[2].Principal.ID != "bob" || got[0].Request != "req_1" {
			t.Errorf("at once: %+v", got)
		}
		time.Sleep(audit.RefusalWindow)
		synctest.Wait()
		told := map[string]audit.Record{}
		for _, r := range recordsOf(t, store)[3:] {
			told[r.Principal.ID] = r
		}
		if e := told["eve"]; len(told) != 2 || e.Detail != "GET /v1/agents, refused 999 more times" || e.Decision != audit.Deny || e.Policies[0] != "kill_1" || told["bob"].Detail != "GET /v1/agents, refused 1 more times" {
			t.Errorf("after the window: %+v", told)
		}
		refuse("eve", "GET /v1/agents", 2)
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := recordsOf(t, store); len(got) != 7 || got[6].Detail != "GET /v1/agents, refused 1 more times" {
			t.Errorf("when it is closed: %+v", got)
		}
	})
}

// TestAStoppedCallerWritesAFewRecords: whatever they ask for, a minute of it is a few records, and all of it is counted.
func TestAStoppedCallerWritesAFewRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &audittest.Memory{}
		s := audit.NewRefusals(audit.NewLog(store), time.Now, slog.New(slog.DiscardHandler))
		const calls = 5000
		for n := range calls {
			if err := s.Refused(t.Context(), refusedCall("eve", fmt.Sprintf("GET /v1/agents/%d", n%1000))); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, counted := recordsOf(t, store), 0
		for _, r := range got {
			n, more := 0, r.Detail[strings.LastIndex(r.Detail, "refused")+len("refused"):]
			if !strings.Contains(r.Detail, "refused") {
				n = 1
			} else if _, err := fmt.Sscan(more, &n); err != nil {
				t.Fatal(r.Detail, err)
			}
			counted += n
		}
		if len(got) != 2*audit.MaxRefusalKinds+1 || counted != calls {
			t.Errorf("%d records of %d calls, want %d of %d", len(got), counted, 2*audit.MaxRefusalKinds+1, calls)
		}
	})
}

// TestARefusalThatCantBeRecordedIsSaid: the caller of it knows, and the next one is recorded in full in its place.
func TestARefusalThatCantBeRecordedIsSaid(t *testing.T) {
	store := &audittest.Memory{}
	store.Fail(errors.New("no room"))
	s := audit.NewRefusals(audit.NewLog(store), time.Now, slog.New(slog.DiscardHandler))
	for range 2 {
		if err := s.Refused(t.Context(), refusedCall("eve", "GET /v1/agents")); err == nil {
			t.Error("it was not recorded, and nobody knows")
		}
	}
	store.Fail(nil)
	for range 2 {
		if err := s.Refused(t.Context(), refusedCall("eve", "GET /v1/agents")); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := recordsOf(t, store); len(got) != 2 || got[0].Request != "req_1" || got[1].Detail != "GET /v1/agents, refused 1 more times" {
		t.Errorf("recorded is %+v", got)
	}
}
