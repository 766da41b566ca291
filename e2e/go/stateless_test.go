package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
)

func TestChatCompletions(t *testing.T) {
	_, client, ctx := setup(t)
	ask := openai.ChatCompletionNewParams{
		Model: "sim", Messages: []openai.ChatCompletionMessageParamUnion{openai.SystemMessage("Be brief."), openai.UserMessage(`Call get_weather with {"city":"Paris"}`)},
		Tools: []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: "get_weather", Parameters: openai.FunctionParameters{"type": "object"}})},
	}
	first, err := client.Chat.Completions.New(ctx, ask)
	if err != nil {
		t.Fatal(err)
	}
	calls := first.Choices[0].Message.ToolCalls
	if first.Choices[0].FinishReason != "tool_calls" || len(calls) != 1 || calls[0].Function.Arguments != `{"city":"Paris"}` {
		t.Fatalf("completion %s", first.RawJSON())
	}
	ask.Messages = append(ask.Messages, first.Choices[0].Message.ToParam(), openai.ToolMessage("21 degrees", calls[0].ID))
	ask.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	stream := client.Chat.Completions.NewStreaming(ctx, ask)
	var whole openai.ChatCompletionAccumulator
	for stream.Next() {
		if !whole.AddChunk(stream.Current()) {
			t.Errorf("a chunk that does not fit: %s", stream.Current().RawJSON())
		}
	}
	if err := stream.Err(); err != nil || whole.Choices[0].Message.Content != "get_weather: 21 degrees" || whole.Usage.TotalTokens == 0 {
		t.Errorf("%v: %+v", err, whole.ChatCompletion)
	}
}

func TestResponsesThatAreNotKept(t *testing.T) {
	_, client, ctx := setup(t)
	stream := client.Responses.NewStreaming(ctx, responses.ResponseNewParams{Model: "sim", Store: openai.Bool(false), Input: said("Say one two")})
	text, last, id := "", "", ""
	for stream.Next() {
		e := stream.Current()
		text, last, id = text+e.Delta, e.Type, e.Response.ID
	}
	if err := stream.Err(); err != nil || text != "one two" || last != "response.completed" {
		t.Fatalf("%v: %q, ended with %s", err, text, last)
	}
	_, err := client.Responses.Get(ctx, id, responses.ResponseGetParams{})
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != 404 {
		t.Errorf("a response that is not kept is found: %v", err)
	}
	_, err = client.Responses.New(ctx, responses.ResponseNewParams{Model: "sim", Store: openai.Bool(false), Input: said("Fail with rate_limit_exceeded")}, option.WithMaxRetries(0))
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != 429 {
		t.Errorf("a limited call: %v", err)
	}
}

func TestEmbeddings(t *testing.T) {
	_, client, ctx := setup(t)
	made, err := client.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: "sim", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "two"}}, Dimensions: openai.Int(8),
	})
	if err != nil || len(made.Data) != 2 || len(made.Data[1].Embedding) != 8 || made.Usage.PromptTokens == 0 {
		t.Errorf("%v: %s", err, made.RawJSON())
	}
}

// Functions of stateless calls are governed: the SDK reads a refusal where policies withhold a call, and an error where a switch stops what is offered.
func TestStatelessFunctionsAreGoverned(t *testing.T) {
	n := &node{t: t, data: t.TempDir()}
	n.config = filepath.Join(n.data, "stead.yaml")
	if err := os.WriteFile(n.config, []byte(`policies:
  inline: |
    @id("no-wires") forbid(principal, action == Action::"tool.call", resource == Tool::"function/wire") when { context.arguments.hasTag("to") };
`), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	t.Cleanup(n.kill)
	client, ctx := n.client(), t.Context()
	offer := []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: "wire", Parameters: openai.FunctionParameters{"type": "object"}})}
	ask := func(text string) openai.ChatCompletionNewParams {
		return openai.ChatCompletionNewParams{Model: "sim", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)}, Tools: offer}
	}
	if c, err := client.Chat.Completions.New(ctx, ask(`Call wire with {}`)); err != nil || len(c.Choices[0].Message.ToolCalls) != 1 {
		t.Fatalf("allowed: %v %+v", err, c)
	}
	if c, err := client.Chat.Completions.New(ctx, ask(`Call wire with {"to":"eve"}`)); err != nil || len(c.Choices[0].Message.ToolCalls) != 0 || c.Choices[0].FinishReason != "content_filter" || !strings.Contains(c.Choices[0].Message.Refusal, "no-wires") {
		t.Errorf("refused: %v %+v", err, c)
	}
	stream := client.Responses.NewStreaming(ctx, responses.ResponseNewParams{
		Model: "sim", Store: openai.Bool(false), Input: said(`Call wire with {"to":"eve"}`),
		Tools: []responses.ToolUnionParam{responses.ToolParamOfFunction("wire", map[string]any{"type": "object"}, false)},
	})
	refusal, last, reason := "", "", ""
	for stream.Next() {
		e := stream.Current()
		if e.Type == "response.refusal.delta" {
			refusal += e.Delta
		}
		last, reason = e.Type, e.Response.IncompleteDetails.Reason
	}
	if err := stream.Err(); err != nil || !strings.Contains(refusal, "no-wires") || last != "response.incomplete" || reason != "content_filter" {
		t.Errorf("streamed: %v: %q, %s by %s", err, refusal, last, reason)
	}
	if err := client.Post(ctx, "kill_switches", map[string]any{"scope": "tool", "of": "wire", "unknown": true, "reason": "too much"}, nil); err != nil {
		t.Fatal(err)
	}
	_, err := client.Chat.Completions.New(ctx, ask(`Call wire with {}`))
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != 403 || !strings.Contains(e.Message, "function/wire") || !strings.Contains(e.Message, "too much") {
		t.Errorf("stopped: %v", err)
	}
}
