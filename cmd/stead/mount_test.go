package main

import (
	"io"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// A memory store is files of the agent's computer: what commands write there becomes versions and entries, untrusted, once, and
// stands in the journal; what others write is seen by the next command; what is not the session's is not there.
func TestMemoryStoresAsFiles(t *testing.T) {
	needComputer(t)
	n := openConfigured(t, registryConfig, io.Discard)
	store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"notes"}`))
	memories := "/v1/memory_stores/" + store + "/memories"
	deploy := idOf(must(t, n, "POST", memories, `{"content":"The deploy window is on Tuesdays.","labels":["ops"]}`))
	must(t, n, "POST", memories, `{"content":"The secret of mallory.","scope":{"type":"user","id":"mallory"}}`)
	session := idOf(must(t, n, "POST", "/v1/agents/sessions", `{"environment":{"type":"openai_hosted"},"agent":{"model":"mine","tools":[{"type":"memory",
		"memory_stores":[{"id":"`+store+`","access":"read_write","path":"memory/team"}]}]},
		"input":"Call shell with {\"command\": \"cat memory/team/*.md; sed -i s/Tuesdays/Fridays/ memory/team/`+deploy+`.md; echo They drink tea. > memory/team/tea.md; mkdir memory/team/sub; echo x > memory/team/sub/n.md\"}"}`))
	idle(t, n, session)
	items := itemsOf(t, n, session)
	has(t, "the command", 200, items, "The deploy window is on Tuesdays.", "memory stores: new memories: "+store+"/mem_", "changed memories: "+store+"/"+deploy, "memory/team/sub/n.md: no memory is made of that")
	if strings.Contains(items, "mallory") {
		t.Errorf("another user's memory is in the workspace: %s", items)
	}
	all := must(t, n, "GET", memories, "")
	has(t, "the store", 200, all, "The deploy window is on Fridays.", "They drink tea.", `"labels":["ops","untrusted"]`, `"session_id":"`+session+`"`)
	must(t, n, "POST", memories, `{"content":"Lunch is at noon."}`)
	ask(t, n, "POST", "/v1/agents/sessions/"+session+"/events", `{"events":[{"type":"agent.session.input.message","input":"Call shell with {\"command\": \"grep -h noon memory/team/*.md\"}"}]}`)
	comes(t, `"output":"Lunch is at noon.`, func() string { return itemsOf(t, n, session) })
	idle(t, n, session)
	if now := must(t, n, "GET", memories, ""); strings.Count(now, `"object":"memory"`) != 4 || strings.Count(now, `"version":2`) != 1 {
		t.Errorf("something was written twice: %s", now)
	}
	has(t, "a path of artifacts", 200, refused(t, n, store, "outputs/team"), `"param":"agent.tools[0].memory_stores[0].path"`, "become artifacts")
	has(t, "a path that is none", 200, refused(t, n, store, "../x"), `"param":"agent.tools[0].memory_stores[0].path"`)
}

// refused is the answer to an agent whose mount is wrong.
func refused(t *testing.T, n *node, store, path string) string {
	t.Helper()
	_, got := ask(t, n, "POST", "/v1/agents/sessions", `{"environment":{"type":"none"},"agent":{"model":"mine","tools":[{"type":"memory","memory_stores":[{"id":"`+store+`","path":"`+path+`"}]}]}}`)
	return got
}

// TestFilesOfMemoriesWaitForApproval: what a command wrote into a file of a memory store stays in the file until that very text is approved, and is a memory with the next command then, once.
func TestFilesOfMemoriesWaitForApproval(t *testing.T) {
	needComputer(t)
	for name, database := range map[string]string{"SQLite": "", "PostgreSQL": pgtest.URL(t)} {
		t.Run(name, func(t *testing.T) {
			text := "policies:\n  inline: |\n    @id(\"notes\") @approval(\"owner\") forbid(principal is Agent, action == Action::\"memory.write\", resource);\n" + registryConfig
			if database != "" {
				text += "database: " + database + "\n"
			}
			n := openConfigured(t, text, io.Discard)
			store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"notes"}`))
			memories := "/v1/memory_stores/" + store + "/memories"
			deploy := idOf(must(t, n, "POST", memories, `{"content":"The deploy window is on Tuesdays."}`))
			session := idOf(must(t, n, "POST", "/v1/agents/sessions", `{"environment":{"type":"openai_hosted"},"agent":{"model":"mine","tools":[{"type":"memory",
				"memory_stores":[{"id":"`+store+`","access":"read_write","path":"memory/team"}]}]},
				"input":"Call shell with {\"command\": \"sed -i s/Tuesdays/Fridays/ memory/team/`+deploy+`.md; echo They drink tea. > memory/team/tea.md\"}\nSay one"}`))
			runs := func(command, marker string) {
				t.Helper()
				ask(t, n, "POST", "/v1/agents/sessions/"+session+"/events", `{"events":[{"type":"agent.session.input.message","input":"Call shell with {\"command\": \"`+command+`\"}\nSay `+marker+`"}]}`)
				comes(t, `"text":"`+marker+`"`, func() string { return itemsOf(t, n, session) })
				idle(t, n, session)
			}
			asked := func(file string) (last string) { // the request about a file
				t.Helper()
				for _, q := range strings.Split(must(t, n, "GET", "/v1/approvals?limit=100", ""), `"kind":"request","id":"`)[1:] {
					if strings.Contains(q, `"pinned":"memory/team/`+file) && strings.Contains(q, "SHA-256 ") {
						last = q[:strings.Index(q, `"`)]
					}
				}
				return last
			}
			approve := func(request string) {
				t.Helper()
				if res, said := ask(t, n, "POST", "/v1/approvals/"+request, `{"decision":"approve","reason":"so"}`); res.StatusCode >= 300 {
					t.Fatalf("%s: %d %s\n%s", request, res.StatusCode, said, must(t, n, "GET", "/v1/approvals?limit=100", ""))
				}
			}
			idle(t, n, session)
			has(t, "the command", 200, itemsOf(t, n, session), "memory/team/tea.md waits for an approval (apr_", "memory/team/"+deploy+".md waits for an approval (apr_")
			approve(asked("tea.md"))
			runs("cat memory/team/"+deploy+".md; echo They drink wine. > memory/team/wine.md; ls memory/team", "two")
			if items := itemsOf(t, n, session); !strings.Contains(items, "is on Fridays") || strings.Contains(items, "conflict.md") {
				t.Errorf("the file that waits was put aside: %s", items)
			}
			all := must(t, n, "GET", memories, "") // tea was approved, and written before the command; wine was not
			if !strings.Contains(all, "They drink tea.") || strings.Contains(all, "wine") || strings.Contains(all, "Fridays") {
				t.Errorf("the store has %s", all)
			}
			wine := asked("wine.md")
			runs("sed -i s/wine/beer/ memory/team/wine.md", "three")
			approve(wine) // which is not what the file says any more
			approve(asked(deploy))
			runs("true", "four")
			if all = must(t, n, "GET", memories, ""); !strings.Contains(all, "on Fridays") || strings.Contains(all, "wine") || strings.Contains(all, "beer") || strings.Count(all, `"object":"memory"`) != 2 {
				t.Errorf("then the store has %s", all)
			}
		})
	}
}
