package main

import (
	"regexp"
	"strings"
	"testing"
)

// TestWhatACommandReadOfAMemoryIsForgottenWithIt: also where the memory was a file for the first time in that very command, whose output is an
// item in the place of the reply that asked for it. What else the command wrote down, which is no copy of it, stays.
func TestWhatACommandReadOfAMemoryIsForgottenWithIt(t *testing.T) {
	needComputer(t)
	onBoth(t, func(t *testing.T, n *node) {
		store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"notes"}`))
		memories := "/v1/memory_stores/" + store + "/memories"
		all := func() string { return must(t, n, "GET", memories+"?limit=100", "") }
		begin := func(command string) string {
			id := idOf(must(t, n, "POST", "/v1/agents/sessions", `{"environment":{"type":"openai_hosted"},"agent":{"model":"mine","tools":[{"type":"memory","scope":"project",
				"memory_stores":[{"id":"`+store+`","access":"read_write","path":"memory/team"}],"extraction":{"strategies":[],"scope":"project"}}]},"input":"Call shell with {\"command\": \"`+command+`\"}"}`))
			idle(t, n, id)
			comes(t, `"author":"assistant"`, func() string { return all() })
			return id
		}
		secret := idOf(must(t, n, "POST", memories, `{"content":"The spare key lies under the quokka."}`))
		begin("cat memory/team/*.md; cat memory/team/*.md | tail -n 1 > memory/team/copy.md")
		if got := all(); strings.Count(got, "quokka") < 4 { // the memory, the copy, the output and the answer
			t.Fatalf("before: %s", got)
		}
		must(t, n, "DELETE", memories+"/"+secret, "")
		if got := all(); strings.Contains(got, "quokka") {
			t.Errorf("behind: %s", got)
		}

		begin("echo Lunch is at noon. > memory/team/lunch.md; echo Tea is at five. > memory/team/tea.md")
		found := must(t, n, "POST", "/v1/memory_stores/"+store+"/search", `{"query":"lunch noon","filters":{"kinds":["fact"]}}`)
		must(t, n, "DELETE", memories+"/"+regexp.MustCompile(`mem_[0-9a-f]+`).FindString(found), "")
		if got := all(); !strings.Contains(got, `"content":"Tea is at five."`) || strings.Contains(got, `"content":"Lunch is at noon."`) {
			t.Errorf("of two memories of one command one was forgotten: %s", got)
		}
	})
}
