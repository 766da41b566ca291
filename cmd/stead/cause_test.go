package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// refunding is a tool server that is told whom an agent acts for: the subject of its token, and _meta.
type refunding struct {
	mu    sync.Mutex
	calls []string // SUB who BEHIND
}

func (r *refunding) open(t *testing.T) string {
	s := sdk.NewServer(&sdk.Implementation{Name: "crm", Version: "1"}, nil)
	sdk.AddTool(s, &sdk.Tool{Name: "refund"}, func(_ context.Context, c *sdk.CallToolRequest, _ struct{}) (*sdk.CallToolResult, any, error) {
		meta := c.Params.GetMeta()
		told, _ := json.Marshal([]any{meta["stead.dev/principal"], meta["stead.dev/behind"]})
		r.mu.Lock()
		defer r.mu.Unlock()
		r.calls = append(r.calls, subjectOf(c.Extra.Header.Get("Authorization"))+" "+string(told))
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "refunded"}}}, nil, nil
	})
	srv := httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, nil))
	t.Cleanup(srv.Close)
	return srv.URL
}

func (r *refunding) last() (int, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.calls) == 0 {
		return 0, ""
	}
	return len(r.calls), r.calls[len(r.calls)-1]
}

// subjectOf is sub and the chain of a token; "": there is none.
func subjectOf(header string) string {
	parts := strings.Split(strings.TrimPrefix(header, "Bearer "), ".")
	if len(parts) != 3 {
		return "nobody"
	}
	var c struct {
		Sub    string
		Chain  []string `json:"stead.dev/chain"`
		Behind []string `json:"stead.dev/behind"`
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(c.Sub, c.Chain, c.Behind)
}

// TestATurnHasTheRightsOfAllWhoCausedIt: who writes into another's session, or copies it, has its agent do nothing that they may not do themselves,
// and nothing in the other's name.
func TestATurnHasTheRightsOfAllWhoCausedIt(t *testing.T) {
	for name, more := range map[string]string{"sqlite": "", "postgres": "database: " + pgtest.URL(t) + "\n"} {
		t.Run(name, func(t *testing.T) { rightsOfAll(t, more) })
	}
}

func rightsOfAll(t *testing.T, more string) {
	plain, known, agents := &refunding{}, &refunding{}, &refunding{}
	rules := t.TempDir()
	if err := os.WriteFile(filepath.Join(rules, "p.cedar"), []byte(`@id("owners") forbid(principal, action == Action::"tool.call", resource == Tool::"crm/refund") unless { principal in Role::"owner" };
@id("strange") forbid(principal, action == Action::"tool.call", resource) when { context.origin == "agent" && context has destination && context.destination == "127.0.0.1:1" };
@id("mallory") forbid(principal, action == Action::"tool.call", resource) when { context.behind.contains("user:mallory") };`), 0o600); err != nil {
		t.Fatal(err)
	}
	n := openConfigured(t, "auth: {mode: keys}\nlimits: {drain_seconds: 1}\nenvironments: {driver: bare}\npolicies: {directory: "+rules+"}\naudit: {decisions: denied}\n"+more+
		"identity: {trust_domain: acme.example, issuer: \"https://stead.example\"}\n"+
		"mcp_servers:\n  - {label: crm, url: \""+plain.open(t)+"\"}\n  - {label: mine, url: \""+known.open(t)+"\", auth: on_behalf_of, audience: mine}\n  - {label: agents, url: \""+agents.open(t)+"\", auth: workload, audience: agents}\n"+
		"providers: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n", io.Discard)
	h := &house{t: t, base: n.base, root: n.rootKey, keys: map[string]string{}}
	key := func(role, kind, id string, bound bool) string {
		var made struct{ Secret string }
		h.get(h.root, "POST", "/v1/api_keys", fmt.Sprintf(`{"role":%q,"project":"one","bound":%v,"principal":{"kind":%q,"id":%q}}`, role, bound, kind, id), &made)
		return made.Secret
	}
	ada, owner, dev, low := key("agent", "user", "ada", true), key("owner", "user", "own", false), key("developer", "service", "dev", false), key("agent", "service", "low", false)
	start := func(by, tool, text string) string {
		var made struct{ ID string }
		h.get(by, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim","tools":[`+tool+`]},"environment":{"type":"none"},"input":"`+text+`"}`, &made)
		h.rests(by, made.ID)
		return made.ID
	}
	mcp := func(label string) string {
		return `{"type":"mcp","server_label":"` + label + `","require_approval":"never"}`
	}
	// say has somebody call in a session, and gives what was shown of it.
	say := func(by, session, text string) string {
		if status, body := h.call(by, "POST", "/v1/agents/sessions/"+session+"/events", `{"events":[{"type":"agent.session.input.message","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":`+text+`}]}]}]}`); status/100 != 2 {
			t.Fatalf("%d %s", status, body)
		}
		h.rests(owner, session)
		_, items := h.call(owner, "GET", "/v1/agents/sessions/"+session+"/items?limit=100", "")
		return string(items)
	}
	const refund = `"Call refund with {}"`

	t.Run("the role of all", func(t *testing.T) {
		id := start(owner, mcp("crm"), "Call refund with {}")
		if calls, told := plain.last(); calls != 1 || !strings.Contains(told, `null`) {
			t.Fatalf("the owner's own call: %d, %s", calls, told)
		}
		if said := say(low, id, refund); !strings.Contains(said, "for service:low") {
			t.Errorf("it was not said for whom: %s", said)
		}
		if said := say(owner, id, refund); strings.Count(said, "for service:low") < 4 {
			t.Errorf("what it was told before is in its context: %s", said)
		}
		var copied struct{ ID string }
		h.get(low, "POST", "/v1/agents/sessions/"+id+"/fork", `{}`, &copied)
		say(low, copied.ID, refund)
		if calls, _ := plain.last(); calls != 1 {
			t.Errorf("%d calls: the lowest role acts as owner", calls)
		}
		var log struct {
			Data []struct{ Record struct{ Reason string } }
		}
		h.get(owner, "GET", "/v1/audit_records?action=tool.call&decision=deny&limit=100", "", &log)
		if text := fmt.Sprint(log.Data); !strings.Contains(text, "for service:low: policy owners forbids it") {
			t.Errorf("the audit log says %+v", log.Data)
		}
	})
	t.Run("the proof", func(t *testing.T) {
		id := start(ada, mcp("mine"), "Call refund with {}")
		if calls, told := known.last(); calls != 1 || !strings.HasPrefix(told, "project/one/user/ada[user:ada agent:") {
			t.Fatalf("ada's own call: %d, %s", calls, told)
		}
		var copied struct{ ID string }
		h.get(dev, "POST", "/v1/agents/sessions/"+id+"/fork", `{}`, &copied)
		if said := say(dev, copied.ID, refund); !strings.Contains(said, "user ada told the agent something") {
			t.Errorf("a copy: %s", said)
		}
		if said := say(ada, id, refund); strings.Contains(said, "told the agent something") {
			t.Errorf("ada's own session: %s", said)
		}
		mine := h.token(ada, id, `{"scope":["write"]}`)
		say(mine.Secret, id, refund)
		if calls, _ := known.last(); calls != 3 {
			t.Fatalf("%d calls: a token that ada made is hers", calls)
		}
		for who, by := range map[string]string{"service dev": dev, "service dev, by a token": h.token(dev, id, `{"scope":["write"]}`).Secret} {
			if said := say(by, id, refund); !strings.Contains(said, "service dev told the agent something") {
				t.Errorf("%s: %s", who, said)
			}
		}
		if calls, told := known.last(); calls != 3 {
			t.Errorf("%d calls, the last is %s: a developer acts as ada, with proof", calls, told)
		}
	})
	t.Run("the agent's own", func(t *testing.T) {
		id := start(ada, mcp("agents"), "Call refund with {}")
		say(dev, id, refund)
		if calls, told := agents.last(); calls != 2 || !strings.HasPrefix(told, "spiffe://acme.example/project/one/agent/") || !strings.Contains(told, "[agent:") || !strings.Contains(told, "[user:ada service:dev]") ||
			!strings.Contains(told, `[{"id":"ada","kind":"user"},[{"id":"dev","kind":"service"}]]`) {
			t.Errorf("%d calls, the last is %s", calls, told)
		}
	})
	t.Run("memories", func(t *testing.T) {
		var store struct{ ID string }
		h.get(owner, "POST", "/v1/memory_stores", `{"name":"notes"}`, &store)
		h.get(owner, "POST", "/v1/memory_stores/"+store.ID+"/memories", `{"content":"Ada salary is 90000","scope":{"type":"user","id":"ada"}}`, &struct{}{})
		h.get(owner, "POST", "/v1/memory_stores/"+store.ID+"/memories", `{"content":"The salary office is on floor 3"}`, &struct{}{})
		tools := `{"type":"memory","memory_stores":[{"id":"` + store.ID + `","access":"read_write"}],"recall":{"mode":"budgeted"},"extraction":{"memory_store_id":"` + store.ID + `","strategies":[]}}`
		const search = `Call memory_search with {\"query\":\"salary\"}`
		mine := start(ada, tools, search)
		if said := h.items(ada, mine, "90000"); !strings.Contains(said, "floor 3") {
			t.Errorf("ada's own: %s", said)
		}
		id := start(ada, tools, "Hello")
		said := say(dev, id, `"`+search+`"`)
		if strings.Contains(said, "90000") || !strings.Contains(said, "floor 3") || !strings.Contains(said, `"without":"Memories of user ada`) {
			t.Errorf("a developer is shown what is remembered of ada: %s", said)
		}
		var all struct {
			Data []struct {
				Scope  struct{ Type string }
				Source struct {
					Session string `json:"session_id"`
				}
			}
		}
		h.get(owner, "GET", "/v1/memory_stores/"+store.ID+"/memories?limit=100", "", &all)
		learned := map[string]int{}
		for _, m := range all.Data {
			learned[m.Source.Session]++
		}
		if learned[mine] == 0 || learned[id] > 2 {
			t.Errorf("of ada's session are remembered %d, of the other %d, where a developer spoke: %+v", learned[mine], learned[id], all)
		}
	})
	t.Run("what is approved", func(t *testing.T) {
		var made struct{ ID string }
		h.get(ada, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim","tools":[{"type":"mcp","server_label":"mine","require_approval":"always"}]},"environment":{"type":"none"},"input":"Hello"}`, &made)
		h.rests(ada, made.ID)
		h.call(dev, "POST", "/v1/agents/sessions/"+made.ID+"/events", `{"events":[{"type":"agent.session.input.message","input":"Call refund with {}"}]}`)
		type question struct {
			Actions []struct {
				Request struct {
					Digest string
					Call   struct {
						Class, Origin, Destination, For string
						Behind                          []string
						Agent                           struct{ ID string }
					}
				}
			} `json:"required_actions"`
		}
		var asked question
		for until := time.Now().Add(20 * time.Second); len(asked.Actions) == 0 && time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
			h.get(owner, "GET", "/v1/agents/sessions/"+made.ID, "", &asked)
		}
		if len(asked.Actions) != 1 {
			t.Fatalf("nothing is asked: %+v", asked)
		}
		c := asked.Actions[0].Request.Call
		if c.Class != "unknown" || c.Origin != "operator" || !strings.HasPrefix(c.Destination, "127.0.0.1:") || c.For != "user:ada" || fmt.Sprint(c.Behind) != "[service:dev]" || !strings.HasPrefix(c.Agent.ID, "agent_") {
			t.Errorf("whoever approves is shown %+v", c)
		}
	})
	t.Run("other tools", func(t *testing.T) {
		ops, id := key("operator", "user", "ops", false), start(ada, mcp("crm"), "Hello")
		update := "/v1/agents/sessions/" + id
		for _, body := range []string{`{"agent":{"tools":[]}}`, `{"agent":{"model":"sim"}}`} {
			if status, said := h.call(ops, "POST", update, body); status != http.StatusForbidden || !strings.Contains(string(said), "session.create") {
				t.Errorf("an operator starts nothing new: %d %s", status, said)
			}
		}
		h.get(ops, "POST", update, `{"metadata":{"a":"b"}}`, &struct{}{})
		h.get(dev, "POST", update, `{"agent":{"tools":[`+mcp("mine")+`]}}`, &struct{}{})
		if said := say(ada, id, refund); !strings.Contains(said, "service dev told the agent something") {
			t.Errorf("who gave it tools is behind what they do: %s", said)
		}
		_, log := h.call(owner, "GET", "/v1/audit_records?action=session.write&limit=100", "")
		if text := string(log); !strings.Contains(text, `"changed":"tools"`) || !strings.Contains(text, `"changed":"metadata"`) {
			t.Errorf("the audit log has %s", text)
		}
	})
	t.Run("who is behind", func(t *testing.T) {
		id := start(owner, mcp("agents"), "Hello")
		mallory := key("owner", "user", "mallory", false)
		if said := say(mallory, id, refund); !strings.Contains(said, "mallory") {
			t.Errorf("policies do not see who stands behind it: %s", said)
		}
	})
}
