package server

import (
	"context"
	"math"
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/vault"
)

func sessionID(r *http.Request) stead.SessionID { return stead.SessionID(r.PathValue("id")) }

func (s *server) createSession(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	create, stream, err := s.createRequest(r.Context(), p, req)
	if err != nil {
		return err
	}
	create.Traceparent = traceparent(r)
	made, err := s.Sessions.Create(r.Context(), p, create)
	if err != nil {
		return err
	}
	s.warnOf(w, p, made.Agent.Model, made.Agent.ID)
	if stream {
		return s.follow(w, r, p, made.ID, &stead.Cursor{}, firstTurn())
	}
	return s.write(w, s.shown(p, made))
}

func (s *server) createRequest(ctx context.Context, p stead.Principal, req request) (c session.CreateRequest, stream bool, err error) {
	c.Key, c.Digest = req.key, req.digest
	if err := req.Only("a session", "environment", "agent_id", "agent", "input", "metadata", "prompt_cache_options", "review", "spend_control", "stream", "stream_options", "vault_ids"); err != nil {
		return c, false, err
	}
	if c.Environment, err = s.environment(ctx, p, req.Object); err != nil {
		return c, false, err
	}
	if err = s.sessionAgent(ctx, p, req.Object, &c); err != nil {
		return c, false, err
	}
	if stream, err = streamOptions(req.Object); err != nil {
		return c, false, err
	}
	if c.Input, err = firstInput(req.Object, c.Environment, stream); err != nil {
		return c, false, err
	}
	if c.Metadata, err = agent.Metadata(req.Object); err != nil {
		return c, false, err
	}
	if err = sessionSettings(req.Object, &c); err != nil {
		return c, false, err
	}
	return c, stream, nil
}

// firstInput reads the input, which an environment may do without while it is being prepared.
func firstInput(o param.Object, env *session.EnvironmentPlan, stream bool) ([]session.InputMessage, error) {
	raw, ok := o.Raw("input")
	switch {
	case ok && !o.Null("input"):
		return inputMessages("input", raw)
	case env == nil:
		return nil, stead.Invalid("input", "input is required when environment.type is \"none\"")
	case stream && env.Type == session.EnvironmentHosted:
		return nil, stead.Invalid("input", "input is required when stream is true")
	}
	return nil, nil
}

func (s *server) sessionAgent(ctx context.Context, p stead.Principal, o param.Object, c *session.CreateRequest) error {
	id, hasID, err := o.String("agent_id")
	if err != nil {
		return err
	}
	if hasID && id == "" {
		return stead.Invalid("agent_id", "agent_id must not be empty")
	}
	c.AgentID = stead.AgentID(id)
	inline, has, err := o.Object("agent")
	if err != nil {
		return err
	}
	if !has {
		if !hasID {
			return stead.Invalid("agent", "agent_id or agent.model is required")
		}
		return nil
	}
	patch, err := s.rulesFor(ctx, p).Decode("agent", inline)
	if err != nil {
		return err
	}
	if !hasID && patch.Model == "" {
		return stead.Invalid("agent.model", "agent.model is required without agent_id")
	}
	c.Override = patch.Apply
	return nil
}

func sessionSettings(o param.Object, c *session.CreateRequest) error {
	var err error
	if c.VaultIDs, err = vaultIDs(o); err != nil {
		return err
	}
	limit, _, err := spendLimit(o)
	if err != nil {
		return err
	}
	if limit > 0 {
		c.SpendLimitCents = &limit
	}
	if c.CacheTTL, _, err = cacheTTL(o); err != nil {
		return err
	}
	c.Review, _, err = agent.Review(o)
	return err
}

// spendLimit reads spend_control: 0 is no limit, and whether the field is there at all.
func spendLimit(o param.Object) (int64, bool, error) {
	sub, ok, err := o.Object("spend_control")
	if !ok || err != nil {
		return 0, o.Has("spend_control"), err
	}
	if !sub.Has("limit") {
		return 0, false, stead.Invalid(sub.Path("limit"), "%s is required: cents, or null for no limit", sub.Path("limit"))
	}
	cents, _, err := sub.Int("limit", 1, math.MaxInt32)
	return cents, true, err
}

// vaultIDs reads whose credentials a session has. What they name is looked for later.
func vaultIDs(o param.Object) ([]string, error) {
	vaults, _, err := o.Strings("vault_ids")
	if err == nil && len(vaults) > vault.MaxAttached {
		err = stead.Invalid("vault_ids", "vault_ids has %d entries, the limit is %d", len(vaults), vault.MaxAttached)
	}
	return vaults, err
}

// cacheTTL reads prompt_cache_options: "" is none, and whether the field is there at all.
func cacheTTL(o param.Object) (string, bool, error) {
	sub, ok, err := o.Object("prompt_cache_options")
	if !ok || err != nil {
		return "", o.Has("prompt_cache_options"), err
	}
	ttl, ok, err := sub.Enum("ttl", "30m", "12h")
	if !ok {
		ttl = "30m"
	}
	return ttl, true, err
}

// streamOptions reads stream. No padding is sent, so include_obfuscation is checked and nothing more.
func streamOptions(o param.Object) (bool, error) {
	stream, _, err := o.Bool("stream")
	if err != nil {
		return false, err
	}
	sub, ok, err := o.Object("stream_options")
	if err != nil {
		return false, err
	}
	if ok && !stream {
		return false, stead.Invalid("stream_options", "stream_options is only allowed when stream is true")
	}
	_, _, err = sub.Bool("include_obfuscation")
	return stream, err
}

func (s *server) getSession(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Sessions.Get(r.Context(), p, sessionID(r))
	if err != nil {
		return err
	}
	return s.write(w, s.shown(p, found))
}

func (s *server) updateSession(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	u, err := s.sessionUpdate(r.Context(), p, req.Object)
	if err != nil {
		return err
	}
	changed, err := s.Sessions.Update(r.Context(), p, sessionID(r), u)
	if err != nil {
		return err
	}
	return s.write(w, s.shown(p, changed))
}

func (s *server) sessionUpdate(ctx context.Context, p stead.Principal, o param.Object) (u session.Updated, err error) {
	if err := o.Only("an update of a session", "agent", "metadata", "prompt_cache_options", "review", "spend_control"); err != nil {
		return u, err
	}
	if o.Has("metadata") {
		m, err := agent.Metadata(o)
		if err != nil {
			return u, err
		}
		u.Metadata = &m
	}
	if limit, has, err := spendLimit(o); err != nil {
		return u, err
	} else if has {
		u.SpendLimitCents = &limit
	}
	if ttl, has, err := cacheTTL(o); err != nil {
		return u, err
	} else if has {
		u.CacheTTL = &ttl
	}
	if review, has, err := agent.Review(o); err != nil {
		return u, err
	} else if has {
		u.Review = &review
	}
	inline, has, err := o.Object("agent")
	if !has || err != nil {
		return u, err
	}
	return u, s.agentUpdate(ctx, p, inline, &u)
}

func (s *server) agentUpdate(ctx context.Context, p stead.Principal, o param.Object, u *session.Updated) error {
	for _, fixed := range []string{"name", "instructions", "text", "multi_agent", "compaction", "experimental", "max_steps"} {
		if o.Has(fixed) {
			e := stead.Invalid(o.Path(fixed), "%s can't be changed in a session that exists", o.Path(fixed))
			e.Hint = "What can: model, reasoning.effort, service_tier and tools."
			return e
		}
	}
	if err := o.Only("the agent of an update", "model", "reasoning", "service_tier", "tools"); err != nil {
		return err
	}
	if o.Has("model") {
		model, err := param.Need(o.String("model"))(o.Path("model"))
		if err != nil {
			return err
		}
		if model == "" {
			return stead.Invalid(o.Path("model"), "%s must name a model", o.Path("model"))
		}
		u.Model = &model
	}
	reasoning, _, err := o.Object("reasoning")
	if err != nil {
		return err
	}
	if effort, has, err := agent.Effort(reasoning); err != nil {
		return err
	} else if has {
		u.Effort = &session.Nullable{Value: effort}
	}
	if tier, has, err := agent.ServiceTier(o); err != nil {
		return err
	} else if has {
		u.ServiceTier = &tier
	}
	if !o.Has("tools") {
		return nil
	}
	tools, err := s.rulesFor(ctx, p).Tools(o)
	if err != nil {
		return err
	}
	u.Tools = &tools
	return agent.ValidateTools(o.Path("tools"), tools)
}

func (s *server) listSessions(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	values := r.URL.Query()
	q, err := idPage(values, "sess_")
	if err != nil {
		return err
	}
	meta, err := metadataFilter(values)
	if err != nil {
		return err
	}
	labels, err := pairsFilter(values, "labels")
	if err != nil {
		return err
	}
	status := values.Get("status")
	switch status {
	case "", session.StatusIdle, session.StatusInProgress, session.StatusRequiresAction, session.StatusFailed:
	default:
		return stead.Invalid("status", "status %.40q is none: idle, in_progress, requires_action and failed are", status)
	}
	found, err := s.Sessions.List(r.Context(), p, session.ListQuery{
		PageQuery: q, Filter: session.Filter{
			Agent: stead.AgentID(values.Get("agent_id")), Status: status, Metadata: meta, User: values.Get("user"), Model: values.Get("model"), Tool: values.Get("tool"), Labels: labels,
		},
	})
	if err != nil {
		return err
	}
	for _, one := range found.Data {
		s.withLinks(p, one.RequiredActions)
	}
	return s.write(w, listOf(found.Data, found.HasMore, func(x session.Session) string { return string(x.ID) }))
}

// deletedSession says as well which memories went with it: ours.
type deletedSession struct {
	deleted
	Memories session.Erased `json:"memories,omitzero"`
}

func (s *server) deleteSession(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := sessionID(r)
	gone, err := s.erase(w, r, p, id)
	if err != nil {
		return err
	}
	return s.write(w, deletedSession{deleted{string(id), true, "agent.session.deleted"}, gone})
}
