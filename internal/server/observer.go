package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// Members of which a line of a stream is read, when they are not null: all other lines pass as they are. Chat's chunks have
// null ones by the hundred.
const (
	usageMember   = `"usage"`
	finishMember  = `"finish_reason"`
	refusalMember = `"refusal"`
)

// errorWord is read wherever it stands: as a member, or as the type of an event.
const errorWord = `"error"`

// doneData is the data that ends a chat's stream; ends are the types of the events that end a response's.
const doneData = "[DONE]"

func ends() [3]string {
	return [...]string{"response.completed", "response.incomplete", "response.failed"}
}

// said is where in b a member stands that is not null; -1: nowhere.
func said(b []byte, member string) int {
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte(member))
		if i < 0 {
			return -1
		}
		i += at
		at = i + len(member)
		rest, ok := bytes.CutPrefix(bytes.TrimLeft(b[at:min(at+maxBlank, len(b))], " \t"), []byte(":"))
		if ok && !bytes.HasPrefix(bytes.TrimLeft(rest, " \t"), []byte("null")) {
			return i
		}
	}
}

// maxBlank is how far behind a member's name null is looked for. What stands further is read for nothing.
const maxBlank = 16

// boring is how much of b, which begins with a line, are whole lines that have none of the members in them. It is
// found at once and not line by line: nearly all of a stream is so.
func boring(b []byte, members ...string) int {
	whole := bytes.LastIndexByte(b, '\n') + 1
	for _, m := range members {
		if i := said(b[:whole], m); i >= 0 {
			whole = bytes.LastIndexByte(b[:i], '\n') + 1
		}
	}
	return whole
}

// observer looks for usage in an answer that passes by, and changes nothing of it.
type observer struct {
	stream bool
	door   string // of whose dialect the stream is
	ended  bool   // the stream said that it is over
	rest   []byte // of a line that is not whole yet; of an answer in one piece, all of it
	skip   bool   // the line is longer than MaxObserved
	usage  *stead.Usage
	finish model.Finish // when it is not just the end
	texts  int64        // bytes of the texts and arguments of a stream
	within bool         // the last piece ended within a text
	tier   string       // that the upstream says it served
	failed error        // what an event of a stream says
}

func (o *observer) write(b []byte) {
	if o.stream {
		o.hear(b)
	}
	if o.stream && len(o.rest) == 0 && !o.skip {
		n := boring(b, usageMember, finishMember, refusalMember)
		if i := bytes.Index(b[:n], []byte(errorWord)); i >= 0 {
			n = bytes.LastIndexByte(b[:i], '\n') + 1
		}
		if i := o.maybeOver(b[:n]); i >= 0 {
			n = bytes.LastIndexByte(b[:i], '\n') + 1
		}
		b = b[n:]
	}
	for o.stream {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			break
		}
		if len(o.rest) > 0 {
			o.keep(line)
			line = o.rest
		}
		if !o.skip {
			o.line(line)
		}
		o.rest, o.skip, b = o.rest[:0], false, rest
	}
	o.keep(b)
}

func (o *observer) keep(b []byte) {
	if o.skip = o.skip || len(o.rest)+len(b) > MaxObserved; o.skip {
		o.rest = nil
		return
	}
	o.rest = append(o.rest, b...)
}

// hear counts the bytes of texts and arguments in a piece of a stream, for a guess where usage is not told.
func (o *observer) hear(b []byte) {
	if o.within {
		b = o.text(b)
	}
	for _, member := range spoken(o.door) {
		for at := b; ; {
			i := bytes.Index(at, []byte(member))
			if i < 0 {
				break
			}
			at = bytes.TrimLeft(at[i+len(member):], " ")
			if len(at) > 0 && at[0] == '"' {
				at = o.text(at[1:])
			}
		}
	}
}

// spoken are how the members end that hold the texts and arguments of a door's streams.
func spoken(door string) []string {
	if door == model.DialectResponses {
		return []string{`"delta":`}
	}
	return []string{`content":`, `arguments":`} // reasoning_content as well
}

// text counts b up to the end of the string that it begins within, and returns what is behind.
func (o *observer) text(b []byte) []byte {
	for n := 0; ; n++ {
		i := bytes.IndexByte(b[n:], '"')
		if o.within = i < 0; o.within {
			o.texts += int64(len(b))
			return nil
		}
		n += i
		escapes := 0
		for escapes < n && b[n-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			o.texts += int64(n)
			return b[n+1:]
		}
	}
}

// line reads an event's data, if there is usage or an error in it, or it ends the stream.
func (o *observer) line(line []byte) {
	data, ok := bytes.CutPrefix(line, []byte("data:"))
	if !ok {
		if kind, ok := bytes.CutPrefix(line, []byte("event:")); ok {
			o.over(string(bytes.TrimSpace(kind)))
		}
		return
	}
	if o.maybeOver(data) >= 0 {
		o.overBy(data)
	}
	if said(data, usageMember) >= 0 || said(data, finishMember) >= 0 || said(data, refusalMember) >= 0 {
		_ = o.read(data) // the client sees what it is
	}
	if bytes.Contains(data, []byte(errorWord)) {
		o.fail(data)
	}
}

// maybeOver is where in b a word stands that ends a stream; -1: nowhere. A model may say that word as well.
func (o *observer) maybeOver(b []byte) int {
	if o.door != model.DialectResponses {
		return bytes.Index(b, []byte(doneData))
	}
	first := -1
	for _, kind := range ends() {
		if i := bytes.Index(b, []byte(kind)); i >= 0 {
			first, b = i, b[:i]
		}
	}
	return first
}

// overBy ends a stream by an event's data: chat's last, or that of a type that ends a response.
func (o *observer) overBy(data []byte) {
	if o.door != model.DialectResponses {
		o.ended = o.ended || string(bytes.TrimSpace(data)) == doneData
		return
	}
	var v struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(data, &v) == nil { // the client sees what it is
		o.over(v.Type)
	}
}

// over ends a response's stream by an event's type.
func (o *observer) over(kind string) {
	all := ends()
	o.ended = o.ended || o.door == model.DialectResponses && slices.Contains(all[:], kind)
}

// fail reads an event that ends a stream by an error: {"error": …} of chat completions and what speaks
// like it; "error" and "response.failed" of the Responses API.
func (o *observer) fail(data []byte) {
	var v struct {
		Type  string          `json:"type"`
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(data, &v) != nil {
		return // the client sees what it is
	}
	none := len(v.Error) == 0 || string(v.Error) == "null"
	if none && v.Type != "error" && v.Type != "response.failed" {
		return
	}
	o.failed = &model.Error{Code: model.CodeServer, Message: "the model's stream ended with an error", Retry: true}
}

func (o *observer) end() *stead.Usage {
	if !o.skip && len(o.rest) > 0 {
		if o.stream {
			o.line(o.rest)
		} else {
			err := o.read(o.rest)
			if _, garbled := errors.AsType[*json.SyntaxError](err); garbled {
				o.failed = &model.Error{Code: model.CodeServer, Message: "the model's answer is no JSON", Retry: true}
			}
		}
	}
	return o.usage
}

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

// read takes what an event or an answer says. The error is that of its JSON.
func (o *observer) read(data []byte) error {
	var v struct {
		Usage    *seenUsage `json:"usage"`
		Tier     string     `json:"service_tier"`
		Response *struct {
			Usage *seenUsage `json:"usage"`
			Tier  string     `json:"service_tier"`
			seenEnd
		} `json:"response"`
		seenEnd
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	end, tier := &v.seenEnd, v.Tier
	if v.Response != nil {
		end, tier = &v.Response.seenEnd, cmp.Or(v.Response.Tier, tier)
	}
	o.tier = cmp.Or(model.ServedTier(tier), o.tier)
	o.ended = o.ended || end.over()
	if finish := end.finish(); finish != "" && o.finish != model.FinishRefusal {
		o.finish = finish
	}
	u := v.Usage
	if u == nil && v.Response != nil {
		u = v.Response.Usage
	}
	if u == nil {
		return nil
	}
	o.usage = believed(stead.Usage{
		InputTokens:      u.Prompt + u.Input,
		CachedTokens:     u.PromptDetails.Cached + u.InputDetails.Cached,
		CacheWriteTokens: u.PromptDetails.Written + u.InputDetails.Written,
		OutputTokens:     u.Completion + u.Output,
		ReasoningTokens:  u.CompletionDetails.Reasoning + u.OutputDetails.Reasoning,
	})
	return nil
}

// believed is what an upstream says that it used, if that can be; nil otherwise, and it is guessed.
func believed(u stead.Usage) *stead.Usage {
	if *model.Sane(u) != u || u.Total() == 0 {
		return nil
	}
	return &u
}
