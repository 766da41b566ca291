package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// rests waits until a session is idle.
func (h *house) rests(key, session string) {
	h.t.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		var got struct{ Status string }
		if h.get(key, "GET", "/v1/agents/sessions/"+session, "", &got); got.Status == "idle" {
			return
		}
	}
	h.t.Fatalf("session %s does not rest", session)
}

// labelsOf are the labels of the memories of a store whose content has a text.
func (h *house) labelsOf(store, text string) (out []string) {
	h.t.Helper()
	var list struct {
		Data []struct {
			Content string
			Labels  []string
		}
	}
	h.get(h.keys["O"], "GET", "/v1/memory_stores/"+store+"/memories?limit=100", "", &list)
	for _, e := range list.Data {
		if strings.Contains(e.Content, text) {
			out = append(out, strings.Join(e.Labels, " "))
		}
	}
	return out
}

// TestWhatOneMayDoToMemories: nobody forgets what others remember, and labels stay with what they label.
func TestWhatOneMayDoToMemories(t *testing.T) {
	h := openHouse(t)
	owner := h.keys["O"]
	store := func(name string) string {
		var made struct{ ID string }
		h.get(owner, "POST", "/v1/memory_stores", `{"name":"`+name+`"}`, &made)
		return made.ID
	}
	shared := store("shared")
	memories := "/v1/memory_stores/" + shared + "/memories"
	var keys [2]string
	for i, user := range []string{"ada", "bob"} {
		var made struct{ Secret string }
		h.get(owner, "POST", "/v1/api_keys", `{"role":"agent","bound":true,"principal":{"kind":"user","id":"`+user+`"}}`, &made)
		keys[i] = made.Secret
	}
	ada, bob := keys[0], keys[1]
	var s, mine, forged struct{ ID string }
	h.get(ada, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"Say hi"}`, &s)
	from := `"source":{"session_id":"` + s.ID + `","item_id":"msg_1"}`
	h.get(ada, "POST", memories, `{"content":"ada likes tea","scope":{"type":"user","id":"ada"},`+from+`}`, &mine)
	there := func(when string) {
		t.Helper()
		if status, body := h.call(ada, "GET", memories+"/"+mine.ID, ""); status != http.StatusOK {
			t.Errorf("ada's memory %s: %d %.200s", when, status, body)
		}
	}
	h.get(bob, "POST", memories, `{"content":"x","kind":"item","scope":{"type":"user","id":"bob"},`+from+`}`, &forged)
	if status, body := h.call(bob, "DELETE", memories+"/"+forged.ID, ""); status != http.StatusOK {
		t.Fatal(status, string(body))
	}
	there("after bob deleted an item that says that it is of her session")
	if status, body := h.call(bob, "DELETE", "/v1/memory_stores/"+shared, ""); status != http.StatusForbidden {
		t.Errorf("a bound key deletes a store: %d %.200s", status, body)
	}
	there("after bob deleted the store")
	if status, body := h.call(owner, "POST", memories, `{"content":"x","labels":["hr\u0000salary"]}`); status != http.StatusBadRequest {
		t.Errorf("a label with a NUL: %d %.200s", status, body)
	}

	strangers := store("strangers")
	h.get(owner, "POST", "/v1/memory_stores/"+strangers+"/ingest", `{"session_id":"`+s.ID+`"}`, &struct{}{})
	if got := h.labelsOf(strangers, "Say hi"); !slices.Equal(got, []string{"untrusted"}) {
		t.Errorf("what ada said in her session and the owner took in has %q", got)
	}

	secrets, notes, ingested := store("secrets"), store("notes"), store("ingested")
	h.get(owner, "POST", "/v1/memory_stores/"+secrets+"/memories", `{"content":"Anna earns ninety thousand","labels":["salary"]}`, &struct{}{})
	h.get(owner, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim","tools":[{"type":"memory","memory_stores":[{"id":"`+secrets+`","access":"read_only"},{"id":"`+notes+`","access":"read_write"}]}]},
		"environment":{"type":"none"},"input":"Call memory_search with {\"query\": \"what does Anna earn\"}\nThen call memory_add with {\"content\": \"Her income is 90000\"}"}`, &s)
	h.rests(owner, s.ID)
	if got := h.labelsOf(notes, "90000"); !slices.Equal(got, []string{"salary untrusted"}) {
		t.Errorf("what an agent wrote after it had found a labelled memory has %q", got)
	}
	h.get(owner, "POST", "/v1/memory_stores/"+ingested+"/ingest", `{"session_id":"`+s.ID+`"}`, &struct{}{})
	if got := h.labelsOf(ingested, "Call memory_search"); !slices.Equal(got, []string{"salary"}) {
		t.Errorf("the owner's own message has %q", got)
	}
	all := h.labelsOf(ingested, "")
	if len(all) == 0 || slices.ContainsFunc(all, func(l string) bool { return !strings.Contains(l, "salary") }) {
		t.Errorf("what was taken in from a session has %q", all)
	}
}
