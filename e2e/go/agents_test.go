package e2e

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
)

func TestAgents(t *testing.T) {
	_, client, ctx := setup(t)
	made, err := client.Beta.Agents.New(ctx, openai.BetaAgentNewParams{
		Model: "sim", Name: openai.String("Ada"), Instructions: openai.String("Be brief."), Metadata: map[string]string{"team": "a"},
		Tools: []openai.PersistedAgentToolParamUnion{openai.PersistedAgentToolParamOfParamFunction("The weather", "get_weather", map[string]any{"type": "object"})},
	})
	if err != nil {
		t.Fatal(err)
	}
	if made.Object != "agent" || made.Name != "Ada" || made.Metadata["team"] != "a" || len(made.Tools) != 1 || made.Tools[0].Name != "get_weather" || made.ServiceTier != "auto" {
		t.Errorf("made %s", made.RawJSON())
	}
	changed, err := client.Beta.Agents.Update(ctx, made.ID, openai.BetaAgentUpdateParams{Name: param.Null[string]()})
	if err != nil {
		t.Fatal(err)
	}
	if changed.Name != "" || changed.Instructions != "Be brief." {
		t.Errorf("changed %s", changed.RawJSON())
	}
	ids := []string{made.ID}
	for range 4 {
		a, err := client.Beta.Agents.New(ctx, openai.BetaAgentNewParams{Model: "sim"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.ID)
	}
	var listed []string
	pager := client.Beta.Agents.ListAutoPaging(ctx, openai.BetaAgentListParams{Limit: openai.Int(2), Order: openai.BetaAgentListParamsOrderAsc})
	for pager.Next() {
		listed = append(listed, pager.Current().ID)
	}
	if err := pager.Err(); err != nil || !slices.Equal(listed, ids) {
		t.Errorf("listed %v %v, want %v", listed, err, ids)
	}
	if d, err := client.Beta.Agents.Delete(ctx, made.ID); err != nil || !d.Deleted {
		t.Errorf("delete: %v %v", d, err)
	}
	_, err = client.Beta.Agents.Get(ctx, made.ID)
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != http.StatusNotFound || e.Code != "not_found" {
		t.Errorf("get a deleted agent: %v", err)
	}
	_, err = client.Beta.Agents.New(ctx, openai.BetaAgentNewParams{Model: "sim", Tools: []openai.PersistedAgentToolParamUnion{openai.PersistedAgentToolParamOfParamFunction("", "a b", map[string]any{})}})
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != http.StatusBadRequest || e.Param != "tools[0].name" {
		t.Errorf("a bad name: %v", err)
	}
}
