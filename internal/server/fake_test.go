package server

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/trace"
)

// fake stands behind the door where a test is about the door: it answers as the contract says,
// from memory, and keeps what it was asked. The real service is tested through e2e.
type fake struct {
	mu        sync.Mutex
	err       error // what every call returns, if set
	agents    []agent.Agent
	sessions  []session.Session
	items     []session.Item
	turns     []session.Turn
	subagents []session.SubagentObject
	inbox     []session.Approval
	exported  []string // what Export writes, before exportErr
	failure   error    // of Export

	created  session.CreateRequest
	override agent.Spec // what Override made
	sent     session.SendRequest
	updated  session.Updated
	forked   session.ForkRequest

	controlled session.ControlRequest

	listed  session.ListQuery
	key     string
	planned *session.EnvironmentPlan
	put     string                // what the last file held
	files   environment.ListQuery // of the last list
	stream  func(ctx context.Context, after *stead.Cursor, ready func(), yield func(session.StreamEvent) error) error
}

func (f *fake) Create(_ context.Context, p stead.Principal, req session.CreateRequest) (session.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.created = req
	if f.err != nil {
		return session.Session{}, f.err
	}
	var spec agent.Spec
	if req.AgentID != "" {
		i := slices.IndexFunc(f.agents, func(a agent.Agent) bool { return a.ID == req.AgentID })
		if i < 0 {
			return session.Session{}, stead.NotFound("agent", string(req.AgentID))
		}
		spec = f.agents[i].Spec
	}
	if req.Override != nil {
		if err := req.Override(&spec); err != nil {
			return session.Session{}, err
		}
	}
	f.override = spec
	s := aSession(fmt.Sprintf("sess_%d", len(f.sessions)+1), spec)
	s.Metadata = req.Metadata
	f.sessions = append(f.sessions, s)
	return s, nil
}

func aSession(id string, spec agent.Spec) session.Session {
	text := spec.Text
	if text.Verbosity == "" {
		text = agent.Defaults().Text
	}
	return session.Session{
		ID: stead.SessionID(id), Object: "agent.session", CreatedAt: 1, LastActiveAt: 2, Environment: []byte(`{"type":"none"}`),
		Metadata: map[string]string{}, RequiredActions: []session.RequiredAction{}, Status: session.StatusIdle, VaultIDs: []string{},
		Agent: session.SessionAgent{
			ID: "agent_x", Model: spec.Model, Instructions: spec.Instructions, Name: spec.Name, Reasoning: spec.Reasoning,
			ServiceTier: cmp.Or(spec.ServiceTier, "auto"), Text: text, Tools: agent.WireTools(spec.Tools),
		},
	}
}

func (f *fake) find(id stead.SessionID) (session.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return session.Session{}, f.err
	}
	for _, s := range f.sessions {
		if s.ID == id {
			return s, nil
		}
	}
	return session.Session{}, stead.NotFound("session", string(id))
}

func (f *fake) Get(_ context.Context, _ stead.Principal, id stead.SessionID) (session.Session, error) {
	return f.find(id)
}

func (f *fake) Update(_ context.Context, _ stead.Principal, id stead.SessionID, u session.Updated) (session.Session, error) {
	f.mu.Lock()
	f.updated = u
	f.mu.Unlock()
	return f.find(id)
}

func paged[T any](all []T, q session.PageQuery, id func(T) string) session.Page[T] {
	all = slices.Clone(all)
	if q.Desc {
		slices.Reverse(all)
	}
	if q.After != "" {
		all = all[slices.IndexFunc(all, func(t T) bool { return id(t) == q.After })+1:]
	}
	n := min(q.Limit, len(all))
	return session.Page[T]{Data: all[:n], HasMore: n < len(all)}
}

func (f *fake) List(_ context.Context, _ stead.Principal, q session.ListQuery) (session.Page[session.Session], error) {
	f.listed = q
	return paged(f.sessions, q.PageQuery, func(s session.Session) string { return string(s.ID) }), f.err
}

func (f *fake) Erase(ctx context.Context, p stead.Principal, id stead.SessionID) (session.Erased, error) {
	return session.Erased{}, f.Delete(ctx, p, id)
}

func (f *fake) Delete(_ context.Context, _ stead.Principal, id stead.SessionID) error {
	_, err := f.find(id)
	return err
}

func (f *fake) Send(_ context.Context, _ stead.Principal, id stead.SessionID, req session.SendRequest) error {
	f.mu.Lock()
	f.sent = req
	f.mu.Unlock()
	_, err := f.find(id)
	return err
}

func (f *fake) Stream(ctx context.Context, _ stead.Principal, id stead.SessionID, after *stead.Cursor, ready func(), yield func(session.StreamEvent) error) error {
	if _, err := f.find(id); err != nil {
		return err
	}
	return f.stream(ctx, after, ready, yield)
}

func (f *fake) Items(_ context.Context, _ stead.Principal, id stead.SessionID, q session.ItemQuery) (session.Page[session.Item], error) {
	if _, err := f.find(id); err != nil {
		return session.Page[session.Item]{}, err
	}
	return paged(f.items, q.PageQuery, session.Item.ItemID), nil
}

func (f *fake) Turns(_ context.Context, _ stead.Principal, id stead.SessionID, q session.PageQuery) (session.Page[session.Turn], error) {
	if _, err := f.find(id); err != nil {
		return session.Page[session.Turn]{}, err
	}
	return paged(f.turns, q, func(t session.Turn) string { return t.ID }), nil
}

func (f *fake) Turn(_ context.Context, _ stead.Principal, _ stead.SessionID, turn string) (session.Turn, error) {
	for _, t := range f.turns {
		if t.ID == turn {
			return t, nil
		}
	}
	return session.Turn{}, stead.NotFound("turn", turn)
}

func (f *fake) Subagents(_ context.Context, _ stead.Principal, id stead.SessionID, q session.PageQuery) (session.Page[session.SubagentObject], error) {
	if _, err := f.find(id); err != nil {
		return session.Page[session.SubagentObject]{}, err
	}
	return paged(f.subagents, q, func(a session.SubagentObject) string { return a.ID }), nil
}

func (f *fake) Traces(_ context.Context, _ stead.Principal, id stead.SessionID, q session.PageQuery) (session.Page[trace.Trace], error) {
	if _, err := f.find(id); err != nil {
		return session.Page[trace.Trace]{}, err
	}
	one := trace.Trace{ID: "turn_1", CreatedAt: 1, Object: "agent.session.trace", OTLP: []byte(`{"resourceSpans":[]}`), Session: id}
	return paged([]trace.Trace{one}, q, func(t trace.Trace) string { return t.ID }), nil
}

func (f *fake) Subagent(_ context.Context, _ stead.Principal, _ stead.SessionID, subagent string) (session.SubagentObject, error) {
	for _, a := range f.subagents {
		if a.ID == subagent {
			return a, nil
		}
	}
	return session.SubagentObject{}, stead.NotFound("subagent", subagent)
}

func (f *fake) SubagentItems(ctx context.Context, p stead.Principal, id stead.SessionID, subagent string, q session.ItemQuery) (session.Page[session.Item], error) {
	if _, err := f.Subagent(ctx, p, id, subagent); err != nil {
		return session.Page[session.Item]{}, err
	}
	return f.Items(ctx, p, id, q)
}

func (f *fake) SubagentTurns(ctx context.Context, p stead.Principal, id stead.SessionID, subagent string, q session.PageQuery) (session.Page[session.Turn], error) {
	if _, err := f.Subagent(ctx, p, id, subagent); err != nil {
		return session.Page[session.Turn]{}, err
	}
	return f.Turns(ctx, p, id, q)
}

func (f *fake) SubagentTurn(ctx context.Context, p stead.Principal, id stead.SessionID, subagent, turn string) (session.Turn, error) {
	if _, err := f.Subagent(ctx, p, id, subagent); err != nil {
		return session.Turn{}, err
	}
	return f.Turn(ctx, p, id, turn)
}

func (f *fake) Pause(_ context.Context, _ stead.Principal, id stead.SessionID) (session.Session, error) {
	s, err := f.find(id)
	s.Paused = true
	return s, err
}

func (f *fake) Resume(_ context.Context, _ stead.Principal, id stead.SessionID) (session.Session, error) {
	return f.find(id)
}

func (f *fake) Control(_ context.Context, _ stead.Principal, req session.ControlRequest) (session.Controlled, error) {
	f.controlled = req
	return session.Controlled{Matched: 3, Changed: 1, Failed: 1, Last: "sess_3", More: true,
		Failures: []session.ControlFailure{{Session: "sess_2", Err: stead.Errorf(stead.KindForbidden, "a policy says no")}}}, f.err
}

func (f *fake) Fork(_ context.Context, _ stead.Principal, id stead.SessionID, req session.ForkRequest) (session.Session, error) {
	f.forked = req
	s, err := f.find(id)
	s.ForkedFrom = &session.Origin{Session: id, Seq: 3, How: "fork"}
	return s, err
}

func (f *fake) Export(_ context.Context, _ stead.Principal, id stead.SessionID, w io.Writer) error {
	if _, err := f.find(id); err != nil {
		return err
	}
	for _, line := range f.exported {
		if _, err := io.WriteString(w, line+"\n"); err != nil {
			return err
		}
	}
	return f.failure
}

func (f *fake) Import(_ context.Context, _ stead.Principal, r io.Reader) (session.Session, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return session.Session{}, err
	}
	f.exported = []string{string(b)}
	return aSession("sess_imported", agent.Spec{Model: "sim"}), nil
}

func (f *fake) Approvals(_ context.Context, _ stead.Principal, q session.PageQuery) (session.Page[session.Approval], error) {
	return paged(f.inbox, q, func(a session.Approval) string { return a.ID }), f.err
}

func (f *fake) CreateAgent(_ context.Context, _ stead.Principal, spec agent.Spec, key, digest string) (agent.Agent, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.key = key + "/" + digest
	if f.err != nil {
		return agent.Agent{}, f.err
	}
	a := agent.Agent{ID: stead.AgentID(fmt.Sprintf("agent_%d", len(f.agents)+1)), Version: 1, CreatedAt: 1000, UpdatedAt: 1000, Spec: spec}
	f.agents = append(f.agents, a)
	return a, nil
}

func (f *fake) GetAgent(_ context.Context, _ stead.Principal, id stead.AgentID, version int) (agent.Agent, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.agents {
		if a.ID == id && (version == 0 || a.Version == version) {
			return a, f.err
		}
	}
	return agent.Agent{}, stead.NotFound("agent", string(id))
}

func (f *fake) UpdateAgent(_ context.Context, _ stead.Principal, id stead.AgentID, change func(*agent.Spec) error) (agent.Agent, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, a := range f.agents {
		if a.ID != id {
			continue
		}
		if err := change(&a.Spec); err != nil {
			return a, err
		}
		a.Version++
		f.agents[i] = a
		return a, nil
	}
	return agent.Agent{}, stead.NotFound("agent", string(id))
}

func (f *fake) ListAgents(_ context.Context, _ stead.Principal, q session.PageQuery) (session.Page[agent.Agent], error) {
	return paged(f.agents, q, func(a agent.Agent) string { return string(a.ID) }), f.err
}

func (f *fake) DeleteAgent(_ context.Context, _ stead.Principal, id stead.AgentID) error {
	_, err := f.GetAgent(context.Background(), stead.Principal{}, id, 0)
	return err
}

// models is a catalog of two.
type models struct{}

func (models) List(stead.ProjectID) []model.Info {
	return []model.Info{{Name: "local/qwen", Provider: "local"}, {Name: "sim", Provider: "sim", ContextWindow: 1000}}
}

func (m models) Resolve(name string, _ model.Caller) (model.Info, model.Model, error) {
	for _, i := range m.List("") {
		if i.Name == name {
			return i, nil, nil
		}
	}
	return model.Info{}, nil, stead.NotFound("model", name)
}

// The service of environments: one file, one artifact, no end of environments that are not there.

func (f *fake) CreateEnvironment(_ context.Context, _ stead.Principal, req session.EnvironmentRequest) (session.EnvironmentInfo, error) {
	f.planned = &req.Plan
	return session.EnvironmentInfo{ID: "env_1", Type: req.Plan.Type, Status: session.EnvironmentPending, Config: req.Plan.Config, CreatedAt: 1000}, f.err
}

func (f *fake) Environment(_ context.Context, _ stead.Principal, id string) (session.EnvironmentInfo, error) {
	if id != "env_1" {
		return session.EnvironmentInfo{}, stead.NotFound("environment", id)
	}
	return session.EnvironmentInfo{
		ID: id, Type: session.EnvironmentHosted, Status: session.EnvironmentReady, Config: []byte(`{"type":"openai_hosted"}`),
		Session: "sess_1", Checkpoint: &environment.Checkpoint{Digest: "d", Files: 1, Bytes: 2},
	}, f.err
}

func (f *fake) ListEnvironments(ctx context.Context, p stead.Principal, _ session.PageQuery) (session.Page[session.EnvironmentInfo], error) {
	one, err := f.Environment(ctx, p, "env_1")
	return session.Page[session.EnvironmentInfo]{Data: []session.EnvironmentInfo{one}}, err
}

func (f *fake) PutFile(_ context.Context, _ stead.Principal, id, path string, data []byte) (environment.File, error) {
	f.put = string(data)
	at, err := environment.FilePath("path", path)
	return environment.File{Path: at, Size: int64(len(data))}, cmp.Or(f.err, err)
}

func (f *fake) Files(_ context.Context, _ stead.Principal, _ string, q environment.ListQuery) (environment.FilePage, error) {
	f.files = q
	return environment.FilePage{Files: []environment.File{{Path: "/workspace/a", Size: 3}}, More: q.After == ""}, f.err
}

func (f *fake) ReadFile(_ context.Context, _ stead.Principal, _, path string, w io.Writer) error {
	if f.err != nil {
		return f.err
	}
	_, err := io.WriteString(w, "content of "+path)
	return err
}

func (f *fake) Executor(context.Context, stead.SessionKey, session.ConnectionInput) error {
	return f.err
}

func (f *fake) Artifacts(ctx context.Context, p stead.Principal, id stead.SessionID, _ session.PageQuery) (session.Page[session.ArtifactInfo], error) {
	if _, err := f.Get(ctx, p, id); err != nil {
		return session.Page[session.ArtifactInfo]{}, err
	}
	return session.Page[session.ArtifactInfo]{Data: []session.ArtifactInfo{}}, f.err
}

func (f *fake) Artifact(_ context.Context, _ stead.Principal, id stead.SessionID, artifact string) (session.ArtifactInfo, error) {
	if artifact != "artifact_1" {
		return session.ArtifactInfo{}, stead.NotFound("artifact", artifact)
	}
	return session.ArtifactInfo{ID: artifact, Object: "agent.session.artifact", SessionID: id, Path: "/workspace/outputs/a", SizeBytes: 4, EnvironmentID: "env_1", TurnID: "turn_1"}, f.err
}

func (f *fake) ArtifactContent(ctx context.Context, p stead.Principal, id stead.SessionID, artifact string, w io.Writer) error {
	if _, err := f.Artifact(ctx, p, id, artifact); err != nil {
		return err
	}
	_, err := io.WriteString(w, "<script>")
	return err
}

func (f *fake) DeleteArtifact(ctx context.Context, p stead.Principal, id stead.SessionID, artifact string) error {
	_, err := f.Artifact(ctx, p, id, artifact)
	return err
}
