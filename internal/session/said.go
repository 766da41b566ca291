package session

import (
	"encoding/json"
	"strings"

	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/tool"
)

// RoleTool is the role of what a tool said, among LearnMessages.
const RoleTool = "tool"

// Said reads items in their order as what was said in a conversation: messages, and with Tools what tools said. The zero
// value is ready; it remembers which call an output is of.
type Said struct {
	Tools bool
	calls map[string]string // call id → name of the application's tool
}

// Of is what an item says; false: nothing, or nothing of its own. What a tool over memories or files found is theirs, and found there.
func (s *Said) Of(it Item) (LearnMessage, bool) {
	switch i := it.(type) {
	case *MessageItem:
		return LearnMessage{Item: i.ID, Role: i.Role, Text: i.Text()}, i.Text() != ""
	case *FunctionCallItem:
		if s.calls == nil {
			s.calls = map[string]string{}
		}
		s.calls[i.CallID] = i.Name
	case *FunctionOutputItem:
		return s.tool(i.ID, s.calls[i.CallID], textOf(i.Output))
	case *MCPCallItem:
		if i.ServerLabel != agent.ToolMemory && i.ServerLabel != tool.FileSearchName {
			return s.tool(i.ID, i.ServerLabel+"/"+i.Name, textOf(i.Output))
		}
	case *CommandItem:
		if i.Output != nil {
			text := *i.Output
			if text != "" {
				text = i.Command + "\n" + text
			}
			return s.tool(i.ID, "environment/shell", text)
		}
	}
	return LearnMessage{}, false
}

func (s *Said) tool(item, name, text string) (LearnMessage, bool) {
	if !s.Tools || strings.TrimSpace(text) == "" {
		return LearnMessage{}, false
	}
	return LearnMessage{Item: item, Role: RoleTool, Tool: name, Text: text}, true
}

// textOf is the text of a tool's output: a string, a list of parts, or an object with such a list.
func textOf(output json.RawMessage) string {
	var text string
	if json.Unmarshal(output, &text) == nil {
		return text
	}
	var parts []WireContent
	if json.Unmarshal(output, &parts) != nil {
		var held struct {
			Content []WireContent `json:"content"`
		}
		if json.Unmarshal(output, &held) != nil {
			return ""
		}
		parts = held.Content
	}
	return textOfParts(parts)
}

func textOfParts(parts []WireContent) string {
	var texts []string
	for _, part := range parts {
		if part.Text != nil && *part.Text != "" {
			texts = append(texts, *part.Text)
		}
	}
	return strings.Join(texts, "\n")
}
