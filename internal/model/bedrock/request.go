package bedrock

import (
	"strings"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/claude"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// fields is a request body, or a part of one.
type fields = upstream.Fields

const maxTemperature = 1 // the wire's; ours goes to 2

// request is the body for POST /model/ID/converse-stream.
func (p *Provider) request(req model.Request) (fields, *model.Error) {
	if err := refuse(req); err != nil {
		return nil, err
	}
	config := tools(req)
	system, messages, err := p.conversation(req, config != nil)
	if err != nil {
		return nil, err
	}
	f := fields{}
	limits := fields{}
	if req.MaxOutputTokens > 0 {
		limits["maxTokens"] = req.MaxOutputTokens
	}
	if len(req.Stop) > 0 {
		limits["stopSequences"] = req.Stop
	}
	think(f, limits, req, config, messages)
	temperature, topP := req.Temperature, req.TopP
	if isClaude(req.Model) {
		thinks := thinking(f)
		if messages[len(messages)-1].Role == roleAssistant {
			more, err := claude.Prefill(req, claude.VersionOf(req.Model), thinks)
			if err != nil {
				return nil, err
			}
			if more != "" {
				messages = append(messages, message{roleUser, []fields{text(more)}})
			}
		}
		if temperature, topP, err = claude.Sampling(req, claude.VersionOf(req.Model), thinks); err != nil {
			return nil, err
		}
	}
	upstream.Number(limits, "temperature", temperature)
	upstream.Number(limits, "topP", topP)
	if len(limits) > 0 {
		f["inferenceConfig"] = limits
	}
	if cacheable(req.Model) {
		system = cache(system, config, messages)
	}
	f["messages"] = messages
	if len(system) > 0 {
		f["system"] = system
	}
	if config != nil {
		f["toolConfig"] = config
	}
	if req.ServiceTier != "" && req.ServiceTier != "auto" {
		f["serviceTier"] = fields{"type": req.ServiceTier}
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
	case req.SerialTools:
		wish = "parallel_tool_calls: false"
	case req.Temperature != nil && *req.Temperature > maxTemperature:
		wish = "temperature above 1"
	}
	switch req.ServiceTier {
	case "", "auto", "default", "flex", "priority":
	default:
		wish = "service_tier " + req.ServiceTier
	}
	if wish == "" {
		return nil
	}
	return &model.Error{Code: model.CodeInvalid, Message: "Bedrock's Converse API has no " + wish + ": leave it out"}
}

// answerTool is the name of the tool that stands for the output format, "" for none.
func answerTool(req model.Request) string {
	if req.Format == nil {
		return ""
	}
	return upstream.AnswerTool(req)
}

// tools is toolConfig, nil where no tool may be called.
func tools(req model.Request) fields {
	var list []fields
	add := func(name, description string, schema any) {
		spec := fields{"name": name, "inputSchema": fields{"json": schema}}
		spec.Text("description", description)
		list = append(list, fields{"toolSpec": spec})
	}
	if req.ToolChoice != "none" {
		for _, t := range req.Tools {
			add(t.Name, t.Description, upstream.Parameters(t))
		}
	}
	choice := fields{}
	name, one := strings.CutPrefix(req.ToolChoice, model.ToolChoiceNamed)
	answer := answerTool(req)
	switch {
	case answer != "" && len(list) == 0:
		choice["tool"] = fields{"name": answer}
	case answer != "":
		choice["any"] = fields{}
	case one:
		choice["tool"] = fields{"name": name}
	case req.ToolChoice == "required":
		choice["any"] = fields{}
	}
	if answer != "" {
		add(answer, "Gives the answer.", upstream.ObjectSchema(req.Format.Schema))
	}
	if len(list) == 0 {
		return nil
	}
	config := fields{"tools": list}
	if len(choice) > 0 {
		config["toolChoice"] = choice
	}
	return config
}

// think says how much to think, in the words of the model's family.
func think(f, limits fields, req model.Request, config fields, messages []message) {
	switch {
	case isClaude(req.Model):
		v := claude.VersionOf(req.Model)
		limit := claude.MaxTokens(req, v)
		limits["maxTokens"] = limit // Bedrock's own default is the most that the model has, or 4096: it varies
		how, effort := claude.Thinking(req, v, limit)
		if config["toolChoice"] != nil { // forced tools exclude thinking
			how = nil
		}
		if how != nil && how["type"] == "enabled" && loopWithoutThinking(messages) {
			how = nil
		}
		more := fields{}
		if how != nil {
			more["thinking"] = how
		}
		if effort != "" {
			more["output_config"] = fields{"effort": effort}
		}
		if len(more) > 0 {
			f["additionalModelRequestFields"] = more
		}
	case req.Effort == "" || req.Effort == "none":
	case strings.Contains(req.Model, "openai.gpt-oss"):
		f["additionalModelRequestFields"] = fields{"reasoning_effort": threeSteps(req.Effort)}
	case strings.Contains(req.Model, "amazon.nova-2"):
		f["additionalModelRequestFields"] = fields{"reasoningConfig": fields{"type": "enabled", "maxReasoningEffort": threeSteps(req.Effort)}}
	}
}

// thinking reports whether think has made a Claude do so.
func thinking(f fields) bool {
	more, _ := f["additionalModelRequestFields"].(fields)
	return more["thinking"] != nil
}

// threeSteps is the nearest of what families with three steps know.
func threeSteps(effort string) string {
	switch effort {
	case "minimal":
		return "low"
	case "xhigh", "max":
		return "high"
	}
	return effort
}

func isClaude(id string) bool { return strings.Contains(id, "anthropic.claude-") }

// cacheable reports whether a model takes cache points.
func cacheable(id string) bool { return isClaude(id) && claude.VersionOf(id).AtLeast(3, 7) }

// cache sets four cache points, the most that the wire takes: behind the tools, the system text, and
// the last two user messages. The second of those was written by the call before, so that it is read.
func cache(system []fields, config fields, messages []message) []fields {
	point := func() fields { return fields{"cachePoint": fields{"type": "default"}} }
	if len(system) > 0 {
		system = append(system, point())
	}
	if list, ok := config["tools"].([]fields); ok {
		config["tools"] = append(list, point())
	}
	const most = 2
	marked := 0
	for i := len(messages) - 1; i >= 0 && marked < most; i-- {
		if messages[i].Role == roleUser {
			messages[i].Content = append(messages[i].Content, point())
			marked++
		}
	}
	return system
}
