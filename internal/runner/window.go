package runner

import "github.com/stead-dev/stead/internal/session"

// window is what the core must know of the session's model.
func (a *actor) window() session.Window {
	w := session.Window{EnvironmentIdle: a.r.cfg.EnvironmentIdle, EnvironmentExpire: a.r.cfg.EnvironmentExpire}
	if info, _, err := a.r.cfg.Models.Resolve(a.state.Created.Agent.Spec.Model, a.caller()); err == nil {
		w.ContextTokens, w.OutputTokens, w.FixedBytes = info.ContextWindow, info.MaxOutputTokens, a.fixedBytes()
	}
	return w
}

// fixedBytes estimates what every request carries besides the conversation.
func (a *actor) fixedBytes() int {
	spec := &a.state.Created.Agent.Spec
	n := 0
	if spec.Instructions != nil {
		n += len(*spec.Instructions)
	}
	for _, t := range spec.Tools {
		n += len(t.Name) + len(t.Description) + len(t.Parameters)
	}
	return n
}
