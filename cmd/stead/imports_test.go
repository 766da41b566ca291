package main

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// What an imported environment names here is had by whoever imports it, as it would be by a new one: a file says that a file of the project belongs
// into it, and policies say who may read that.
func TestAnImportReadsNoFilesThatItsImporterMayNot(t *testing.T) {
	h := openHouseWith(t, `policies: {inline: 'permit(principal, action, resource); @id("closed") forbid(principal in Role::"developer", action == Action::"file.read", resource);'}`+"\n")
	file := h.made(h.keys["O"], "POST", "/v1/files", "form")
	id := h.made(h.keys["O"], "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"openai_hosted","env":{"TOKEN":"s"},"files":[
		{"type":"file_id","file_id":"`+file+`","path":"/workspace/theirs"},{"type":"inline","data":"a2V4bGluZw==","path":"/workspace/brought"}]},"input":"Call shell with {\"command\": \"cat theirs brought\"}"}`)
	h.idle(h.keys["O"], id)
	status, export := h.call(h.keys["O"], "GET", "/v1/agents/sessions/"+id+"/export", "")
	if status != http.StatusOK || !strings.Contains(string(export), file) || !strings.Contains(string(export), `"sealed"`) {
		t.Fatalf("%d %s", status, export)
	}
	if status, body := h.call(h.keys["D"], "POST", "/v1/agents/sessions/import", string(export)); status != http.StatusForbidden || !strings.Contains(string(body), "environment.files[0].file_id") {
		t.Errorf("by one who may not read the file: %d %s", status, body)
	}
	for key, there := range map[string]bool{"O": true, "xO": false} { // the other project has no such file, and its workspace is there already
		key = h.keys[key]
		copied := h.made(key, "POST", "/v1/agents/sessions/import", string(export))
		var env struct{ Files []struct{ Path string } }
		h.get(key, "GET", "/v1/agents/environments/env_"+strings.TrimPrefix(copied, "sess_"), "", &env)
		if len(env.Files) != map[bool]int{true: 2, false: 1}[there] {
			t.Errorf("it has the files %+v", env.Files)
		}
		if status, body := h.call(key, "POST", "/v1/agents/sessions/"+copied+"/events", `{"events":[{"type":"agent.session.input.message","input":[{"role":"user","content":[{"type":"input_text","text":"Call shell with {\"command\": \"cat brought; exit 7\"}"}]}]}]}`); status/100 != 2 {
			t.Fatalf("%d %s", status, body)
		}
		said := ""
		for until := time.Now().Add(20 * time.Second); !strings.Contains(said, "Exit code 7") && time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
			_, items := h.call(key, "GET", "/v1/agents/sessions/"+copied+"/items?order=desc", "")
			said = string(items)
		}
		if !strings.Contains(said, "Exit code 7") || !strings.Contains(said, "kexling") {
			t.Errorf("its command said %s", said)
		}
		_, again := h.call(key, "GET", "/v1/agents/sessions/"+copied+"/export", "")
		if strings.Contains(string(again), `"sealed"`) || strings.Contains(string(again), file) != there {
			t.Errorf("its events have what is another's: %.300s", again)
		}
	}
}
