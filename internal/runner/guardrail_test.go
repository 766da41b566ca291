package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/sensitive"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// notes collects what a guard records.
type notes struct {
	mu   sync.Mutex
	list []guardrail.Finding
}

func (s *notes) of(on guardrail.Point) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, f := range s.list {
		if f.On == on {
			n++
		}
	}
	return n
}

// withGuardrails puts rules in force.
func withGuardrails(s *notes, j guardrail.Judge, rules ...guardrail.Rule) func(*node) {
	return with(func(c *runner.Config) {
		set, err := guardrail.Compile(rules, nil)
		if err != nil {
			panic(err)
		}
		c.Guardrails = guardrail.New(j, func(_ context.Context, _ guardrail.Subject, f guardrail.Finding, _ string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.list = append(s.list, f)
			return nil
		})
		c.Guardrails.Replace(set)
	})
}

func rail(name string, on guardrail.Point, action guardrail.Action, check guardrail.Check) guardrail.Rule {
	r := guardrail.Rule{Name: name, On: []guardrail.Point{on}, Action: action, Check: check}
	if action == guardrail.Ask {
		r.Needs = &policy.Needs{Roles: []stead.Role{"approver"}}
	}
	return r
}

var (
	mails = guardrail.Check{PII: []string{sensitive.Email}}
	curse = guardrail.Check{Patterns: []string{"(?i)darn"}}
)

// findings are what an event says that guardrails did.
func findings(t *testing.T, events []stead.Event, kind string) (all []guardrail.Finding) {
	t.Helper()
	for _, e := range events {
		if e.Kind != kind {
			continue
		}
		var p struct {
			Guardrails []guardrail.Finding `json:"guardrails"`
		}
		if err := json.Unmarshal(e.Data, &p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p.Guardrails...)
	}
	return all
}

// TestInputThatAGuardrailRedacts: the journal and the model have it as the guardrail left it, and nobody has the rest.
func TestInputThatAGuardrailRedacts(t *testing.T) {
	s := &notes{}
	m := script(reply("fine"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("I am ada@example.com").ID
		n.idle(id)
		n.send(id, says("or bob@example.com"))
		n.idle(id)
		if whole := n.journal(id); strings.Contains(whole, "@example") || strings.Count(whole, "[redacted email]") != 2 {
			t.Errorf("the journal has it:\n%s", whole)
		}
		if told := strings.Join(seen(m.last()), " "); strings.Contains(told, "@example") || !strings.Contains(told, "or [redacted email]") {
			t.Errorf("the model was told %q", told)
		}
		got := findings(t, n.events(id), session.KindInputMessage)
		if len(got) != 2 || got[0].Guardrail != "no-mails" || got[0].Found[sensitive.Email] != 1 || s.of(guardrail.Input) != 2 {
			t.Errorf("the journal says %+v, %d were recorded", got, s.of(guardrail.Input))
		}
		n.crash("node-2")
		n.send(id, says("again"))
		n.idle(id)
		if s.of(guardrail.Input) != 2 {
			t.Error("what the journal has was checked again")
		}
	}, withModel(m), withGuardrails(s, nil, rail("no-mails", guardrail.Input, guardrail.Redact, mails)))
}

// TestInputThatAGuardrailBlocks: the caller is told which, nothing of it is kept, and the session says that it happened.
func TestInputThatAGuardrailBlocks(t *testing.T) {
	s := &notes{}
	bubble(t, func(t *testing.T, n *node) {
		_, err := n.Create(context.Background(), me, session.CreateRequest{Override: specOf(), Input: message("Darn")})
		isKind(t, err, stead.KindInvalid)
		if heads, _ := n.store.Heads(context.Background(), me.Project, journal.Query{}); len(heads) != 0 {
			t.Errorf("%d sessions were made", len(heads))
		}
		id := n.create("hello").ID
		n.idle(id)
		err = n.Send(context.Background(), me, id, session.SendRequest{Inputs: []session.Input{says("darn it")}, Key: "k"})
		if stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), "guardrail manners") {
			t.Errorf("the caller is told %v", err)
		}
		n.idle(id)
		if got := findings(t, n.events(id), session.KindInputRefused); len(got) != 1 || got[0].Guardrail != "manners" || strings.Contains(n.journal(id), "darn") {
			t.Errorf("the journal has %+v", got)
		}
		if len(n.turns(id)) != 1 {
			t.Error("a turn was made of it")
		}
		// The key is still free: nothing was accepted with it.
		if err := n.Send(context.Background(), me, id, session.SendRequest{Inputs: []session.Input{says("dear")}, Key: "k"}); err != nil {
			t.Error(err)
		}
		n.idle(id)
		if _, err := n.Respond(context.Background(), me, asks("", []stead.Item{inputOf(stead.RoleUser, "hello"), inputOf(stead.RoleDeveloper, "DARN")})); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("a response: %v", err)
		}
		if _, err := n.CreateConversation(context.Background(), me, session.ConversationRequest{Items: []stead.Item{inputOf(stead.RoleUser, "darn")}}); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("a conversation: %v", err)
		}
	}, withGuardrails(s, nil, rail("manners", guardrail.Input, guardrail.Block, curse)))
}

// TestOutputIsHeldUntilAGuardrailHasSeenIt: nothing of a text that is blocked was ever shown or stored.
func TestOutputIsHeldUntilAGuardrailHasSeenIt(t *testing.T) {
	s := &notes{}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("Say hello").ID
		n.idle(id)
		live := n.watch(id, stead.Cursor{})
		n.send(id, says("Stream slowly every 50ms\nSay it goes to ada@example.com and then some more words"))
		n.idle(id)
		n.send(id, says("Stream slowly every 50ms\nSay one two three four darn five six"))
		n.idle(id)
		shown := ""
		for _, e := range live() {
			shown += e.text + e.final + "\n"
		}
		whole := n.journal(id)
		for _, never := range []string{"three four", "five six"} {
			if strings.Contains(shown, never) || strings.Count(whole, never) != 1 { // as the user said it
				t.Errorf("%q was shown, or stands in the journal", never)
			}
		}
		if !strings.Contains(shown, "[redacted email] and then some more words") || strings.Contains(shown, "ada@") {
			t.Errorf("shown was %q", shown)
		}
		turn := n.turns(id)[len(n.turns(id))-1]
		if last := n.turns(id)[0]; last.Error != nil {
			turn = last
		}
		if turn.Status != session.TurnFail || turn.Error == nil || !strings.Contains(turn.Error.Message, "guardrail manners") {
			t.Errorf("the turn ended as %+v", turn)
		}
		if got := findings(t, n.events(id), session.KindModelReplied); len(got) != 2 || got[0].Action != guardrail.Redact || got[1].Action != guardrail.Block || s.of(guardrail.Output) != 2 {
			t.Errorf("the journal says %+v", got)
		}
	}, withGuardrails(s, nil, rail("no-mails", guardrail.Output, guardrail.Redact, mails), rail("manners", guardrail.Output, guardrail.Block, curse)))
}

// TestCallsThatGuardrailsLookAt: one is refused, one is made with other arguments, and one waits for a person.
func TestCallsThatGuardrailsLookAt(t *testing.T) {
	s := &notes{}
	m := script(calls("launch", `{"n":"darn"}`), calls("launch", `{"n":"to ada@example.com"}`), calls("launch", `{"n":"delete"}`), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer()).ID
		got := n.until(id, status(session.StatusRequiresAction))
		if log := n.tools.log(); len(log) != 1 || string(log[0].Arguments) != `{"n":"to [redacted email]"}` {
			t.Fatalf("it was called as %v", log)
		}
		if said := seen(m.asked()[1])[2]; !strings.Contains(said, "refused by guardrail manners") {
			t.Errorf("of the first call the model was told %q", said)
		}
		if why := got.RequiredActions[0].Request.Message; !strings.Contains(why, "uardrail careful asks for approval") {
			t.Errorf("the question is %q", why)
		}
		n.crash("node-2")
		if err := n.approve(id, as("eve", "approver"), session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		n.idle(id)
		if log := n.tools.log(); len(log) != 2 || n.count(id, session.KindToolHeld) != 1 || s.of(guardrail.ToolCall) != 3 {
			t.Errorf("%d calls, events %q, %d decisions", len(log), n.kinds(id), s.of(guardrail.ToolCall))
		}
		if strings.Contains(n.journal(id), "@example") {
			t.Error("the journal has what was redacted")
		}
	}, withModel(m), withGuardrails(s, nil,
		rail("manners", guardrail.ToolCall, guardrail.Block, curse), rail("no-mails", guardrail.ToolCall, guardrail.Redact, mails),
		rail("careful", guardrail.ToolCall, guardrail.Ask, guardrail.Check{Patterns: []string{"delete"}})))
}

// TestFunctionsWaitForWhatGuardrailsAsk: the application is asked once a person has approved the call, also where no policy is in force.
func TestFunctionsWaitForWhatGuardrailsAsk(t *testing.T) {
	m := script(calls("pay", `{"n":"delete"}`), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", function("pay")).ID
		asked := n.until(id, status(session.StatusRequiresAction)).RequiredActions[0]
		if asked.Type != session.ActionMCPApproval || !strings.Contains(asked.Request.Why, "uardrail careful asks for approval") {
			t.Fatalf("required %+v", asked)
		}
		if err := n.approve(id, as("eve", "approver"), session.DecisionApprove); err != nil {
			t.Fatal(err)
		}
		s := n.until(id, func(s session.Session) bool {
			return len(s.RequiredActions) == 1 && s.RequiredActions[0].Type == session.ActionFunctionCall
		})
		n.send(id, answers(s.RequiredActions[0], "paid"))
		n.idle(id)
	}, withModel(m), withGuardrails(&notes{}, nil, rail("careful", guardrail.ToolCall, guardrail.Ask, guardrail.Check{Patterns: []string{"delete"}})))
}

// TestResultsThatGuardrailsLookAt: before the model sees them, whoever brings them.
func TestResultsThatGuardrailsLookAt(t *testing.T) {
	m := script(calls("look", `{}`), calls("look", `{}`), calls("pay", `{}`), reply("done"))
	answers := []string{"it is ada@example.com", "darn"}
	n := 0
	look := does{"look", tool.Pure, func(context.Context, tool.Call) (tool.Result, error) {
		n++
		return outputs(answers[n-1])
	}}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer(), function("pay")).ID
		s := n.until(id, status(session.StatusRequiresAction))
		n.send(id, session.Input{Result: &session.ToolResultInput{CallID: s.RequiredActions[0].CallID, Success: true, Output: stead.TextContent(stead.ContentInputText, "Darn you")}})
		n.idle(id)
		said := strings.Join(seen(m.last()), "\n")
		if strings.Count(said, "withheld by guardrail manners") != 2 || !strings.Contains(said, "it is [redacted email]") || strings.Contains(strings.ToLower(n.journal(id)), "darn") {
			t.Errorf("the model was told\n%s", said)
		}
		if got := findings(t, n.events(id), session.KindToolReturned); len(got) != 2 {
			t.Errorf("the journal says %+v", got)
		}
		if got := findings(t, n.events(id), session.KindInputToolResult); len(got) != 1 {
			t.Errorf("the journal says %+v", got)
		}
	}, withModel(m), withTools(having(look)), withGuardrails(&notes{}, nil, rail("manners", guardrail.ToolResult, guardrail.Block, curse), rail("no-mails", guardrail.ToolResult, guardrail.Redact, mails)))
}

// slowJudge takes its time, and counts.
type slowJudge struct {
	mu    sync.Mutex
	asked int
}

func (j *slowJudge) Judge(ctx context.Context, q guardrail.Question) (guardrail.Ruling, error) {
	j.mu.Lock()
	j.asked++
	j.mu.Unlock()
	lasts(ctx, time.Second)
	return guardrail.Ruling{Flagged: strings.Contains(q.Text, "darn")}, ctx.Err()
}

// TestAJudgeIsNotAskedTwice: neither after a crash, nor when a request is repeated.
func TestAJudgeIsNotAskedTwice(t *testing.T) {
	j := &slowJudge{}
	by := guardrail.Check{Judge: &guardrail.JudgeBy{Model: "small", Criteria: "It is rude."}}
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("Say hello").ID
		n.idle(id)
		asked := j.asked // input and output
		req := session.SendRequest{Inputs: []session.Input{says("Say hello again")}, Key: "k", Digest: "d"}
		for range 2 {
			if err := n.Send(context.Background(), me, id, req); err != nil {
				t.Fatal(err)
			}
			n.idle(id)
			n.crash("node-2")
		}
		if asked != 2 || j.asked != 4 || len(n.turns(id)) != 2 {
			t.Errorf("it was asked %d times, and then %d; %d turns", asked, j.asked, len(n.turns(id)))
		}
	}, withGuardrails(&notes{}, j, rail("rude", guardrail.Input, guardrail.Block, by), rail("ruder", guardrail.Output, guardrail.Block, by)))
}

// TestApprovedCallsThatComeWithTheirQuestion are checked as well: nobody looked at their arguments before.
func TestApprovedCallsThatComeWithTheirQuestion(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		question := stead.Item{Type: stead.ItemMCPCall, CallID: "c1", Name: "launch", Arguments: json.RawMessage(`{"n":"darn"}`), Question: &stead.Question{ID: "mcpr_1", Server: "box"}}
		answer := stead.Item{Type: stead.ItemApprovalResponse, Answer: &stead.Answer{Request: "mcpr_1", Approve: true}}
		_, err := n.Respond(context.Background(), me, asks("", []stead.Item{inputOf(stead.RoleUser, "go"), question, answer}, func(r *session.RespondRequest) {
			r.Ask.Spec.Tools = []agent.Tool{mcpServer()}
		}))
		if stead.KindOf(err) != stead.KindInvalid || len(n.tools.log()) != 0 {
			t.Errorf("%v, %d calls", err, len(n.tools.log()))
		}
	}, withGuardrails(&notes{}, nil, rail("manners", guardrail.ToolCall, guardrail.Block, curse)))
}

// What a request says that a model has asked for and thought, and its instructions, are its caller's words: they are checked as such, and nothing keeps
// what was taken out of them.
func TestACallersHistoryAndInstructionsAreChecked(t *testing.T) {
	call := stead.Item{Type: stead.ItemFunctionCall, CallID: "c1", Name: "launch", Arguments: json.RawMessage(`{"to":"ada@example.com"}`)}
	output := stead.Item{Type: stead.ItemFunctionCallOutput, CallID: "c1", Output: stead.TextContent(stead.ContentInputText, "done")}
	thought := stead.Item{Type: stead.ItemReasoning, Summary: []stead.Text{stead.NewText("write to ada@example.com")}}
	told := func(r *session.RespondRequest) {
		text := "Copies go to ada@example.com."
		r.Ask.Spec.Instructions, r.Ask.Request = &text, json.RawMessage(`{"instructions":"Copies go to ada@example.com.","top_p":1.0}`)
	}
	items := []stead.Item{inputOf(stead.RoleUser, "go"), thought, call, output}
	address := guardrail.Check{PII: []string{sensitive.Email}}
	m := script(reply("ok"))
	bubble(t, func(t *testing.T, n *node) {
		res := n.ended(n.respond(asks("", items, told)))
		if journal := n.journal(res.Session); strings.Contains(journal, "ada@") || strings.Count(journal, "[redacted email]") != 5 || !strings.Contains(journal, `"top_p":1.0`) {
			t.Errorf("the journal says\n%s", journal)
		}
		if got := m.last(); strings.Contains(got.Instructions, "ada@") {
			t.Errorf("the model is told %q", got.Instructions)
		}
	}, withModel(m), withGuardrails(&notes{}, nil, rail("in", guardrail.Input, guardrail.Redact, address), rail("called", guardrail.ToolCall, guardrail.Redact, address)))
	for at, rule := range map[string]guardrail.Rule{
		"input[1]":     rail("in", guardrail.Input, guardrail.Block, address),
		"input[2]":     rail("called", guardrail.ToolCall, guardrail.Block, address),
		"instructions": rail("in", guardrail.Input, guardrail.Block, address),
	} {
		bubble(t, func(t *testing.T, n *node) {
			list := items
			if at == "instructions" {
				list = items[:1]
			}
			_, err := n.Respond(context.Background(), me, asks("", list, told))
			if e, ok := errors.AsType[*stead.Error](err); !ok || e.Kind != stead.KindInvalid || e.Param != strings.TrimSuffix(at, "[1]") && e.Param != strings.TrimSuffix(at, "[2]") {
				t.Errorf("%s: %+v", at, err)
			}
		}, withGuardrails(&notes{}, nil, rule))
	}
	// Nobody is asked about a call that was made already.
	bubble(t, func(t *testing.T, n *node) {
		n.ended(n.respond(asks("", items)))
	}, withModel(script(reply("ok"))), withGuardrails(&notes{}, nil, rail("called", guardrail.ToolCall, guardrail.Ask, address)))
}

// TestCallsOfCodeAreLookedAtToo: what code in an environment calls is no way around, and what it prints is checked before
// anybody sees it.
func TestCallsOfCodeAreLookedAtToo(t *testing.T) {
	h := newComputers(nil)
	m := script(calls("run", echoHi), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		h.run = func(ctx context.Context, c tool.Call, b *computer) (tool.Result, error) {
			c.Output("I am ada@example.com")
			got := told(b.Tools.Call(ctx, "launch", []byte(`{"n":"darn"}`)))
			return outputs("I am ada@example.com and got " + got)
		}
		id := n.compute("go", mcpServer(), enabled())
		shown := n.watch(id, stead.Cursor{})
		n.idle(id)
		shown()
		if len(n.tools.log()) != 0 || n.count(id, session.KindToolStreamed) != 0 || strings.Contains(n.journal(id), "@example") {
			t.Errorf("%d calls, events %q", len(n.tools.log()), n.kinds(id))
		}
		if got := findings(t, n.events(id), session.KindToolRequested); len(got) != 1 || got[0].Guardrail != "manners" {
			t.Errorf("the journal says %+v", got)
		}
		said := strings.Join(seen(m.last()), "\n")
		if !strings.Contains(said, "I am [redacted email] and got failed The call was not made: it was refused by guardrail manners") {
			t.Errorf("the model was told %q", said)
		}
	}, withModel(m), withComputers(h), withGuardrails(&notes{}, nil,
		rail("manners", guardrail.ToolCall, guardrail.Block, curse), rail("no-mails", guardrail.ToolResult, guardrail.Redact, mails)))
}

// TestMemoriesThatGuardrailsLookAt: what is recalled before a turn is a result as well.
func TestMemoriesThatGuardrailsLookAt(t *testing.T) {
	both := fact("mem_1", "write to ada@example.com")
	both.Entries = append(both.Entries, fact("mem_2", "darn").Entries...)
	m := script(reply("fine"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin("hello", remembering).ID
		n.idle(id)
		said := strings.Join(seen(m.last()), "\n")
		if !strings.Contains(said, "write to [redacted email]") || strings.Contains(said, "darn") || strings.Contains(n.journal(id), "@example") {
			t.Errorf("the model was told %q", said)
		}
		if got := findings(t, n.events(id), session.KindMemoryRecalled); len(got) != 2 {
			t.Errorf("the journal says %+v", got)
		}
	}, withModel(m), withMemory(&memories{answers: []session.MemoryRecalled{both}}), withGuardrails(&notes{}, nil,
		rail("manners", guardrail.ToolResult, guardrail.Block, curse), rail("no-mails", guardrail.ToolResult, guardrail.Redact, mails)))
}

// TestSecretsAreMaskedInWhatACommandPrints: line by line while it runs, and in what the model is told.
func TestSecretsAreMaskedInWhatACommandPrints(t *testing.T) {
	builtin, _ := guardrail.Builtin(guardrail.BuiltinSecrets)
	token := "ghp_" + strings.Repeat("a1B2", 9)
	h := newComputers(nil)
	h.run = func(ctx context.Context, c tool.Call, _ *computer) (tool.Result, error) {
		for _, piece := range []string{"begin\n", "token=" + token[:11], token[11:] + "\nkey: -----BEGIN PRIVATE KEY-----\nMII", "Eow\n-----END PRIVATE KEY-----\n", "rest"} {
			c.Output(piece)
			if !lasts(ctx, time.Second) {
				return tool.Result{}, ctx.Err()
			}
		}
		return outputs("begin token=" + token + " rest")
	}
	m := script(calls("run", echoHi), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		n.idle(id)
		var pieces []string
		for _, p := range payloads[session.ToolStreamed](t, n, id, session.KindToolStreamed) {
			pieces = append(pieces, p.Text)
		}
		if got := strings.Join(pieces, "|"); got != "begin\n|token=[redacted github_token]\n|key: [redacted private_key]\n|rest" {
			t.Errorf("shown was %q", got)
		}
		if strings.Contains(n.journal(id), token) || strings.Contains(n.journal(id), "MII") {
			t.Error("the journal has it")
		}
		if said := strings.Join(seen(m.last()), "\n"); !strings.Contains(said, "begin token=[redacted github_token] rest") {
			t.Errorf("the model was told %q", said)
		}
	}, withModel(m), withComputers(h), withGuardrails(&notes{}, nil, builtin))
}
