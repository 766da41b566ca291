package session

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
)

// TestAnAnswerCoversAllThatIsShown: whatever of it changes, it is another question; what may be secret is in the digest, and not shown.
func TestAnAnswerCoversAllThatIsShown(t *testing.T) {
	ada := stead.Principal{Project: "one", Kind: stead.PrincipalUser, ID: "ada", Role: "agent"}
	dev := stead.Principal{Project: "one", Kind: stead.PrincipalService, ID: "dev", Role: "developer"}
	open := func(change func(v *View, c *Call)) (*View, *Call) {
		v := NewView(stead.SessionKey{Project: "one", Session: "sess_1"})
		v.Created = Created{Principal: ada, Agent: AgentPin{ID: "agent_1", Version: 2, Spec: agent.Spec{Tools: []agent.Tool{
			{Type: agent.ToolMCP, ServerLabel: "theirs", Transport: &agent.Transport{Type: agent.TransportHTTP, ServerURL: "https://u:pw@Tools.example/mcp?key=s3cret", Headers: map[string]string{"X-Key": "s3cret"}}},
			{Type: agent.ToolMCP, ServerLabel: "crm"}, {Type: agent.ToolFileSearch, ServerLabel: agent.ToolFileSearch},
		}}}}
		v.Wrote = []stead.Principal{ada}
		c := &Call{Seq: 4, CallID: "call_1", Arguments: json.RawMessage(`{"n":1}`), State: CallApproval, Wrote: 1, Tool: ToolCall{Server: "theirs", Name: "refund", Effect: "unknown"}}
		if change != nil {
			change(v, c)
		}
		return v, c
	}
	v, c := open(nil)
	was, shown := v.Digest(c), mustJSON(v.callShown(c))
	want := `{"class":"unknown","origin":"agent","destination":"tools.example:443","server":{"url":"https://Tools.example/mcp","sha256":"`
	if text := string(shown); len(text) < len(want) || text[:len(want)] != want {
		t.Errorf("shown is %s", shown)
	}
	for name, change := range map[string]func(v *View, c *Call){
		"the class":        func(_ *View, c *Call) { c.Tool.Class = "pure" },
		"who is behind it": func(v *View, c *Call) { v.Wrote, c.Wrote = append(v.Wrote, dev), 2 },
		"who changed it":   func(_ *View, c *Call) { c.EditedBy = []stead.Principal{dev} },
		"for whom it is":   func(v *View, _ *Call) { v.Created.Principal = dev },
		"the agent":        func(v *View, _ *Call) { v.Created.Agent.ID = "agent_2" },
		"its version":      func(v *View, _ *Call) { v.Created.Agent.Version = 3 },
		"what it is of":    func(v *View, _ *Call) { v.Created.Agent.Base = "agent_0" },
		"what was read":    func(_ *View, c *Call) { c.Untrusted = []string{"mail"} },
		"a header":         func(v *View, _ *Call) { v.Created.Agent.Spec.Tools[0].Transport.Headers["X-Key"] = "other" },
		"the query": func(v *View, _ *Call) {
			v.Created.Agent.Spec.Tools[0].Transport.ServerURL = "https://tools.example/mcp?key=other"
		},
		"the server":        func(_ *View, c *Call) { c.Tool.Server = "crm" },
		"the arguments":     func(_ *View, c *Call) { c.Arguments = json.RawMessage(`{"n":2}`) },
		"where it goes":     func(_ *View, c *Call) { c.Tool.Server, c.Tool.Destination = "crm", "crm.example:443" },
		"the runtime's own": func(_ *View, c *Call) { c.Tool.Server = agent.ToolFileSearch },
		"a command":         func(_ *View, c *Call) { c.Tool.Server, c.Tool.Environment = "", true },
	} {
		if v, c := open(change); v.Digest(c) == was {
			t.Errorf("%s is not covered", name)
		}
	}
	for label, origin := range map[string]string{"theirs": DeclaredByAgent, "crm": DeclaredByOperator, agent.ToolFileSearch: DeclaredRuntime, "": DeclaredInside} {
		v, c := open(func(_ *View, c *Call) { c.Tool.Server, c.Tool.Environment = label, label == "" })
		if req := v.ToolRequest(c); req.Origin != origin || req.Effect != policy.ToolCall {
			t.Errorf("%q is of %q", label, req.Origin)
		}
	}
	// What is said later is behind later calls, and what is read later was not read when it was asked for.
	v, c = open(func(v *View, c *Call) {
		v.Wrote = append(v.Wrote, dev)
		v.Labelled = stead.Labels{LabelUntrusted: {"mail"}}
	})
	if v.Digest(c) != was {
		t.Error("the question changes while it stands")
	}
}

// What is recorded of a question, and goes to webhooks, has no secret that an agent wrote into its server's address or command, and stays small.
func TestWhatIsRecordedOfACallHasNoSecrets(t *testing.T) {
	ada := stead.Principal{Project: "one", Kind: stead.PrincipalUser, ID: "ada", Role: "agent"}
	for label, tt := range map[string]struct {
		declared agent.Transport
		want     string
	}{
		"hosted": {agent.Transport{Type: agent.TransportHTTP, ServerURL: "https://u:s3cret@Tools.example:8443/hooks/s3cret/mcp?key=s3cret#s3cret"}, `"url":"https://Tools.example:8443"`},
		"inside": {agent.Transport{Type: agent.TransportStdio, Command: "/opt/s3cret/bin/npx", Args: []string{"-y", "mcp", "--api-key", "s3cret"}}, `"program":"npx"`},
		"odd":    {agent.Transport{Type: agent.TransportHTTP, ServerURL: "s3cret"}, `"sha256":"`},
	} {
		v := NewView(stead.SessionKey{Project: "one", Session: "sess_1"})
		v.Created = Created{Principal: ada, Agent: AgentPin{ID: "agent_1", Spec: agent.Spec{Tools: []agent.Tool{{Type: agent.ToolMCP, ServerLabel: label, Transport: &tt.declared}}}}}
		for i := range 300 {
			v.Wrote = append(v.Wrote, stead.Principal{Project: "one", Kind: stead.PrincipalUser, ID: "user-" + strconv.Itoa(i)})
		}
		c := &Call{Seq: 4, CallID: "call_1", Arguments: json.RawMessage(`{"token":"s3cret"}`), State: CallApproval, Wrote: len(v.Wrote), Tool: ToolCall{Server: label, Name: "refund", Effect: "unknown"}}
		q := v.OfCall(c)
		for what, answer := range map[string]*policy.Answer{"asked": q.Put("ask"), "answered": q.Answered(ApprovalInput{Decision: DecisionApprove})} {
			b, err := json.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			text := string(b)
			sha := `"sha256":"` + v.callShown(c).Server.SHA256 + `"`
			if strings.Contains(text, "s3cret") || !strings.Contains(text, tt.want) || !strings.Contains(text, sha) || !strings.Contains(text, `"digest":"`+v.Digest(c)) {
				t.Errorf("%s, %s: %s", label, what, text)
			}
			if n := strings.Count(text, "user:user-"); n != 20 || !strings.Contains(text, `"anybody:anybody"`) || len(text) > 2048 {
				t.Errorf("%s, %s: %d are behind it, in %d bytes", label, what, n, len(text))
			}
		}
		if shown := v.callShown(c); len(shown.Behind) != 300 {
			t.Errorf("whoever approves is shown %d who are behind it", len(shown.Behind))
		}
	}
}
