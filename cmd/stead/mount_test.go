package main

import (
	"io"
	"strings"
	"testing"
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
	has(t, "a path that is none", 200, refused(t, n, store, "../x"), `"param":"agent.tools[0].memory_stores[0].path"`)
}

// refused is the answer to an agent whose mount is wrong.
func refused(t *testing.T, n *node, store, path string) string {
	t.Helper()
	_, got := ask(t, n, "POST", "/v1/agents/sessions", `{"environment":{"type":"none"},"agent":{"model":"mine","tools":[{"type":"memory","memory_stores":[{"id":"`+store+`","path":"`+path+`"}]}]}}`)
	return got
}
