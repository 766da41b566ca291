package main

import (
	"regexp"
	"strings"
	"testing"
)

// What is forgotten is found nowhere else: not in what an agent said that had found it, nor in what was noted of that, and no new
// session is shown it. What users said stays, and what they want forgotten goes with the words in which they said it.
func TestWhatIsForgottenIsNotSaidAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		store := idOf(must(t, n, "POST", "/v1/memory_stores", `{"name":"notes"}`))
		memories := "/v1/memory_stores/" + store + "/memories"
		vectors := stored(t, n, "letter.txt", "Invoices of albatross come by post.")
		file := regexp.MustCompile(`file_[0-9a-f]+`).FindString(must(t, n, "GET", "/v1/files", ""))
		begin := func(text string) string {
			id := idOf(must(t, n, "POST", "/v1/agents/sessions", `{"environment":{"type":"none"},"agent":{"model":"mine","tools":[{"type":"file_search","vector_store_ids":["`+vectors+`"]},{"type":"memory",
				"memory_stores":[{"id":"`+store+`","access":"read_write"}],"scope":"project","recall":{"mode":"always"},"extraction":{"strategies":["fact","episode"],"scope":"project"}}]},"input":"`+text+`"}`))
			idle(t, n, id)
			comes(t, `"kind":"item"`, func() string { return must(t, n, "GET", memories+"?limit=100", "") })
			return id
		}
		all := func() string { return must(t, n, "GET", memories+"?limit=100", "") }
		learned := func(session string) { comes(t, session+`-learned`, func() string { return marked(all(), session) }) }
		gone := func(what, word, ask string) {
			t.Helper()
			if got := all(); strings.Contains(strings.ToLower(got), word) {
				t.Errorf("behind %s: %s", what, got)
			}
			if id := begin(ask); strings.Contains(strings.ToLower(recalled(itemsOf(t, n, id))), word) {
				t.Errorf("behind %s a new session is shown %s", what, itemsOf(t, n, id))
			}
		}

		entry := idOf(must(t, n, "POST", memories, `{"content":"Adas salary is ninety thousand zorkmids."}`))
		asked := begin(`Call memory_search with {\"query\":\"salary of Ada\"}`)
		learned(asked)
		has(t, "before", 200, recalled(itemsOf(t, n, begin("What is the salary of Ada?"))), "zorkmids")
		must(t, n, "DELETE", memories+"/"+entry, "")
		gone("an entry", "zorkmids", "What is the salary of Ada?")
		has(t, "what the user said", 200, all(), "salary of Ada")

		first := begin("Remember that the okapi project is cancelled.")
		learned(first)
		learned(begin(`Call memory_search with {\"query\":\"okapi cancelled\"}`))
		must(t, n, "DELETE", "/v1/agents/sessions/"+first, "")
		gone("a session", "project is cancelled", "What of the okapi?")

		learned(begin(`Call file_search with {\"queries\":[\"albatross invoices\"]}`))
		has(t, "before", 200, all(), "come by post")
		must(t, n, "DELETE", "/v1/files/"+file, "")
		gone("a file", "come by post", "Do invoices of albatross come?")

		locker := begin("My locker number is seventy.")
		learned(locker)
		fact := regexp.MustCompile(`mem_[0-9a-f]+`).FindString(must(t, n, "POST", "/v1/memory_stores/"+store+"/search", `{"query":"locker number","filters":{"kinds":["fact"]}}`))
		forgets := begin(`Call memory_forget with {\"memory_id\":\"` + fact + `\"}`)
		has(t, "the tool", 200, itemsOf(t, n, forgets), "Nor is what was said that it came from (1 memories)")
		gone("a fact", "seventy", "What is my locker number?")
	})
}

// recalled are the items of a list that were recalled.
func recalled(items string) string {
	var out []string
	for _, part := range strings.Split(items, `{"id":"`) {
		if strings.Contains(part, `"type":"memory_recall"`) {
			out = append(out, part)
		}
	}
	return strings.Join(out, "")
}

// marked says behind a list of memories whether an episode of a session is there, which is learned last.
func marked(list, session string) string {
	if episodeOf(list, session) != "" {
		return list + session + "-learned"
	}
	return list
}
