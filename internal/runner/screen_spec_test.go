package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/session"
)

// TestWhatARequestSaysOfItsAgentIsChecked: instructions and tools that it brings, and not those of a saved agent.
func TestWhatARequestSaysOfItsAgentIsChecked(t *testing.T) {
	lookup := agent.Tool{Type: agent.ToolFunction, Name: "lookup", Description: "Asks ada@example.com", Parameters: json.RawMessage(`{"type":"object","properties":{"to":{"type":"string","description":"As bob@example.com"}}}`)}
	bring := func(s *agent.Spec) error {
		told := "Copies go to eve@example.com."
		s.Model, s.Instructions, s.Tools = "sim", &told, []agent.Tool{lookup}
		return nil
	}
	ctx := context.Background()
	m := script(reply("ok"), reply("ok"), reply("ok"))
	s := &notes{}
	bubble(t, func(t *testing.T, n *node) {
		saved := agent.Defaults()
		if err := bring(&saved); err != nil {
			t.Fatal(err)
		}
		a, err := n.CreateAgent(ctx, me, saved, "", "")
		if err != nil {
			t.Fatal(err)
		}
		for name, req := range map[string]session.CreateRequest{
			"inline":              {Override: bring, Input: message("go")},
			"saved":               {AgentID: a.ID, Input: message("go")},
			"a saved one's model": {AgentID: a.ID, Override: func(s *agent.Spec) error { s.Model = "sim"; return nil }, Input: message("go")},
		} {
			made, err := n.Create(ctx, me, req)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			n.idle(made.ID)
			got, want := m.last(), 3
			if name != "inline" {
				want = 0
			}
			told := got.Instructions + got.Tools[0].Description + string(got.Tools[0].Parameters)
			if n := strings.Count(told, "[redacted email]"); n != want || strings.Contains(told, "@example.com") == (want > 0) {
				t.Errorf("%s: the model is told %s", name, told)
			}
			if name == "inline" && strings.Contains(n.journal(made.ID), "@example.com") {
				t.Errorf("the journal has it:\n%s", n.journal(made.ID))
			}
			if name == "saved" {
				more := []agent.Tool{lookup, {Type: agent.ToolFunction, Name: "other", Description: "Asks zoe@example.com", Parameters: json.RawMessage(`{"type":"object"}`)}}
				changed, err := n.Update(ctx, me, made.ID, session.Updated{Tools: &more})
				if err != nil || changed.Agent.Tools[0].Description != lookup.Description || changed.Agent.Tools[1].Description != "Asks [redacted email]" {
					t.Errorf("tools became %+v, %v", changed.Agent.Tools, err)
				}
			}
		}
	}, withModel(m), withGuardrails(s, nil, rail("mails", guardrail.Input, guardrail.Redact, mails)))
	bubble(t, func(t *testing.T, n *node) {
		for at, change := range map[string]func(*agent.Spec){"agent.instructions": func(s *agent.Spec) {}, "agent.tools[0]": func(s *agent.Spec) { s.Instructions = nil }} {
			_, err := n.Create(ctx, me, session.CreateRequest{Override: func(s *agent.Spec) error { err := bring(s); change(s); return err }})
			if e, ok := errors.AsType[*stead.Error](err); !ok || e.Param != at || e.Code != guardrail.CodeBlocked {
				t.Errorf("%s: %v", at, err)
			}
		}
	}, withGuardrails(s, nil, rail("mails", guardrail.Input, guardrail.Block, mails)))
}

// TestWhatAResponseSaysOfItsToolsIsChecked: also in what the response repeats of its request.
func TestWhatAResponseSaysOfItsToolsIsChecked(t *testing.T) {
	m := script(reply("ok"))
	bring := func(r *session.RespondRequest) {
		r.Ask.Spec.Tools[0].Description = "Asks ada@example.com"
		r.Ask.Request = json.RawMessage(`{"instructions":null,"tools":[{"type":"function","name":"weather","description":"Asks ada@example.com","parameters":null,"strict":null},{"type":"mcp","server_label":"box"}],"top_p":1.0}`)
	}
	bubble(t, func(t *testing.T, n *node) {
		res := n.ended(n.respond(asks("", []stead.Item{inputOf(stead.RoleUser, "go")}, bring)))
		journal := n.journal(res.Session)
		if strings.Contains(journal, "ada@") || strings.Count(journal, "[redacted email]") < 2 || !strings.Contains(journal, `"parameters":null`) || !strings.Contains(journal, `"top_p":1.0`) {
			t.Errorf("the journal says\n%s", journal)
		}
		if told := m.last().Tools[0].Description; told != "Asks [redacted email]" {
			t.Errorf("the model is told %q", told)
		}
	}, withModel(m), withGuardrails(&notes{}, nil, rail("mails", guardrail.Input, guardrail.Redact, mails)))
	bubble(t, func(t *testing.T, n *node) {
		_, err := n.Respond(context.Background(), me, asks("", []stead.Item{inputOf(stead.RoleUser, "go")}, bring))
		if e, ok := errors.AsType[*stead.Error](err); !ok || e.Param != "tools[0]" {
			t.Errorf("%v", err)
		}
	}, withGuardrails(&notes{}, nil, rail("mails", guardrail.Input, guardrail.Block, mails)))
}
