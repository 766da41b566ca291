package server

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
)

// What an observer reads of the few events of a stream, and of the answers in one piece, that say more than a text.

// seenUsage has the words of both APIs; a response's usage stands within it.
type seenUsage struct {
	Prompt        int64 `json:"prompt_tokens"`
	Completion    int64 `json:"completion_tokens"`
	PromptDetails struct {
		Cached  int64 `json:"cached_tokens"`
		Written int64 `json:"cache_write_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
	Input        int64 `json:"input_tokens"`
	InputDetails struct {
		Cached  int64 `json:"cached_tokens"`
		Written int64 `json:"cache_write_tokens"`
	} `json:"input_tokens_details"`
	Output        int64 `json:"output_tokens"`
	OutputDetails struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
}

// seenEnd is how an answer ends, in the words of both APIs.
type seenEnd struct {
	Choices    []seenChoice `json:"choices"`
	Incomplete *struct {
		Reason string `json:"reason"`
	} `json:"incomplete_details"`
	Output []struct {
		Content []struct {
			Type string `json:"type"`
		} `json:"content"`
	} `json:"output"`
}

type seenChoice struct {
	Finish  string      `json:"finish_reason"`
	Message seenMessage `json:"message"`
	Delta   seenMessage `json:"delta"`
}

type seenMessage struct {
	Refusal string `json:"refusal"`
}

// over reports whether a chat's choice has ended.
func (e *seenEnd) over() bool {
	return slices.ContainsFunc(e.Choices, func(c seenChoice) bool { return c.Finish != "" })
}

// finish is FinishLength, FinishFilter or FinishRefusal; "" when it is none of them.
func (e *seenEnd) finish() model.Finish {
	for _, o := range e.Output {
		for _, c := range o.Content {
			if c.Type == "refusal" {
				return model.FinishRefusal
			}
		}
	}
	reasons := map[string]model.Finish{"length": model.FinishLength, "max_output_tokens": model.FinishLength, "content_filter": model.FinishFilter}
	if e.Incomplete != nil {
		return reasons[e.Incomplete.Reason]
	}
	for _, c := range e.Choices {
		if c.Message.Refusal != "" || c.Delta.Refusal != "" {
			return model.FinishRefusal
		}
		if f := reasons[c.Finish]; f != "" {
			return f
		}
	}
	return ""
}

// seen is what an event or an answer says that is of interest; a response's event says it within.
type seen struct {
	usage    *seenUsage
	tier     string
	response *seen
	seenEnd
}

// see reads b, an object of JSON, member by member: what is not asked for is passed over. It reports false where a member
// is not what it should be. within is b a response.
func (v *seen) see(b []byte, within bool) bool {
	ok := true
	param.Members(b, func(key string, from, to int) {
		raw, into := b[from:to], any(nil)
		switch {
		case key == "usage":
			into = &v.usage
		case key == "service_tier":
			into = &v.tier
		case key == "choices":
			into = &v.Choices
		case key == "incomplete_details":
			into = &v.Incomplete
		case key == "output":
			into = &v.Output
		case key == "response" && !within:
			if v.response = nil; string(raw) != "null" {
				v.response = &seen{}
				ok = raw[0] == '{' && v.response.see(raw, true) && ok
			}
			return
		default:
			return
		}
		if string(raw) != "[]" && string(raw) != "null" {
			ok = json.Unmarshal(raw, into) == nil && ok
		}
	})
	return ok
}

// take takes what an event or an answer says, which is JSON. One that says it in an unknown way says nothing.
func (o *observer) take(data []byte) {
	var v seen
	if !v.see(data, false) {
		return
	}
	end, tier := &v.seenEnd, v.tier
	if v.response != nil {
		end, tier = &v.response.seenEnd, cmp.Or(v.response.tier, tier)
	}
	o.tier = cmp.Or(model.ServedTier(tier), o.tier)
	o.ended = o.ended || end.over()
	if finish := end.finish(); finish != "" && o.finish != model.FinishRefusal {
		o.finish = finish
	}
	u := v.usage
	if u == nil && v.response != nil {
		u = v.response.usage
	}
	if u == nil {
		return
	}
	o.usage = believed(stead.Usage{
		InputTokens:      u.Prompt + u.Input,
		CachedTokens:     u.PromptDetails.Cached + u.InputDetails.Cached,
		CacheWriteTokens: u.PromptDetails.Written + u.InputDetails.Written,
		OutputTokens:     u.Completion + u.Output,
		ReasoningTokens:  u.CompletionDetails.Reasoning + u.OutputDetails.Reasoning,
	})
}

// believed is what an upstream says that it used, if that can be; nil otherwise, and it is guessed.
func believed(u stead.Usage) *stead.Usage {
	if *model.Sane(u) != u || u.Total() == 0 {
		return nil
	}
	return &u
}
