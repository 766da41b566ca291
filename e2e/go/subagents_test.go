package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"

	openai "github.com/openai/openai-go/v3"
)

// TestSubagents: the SDK's stream follows the root turn and runs the tools of subagents; each has items and turns of its own.
func TestSubagents(t *testing.T) {
	_, client, ctx := setup(t)
	sessions := client.Beta.Agents.Sessions
	p := params("Say hello", weatherTool())
	p.Agent.MultiAgent = openai.MultiAgentConfigParam{Enabled: true, MaxConcurrentSubagents: openai.Int(2)}
	res, err := openai.BetaAgentSessionFinalResult(sessions.NewStreaming(ctx, p))
	if err != nil {
		t.Fatal(err)
	}
	id, asked := res.SessionID(), ""
	out, err := sessions.Stream(ctx, id, openai.AgentSessionStreamParams{
		Input: `Call create_subagent with {"message":"Call get_weather with {\"city\":\"Paris\"}"}
Then call wait_for_subagents with {"agent_ids":["{agent 1}"]}
Say It said {answer 1}`,
		ToolHandlers: map[string]openai.AgentToolHandler{"get_weather": func(_ context.Context, args map[string]any) (any, error) {
			asked, _ = args["city"].(string)
			return "21 degrees", nil
		}},
	}).FinalResult()
	if err != nil || asked != "Paris" || !strings.Contains(out.OutputText(), "It said get_weather: 21 degrees") {
		t.Fatalf("asked %q, answered %q, %v", asked, out.OutputText(), err)
	}
	all, err := sessions.Subagents.List(ctx, id, openai.BetaAgentSessionSubagentListParams{})
	if err != nil || len(all.Data) != 1 {
		t.Fatalf("subagents %+v, %v", all, err)
	}
	sub, err := sessions.Subagents.Get(ctx, id, all.Data[0].ID)
	if err != nil || string(sub.Status) != "active" || sub.Name == "" || len(sub.Instructions) != 1 {
		t.Errorf("subagent %+v, %v", sub, err)
	}
	turns, err := sessions.Subagents.Turns.List(ctx, id, sub.ID, openai.BetaAgentSessionSubagentTurnListParams{})
	if err != nil || len(turns.Data) != 1 || turns.Data[0].SubagentID != sub.ID || string(turns.Data[0].Status) != "completed" {
		t.Errorf("its turns %+v, %v", turns, err)
	}
	var types []string
	items := sessions.Subagents.Items.ListAutoPaging(ctx, id, sub.ID, openai.BetaAgentSessionSubagentItemListParams{Order: "asc"})
	for items.Next() {
		types = append(types, items.Current().Type)
	}
	if want := []string{"agent_message", "function_call", "function_call_output", "message"}; items.Err() != nil || !slices.Equal(types, want) {
		t.Errorf("its items %v, %v", types, items.Err())
	}
}
