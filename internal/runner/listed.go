package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// served is what a tool server said of its tools.
type served struct {
	config agent.Tool
	tools  []tool.Tool
	err    error
}

// maxShownTools is how many bytes a list has at most with which a server is shown; of a longer one the names
// alone are.
const maxShownTools = 1 << 20

// markDigits is how much of a list's digest tells it from another.
const markDigits = 16

// shownTool is a tool as the Responses API lists it.
type shownTool struct {
	Name        string          `json:"name"`
	Description *string         `json:"description"`
	InputSchema json.RawMessage `json:"input_schema"`
	Annotations *struct{}       `json:"annotations"` // none are kept
}

// list journals which tools the servers of a response have, before the model is asked, where the application
// does not know it yet. False means that the call is not wanted any more.
func (c *modelCall) list(ctx context.Context, servers []served) bool {
	if c.shown == nil {
		return true
	}
	said := session.ToolsListed{Call: c.seq}
	for _, s := range servers {
		if s.config.Type != agent.ToolMCP || slices.Contains(c.known, s.config.ServerLabel) {
			continue
		}
		out := listOf(s)
		if c.shown[out.Label] == out.Mark {
			continue
		}
		if !c.a.spill(ctx, &out.List) {
			return false
		}
		said.Servers = append(said.Servers, out)
	}
	return len(said.Servers) == 0 || c.a.note(ctx, session.KindToolsListed, said) == nil
}

func listOf(s served) session.ServerTools {
	out := session.ServerTools{Label: s.config.ServerLabel}
	if s.err != nil {
		out.Error = clientMessage(s.err)
		out.Mark = blob.Digest([]byte("error: " + out.Error))[:markDigits]
		return out
	}
	text := written(s.tools, false)
	if len(text) > maxShownTools {
		text = written(s.tools, true)
	}
	out.List, out.Mark = stead.NewText(string(text)), blob.Digest(text)[:markDigits]
	return out
}

// written is a list of tools as JSON, with their names alone if bare says so.
func written(tools []tool.Tool, bare bool) []byte {
	list := make([]shownTool, len(tools))
	for i, t := range tools {
		spec := t.Spec()
		list[i] = shownTool{Name: spec.Name, InputSchema: json.RawMessage(cmp.Or(string(spec.Parameters), "{}"))}
		if spec.Description != "" {
			list[i].Description = &spec.Description
		}
		if bare {
			list[i].Description, list[i].InputSchema = nil, json.RawMessage("{}")
		}
	}
	text, err := json.Marshal(list)
	if err != nil {
		return []byte("[]") // a schema that is no JSON: sources have read it
	}
	return text
}
