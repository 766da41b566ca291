package runner

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
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

// redefined are the servers that say something else of their tools than they said at the call before, or for the first time: label → digest. It is told to
// whoever looks after this server as well: what changes while somebody works with it may have been changed by somebody else.
func (c *modelCall) redefined(servers []served) map[string]string {
	var out map[string]string
	for _, s := range servers {
		if s.config.Type != agent.ToolMCP || s.err != nil {
			continue
		}
		label, now := s.config.ServerLabel, definitionsOf(s.tools)
		before, known := c.defined[label]
		if before == now {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		if out[label] = now; known {
			c.a.r.log.Warn("a tool server describes its tools otherwise than before in this session", "session", c.a.key.Session, "server", label, "before", before, "now", now)
		}
	}
	return out
}

// definitionsOf is the digest of all that a server says of its tools.
func definitionsOf(tools []tool.Tool) string {
	h := sha256.New()
	for _, t := range tools {
		spec := t.Spec()
		for _, part := range []string{spec.Name, spec.Description, string(spec.Parameters), string(spec.Effect)} {
			fmt.Fprintf(h, "%d:%s,", len(part), part) // a hash takes all
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:markDigits]
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
