package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func none() openai.EnvironmentParamUnion {
	return openai.EnvironmentParamUnion{OfParamNone: &openai.EnvironmentParamNone{}}
}

func params(input string, tools ...openai.AgentToolParamUnion) openai.BetaAgentSessionNewParams {
	return openai.BetaAgentSessionNewParams{
		Environment: none(),
		Agent:       openai.BetaAgentSessionNewParamsAgent{Model: openai.String("sim"), Tools: tools},
		Input:       openai.BetaAgentSessionNewParamsInputUnion{OfString: openai.String(input)},
	}
}

func weatherTool() openai.AgentToolParamUnion {
	return openai.AgentToolParamOfParamFunction("The weather of a city", "get_weather", map[string]any{
		"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}, "required": []string{"city"},
	})
}

// settled polls until the session is in the status.
func settled(t *testing.T, ctx context.Context, client openai.Client, id, status string) *openai.AgentSession {
	t.Helper()
	for {
		s, err := client.Beta.Agents.Sessions.Get(ctx, id)
		if err != nil {
			t.Fatalf("waiting for %s: %v", status, err)
		}
		if string(s.Status) == status {
			return s
		}
		time.Sleep(10 * time.Millisecond) // the deadline is ctx's
	}
}

func TestCreateAndFollow(t *testing.T) {
	_, client, ctx := setup(t)
	sessions := client.Beta.Agents.Sessions
	stream := sessions.NewStreaming(ctx, params("Think it over\nSay hello there"))
	res, err := openai.BetaAgentSessionFinalResult(stream)
	if err != nil {
		t.Fatal(err)
	}
	if res.OutputText() != "hello there" || string(res.Turn.Status) != "completed" {
		t.Errorf("result %q, turn %s", res.OutputText(), res.Turn.Status)
	}
	id := res.SessionID()

	// A second turn, on the session's own stream, with a tool that the session lacks till now.
	if _, err := sessions.Update(ctx, id, openai.BetaAgentSessionUpdateParams{
		Agent: openai.BetaAgentSessionUpdateParamsAgent{Tools: &[]openai.AgentToolParamUnion{weatherTool()}}, Metadata: map[string]string{"k": "v"},
	}); err != nil {
		t.Fatal(err)
	}
	asked := ""
	second := sessions.Stream(ctx, id, openai.AgentSessionStreamParams{
		Input: `Call get_weather with {"city":"Paris"}`,
		ToolHandlers: map[string]openai.AgentToolHandler{"get_weather": func(_ context.Context, args map[string]any) (any, error) {
			asked = fmt.Sprint(args["city"])
			return "21 degrees", nil
		}},
	})
	out, err := second.FinalResult()
	if err != nil {
		t.Fatal(err)
	}
	if asked != "Paris" || !strings.Contains(out.OutputText(), "21 degrees") {
		t.Errorf("asked %q, answered %q", asked, out.OutputText())
	}

	var types []string
	items := sessions.Items.ListAutoPaging(ctx, id, openai.BetaAgentSessionItemListParams{Limit: openai.Int(2), Order: "asc"})
	for items.Next() {
		types = append(types, items.Current().Type)
	}
	want := []string{"message", "reasoning", "message", "message", "function_call", "function_call_output", "message"}
	if err := items.Err(); err != nil || !slices.Equal(types, want) {
		t.Errorf("items %v %v, want %v", types, err, want)
	}
	var turns []string
	pages := sessions.Turns.ListAutoPaging(ctx, id, openai.BetaAgentSessionTurnListParams{Limit: openai.Int(1)})
	for pages.Next() {
		turns = append(turns, pages.Current().ID)
	}
	if err := pages.Err(); err != nil || !slices.Equal(turns, []string{out.TurnID(), res.TurnID()}) {
		t.Errorf("turns %v %v", turns, err)
	}
	page, err := sessions.Turns.Items.List(ctx, id, out.TurnID(), openai.BetaAgentSessionTurnItemListParams{})
	if err != nil || len(page.Data) != 4 {
		t.Errorf("items of the second turn: %v %v", page, err)
	}
	found, err := sessions.List(ctx, openai.BetaAgentSessionListParams{Metadata: &map[string]string{"k": "v"}})
	if err != nil || len(found.Data) != 1 || found.Data[0].ID != id {
		t.Errorf("sessions with k=v: %v %v", found, err)
	}
	if d, err := sessions.Delete(ctx, id); err != nil || !d.Deleted {
		t.Errorf("delete: %v", err)
	}
	if _, err := sessions.Get(ctx, id); err == nil {
		t.Error("a deleted session is still there")
	}
}

func TestStructuredOutput(t *testing.T) {
	_, client, ctx := setup(t)
	type weather struct {
		City    string `json:"city"`
		Degrees int    `json:"degrees"`
	}
	output, err := openai.NewBetaAgentOutput(map[string]any{
		"type": "object", "additionalProperties": false, "required": []string{"city", "degrees"},
		"properties": map[string]any{"city": map[string]any{"type": "string"}, "degrees": map[string]any{"type": "integer"}},
	}, func(b []byte) (w weather, err error) { return w, json.Unmarshal(b, &w) })
	if err != nil {
		t.Fatal(err)
	}
	p := params(`Say {"city":"Paris","degrees":21}`)
	p.Agent.Text.Format = output.Format()
	res, err := output.FinalResult(client.Beta.Agents.Sessions.NewStreaming(ctx, p))
	if err != nil {
		t.Fatal(err)
	}
	if res.OutputParsed != (weather{"Paris", 21}) {
		t.Errorf("parsed %+v", res.OutputParsed)
	}
}

func TestManualToolResultAndIdempotency(t *testing.T) {
	_, client, ctx := setup(t)
	sessions := client.Beta.Agents.Sessions
	p := params(`Call get_weather with {"city":"Rome"}`, weatherTool())
	key := option.WithHeader("Idempotency-Key", "create-1")
	s, err := sessions.New(ctx, p, key)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := sessions.New(ctx, p, key); err != nil || again.ID != s.ID {
		t.Errorf("the same key made another session: %v %v", again, err)
	}
	waiting := settled(t, ctx, client, s.ID, "requires_action")
	action := waiting.RequiredActions[0]
	if action.Type != "function_call" || action.Name != "get_weather" {
		t.Fatalf("required %s", action.RawJSON())
	}
	err = sessions.Events.New(ctx, s.ID, openai.BetaAgentSessionEventNewParams{Events: []openai.AgentSessionInputParamUnion{
		openai.AgentSessionInputParamOfParamAgentSessionInputToolResult("call_unheard_of", true, action.TurnID),
	}})
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != 400 || e.Code != "invalid_request_error" || e.Message != "Unknown pending tool call: call_unheard_of" {
		t.Errorf("an unknown call: %v", err)
	}
	result := openai.AgentSessionInputParamOfParamAgentSessionInputToolResult(action.CallID, true, action.TurnID)
	result.OfParamAgentSessionInputToolResult.Output.OfString = openai.String("17 degrees")
	if err := sessions.Events.New(ctx, s.ID, openai.BetaAgentSessionEventNewParams{Events: []openai.AgentSessionInputParamUnion{result}}); err != nil {
		t.Fatal(err)
	}
	settled(t, ctx, client, s.ID, "idle")
}

func TestCancel(t *testing.T) {
	_, client, ctx := setup(t)
	sessions := client.Beta.Agents.Sessions
	s, err := sessions.New(ctx, params("Wait 10m\nSay never"))
	if err != nil {
		t.Fatal(err)
	}
	settled(t, ctx, client, s.ID, "in_progress")
	cancel := openai.AgentSessionInputParamUnion{OfParamAgentSessionInputCancel: &openai.AgentSessionInputParamAgentSessionInputCancel{}}
	if err := sessions.Events.New(ctx, s.ID, openai.BetaAgentSessionEventNewParams{Events: []openai.AgentSessionInputParamUnion{cancel}}); err != nil {
		t.Fatal(err)
	}
	settled(t, ctx, client, s.ID, "idle")
	turns, err := sessions.Turns.List(ctx, s.ID, openai.BetaAgentSessionTurnListParams{})
	if err != nil || len(turns.Data) != 1 || turns.Data[0].Status != "cancelled" {
		t.Errorf("turns %v %v", turns, err)
	}
}

// TestStreamAcrossAKill follows a turn over a SIGKILL of the server, by the SSE ids alone, and
// compares what came with the whole history.
func TestStreamAcrossAKill(t *testing.T) {
	n, client, ctx := setup(t)
	s, err := client.Beta.Agents.Sessions.New(ctx, params("Write 30 words every 40ms"))
	if err != nil {
		t.Fatal(err)
	}
	seen, err := n.follow(ctx, s.ID, "0", func(e frame, all []frame) bool { return countDeltas(all) >= 5 })
	if err != nil {
		t.Fatal(err)
	}
	n.kill()
	n.start()
	rest, err := n.follow(ctx, s.ID, seen[len(seen)-1].id, func(e frame, _ []frame) bool { return e.kind == "agent.session.idle" })
	if err != nil {
		t.Fatal(err)
	}
	seen = append(seen, rest...)
	ids := map[string]bool{}
	for _, f := range seen {
		if ids[f.event] {
			t.Errorf("event %s came twice", f.event)
		}
		ids[f.event] = true
	}
	whole, err := n.follow(ctx, s.ID, "0", func(e frame, _ []frame) bool { return e.kind == "agent.session.idle" })
	if err != nil {
		t.Fatal(err)
	}
	// Of the message that the kill cut off, a watcher may have seen more than was on disk; it is
	// closed as incomplete. Everything else is the same to the byte.
	cut := 0
	got, want := outline(seen), outline(whole)
	same := slices.EqualFunc(got, want, func(g, w string) bool {
		if g != w && strings.HasPrefix(g, "text of ") && strings.HasPrefix(g, w) {
			cut++
			return true
		}
		return g == w
	})
	if !same || cut > 1 {
		t.Errorf("over the kill came\n%s\nthe history is\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if last := whole[len(whole)-2]; last.kind != "agent.session.turn.completed" {
		t.Errorf("the turn ended with %s", last.kind)
	}
	client = n.client() // on another port
	items, err := client.Beta.Agents.Sessions.Items.List(ctx, s.ID, openai.BetaAgentSessionItemListParams{})
	if err != nil {
		t.Fatal(err)
	}
	answer, broken := items.Data[0].AsMessage(), items.Data[1].AsMessage()
	if words := strings.Fields(answer.OutputText()); len(words) != 30 || answer.Status != "completed" {
		t.Errorf("the answer is %s: %d words: %v", answer.Status, len(words), words)
	}
	if broken.Role != "assistant" || broken.Status != "incomplete" {
		t.Errorf("what the kill cut off is %s of the %s", broken.Status, broken.Role)
	}
}

// TestApproval asks a person before a call of the tool server that dev brings along.
func TestApproval(t *testing.T) {
	_, client, ctx := setup(t)
	shop := openai.AgentToolParamOfParamMcp("shop", openai.McpTransportParamStdio{Command: "shop"})
	shop.OfParamMcp.SetExtraFields(map[string]any{"require_approval": "always"})
	for decision, want := range map[string]string{"approve": "completed", "deny": "failed"} {
		s, err := client.Beta.Agents.Sessions.New(ctx, params(`Call refund_order with {"order":"1042","cents":1999}`, shop))
		if err != nil {
			t.Fatal(err)
		}
		settled(t, ctx, client, s.ID, "requires_action")
		var inbox struct {
			Data []struct {
				ID        string `json:"id"`
				SessionID string `json:"session_id"`
			} `json:"data"`
		}
		if err := client.Get(ctx, "approvals", nil, &inbox); err != nil || len(inbox.Data) != 1 || inbox.Data[0].SessionID != s.ID {
			t.Fatalf("inbox %+v %v", inbox, err)
		}
		if err := client.Post(ctx, "approvals/"+inbox.Data[0].ID, map[string]string{"decision": decision}, nil); err != nil {
			t.Fatal(err)
		}
		settled(t, ctx, client, s.ID, "idle")
		items, err := client.Beta.Agents.Sessions.Items.List(ctx, s.ID, openai.BetaAgentSessionItemListParams{})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(items.Data, func(i openai.AgentSessionItemUnion) bool { return i.Type == "mcp_call" })
		if i < 0 || string(items.Data[i].Status) != want {
			t.Errorf("%s: items %v", decision, items.RawJSON())
		}
	}
}
