package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/erasure"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// shower is a server with two stores of memory, and with files.
type shower struct {
	*testing.T
	n                     *node
	store, vectors, tools string
}

func newShower(t *testing.T, n *node) *shower {
	t.Helper()
	s := &shower{T: t, n: n}
	s.store = idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"notes"}`))
	s.vectors = stored(t, n, "letter.txt", "The albatross of Quetzalcoatlus comes by post.")
	s.tools = `{"type":"file_search","vector_store_ids":["` + s.vectors + `"]},{"type":"memory","memory_stores":[{"id":"` + s.store + `","access":"read_write"}],"scope":"project"`
	return s
}

// begin makes a session whose agent is told what to do; recall is how it remembers by itself.
func (s *shower) begin(recall, text string) string {
	s.Helper()
	input, _ := json.Marshal(text)
	id := idOf(must(s.T, s.n, "POST", "/v1/agents/sessions", `{"environment":{"type":"none"},"agent":{"model":"mine","multi_agent":{"enabled":true},"tools":[`+s.tools+`,"recall":{"mode":"`+recall+`"}}]},"input":`+string(input)+`}`))
	idle(s.T, s.n, id)
	return id
}

func (s *shower) add(text string) string {
	s.Helper()
	return idOf(must(s.T, s.n, "POST", "/v1/memory_stores/"+s.store+"/memories", `{"content":"`+text+`","scope":{"type":"project"}}`))
}

// says is all that can be read of a session.
func (s *shower) says(id string) string {
	s.Helper()
	return itemsOf(s.T, s.n, id) + replayed(s.T, s.n, id) + must(s.T, s.n, "GET", "/v1/agents/sessions/"+id+"/export", "")
}

// erased waits for the certificate of an erasure.
func (s *shower) erased(request string) erasure.Certificate {
	s.Helper()
	e := wireErased{ID: idOf(must(s.T, s.n, "POST", "/v1/erasures", request))}
	done := comes(s.T, `"status":"`+erasure.Completed+`"`, func() string { return must(s.T, s.n, "GET", "/v1/erasures/"+e.ID, "") })
	if err := json.Unmarshal([]byte(done), &e); err != nil {
		s.Fatal(err)
	}
	return e.open(s.T)
}

// TestWhatIsForgottenIsInNoSession: what sessions were shown of a memory goes from there when it is erased: recalled by itself, found by
// the tool, by a subagent's, in copies; and from the files of the data directory. What stood beside it stays, and streams as it was.
func TestWhatIsForgottenIsInNoSession(t *testing.T) {
	const word, repeated = "Quetzalcoatlus", "Thylacosmilus"
	for name, database := range map[string]string{"SQLite": "", "PostgreSQL": pgtest.URL(t)} {
		t.Run(name, func(t *testing.T) {
			n := openOn(t, database)
			s := newShower(t, n)
			secret := s.add("The salary of Ada is known to " + word + ".")
			s.add("The salary of Bob is seventy.")
			const search = `Call memory_search with {"query":"salary"}` + "\nSay ok"
			sub, _ := json.Marshal(search)
			sessions := map[string]string{
				"recalled":   s.begin("always", "What is the salary of Ada?"),
				"found":      s.begin("off", search),
				"a subagent": s.begin("off", `Call create_subagent with {"message":`+string(sub)+`}`+"\nSay ok"),
				"a file":     s.begin("off", `Call file_search with {"queries":["albatross post"]}`+"\nSay ok"),
			}
			sessions["a copy"] = idOf(must(t, n, "POST", "/v1/agents/sessions/"+sessions["recalled"]+"/fork", `{}`))
			before := map[string]string{}
			for what, id := range sessions {
				if before[what] = s.says(id); !strings.Contains(before[what], word) {
					t.Fatalf("%s was not shown it: %s", what, before[what])
				}
			}
			must(t, n, "DELETE", "/v1/files/"+fileOf(t, n), "")
			c := s.erased(`{"memory_store_id":"` + s.store + `","memory_id":"` + secret + `"}`)
			if c.Erased.ShownSessions != 4 || c.Erased.ShownItems != 4 || c.Erased.Entries != 1 || len(c.Shown) != 4 {
				t.Errorf("the certificate says %+v", c)
			}
			for what, id := range sessions {
				comes(t, "gone", func() string { // of the file: behind its deletion
					if strings.Contains(s.says(id), word) {
						return s.says(id)
					}
					return "gone"
				})
				after := s.says(id)
				if what != "a file" && !strings.Contains(after, "seventy") {
					t.Errorf("%s: what stood beside it is gone: %s", what, after)
				}
				if !strings.Contains(after, "[redacted]") || strings.Count(after, "\nid: ") != strings.Count(before[what], "\nid: ") {
					t.Errorf("%s says\n%s\nand said\n%s", what, after, before[what])
				}
				ask(t, n, "POST", "/v1/agents/sessions/"+id+"/events", `{"events":[{"type":"agent.session.input.message","input":"Say zebra"}]}`)
				comes(t, `"text":"zebra"`, func() string { return itemsOf(t, n, id) })
				idle(t, n, id)
			}
			// What the agent says of it goes with answers, and nothing that was there before.
			pension := s.add("The pension of Eve is known to " + repeated + ".")
			says := s.begin("off", "Say aardvark")
			for want, text := range map[string]string{`"type":"mcp_call"`: `Call memory_search with {\"query\":\"pension\"}`,
				`"type":"agent_message"`: `Call create_subagent with {\"message\":\"Call memory_search with {\\\"query\\\":\\\"pension\\\"}\"}\nSay okapi`} {
				ask(t, n, "POST", "/v1/agents/sessions/"+says+"/events", `{"events":[{"type":"agent.session.input.message","input":"`+text+`"}]}`)
				comes(t, want, func() string { return itemsOf(t, n, says) })
				idle(t, n, says)
			}
			exported := func() string {
				return itemsOf(t, n, says) + must(t, n, "GET", "/v1/agents/sessions/"+says+"/export", "")
			}
			told := exported()
			c = s.erased(`{"memory_store_id":"` + s.store + `","memory_id":"` + pension + `","answers":true}`)
			if got := exported(); strings.Contains(got, repeated) || strings.Count(got, "aardvark") != strings.Count(told, "aardvark") || !strings.Contains(got, "pension") {
				t.Errorf("what it says: %s", got)
			}
			if !c.Answers || c.Erased.ShownSessions != 1 || c.Erased.ShownItems < 5 {
				t.Errorf("the certificate with answers says %+v", c)
			}
			s.add(word + " is back.") // somebody else's
			if got := s.says(sessions["recalled"]); strings.Contains(got, word) {
				t.Errorf("it is there again: %s", got)
			}
			c = s.erased(`{"scope":{"type":"project"}}`)
			if c.Erased.Entries != 2 || c.Erased.ShownSessions != 4 {
				t.Errorf("the certificate of the scope says %+v", c.Erased)
			}
			n.stop()
			nowhere(t, n.cfg.Data, word)
			nowhere(t, n.cfg.Data, repeated)
		})
	}
}

func fileOf(t *testing.T, n *node) string {
	t.Helper()
	var list struct{ Data []struct{ ID string } }
	if err := json.Unmarshal([]byte(must(t, n, "GET", "/v1/files", "")), &list); err != nil || len(list.Data) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	return list.Data[0].ID
}
