package e2e

import (
	"strings"
	"testing"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/conversations"
	"github.com/openai/openai-go/v3/responses"
)

func said(text string) responses.ResponseNewParamsInputUnion {
	return responses.ResponseNewParamsInputUnion{OfString: openai.String(text)}
}

func TestResponses(t *testing.T) {
	_, client, ctx := setup(t)
	tool := responses.ToolParamOfFunction("get_weather", map[string]any{"type": "object"}, false)
	first, err := client.Responses.New(ctx, responses.ResponseNewParams{
		Model: "sim", Input: said(`Call get_weather with {"city":"Paris"}`), Tools: []responses.ToolUnionParam{tool},
	})
	if err != nil {
		t.Fatal(err)
	}
	call := first.Output[0].AsFunctionCall()
	if first.Status != "completed" || call.Name != "get_weather" {
		t.Fatalf("response %s", first.RawJSON())
	}
	output := responses.ResponseInputItemParamOfFunctionCallOutput("21 degrees")
	output.OfFunctionCallOutput.CallID = openai.String(call.CallID)
	second, err := client.Responses.New(ctx, responses.ResponseNewParams{
		Model: "sim", PreviousResponseID: openai.String(first.ID), Tools: []responses.ToolUnionParam{tool},
		Input: responses.ResponseNewParamsInputUnion{OfInputItemList: responses.ResponseInputParam{output}},
	})
	if err != nil || !strings.Contains(second.OutputText(), "21 degrees") {
		t.Fatalf("%v: %s", err, second.RawJSON())
	}
	got, err := client.Responses.Get(ctx, second.ID, responses.ResponseGetParams{})
	if err != nil || got.OutputText() != second.OutputText() {
		t.Errorf("get: %v", err)
	}
}

func TestStreamedResponseInAConversation(t *testing.T) {
	_, client, ctx := setup(t)
	conversation, err := client.Conversations.New(ctx, conversations.ConversationNewParams{})
	if err != nil {
		t.Fatal(err)
	}
	stream := client.Responses.NewStreaming(ctx, responses.ResponseNewParams{
		Model: "sim", Input: said("Say one two three"),
		Conversation: responses.ResponseNewParamsConversationUnion{OfString: openai.String(conversation.ID)},
	})
	text, last := "", ""
	for stream.Next() {
		e := stream.Current()
		text, last = text+e.Delta, e.Type
	}
	if err := stream.Err(); err != nil || text != "one two three" || last != "response.completed" {
		t.Errorf("%v: %q, ended with %s", err, text, last)
	}
	items, err := client.Conversations.Items.List(ctx, conversation.ID, conversations.ItemListParams{})
	if err != nil || len(items.Data) != 2 {
		t.Errorf("items: %v, %s", err, items.RawJSON())
	}
}
