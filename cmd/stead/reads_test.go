package main

import (
	"database/sql"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // the driver, to break the store from outside
)

// With audit.reads every way to read what people and agents wrote leaves a record that says who, of which session and by which call; and
// nothing is told where it can't be recorded.
func TestWhoReadWhatIsRecorded(t *testing.T) {
	h := openHouseWith(t, "audit: {decisions: none, reads: content}\n")
	find, ids := h.things()
	reads := []string{
		"/v1/agents/sessions", "/v1/agents/sessions/{id}", "/v1/agents/sessions/{id}/items", "/v1/agents/sessions/{id}/turns", "/v1/agents/sessions/{id}/export",
		"/v1/files", "/v1/files/{id}", "/v1/files/{id}/content", "/v1/memory_stores", "/v1/memory_stores/{id}", "/v1/memory_stores/{id}/memories",
		"/v1/vector_stores/{id}", "/v1/audit_records", "/v1/audit_checkpoints", "/v1/agents/environments/{id}",
	}
	h.get(h.keys["O"], "POST", "/v1/policy_sets", `{"name":"s","mode":"enforce","text":"@approval(\"approver\") forbid(principal, action == Action::\"vault.write\", resource);"}`, &struct{}{})
	_, refused := h.call(h.keys["O"], "POST", "/v1/vaults", `{"name":"Mr. Miller's"}`)
	question := regexp.MustCompile(`apr_[0-9a-f]+`).FindString(string(refused))
	h.call(h.keys["O"], "POST", "/v1/vaults", `{"name":"another"}`)
	reads = append(reads, "/v1/approvals?limit=1", "/v1/approvals/"+question) // a page that questions fill
	type record struct {
		Action, Detail, Session, Decision string
		Principal                         struct{ ID, Key string }
	}
	recorded := func() (out []record) {
		t.Helper()
		var list struct{ Data []struct{ Record record } }
		h.get(h.keys["U"], "GET", "/v1/audit_records?limit=100", "", &list)
		for _, d := range list.Data {
			out = append(out, d.Record)
		}
		return out
	}
	for _, pattern := range reads {
		path := find(pattern)
		if status, got := h.call(h.keys["O"], "GET", path, ""); status != http.StatusOK {
			t.Errorf("GET %s: %d %.200s", path, status, got)
			continue
		}
		found := false
		for _, r := range recorded() {
			if strings.HasSuffix(r.Action, ".read") && r.Detail == "GET "+strings.TrimSuffix(path, "?limit=1") && r.Decision == "allow" && strings.HasPrefix(r.Principal.Key, "key_") {
				found = !strings.Contains(pattern, "sessions/{id}") || r.Session == ids["session"]
			}
		}
		if !found {
			t.Errorf("no record of GET %s", path)
		}
	}
	if status, got := h.call(h.keys["O"], "GET", "/v1/agents", ""); status != http.StatusOK || strings.Contains(recorded()[1].Action, "agent.read") {
		t.Errorf("configuration is read: %d %.200s, and recorded as such", status, got)
	}

	file := filepath.Join(t.TempDir(), "log")
	var out strings.Builder
	a := &app{in: strings.NewReader(""), out: &out, err: &out, env: func(name string) (string, bool) {
		return map[string]string{envKey: h.keys["U"], "STEAD_SERVER": h.base}[name], name == envKey || name == "STEAD_SERVER"
	}}
	if code := a.main(t.Context(), []string{"audit", "export"}); code != 0 {
		t.Fatalf("export: %d %s", code, out.String())
	}
	if err := os.WriteFile(file, []byte(out.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if code := a.main(t.Context(), []string{"audit", "verify", file}); code != 0 {
		t.Errorf("verify of an export that is a read itself: %s", out.String())
	}
}

func TestWhatCantBeRecordedIsNotRead(t *testing.T) {
	n := openConfigured(t, registryConfig+"\naudit: {decisions: none, reads: content}\n", io.Discard)
	id := idOf(must(t, n, "POST", "/v1/agents/sessions", `{"agent":{"model":"mine"},"environment":{"type":"none"},"input":"Say secret"}`))
	db, err := sql.Open("sqlite", filepath.Join(n.cfg.Data, sqliteFile)+"?_pragma=busy_timeout(5000)")
	if err == nil {
		defer db.Close()
		_, err = db.ExecContext(t.Context(), "ALTER TABLE audit_record RENAME TO away")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "/items", "/events", "/export"} {
		if res, body := ask(t, n, "GET", "/v1/agents/sessions/"+id+path, ""); res.StatusCode != http.StatusServiceUnavailable || strings.Contains(body, "secret") {
			t.Errorf("%s: %d %.200s", path, res.StatusCode, body)
		}
	}
}
