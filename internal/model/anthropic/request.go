package anthropic

import (
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/claude"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// fields is a request body, or a part of one.
type fields = upstream.Fields

// maxTemperature is the wire's; ours goes to 2.
const maxTemperature = 1

// request is the body for POST /messages.
func (p *Provider) request(req model.Request) (fields, *model.Error) {
	if err := refuse(req); err != nil {
		return nil, err
	}
	v := claude.VersionOf(req.Model)
	limit := claude.MaxTokens(req, v)
	system, messages, err := p.conversation(req)
	if err != nil {
		return nil, err
	}
	f := fields{"model": req.Model, "stream": true, "max_tokens": limit, "messages": messages}
	if len(system) > 0 {
		cacheable(system)
		f["system"] = system
	}
	cacheMessages(messages)
	forced := tools(f, req)
	how, effort := claude.Thinking(req, v, limit)
	if how != nil && !forced && (how["type"] != "enabled" || !loopWithoutThinking(messages)) {
		f["thinking"] = how
	}
	if messages[len(messages)-1].Role == stead.RoleAssistant {
		more, err := claude.Prefill(req, v, f["thinking"] != nil)
		if err != nil {
			return nil, err
		}
		if more != "" {
			f["messages"] = append(messages, message{stead.RoleUser, []fields{textBlock(more)}})
		}
	}
	temperature, topP, err := claude.Sampling(req, v, f["thinking"] != nil)
	if err != nil {
		return nil, err
	}
	config := fields{}
	config.Text("effort", effort)
	if req.Format != nil && answerTool(req) == "" {
		config["format"] = fields{"type": "json_schema", "schema": req.Format.Schema}
	}
	if len(config) > 0 {
		f["output_config"] = config
	}
	upstream.Number(f, "temperature", temperature)
	upstream.Number(f, "top_p", topP)
	if len(req.Stop) > 0 {
		f["stop_sequences"] = req.Stop
	}
	switch req.ServiceTier {
	case "default":
		f["service_tier"] = "standard_only"
	case "priority":
		f["service_tier"] = "auto" // priority capacity where there is some
	}
	if req.User != "" {
		f["metadata"] = fields{"user_id": req.User}
	}
	return f, nil
}

// refuse names what the wire has no field for.
func refuse(req model.Request) *model.Error {
	wish := ""
	switch {
	case req.PresencePenalty != nil:
		wish = "presence_penalty"
	case req.FrequencyPenalty != nil:
		wish = "frequency_penalty"
	case req.Seed != nil:
		wish = "seed"
	case req.Temperature != nil && *req.Temperature > maxTemperature:
		wish = "temperature above 1"
	}
	switch req.ServiceTier {
	case "", "auto", "default", "priority":
	default:
		wish = "service_tier " + req.ServiceTier
	}
	if wish == "" {
		return nil
	}
	return &model.Error{Code: model.CodeInvalid, Message: "Anthropic's Messages API has no " + wish + ": leave it out"}
}

// answerTool is the name of the tool that stands for the output format, "" when the wire has formats.
func answerTool(req model.Request) string {
	if req.Format == nil || claude.VersionOf(req.Model).AtLeast(4, 5) {
		return ""
	}
	return upstream.AnswerTool(req)
}

// tools sets the tools and their choice. It reports whether one must be called, which excludes thinking.
func tools(f fields, req model.Request) (forced bool) {
	list := []fields{}
	for _, t := range req.Tools {
		one := fields{"name": t.Name, "input_schema": upstream.Parameters(t)}
		one.Text("description", t.Description)
		list = append(list, one)
	}
	choice := fields{"type": "auto"}
	name, one := strings.CutPrefix(req.ToolChoice, model.ToolChoiceNamed)
	answer := answerTool(req)
	switch {
	case answer != "":
		list = append(list, fields{"name": answer, "description": "Gives the answer.", "input_schema": upstream.ObjectSchema(req.Format.Schema)})
		choice = fields{"type": "any"}
		if len(req.Tools) == 0 {
			choice = fields{"type": "tool", "name": answer}
		}
	case one:
		choice = fields{"type": "tool", "name": name}
	case req.ToolChoice == "required":
		choice["type"] = "any"
	case req.ToolChoice == "none":
		choice["type"] = "none"
	}
	if len(list) == 0 {
		// The wire refuses blocks of tools where none is declared, as when a conversation is summed up.
		list = called(req.Items)
		choice = fields{"type": "none"}
	}
	if len(list) == 0 {
		return false
	}
	cacheable(list)
	f["tools"] = list
	if req.SerialTools && choice["type"] != "none" {
		choice["disable_parallel_tool_use"] = true
	}
	if choice["type"] != "auto" || len(choice) > 1 {
		f["tool_choice"] = choice
	}
	return choice["type"] == "any" || choice["type"] == "tool"
}

// called declares the tools that a conversation has called.
func called(items []stead.Item) []fields {
	var list []fields
	for _, name := range upstream.Called(items) {
		list = append(list, fields{"name": name, "input_schema": upstream.Parameters(model.ToolSpec{})})
	}
	return list
}

// cacheable makes the last of some blocks the end of a prefix that is kept.
func cacheable(blocks []fields) {
	if len(blocks) > 0 {
		blocks[len(blocks)-1]["cache_control"] = fields{"type": "ephemeral"}
	}
}

// cacheMessages marks the last two user messages.
func cacheMessages(messages []message) {
	const most = 2 // beside the tools and the system text: four in all
	marked := 0
	for i := len(messages) - 1; i >= 0 && marked < most; i-- {
		if messages[i].Role == stead.RoleUser {
			cacheable(messages[i].Content)
			marked++
		}
	}
}
