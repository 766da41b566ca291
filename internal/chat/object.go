package chat

import (
	"encoding/json"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// Head is what every chunk of a completion repeats.
type Head struct {
	ID      string
	Created int64  // Unix seconds
	Model   string // as it was asked for
}

// Completion is a whole answer.
type Completion struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"` // "chat.completion"
	Created int64    `json:"created"`
	Model   string   `json:"model"`
	Choices []Choice `json:"choices"` // one
	Usage   *Usage   `json:"usage,omitempty"`
}

// Choice is an answer of a completion.
type Choice struct {
	Index        int     `json:"index"`
	Message      Message `json:"message"`
	Logprobs     *string `json:"logprobs"` // null: none are known
	FinishReason string  `json:"finish_reason"`
}

// Message is what the model says.
type Message struct {
	Role      string     `json:"role"`
	Content   *string    `json:"content"`
	Refusal   *string    `json:"refusal"`
	ToolCalls []ToolCall `json:"tool_calls,omitempty"`
}

// ToolCall is one call; Index is set in chunks alone.
type ToolCall struct {
	Index    *int   `json:"index,omitempty"`
	ID       string `json:"id"`
	Type     string `json:"type"` // "function"
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"` // JSON as text
	} `json:"function"`
}

// Chunk is one piece of a streamed answer. Usage is null but in the last chunk, and there only when
// usage was asked for; else it is left out.
type Chunk struct {
	ID      string        `json:"id"`
	Object  string        `json:"object"` // "chat.completion.chunk"
	Created int64         `json:"created"`
	Model   string        `json:"model"`
	Choices []ChunkChoice `json:"choices"`
	Usage   **Usage       `json:"usage,omitempty"`
}

// ChunkChoice is what a chunk adds to the answer.
type ChunkChoice struct {
	Index        int     `json:"index"`
	Delta        Delta   `json:"delta"`
	Logprobs     *string `json:"logprobs"`
	FinishReason *string `json:"finish_reason"`
}

// Delta adds to the message.
type Delta struct {
	Role      string     `json:"role,omitempty"`
	Content   *string    `json:"content,omitempty"`
	Refusal   *string    `json:"refusal,omitempty"`
	ToolCalls []ToolCall `json:"tool_calls,omitempty"`
}

// Usage is the wire's usage.
type Usage struct {
	Prompt        int64 `json:"prompt_tokens"`
	Completion    int64 `json:"completion_tokens"`
	Total         int64 `json:"total_tokens"`
	PromptDetails struct {
		Cached     int64 `json:"cached_tokens"`
		CacheWrite int64 `json:"cache_write_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

// NewUsage writes a usage; nil stays nil.
func NewUsage(u *stead.Usage) *Usage {
	if u == nil {
		return nil
	}
	out := &Usage{Prompt: u.InputTokens, Completion: u.OutputTokens, Total: u.Total()}
	out.PromptDetails.Cached, out.PromptDetails.CacheWrite = u.CachedTokens, u.CacheWriteTokens
	out.CompletionDetails.Reasoning = u.ReasoningTokens
	return out
}

// Whole makes the completion of what a model answered: its items, and the Done.
func (h Head) Whole(items []stead.Item, done model.Delta) *Completion {
	m := Message{Role: stead.RoleAssistant}
	var text, refusal strings.Builder
	said := false
	for _, it := range items {
		switch it.Type {
		case stead.ItemMessage:
			for _, c := range it.Content {
				if c.Type == stead.ContentRefusal {
					refusal.WriteString(c.Text.Inline)
				} else {
					said = true
					text.WriteString(c.Text.Inline)
				}
			}
		case stead.ItemFunctionCall:
			m.ToolCalls = append(m.ToolCalls, toolCall(it))
		}
	}
	if whole := text.String(); said {
		m.Content = &whole
	}
	if whole := refusal.String(); whole != "" {
		m.Refusal = &whole
	}
	return &Completion{ID: h.ID, Object: "chat.completion", Created: h.Created, Model: h.Model,
		Choices: []Choice{{Message: m, FinishReason: finishReason(done.Finish, len(m.ToolCalls) > 0)}}, Usage: NewUsage(done.Usage)}
}

func toolCall(it stead.Item) ToolCall {
	c := ToolCall{ID: it.CallID, Type: "function"}
	c.Function.Name, c.Function.Arguments = it.Name, argumentText(it.Arguments)
	return c
}

// argumentText is what the wire shows of a call's arguments: a garbled text as it was written.
func argumentText(raw json.RawMessage) string {
	var garbled string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &garbled) == nil {
		return garbled
	}
	if len(raw) == 0 {
		return "{}"
	}
	return string(raw)
}

// finishReason says why the model stopped. A refusal is a complete answer.
func finishReason(f model.Finish, calls bool) string {
	switch f {
	case model.FinishLength:
		return "length"
	case model.FinishFilter:
		return "content_filter"
	}
	if calls {
		return "tool_calls"
	}
	return "stop"
}

// Stream writes the chunks of an answer to Send. It has one owner.
type Stream struct {
	Head
	IncludeUsage bool
	Send         func(*Chunk) error

	begun bool
	calls int
}

// Begin writes the first chunk, which says who speaks. It is written before the first delta in any
// case, and at most once.
func (s *Stream) Begin() error {
	if s.begun {
		return nil
	}
	s.begun = true
	empty := ""
	return s.choice(Delta{Role: stead.RoleAssistant, Content: &empty}, nil)
}

// Delta writes what a delta of the model adds. With Done the answer is whole: its usage comes last.
func (s *Stream) Delta(d model.Delta) error {
	if err := s.Begin(); err != nil {
		return err
	}
	switch d.Kind {
	case model.TextDelta:
		if d.Refusal {
			return s.choice(Delta{Refusal: &d.Text}, nil)
		}
		return s.choice(Delta{Content: &d.Text}, nil)
	case model.ItemDone:
		if d.Item.Type != stead.ItemFunctionCall {
			return nil
		}
		c, i := toolCall(*d.Item), s.calls
		c.Index = &i
		s.calls++
		return s.choice(Delta{ToolCalls: []ToolCall{c}}, nil)
	case model.Done:
		reason := finishReason(d.Finish, s.calls > 0)
		if err := s.choice(Delta{}, &reason); err != nil || !s.IncludeUsage {
			return err
		}
		c := s.chunk()
		u := NewUsage(d.Usage)
		if u == nil {
			u = &Usage{} // the API promises one
		}
		c.Usage = &u
		return s.Send(c)
	}
	return nil
}

func (s *Stream) chunk() *Chunk {
	return &Chunk{ID: s.ID, Object: "chat.completion.chunk", Created: s.Created, Model: s.Model, Choices: []ChunkChoice{}}
}

func (s *Stream) choice(d Delta, reason *string) error {
	c := s.chunk()
	c.Choices = []ChunkChoice{{Delta: d, FinishReason: reason}}
	if s.IncludeUsage {
		c.Usage = new(*Usage)
	}
	return s.Send(c)
}
