package main

import (
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestRecordsSayWhatIsWritten: from the audit log alone it can be told what administrative acts were about to do, also when what they
// made is gone; and a key's records are in its own project's log, whoever made it.
func TestRecordsSayWhatIsWritten(t *testing.T) {
	n := openConfigured(t, "auth: {mode: keys}\nlimits: {drain_seconds: 1}\nproviders: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n", io.Discard)
	h := &house{t: t, base: n.base, root: n.rootKey, keys: map[string]string{}}
	var owner, key struct{ ID, Secret string }
	h.get(h.root, "POST", "/v1/api_keys", `{"name":"the owner","role":"owner","project":"two","principal":{"kind":"user","id":"ow"}}`, &owner)
	h.get(owner.Secret, "POST", "/v1/api_keys", `{"role":"agent","bound":true,"principal":{"kind":"user","id":"ada"}}`, &key)
	var made struct{ ID string }
	id := func(method, path, body string) string {
		t.Helper()
		made.ID = ""
		h.get(owner.Secret, method, path, body, &made)
		return made.ID
	}
	agent := id("POST", "/v1/agents", `{"model":"sim","name":"clerk","instructions":"one"}`)
	id("POST", "/v1/agents/"+agent, `{"instructions":"two"}`)
	kill := id("POST", "/v1/kill_switches", `{"scope":"user","of":"bob","reason":"he left"}`)
	id("DELETE", "/v1/kill_switches/"+kill, "")
	budget := id("POST", "/v1/budgets", `{"scope":"user","of":"ada","period":"month","limit":{"calls":100}}`)
	id("POST", "/v1/budgets/"+budget, `{"limit":{"calls":1000}}`)
	vault := id("POST", "/v1/vaults", `{"name":"v"}`)
	credential := id("POST", "/v1/vaults/"+vault+"/credentials", `{"name":"t","auth":{"type":"environment_variable","secret_name":"TOKEN","secret_value":"s3cr3t-s3cr3t","networking":{"type":"limited","allowed_hosts":["evil.example.com"]}}}`)
	id("DELETE", "/v1/vaults/"+vault+"/credentials/"+credential, "")
	session := id("POST", "/v1/agents/sessions", `{"agent_id":"`+agent+`","environment":{"type":"none"},"input":"hi"}`)
	token := id("POST", "/v1/agents/sessions/"+session+"/tokens", `{"scope":["read"],"expires_after_seconds":600}`)
	id("DELETE", "/v1/api_keys/"+key.ID, "")
	if status, body := h.call(h.root, "DELETE", "/v1/api_keys/"+owner.ID, ""); status/100 != 2 {
		t.Fatalf("%d %s", status, body)
	}

	var second struct{ Secret string }
	h.get(h.root, "POST", "/v1/api_keys", `{"role":"auditor","project":"two"}`, &second)
	records := func(secret, action string) (all []map[string]string) {
		var page struct {
			Data []struct {
				Record struct{ Written map[string]string }
			}
		}
		status, body := h.call(secret, "GET", "/v1/audit_records?order=asc&limit=100&action="+action, "")
		if status != 200 || json.Unmarshal(body, &page) != nil {
			t.Fatalf("%d %s", status, body)
		}
		for _, d := range page.Data {
			all = append(all, d.Record.Written)
		}
		return all
	}
	if got := records(h.root, "key.write"); len(got) != 0 {
		t.Errorf("the log of another project has records of keys: %v", got)
	}
	for action, want := range map[string][]map[string]string{
		"key.write": {
			{"name": "the owner", "role": "owner", "for": "user:ow", "bound": "false", "project": "two"}, {"role": "agent", "for": "user:ada", "bound": "true", "project": "two"},
			{"role": "agent", "for": "user:ada", "bound": "true", "project": "two"}, {"name": "the owner", "role": "owner", "for": "user:ow", "bound": "false", "project": "two"}, nil,
		},
		"kill_switch.write":   {{"id": kill, "scope": "user", "of": "bob"}, {"id": kill, "scope": "user", "of": "bob"}},
		"agent.write":         {{"id": agent, "name": "clerk", "version": "1"}, {"id": agent, "name": "clerk", "version": "2"}},
		"budget.write":        {{"id": budget, "scope": "user", "of": "ada", "limit": `{"calls":100}`}, {"id": budget, "scope": "user", "of": "ada", "limit": `{"calls":1000}`}},
		"vault.write":         {{"name": "v"}, {"type": "environment_variable", "secret_name": "TOKEN", "allowed_hosts": "evil.example.com"}, {"type": "environment_variable", "allowed_hosts": "evil.example.com"}},
		"session_token.write": {{"id": token, "scope": "read", "lifetime": "10m0s"}},
	} {
		got := records(second.Secret, action)
		if len(got) != len(want) {
			t.Errorf("%s: %d records, want %d: %v", action, len(got), len(want), got)
			continue
		}
		for i, w := range want {
			for _, name := range slices.Sorted(maps.Keys(w)) {
				if got[i][name] != w[name] {
					t.Errorf("%s %d says %v, want %s: %q", action, i, got[i], name, w[name])
				}
			}
		}
		if action == "kill_switch.write" && (len(got[0]["reason_digest"]) != 64 || got[0]["reason"] != "") {
			t.Errorf("why it was set stands beside the record, which says %v", got[0]) // so that it can go with whom it is about
		}
		if action == "agent.write" && (len(got[0]["digest"]) != 64 || got[0]["digest"] == got[1]["digest"]) {
			t.Errorf("two versions have the digests %q and %q", got[0]["digest"], got[1]["digest"])
		}
	}
	if _, log := h.call(second.Secret, "GET", "/v1/audit_records?limit=100", ""); strings.Contains(string(log), "s3cr3t") {
		t.Error("the log has a secret")
	}
}
