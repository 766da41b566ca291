package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

// TestEachInputIsAskedAbout: who may answer questions, and no more, sends nothing else beside an answer; and who may write, and no
// more, answers nothing beside what they write.
func TestEachInputIsAskedAbout(t *testing.T) {
	h := openHouse(t)
	request := h.request()
	session := string(stead.SessionPrefix) + strings.Split(request, "_")[1]
	path := "/v1/agents/sessions/" + session + "/events"
	const answer = "answer"
	events := map[string]string{
		answer:    `{"type":"agent.session.input.mcp_approval_request_result","request_id":"` + request + `","response":{"type":"mcp_tool_call","decision":"deny"}}`,
		"outcome": `{"type":"agent.session.input.outcome_unknown_result","request_id":"req_x","response":{"decision":"give_up"}}`,
		"message": `{"type":"agent.session.input.message","input":"Say what nobody asked"}`,
		"cancel":  `{"type":"agent.session.input.cancel"}`,
		"result":  `{"type":"agent.session.input.tool_result","turn_id":"t","call_id":"c","success":true,"output":[{"type":"input_text","text":"x"}]}`,
	}
	answers := map[string]string{"an approver": h.keys["A"], "a token that approves": h.token(h.keys["O"], session, `{"scope":["approve"]}`).Secret}
	writes := h.token(h.keys["O"], session, `{"scope":["write"]}`).Secret
	refused := func(who, key string, kinds ...string) {
		t.Helper()
		list := make([]string, len(kinds))
		for i, kind := range kinds {
			list[i] = events[kind]
		}
		if status, body := h.call(key, "POST", path, `{"events":[`+strings.Join(list, ",")+`]}`); status != http.StatusForbidden {
			t.Errorf("%s sends %s: %d %s", who, strings.Join(kinds, " and "), status, body)
		}
	}
	for _, other := range []string{"message", "cancel", "result"} {
		for who, key := range answers {
			refused(who, key, other)
			for _, first := range []string{answer, "outcome"} {
				refused(who, key, other, first)
				refused(who, key, first, other)
			}
		}
		for _, first := range []string{answer, "outcome"} {
			refused("a token that writes", writes, first)
			refused("a token that writes", writes, other, first)
		}
	}
	if status, body := h.call(answers["an approver"], "POST", path, `{"events":[`+events[answer]+`]}`); status != http.StatusAccepted {
		t.Errorf("an approver answers alone, after all of that: %d %s", status, body)
	}
}
