package gemini

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// fields is a request body, or a part of one.
type fields = upstream.Fields

// request is the body of generateContent.
func (p *Provider) request(req model.Request) (fields, *model.Error) {
	if wish := unsayable(req); wish != "" {
		return nil, &model.Error{Code: model.CodeInvalid, Message: "the Gemini API has no " + wish + ": leave it out"}
	}
	t := &talk{provider: p.cfg.Name, generation: generationOf(req.Model), names: map[string]string{}}
	if err := t.read(req); err != nil {
		return nil, err
	}
	f := fields{"contents": t.contents}
	if len(t.system) > 0 {
		f["systemInstruction"] = fields{"parts": t.system}
	}
	tools(f, req)
	if c := generation(req, t.generation); len(c) > 0 {
		f["generationConfig"] = c
	}
	return f, nil
}

// unsayable names what a request wishes that the wire has no field for; "" for nothing.
func unsayable(req model.Request) string {
	switch {
	case req.SerialTools:
		return "setting for one tool call at a time (parallel_tool_calls: false)"
	case req.ServiceTier != "" && req.ServiceTier != "auto" && req.ServiceTier != "default":
		return "service_tier " + req.ServiceTier
	}
	return ""
}

// answerTool is the name of the function that stands for the output format, "" when there is none.
// Before Gemini 3 the wire refuses functions beside a format ("Function calling with a response mime
// type: 'application/json' is unsupported"; ai.google.dev/gemini-api/docs/structured-output says
// since when they go together).
func answerTool(req model.Request) string {
	if req.Format == nil || len(req.Tools) == 0 || generationOf(req.Model) >= hasLevels {
		return ""
	}
	return upstream.AnswerTool(req)
}

// tools sets the functions and which of them may be called.
func tools(f fields, req model.Request) {
	if len(req.Tools) == 0 {
		return
	}
	list := make([]fields, 0, len(req.Tools)+1)
	for _, tool := range req.Tools {
		one := fields{"name": tool.Name, "parametersJsonSchema": upstream.Parameters(tool)}
		one.Text("description", tool.Description)
		list = append(list, one)
	}
	how, answer := choice(req.ToolChoice), answerTool(req)
	switch {
	case answer == "":
	case req.ToolChoice == "none":
		how = fields{"mode": "ANY", "allowedFunctionNames": []string{answer}}
	case how == nil:
		how = fields{"mode": "ANY"}
	case req.ToolChoice == "required": // the answer is no call
		names := make([]string, len(req.Tools))
		for i, tool := range req.Tools {
			names[i] = tool.Name
		}
		how["allowedFunctionNames"] = names
	}
	if answer != "" {
		list = append(list, fields{"name": answer, "description": "Gives the answer.", "parametersJsonSchema": upstream.ObjectSchema(req.Format.Schema)})
	}
	f["tools"] = []fields{{"functionDeclarations": list}}
	if how != nil {
		f["toolConfig"] = fields{"functionCallingConfig": how}
	}
}

// choice is which functions may be called; nil for any or none, as the model likes.
func choice(wish string) fields {
	name, one := strings.CutPrefix(wish, model.ToolChoiceNamed)
	switch {
	case one:
		return fields{"mode": "ANY", "allowedFunctionNames": []string{name}}
	case wish == "required":
		return fields{"mode": "ANY"}
	case wish == "none":
		return fields{"mode": "NONE"}
	}
	return nil
}

// generation is the value of generationConfig.
func generation(req model.Request, gen float64) fields {
	c := fields{}
	upstream.Number(c, "temperature", req.Temperature)
	upstream.Number(c, "topP", req.TopP)
	upstream.Number(c, "presencePenalty", req.PresencePenalty)
	upstream.Number(c, "frequencyPenalty", req.FrequencyPenalty)
	upstream.Number(c, "seed", req.Seed)
	if req.MaxOutputTokens > 0 {
		c["maxOutputTokens"] = req.MaxOutputTokens
	}
	if len(req.Stop) > 0 {
		c["stopSequences"] = req.Stop
	}
	if req.Format != nil && answerTool(req) == "" {
		c["responseMimeType"] = "application/json"
		c["responseJsonSchema"] = req.Format.Schema
	}
	c.Text("mediaResolution", resolution(req.Items))
	if how := thinking(req, gen); how != nil {
		c["thinkingConfig"] = how
	}
	return c
}

// resolution is how closely to look at pictures, which is one setting for the whole call: high where one
// of them is to be seen so, low where all are, "" for the model's own way
// (ai.google.dev/api/generate-content#MediaResolution).
func resolution(items []stead.Item) string {
	low, others := false, false
	for i := range items {
		for _, c := range slices.Concat(items[i].Content, items[i].Output) {
			switch {
			case c.Detail == "high" || c.Detail == "original":
				return "MEDIA_RESOLUTION_HIGH"
			case c.Detail == "low":
				low = true
			case c.Type == stead.ContentInputImage || c.Type == stead.ContentInputFile:
				others = true
			}
		}
	}
	if low && !others {
		return "MEDIA_RESOLUTION_LOW"
	}
	return ""
}

// What the generations of models know.
const (
	thinks      = 2.5 // thinkingConfig, with a budget
	hasLevels   = 3.0 // thinkingLevel; signatures are insisted on; pictures within function responses; formats beside functions
	unversioned = 1000
)

// generationOf reads the version in a model's name: gemini-2.5-flash, gemini-3-pro-preview.
func generationOf(name string) float64 {
	m := regexp.MustCompile(`gemini-(\d+(?:\.\d+)?)`).FindStringSubmatch(name)
	if m == nil {
		return unversioned
	}
	n, _ := strconv.ParseFloat(m[1], 64) // it is a number: the pattern says so
	return n
}

// The budgets of thinking of Gemini 2.5, in tokens; highBudget is the most that its smaller models take.
const (
	noBudget      = 0
	leastBudget   = 128 // of its larger models, which cannot but think
	minimalBudget = 512
	lowBudget     = 1024
	mediumBudget  = 8192
	highBudget    = 24576
)

// thinking is the value of thinkingConfig; nil for the model's own way.
func thinking(req model.Request, gen float64) fields {
	if gen < thinks || req.Effort == "" && req.ReasonSummary == "" {
		return nil
	}
	how, large := fields{}, strings.Contains(req.Model, "pro")
	if req.ReasonSummary != "" && req.Effort != "none" {
		how["includeThoughts"] = true
	}
	if req.Effort == "" {
		return how
	}
	if gen >= hasLevels {
		level := map[string]string{"none": "minimal", "minimal": "minimal", "low": "low", "medium": "medium"}[req.Effort]
		switch {
		case level == "":
			level = "high" // the highest that there is
		case level == "minimal" && large:
			level = "low"
		}
		how["thinkingLevel"] = level
		return how
	}
	budget, ok := map[string]int{"none": noBudget, "minimal": minimalBudget, "low": lowBudget, "medium": mediumBudget}[req.Effort]
	switch {
	case !ok:
		budget = highBudget
	case budget == noBudget && large:
		budget = leastBudget
	}
	how["thinkingBudget"] = budget
	return how
}
