// Command go is the quick start with the official OpenAI SDK for Go, pointed at Stead.
package main

import (
	"context"
	"fmt"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func main() {
	client := openai.NewClient(option.WithBaseURL("http://127.0.0.1:8787/v1"), option.WithAPIKey("none"))
	weather := openai.AgentToolParamFunction{Name: "get_weather", Description: "Weather of a city", Parameters: map[string]any{
		"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}, "required": []string{"city"}}}
	stream := client.Beta.Agents.Sessions.NewStreaming(context.Background(), openai.BetaAgentSessionNewParams{
		Agent: openai.BetaAgentSessionNewParamsAgent{Model: openai.String("default"),
			Tools: []openai.AgentToolParamUnion{{OfParamFunction: &weather}}},
		Environment: openai.EnvironmentParamUnion{OfParamNone: &openai.EnvironmentParamNone{}},
		Input:       openai.BetaAgentSessionNewParamsInputUnion{OfString: openai.String(`Call get_weather with {"city": "Paris"}`)},
		ToolHandlers: map[string]openai.AgentToolHandler{"get_weather": func(_ context.Context, args map[string]any) (any, error) {
			return fmt.Sprintf("21 degrees in %s", args["city"]), nil
		}},
	})
	for stream.Next() {
		if event := stream.Current(); event.Type == "agent.session.turn.output_text.delta" {
			fmt.Print(event.Delta)
		}
	}
	if err := stream.Err(); err != nil {
		panic(err)
	}
}
