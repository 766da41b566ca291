package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// mountAsk is what of the session's memory stores is files in its environment; nil: nothing.
func (a *actor) mountAsk() *session.MountAsk {
	t := a.state.Created.Agent.Spec.Memory()
	if t == nil || a.r.cfg.Memory == nil {
		return nil
	}
	ask := session.MountAsk{
		Key: a.key, Principal: a.state.Created.Principal, Behind: a.state.Behind(), Alone: a.state.Alone(), Agent: a.state.Created.Agent.ID, Labels: a.state.Labels(),
		Teams: t.Teams, AllScopes: t.Scopes == agent.MemoryScopesAll, Scope: t.Scope, At: a.state.Tail,
	}
	if ask.Mounts = session.Mounts(&a.state.Created.Agent.Spec); len(ask.Mounts) == 0 {
		return nil
	}
	return &ask
}

// mounted makes a call with the session's memory stores brought together with their files before it and after it. That they
// could not be is no failure of the call: the model is told.
func (c *toolCall) mounted(ctx context.Context, found tool.Tool) (tool.Result, *session.Mounted, error) {
	if c.mounts == nil {
		result, err := found.Call(ctx, c.call)
		return result, nil, err
	}
	before := c.bring(ctx)
	c.mounts.Since = 0 // what comes to the files behind the call, its output does not know
	if err := c.shows(ctx, before); err != nil {
		return tool.Result{}, nil, &tool.NotSentError{Err: err}
	}
	result, err := found.Call(ctx, c.call)
	if err != nil {
		return result, nil, err // the environment is gone; what was written is taken back when it is there again
	}
	all := before.And(c.bring(ctx))
	if told := toldMounted(all); told != "" {
		result.Content = append(result.Content, stead.TextContent(stead.ContentInputText, told)...)
	}
	return result, all, nil
}

// shows journals what the files label, unless the session is labelled so already: what the command does is decided with that, whether
// or not it has an outcome.
func (c *toolCall) shows(ctx context.Context, m *session.Mounted) error {
	with := stead.Labels{session.LabelUntrusted: {session.SourceMemory}}
	if len(m.Labels) > 0 {
		with[session.LabelMemory] = m.Labels
	}
	for key, values := range with {
		for _, value := range values {
			if !c.call.Labels.Has(key, value) && (key != session.LabelUntrusted || !c.call.Labels.Has(key, session.SourceOther)) {
				c.call.Labels = c.call.Labels.And(with)
				return c.a.note(ctx, session.KindMemoryMounted, session.MemoryMounted{CallID: c.id, Labels: m.Labels})
			}
		}
	}
	return nil
}

func (c *toolCall) bring(ctx context.Context) *session.Mounted {
	var out session.Mounted
	err := safely(func() (err error) {
		out, err = c.a.r.cfg.Memory.Mount(policy.InStep(ctx, nil), *c.mounts, &mountedFiles{c})
		return err
	})
	if err != nil {
		c.a.log.Warn("memory stores and their files could not be brought together", "err", err)
		out.Refused = append(out.Refused, "The memory stores could not be brought together with their files: "+clientMessage(err)+".")
	}
	return &out
}

// toldMounted says it to the model.
func toldMounted(m *session.Mounted) string {
	if m.Empty() {
		return ""
	}
	var lines []string
	add := func(what string, list []string) {
		if len(list) > 0 {
			lines = append(lines, fmt.Sprintf("%s: %s", what, strings.Join(list, ", ")))
		}
	}
	add("new memories", m.Added)
	add("changed memories", m.Changed)
	add("conflicts, kept in", m.Conflicts)
	lines = append(lines, m.Refused...)
	return "\n[memory stores: " + strings.Join(lines, "; ") + "]"
}

// mountedFiles are the files of the session's environment while a call of it is under way.
type mountedFiles struct{ c *toolCall }

func absolute(p string) string { return path.Join(environment.WorkspaceDir, p) }

// maxBelow is how many files below a mount's directory are told of.
const maxBelow = 100

// List implements session.MountFiles.
func (f *mountedFiles) List(ctx context.Context, dir string) (map[string]int64, error) {
	out := map[string]int64{}
	below := 0
	q := environment.ListQuery{Dir: absolute(dir), Limit: environment.MaxListed}
	for {
		page, err := f.c.a.r.cfg.Environments.Files(ctx, f.c.a.key, environment.State{}, q)
		if stead.KindOf(err) == stead.KindNotFound {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		for _, file := range page.Files {
			q.After = file.Path
			name, within := strings.CutPrefix(file.Path, q.Dir+"/")
			if deep := strings.Contains(name, "/"); within && (!deep || below < maxBelow) {
				out[name] = file.Size
				if deep {
					below++
				}
			}
		}
		if !page.More {
			return out, nil
		}
	}
}

// Read implements session.MountFiles.
func (f *mountedFiles) Read(ctx context.Context, name string) ([]byte, error) {
	var b bytes.Buffer
	err := f.c.a.r.cfg.Environments.ReadFile(ctx, f.c.a.key, environment.State{}, absolute(name), &b)
	return b.Bytes(), err
}

// Write implements session.MountFiles.
func (f *mountedFiles) Write(ctx context.Context, name string, data []byte) error {
	write := named(f.c.a.r.cfg.Environments.Tools(), "write_file")
	if write == nil {
		return stead.Errorf(stead.KindNotImplemented, "files can't be written into this environment")
	}
	arguments, err := json.Marshal(map[string]any{"path": absolute(name), "content": string(data)})
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "encode a file")
	}
	call := f.c.call
	call.Arguments, call.Output, call.Progress = arguments, nil, nil
	result, err := write.Call(ctx, call)
	if err == nil && result.IsError {
		err = stead.Errorf(stead.KindConflict, "%s could not be written: %s", name, joined(result.Content))
	}
	return err
}
