package runner_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// shows is a memory whose stores are files with a label.
type shows struct{ memories }

func (*shows) Mount(context.Context, session.MountAsk, session.MountFiles) (session.Mounted, error) {
	return session.Mounted{Labels: []string{"salary"}}, nil
}

// TestLabelsOfMountedFiles: what a command can read as files labels what it does. A call that its code makes is decided with that, and
// the label stays when the command ends in an error.
func TestLabelsOfMountedFiles(t *testing.T) {
	for name, fails := range map[string]bool{"it ends": false, "it fails": true} {
		h, g := newComputers(nil), &gate{}
		bubble(t, func(t *testing.T, n *node) {
			h.run = func(ctx context.Context, c tool.Call, b *computer) (tool.Result, error) {
				text := told(b.Tools.Call(ctx, "launch", []byte(`{"text":"what cat memory/team/*.md said"}`)))
				if fails {
					return tool.Result{}, errors.New("the environment is gone")
				}
				if !c.Labels.Has(session.LabelMemory, "salary") {
					t.Errorf("%s: the command itself has the labels %v", name, c.Labels)
				}
				return outputs(text)
			}
			mem := agent.Tool{Type: agent.ToolMemory, ServerLabel: agent.ToolMemory, MemoryStores: []agent.MemoryStore{{ID: "memstore_1", Path: "memory/team"}}}
			id := n.compute("go", enabled(), mcpServer(), mem)
			s := n.until(id, func(s session.Session) bool {
				return s.Status == session.StatusIdle || s.Status == session.StatusRequiresAction
			})
			launched := 0
			g.mu.Lock()
			for _, r := range g.asked {
				if r.Effect == policy.ToolCall && r.Resource == "box/launch" {
					if launched++; !r.Labels.Has(session.LabelMemory, "salary") || !r.Labels.Has(session.LabelUntrusted, session.SourceMemory) {
						t.Errorf("%s: box/launch was decided with the labels %v: the command was shown memories labelled salary", name, r.Labels)
					}
				}
			}
			g.mu.Unlock()
			if launched == 0 || fails != (s.Status == session.StatusRequiresAction) {
				t.Errorf("%s: %d calls were decided, the session is %s", name, launched, s.Status)
			}
			if n.count(id, session.KindMemoryMounted) != 1 {
				t.Errorf("%s: the journal says it %d times", name, n.count(id, session.KindMemoryMounted))
			}
			v := session.NewView(n.key(id))
			for _, e := range n.events(id) {
				if err := v.Apply(e); err != nil {
					t.Fatal(err)
				}
			}
			if !v.Labels().Has(session.LabelMemory, "salary") {
				t.Errorf("%s: the session is labelled %v", name, v.Labels())
			}
		}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h), withMemory(&shows{}), withPolicy(g))
	}
}
