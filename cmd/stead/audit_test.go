package main

import (
	"database/sql"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/postgres/pgtest"
	_ "modernc.org/sqlite" // the driver, to break the store from outside
)

// TestWhatCantBeRecordedIsNotDone: when the audit log can't be written, what changes something answers
// 503 and changes nothing, and what reads goes on; when it can again, so does the rest.
func TestWhatCantBeRecordedIsNotDone(t *testing.T) {
	n := openConfigured(t, registryConfig, io.Discard)
	db, err := sql.Open("sqlite", filepath.Join(n.cfg.Data, sqliteFile)+"?_pragma=busy_timeout(5000)") // the server writes as well
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rename := func(from, to string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), "ALTER TABLE "+from+" RENAME TO "+to); err != nil {
			t.Fatal(err)
		}
	}
	agents := func() int {
		t.Helper()
		res, body := ask(t, n, "GET", "/v1/agents", "")
		if res.StatusCode != http.StatusOK {
			t.Fatalf("agents can't be read: %d %s", res.StatusCode, body)
		}
		return strings.Count(body, `"id":"agent_`)
	}
	create := func(want int) {
		t.Helper()
		if res, body := ask(t, n, "POST", "/v1/agents", `{"model":"mine"}`); res.StatusCode != want {
			t.Errorf("creating an agent: %d, want %d: %s", res.StatusCode, want, body)
		}
	}
	rename("audit_record", "away")
	create(http.StatusServiceUnavailable)
	if n := agents(); n != 0 {
		t.Errorf("%d agents were made without a record", n)
	}
	rename("away", "audit_record")
	create(http.StatusOK)
	if n := agents(); n != 1 {
		t.Errorf("there are %d agents, want 1", n)
	}
}

// TestWhatAgentsDoIsRecorded: by both databases, also when the session is gone.
func TestWhatAgentsDoIsRecorded(t *testing.T) {
	for name, text := range map[string]string{"sqlite": registryConfig, "postgres": registryConfig + "\ndatabase: " + pgtest.URL(t) + "\n"} {
		t.Run(name, func(t *testing.T) {
			n := openConfigured(t, text, io.Discard)
			id := idOf(must(t, n, "POST", "/v1/agents/sessions", `{"agent":{"model":"mine"},"environment":{"type":"none"},"input":"Say hi"}`))
			for _, action := range []string{"session.create", "model.call"} {
				var body string
				for deadline := time.Now().Add(patience); !strings.Contains(body, `"session":"`+id) && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
					body = must(t, n, "GET", "/v1/audit_records?action="+action, "")
				}
				if !strings.Contains(body, `"session":"`+id) {
					t.Errorf("%s is not recorded: %s", action, body)
				}
			}
			for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) { // the turn ends behind its records
				if strings.Contains(must(t, n, "GET", "/v1/agents/sessions/"+id, ""), `"status":"idle"`) {
					break
				}
			}
			must(t, n, "DELETE", "/v1/agents/sessions/"+id, "")
			if body := must(t, n, "GET", "/v1/audit_records?action=model.call", ""); !strings.Contains(body, `"agent":"agent_`) || !strings.Contains(body, id) {
				t.Errorf("behind the session's deletion the log says %s", body)
			}
		})
	}
}
