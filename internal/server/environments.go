package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/template"
)

// Planner resolves what an environment names (its template, files, skills), so that it can be made.
type Planner interface {
	Plan(ctx context.Context, p stead.Principal, c template.Config) (session.EnvironmentPlan, error)
}

// environment reads the environment of a session; nil is none.
func (s *server) environment(ctx context.Context, p stead.Principal, o param.Object) (*session.EnvironmentPlan, error) {
	env, err := param.Need(o.Object("environment"))("environment")
	if err != nil {
		return nil, err
	}
	cfg, err := template.Decode(env)
	if err != nil || cfg.Type == template.TypeNone {
		return nil, err
	}
	if cfg.EnvironmentID != "" {
		return &session.EnvironmentPlan{Attach: cfg.EnvironmentID, Type: string(cfg.Type)}, nil
	}
	if s.Planner == nil {
		e := stead.Errorf(stead.KindNotImplemented, "environment.type %q asks for a computer, and this server has none", cfg.Type)
		e.Hint = `Send {"type": "none"}: functions and MCP servers work without one.`
		return nil, e
	}
	plan, err := s.Planner.Plan(ctx, p, cfg)
	return &plan, err
}

func (s *server) createEnvironment(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a request for an environment", "environment", "vault_ids"); err != nil {
		return err
	}
	vaults, err := vaultIDs(req.Object)
	if err != nil {
		return err
	}
	plan, err := s.environment(r.Context(), p, req.Object)
	if err != nil {
		return err
	}
	if plan == nil || plan.Attach != "" || plan.Type != session.EnvironmentHosted {
		return stead.Invalid("environment.type", "only a new hosted environment can be made before its session: send openai_hosted without environment_id")
	}
	made, err := s.Environments.CreateEnvironment(r.Context(), p, session.EnvironmentRequest{Plan: *plan, VaultIDs: vaults, Key: req.key, Digest: req.digest})
	if err != nil {
		return err
	}
	return s.write(w, environmentInfo(made))
}

// environmentInfo is the contract's object with what we add: the session, what is stored, and what
// was used.
func environmentInfo(i session.EnvironmentInfo) json.RawMessage {
	var public template.Public
	_ = json.Unmarshal(i.Config, &public) // it was written by Plan
	var fields map[string]any
	_ = json.Unmarshal(public.WireInfo(i.ID, i.Status), &fields)
	fields["error"], fields["session_id"], fields["checkpoint"] = i.Error, i.Session, nil
	if i.Session == "" {
		fields["session_id"] = nil
	}
	fields["created_at"] = i.CreatedAt / 1000
	if c := i.Checkpoint; c != nil {
		fields["checkpoint"] = map[string]any{"digest": c.Digest, "files": c.Files, "bytes": c.Bytes, "left_out": c.Skipped, "unsettled": c.Unsettled}
	}
	fields["last_reset"] = nil
	if r := i.LastReset; r != nil {
		fields["last_reset"] = map[string]any{"files_kept": r.Kept, "reason": r.Why, "commands": r.Affected(), "reset_at": i.ResetAt / 1000}
	}
	fields["reset_count"], fields["unpublished"] = i.Resets, unpublished(i.Unpublished)
	refused := []map[string]any{}
	for _, f := range i.Refused {
		refused = append(refused, map[string]any{"path": f.Path, "reason": f.Reason, "refused_at": f.At / 1000})
	}
	fields["refused_files"] = refused
	fields["usage"] = map[string]any{
		"cpu_seconds": i.Usage.CPU.Seconds(), "memory_bytes": i.Usage.MemoryBytes, "disk_bytes": i.Usage.DiskBytes,
		"commands": i.Usage.Commands, "output_bytes": i.Usage.OutputBytes,
		"egress_sent_bytes": i.Usage.EgressSentBytes, "egress_received_bytes": i.Usage.EgressReceivedBytes,
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return json.RawMessage("null")
	}
	return b
}

// unpublished lists the outputs that did not become artifacts, and why not.
func unpublished(files []environment.TooLarge) []map[string]any {
	out := []map[string]any{}
	for _, f := range files {
		why := "too_large"
		if f.Many {
			why = "too_many"
		}
		out = append(out, map[string]any{"path": f.Path, "size_bytes": f.Size, "reason": why})
	}
	return out
}

func (s *server) getEnvironment(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Environments.Environment(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.write(w, environmentInfo(found))
}

func (s *server) listEnvironments(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	values := r.URL.Query()
	if kind := values.Get("type"); kind != "" && kind != session.EnvironmentHosted {
		return stead.Invalid("type", "type %.40q can't be listed: openai_hosted can", kind)
	}
	q, err := idPage(values, session.EnvironmentPrefix)
	if err != nil {
		return err
	}
	if values.Get("order") == "" {
		q.Desc = true
	}
	found, err := s.Environments.ListEnvironments(r.Context(), p, q)
	if err != nil {
		return err
	}
	var data []json.RawMessage
	for _, i := range found.Data {
		data = append(data, environmentInfo(i))
	}
	l := listOf(data, found.HasMore, func(json.RawMessage) string { return "" })
	if n := len(found.Data); n > 0 {
		l.FirstID, l.LastID = &found.Data[0].ID, &found.Data[n-1].ID
	}
	return s.write(w, l)
}

// environmentFile is the wire's file of an environment.
type environmentFile struct {
	EnvironmentID string `json:"environment_id"`
	Object        string `json:"object"` // "agent.environment.file"
	Path          string `json:"path"`
	SizeBytes     int64  `json:"size_bytes"`
}

func wireFile(id string, f environment.File) environmentFile {
	return environmentFile{id, "agent.environment.file", environment.WirePath(f.Path), f.Size}
}

func (s *server) putEnvironmentFile(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a file of an environment", "type", "path", "data", "file_id"); err != nil {
		return err
	}
	path, err := param.Need(req.String("path"))("path")
	if err != nil {
		return err
	}
	// The rules of a template's files: a file that can't be there would keep the workspace from being
	// opened and stored.
	if err := template.CheckPath("path", path); err != nil {
		return err
	}
	data, err := s.fileContent(r.Context(), p, req.Object)
	if err != nil {
		return err
	}
	put, err := s.Environments.PutFile(r.Context(), p, r.PathValue("id"), path, data)
	if err != nil {
		return err
	}
	return s.write(w, wireFile(r.PathValue("id"), put))
}

// fileContent reads what is to be uploaded: inline, or a file of the Files API.
func (s *server) fileContent(ctx context.Context, p stead.Principal, o param.Object) ([]byte, error) {
	kind, err := param.Need(o.Enum("type", "inline", "file_id"))("type")
	if err != nil {
		return nil, err
	}
	if kind == "inline" {
		text, err := param.Need(o.String("data"))("data")
		if err != nil {
			return nil, err
		}
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, stead.Invalid("data", "data is not standard base64: %s", err)
		}
		return data, nil
	}
	id, err := param.Need(o.String("file_id"))("file_id")
	if err != nil {
		return nil, err
	}
	if s.FileContent == nil {
		return nil, stead.Errorf(stead.KindNotImplemented, "this server has no files API: send the file inline")
	}
	data, err := s.FileContent(ctx, p, id, stead.MaxTextBytes)
	if stead.KindOf(err) == stead.KindNotFound {
		return nil, stead.Invalid("file_id", "there is no file with id %.80q", id)
	}
	return data, err
}

// filePage is the wire's page of files: the token is the last path.
type filePage struct {
	Object  string            `json:"object"`
	Data    []environmentFile `json:"data"`
	HasMore bool              `json:"has_more"`
	Next    *string           `json:"next"`
}

func (s *server) listEnvironmentFiles(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("id")
	q, err := fileQuery(r.URL.Query())
	if err != nil {
		return err
	}
	found, err := s.Environments.Files(r.Context(), p, id, q)
	if err != nil {
		return err
	}
	out := filePage{Object: "list", Data: []environmentFile{}, HasMore: found.More}
	for _, f := range found.Files {
		out.Data = append(out.Data, wireFile(id, f))
	}
	if n := len(found.Files); n > 0 && found.More {
		next := base64.RawURLEncoding.EncodeToString([]byte(found.Files[n-1].Path))
		out.Next = &next
	}
	return s.write(w, out)
}

func fileQuery(values url.Values) (environment.ListQuery, error) {
	dir, err := environment.FromWire("path", values.Get("path"))
	if err != nil {
		return environment.ListQuery{}, err
	}
	q := environment.ListQuery{Dir: dir, Limit: stead.DefaultPageSize, Desc: values.Get("order") != "asc"}
	if order := values.Get("order"); order != "" && order != "asc" && order != "desc" {
		return q, stead.Invalid("order", "order must be asc or desc, not %.40q", order)
	}
	n, has, err := queryInt(values, "limit", 1, stead.MaxPageSize)
	if err != nil {
		return q, err
	}
	if has {
		q.Limit = n
	}
	after, err := base64.RawURLEncoding.DecodeString(values.Get("page"))
	if err != nil || len(after) > environment.MaxPathBytes {
		return q, stead.Invalid("page", "page must be the next token of a page before")
	}
	q.After = string(after)
	return q, nil
}

func (s *server) readEnvironmentFile(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	out := &download{w: w, media: mediaBytes, name: "file"}
	return s.finish(out, s.Environments.ReadFile(r.Context(), p, r.PathValue("id"), r.URL.Query().Get("path"), out))
}

func (s *server) listArtifacts(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	values := r.URL.Query()
	q, err := idPage(values, "artifact_")
	if err != nil {
		return err
	}
	if values.Get("order") == "" {
		q.Desc = true
	}
	id := sessionID(r)
	if of := values.Get("environment_id"); of != "" && of != environmentOf(id) {
		return s.write(w, listOf([]session.ArtifactInfo{}, false, nil))
	}
	found, err := s.Environments.Artifacts(r.Context(), p, id, q)
	if err != nil {
		return err
	}
	return s.write(w, listOf(found.Data, found.HasMore, func(a session.ArtifactInfo) string { return a.ID }))
}

// environmentOf is the id of a session's environment; "" for what is no session's id.
func environmentOf(id stead.SessionID) string {
	if len(id) <= len(stead.SessionPrefix) {
		return ""
	}
	return session.EnvironmentID(id)
}

func (s *server) getArtifact(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Environments.Artifact(r.Context(), p, sessionID(r), r.PathValue("part"))
	if err != nil {
		return err
	}
	return s.write(w, found)
}

func (s *server) getArtifactContent(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	out := &download{w: w, media: mediaBytes, name: r.PathValue("part")}
	return s.finish(out, s.Environments.ArtifactContent(r.Context(), p, sessionID(r), r.PathValue("part"), out))
}

func (s *server) deleteArtifact(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("part")
	if err := s.Environments.DeleteArtifact(r.Context(), p, sessionID(r), id); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "agent.session.artifact.deleted"})
}

// shown is a session as whoever asked for it by name sees it.
func (s *server) shown(p stead.Principal, found session.Session) session.Session {
	s.withLinks(p, found.RequiredActions)
	return s.withRemoteURL(p, found)
}

// withRemoteURL shows a self-hosted environment's whole address to whoever asked for the session by
// name. Streams and lists show it without the token, and so does the journal.
func (s *server) withRemoteURL(p stead.Principal, found session.Session) session.Session {
	if s.RemoteURL == nil || p.Role != "" && !identity.May(p.Role, policy.SessionWrite) { // whoever has it is the session's computer
		return found
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(found.Environment, &fields) != nil || string(fields["type"]) != `"`+session.EnvironmentSelfHosted+`"` {
		return found
	}
	url, err := json.Marshal(s.RemoteURL(p, environmentOf(found.ID)))
	if err != nil {
		return found
	}
	fields["remote_url"] = url
	if raw, err := json.Marshal(fields); err == nil {
		found.Environment = raw
	}
	return found
}
