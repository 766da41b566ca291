package runner_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// binder is a semantic model's act: it stands for the box's nap.
type binder struct {
	does
	unknown error // why not all that it stands for is known
}

func (b binder) Bound() ([]tool.Target, error) {
	return []tool.Target{{Server: "box", Name: "nap"}}, b.unknown
}

func (b binder) Bind(json.RawMessage) (tool.Bound, error) { return tool.Bound{}, nil }

func (b binder) Ready(context.Context, json.RawMessage, tool.Call) error { return nil }

func (b binder) Rebind(_, arguments json.RawMessage) (json.RawMessage, error) { return arguments, nil }

// TestWhatActionsStandForIsNotOfferedByItself: not where the agent may take no action, and not where nobody can say what actions
// stand for.
func TestWhatActionsStandForIsNotOfferedByItself(t *testing.T) {
	fine := func(context.Context, tool.Call) (tool.Result, error) { return outputs("done") }
	away := stead.Errorf(stead.KindUnavailable, "the models can't be read")
	for name, tc := range map[string]struct {
		semantic shelf
		allowed  []string
		offered  string
	}{
		"an action":                           {shelf{tools: []tool.Tool{binder{does{"act", tool.Unknown, fine}, nil}}}, nil, "act other"},
		"actions that the agent may not take": {shelf{tools: []tool.Tool{binder{does{"act", tool.Unknown, fine}, nil}}}, []string{"describe"}, "other"},
		"models that can't be listed":         {shelf{err: away}, nil, ""},
		"a model that can't be read":          {shelf{tools: []tool.Tool{binder{does{"act", tool.Unknown, fine}, away}}}, nil, "act"},
	} {
		t.Run(name, func(t *testing.T) {
			m := script(reply("ok"))
			servers := box{"box": {tools: []tool.Tool{does{"nap", tool.Unknown, fine}, does{"other", tool.Pure, fine}}}, agent.ToolSemantic: &tc.semantic}
			bubble(t, func(t *testing.T, n *node) {
				id := n.begin("go", func(s *agent.Spec) {
					s.Tools = []agent.Tool{{Type: agent.ToolSemantic, ServerLabel: agent.ToolSemantic, AllowedTools: tc.allowed}, server("box")}
				}).ID
				n.until(id, func(s session.Session) bool { return s.Status == session.StatusIdle })
				var offered []string
				for _, spec := range m.last().Tools {
					offered = append(offered, spec.Name)
				}
				if got := strings.Join(offered, " "); got != tc.offered {
					t.Errorf("offered are %q, want %q", got, tc.offered)
				}
			}, withModel(m), withTools(servers))
		})
	}
}
