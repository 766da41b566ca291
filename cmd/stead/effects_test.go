package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// agentDoes is how an agent comes to an effect: the rest of a session's request, and what stands in the session once it is done.
type agentDoes struct {
	body string // of POST /v1/agents/sessions, but for its model
	done string // among the session's items
	// more: it is asked about more than once on the way: by the listing of tools, and by the call.
	more bool
}

// TestEveryEffectOfAgentsCanWait goes through all effects: what agents do waits in their session where a policy wants an approval, is shown as what it is,
// and is done under the approval, once. What only people do is asked about by TestEveryChangeCanWait; what can't wait says so.
func TestEveryEffectOfAgentsCanWait(t *testing.T) {
	for _, driver := range []string{"sqlite", "postgres"} {
		t.Run(driver, func(t *testing.T) {
			var rules []string
			for _, e := range policy.Approvable() {
				rules = append(rules, fmt.Sprintf("    @id(%q) @approval(\"owner\") forbid(principal is Agent, action == Action::%q, resource) when { context.labels.hasTag(\"asks\") && context.labels.getTag(\"asks\") == %q };", e, e, e))
			}
			text := "environments: {driver: bare}\npolicies:\n  inline: |\n" + strings.Join(rules, "\n") + "\n"
			if driver == "postgres" {
				text += "database: " + pgtest.URL(t) + "\n"
			}
			g := openGuarded(t, firstToken) // before the server, which ends its links when it ends
			v := openVaulted(t, text)
			for e, does := range v.agentsDo(t, g) {
				if driver == "postgres" && !slices.Contains([]policy.Effect{policy.ModelCall, policy.EnvironmentOpen, policy.MemoryWrite, policy.CredentialUse}, e) {
					continue
				}
				t.Run(string(e), func(t *testing.T) {
					one := *v
					one.t = t
					one.waitsAndPasses(e, does)
				})
			}
		})
	}
}

// elsewhere are the effects of TestEveryChangeCanWait, which people have and no agent, and those that have a test of their own.
func elsewhere() []policy.Effect {
	return []policy.Effect{
		policy.SessionCreate, policy.SessionWrite, policy.SessionDelete, policy.SessionControl, policy.SessionTokenWrite, policy.AgentWrite, policy.EnvironmentWrite, policy.FileWrite,
		policy.VectorStoreWrite, policy.SkillWrite, policy.TemplateWrite, policy.UsageWrite, policy.BudgetWrite, policy.SemanticWrite, policy.VaultWrite, policy.KeyWrite,
		policy.NetworkConnect,                     // TestConnections of package approval, and the tests of environments' ways out
		policy.VectorStoreFileRead,                // as memory.entry.read
		policy.SemanticRead, policy.SemanticQuery, // as memory.read, by TestEffectsWithinSteps of package approval and TestEffectOfACallWaits of package runner
	}
}

// agentsDo is a table of all of them.
func (v *vaulted) agentsDo(t *testing.T, g *guarded) map[policy.Effect]agentDoes {
	t.Helper()
	vault, _ := v.credential(g.URL, firstToken)
	store := v.post("/v1/memory_stores", `{"name":"notes"}`)
	v.post("/v1/memory_stores/"+store+"/memories", `{"kind":"fact","content":"The lamp is green.","scope":{"type":"project"}}`)
	shelf := v.post("/v1/vector_stores", `{"name":"shelf"}`)
	mem := `{"type":"memory","memory_stores":[{"id":"` + store + `","access":"read_write"}],"scopes":"all"}`
	none := `,"environment":{"type":"none"}`
	hosted := `,"environment":{"type":"openai_hosted"}`
	guardedTool := `{"type":"mcp","server_label":"guarded","require_approval":"never","transport":{"type":"http","server_url":"` + g.URL + `"}}`
	out := map[policy.Effect]agentDoes{
		policy.ModelCall:          {body: `"tools":[]}` + none + `,"input":"Say hello"`, done: "hello"},
		policy.ToolCall:           {body: `"tools":[{"type":"environment"}]}` + hosted + `,"input":"Call shell with {\"command\": \"echo hel''lo\"}"`, done: "hello"},
		policy.SubagentCreate:     {body: `"tools":[],"multi_agent":{"enabled":true}}` + none + `,"input":"Call create_subagent with {\"message\": \"Say the lamp is green\"}"`, done: "agent_message"},
		policy.EnvironmentPrepare: {body: `"tools":[{"type":"environment"}]}` + hosted + `,"input":"Call shell with {\"command\": \"echo hel''lo\"}"`, done: "hello"},
		policy.EnvironmentOpen:    {body: `"tools":[{"type":"environment"}]}` + hosted + `,"input":"Call shell with {\"command\": \"echo hel''lo\"}"`, done: "hello"},
		policy.EnvironmentSave:    {body: `"tools":[{"type":"environment"}]}` + hosted + `,"input":"Call shell with {\"command\": \"echo hel''lo | tee a\"}"`, done: "hello"},
		policy.CredentialUse:      {body: `"tools":[` + guardedTool + `]}` + none + `,"input":"Call whoami with {}","vault_ids":["` + vault + `"]`, done: "you are", more: true},
		policy.MemoryRead:         {body: `"tools":[` + mem + `]}` + none + `,"input":"Call memory_search with {\"query\": \"lamp\"}"`, done: "green"},
		policy.MemoryEntryRead:    {body: `"tools":[` + mem + `]}` + none + `,"input":"Call memory_search with {\"query\": \"lamp\"}"`, done: "green"},
		policy.MemoryWrite:        {body: `"tools":[` + mem + `]}` + none + `,"input":"Call memory_add with {\"content\": \"The door is blue.\", \"kind\": \"fact\"}"`, done: "memory_"},
		policy.VectorStoreRead:    {body: `"tools":[{"type":"file_search","vector_store_ids":["` + shelf + `"]}]}` + none + `,"input":"Call file_search with {\"queries\":[\"refunds\"]}"`, done: "file_search"},
	}
	for _, e := range policy.Effects() {
		_, tested := out[e]
		if ways := tested || slices.Contains(elsewhere(), e); ways == (policy.NeverWaits()[e] != "") {
			t.Errorf("%s: whether it waits and passes once is tested nowhere, or it can't, and is", e)
		}
	}
	return out
}

// waitsAndPasses lets an agent come to an effect, looks at what is asked, and approves it.
func (v *vaulted) waitsAndPasses(e policy.Effect, does agentDoes) {
	v.t.Helper()
	id := v.post("/v1/agents/sessions", `{"metadata":{"asks":"`+string(e)+`"},"agent":{"model":"sim",`+does.body+`}`)
	asked := 0
	for begin := time.Now(); ; time.Sleep(3 * time.Millisecond) {
		var s struct {
			Status          string
			RequiredActions []struct {
				Type      string
				RequestID string `json:"request_id"`
				Request   struct {
					Name, Digest string
					Why          string
				}
			} `json:"required_actions"`
		}
		_, got := ask(v.t, v.n, "GET", "/v1/agents/sessions/"+id, "")
		if err := json.Unmarshal([]byte(got), &s); err != nil || time.Since(begin) > patience {
			v.t.Fatalf("%v %s", err, got)
		}
		if s.Status == "idle" {
			break
		}
		if s.Status != "requires_action" {
			continue
		}
		_, items := ask(v.t, v.n, "GET", "/v1/agents/sessions/"+id+"/items?limit=100", "")
		for _, a := range s.RequiredActions {
			if e != policy.ToolCall && e != policy.SubagentCreate && (a.Type != "effect_approval" || a.Request.Name != string(e)) || a.Request.Digest == "" || !strings.Contains(a.Request.Why, string(e)) {
				v.t.Fatalf("it asks %+v", a)
			}
			asked++
			res, said := ask(v.t, v.n, "POST", "/v1/approvals/"+a.RequestID, `{"decision":"approve","reason":"so","digest":"`+a.Request.Digest+`"}`)
			if res.StatusCode != http.StatusAccepted {
				v.t.Fatalf("%d %s", res.StatusCode, said)
			}
			if res, said = ask(v.t, v.n, "POST", "/v1/approvals/"+a.RequestID, `{"decision":"approve","digest":"`+a.Request.Digest+`"}`); res.StatusCode < 400 {
				v.t.Fatalf("a second answer is taken: %d %s", res.StatusCode, said)
			}
		}
		if strings.Contains(items, does.done) && does.done != "file_search" && e != policy.ModelCall && e != policy.MemoryWrite && e != policy.EnvironmentSave {
			v.t.Fatalf("it was done before it was approved: %s", items)
		}
	}
	_, items := ask(v.t, v.n, "GET", "/v1/agents/sessions/"+id+"/items?limit=100", "")
	if !strings.Contains(items, does.done) || strings.Contains(items, "not allowed") || strings.Contains(items, `"failed"`) {
		v.t.Errorf("it did not do it: %s", items)
	}
	if asked == 0 || asked > 1 && !does.more && e != policy.ModelCall {
		v.t.Errorf("it was asked about %d times", asked)
	}
}
