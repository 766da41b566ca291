package runner

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

var _ session.Environments = (*Runner)(nil)

// setup stores what an environment is made of below its session's blobs, before any event names it.
func (r *Runner) setup(ctx context.Context, key stead.SessionKey, plan *session.EnvironmentPlan) (*environment.Setup, error) {
	if r.cfg.Environments == nil {
		return nil, noEnvironments()
	}
	s := &environment.Setup{Type: plan.Type, Config: plan.Config, Works: plan.Works}
	put := func(data []byte) (stead.Text, error) {
		digest, err := r.cfg.Blobs.Put(ctx, key, data)
		return stead.Text{Digest: digest, Bytes: len(data)}, err
	}
	for _, data := range plan.Blobs {
		ref, err := put(data)
		if err != nil {
			return nil, err
		}
		s.Blobs = append(s.Blobs, ref)
	}
	if plan.Seal != nil {
		sealed, keep := plan.Seal(key)
		ref, err := put(sealed)
		if err == nil {
			err = keep(ctx)
		}
		if err != nil {
			return nil, err
		}
		s.Sealed, s.Owner = &ref, key.Session
	}
	return s, nil
}

func noEnvironments() error {
	e := stead.Errorf(stead.KindNotImplemented, "this server has no environments")
	e.Hint = `Send {"type": "none"}, or enable environments in the server's configuration.`
	return e
}

// CreateEnvironment implements session.Environments.
func (r *Runner) CreateEnvironment(ctx context.Context, p stead.Principal, req session.EnvironmentRequest) (session.EnvironmentInfo, error) {
	ask := policy.Request{Principal: p, Effect: policy.SessionCreate, Resource: "environment", Pinned: pinned(session.AgentPin{}, &req.Plan)}
	if err := r.allowed(ctx, ask, nil); err != nil {
		return session.EnvironmentInfo{}, err
	}
	if err := r.attachable(ctx, p, req.VaultIDs, nil, &req.Plan); err != nil {
		return session.EnvironmentInfo{}, err
	}
	key := keyOf(p, stead.SessionID(newID(stead.SessionPrefix)))
	info, err := r.createEnvironment(ctx, p, key, req)
	if err != nil && stead.KindOf(err) != stead.KindUnavailable {
		r.discard(ctx, key)
	}
	return info, err
}

func (r *Runner) createEnvironment(ctx context.Context, p stead.Principal, key stead.SessionKey, req session.EnvironmentRequest) (session.EnvironmentInfo, error) {
	setup, err := r.setup(ctx, key, &req.Plan)
	if err != nil {
		return session.EnvironmentInfo{}, err
	}
	now := r.now()
	first, err := session.NewEvent(now, session.KindEnvironmentCreated, session.EnvironmentCreated{
		Setup: *setup, Object: req.Plan.Object(session.EnvironmentID(key.Session)), VaultIDs: req.VaultIDs, Principal: p,
	})
	if err != nil {
		return session.EnvironmentInfo{}, err
	}
	receipt, err := r.cfg.Store.Send(ctx, key, journal.Input{
		Create: &journal.Creation{CreatedAt: now}, Events: []stead.Event{first}, If: -1, Key: req.Key, Digest: req.Digest,
		Update: &journal.Listing{Status: session.StatusIdle, LastActive: now, Environment: setup.Type},
	})
	if err != nil {
		return session.EnvironmentInfo{}, err
	}
	if receipt.Session != "" && receipt.Session != key.Session { // the key made another one before
		r.discard(ctx, key)
		key = keyOf(p, receipt.Session)
	}
	v, err := r.view(ctx, key)
	if err != nil {
		return session.EnvironmentInfo{}, err
	}
	info, _ := v.Info()
	return info, nil
}

// attach makes a session of an environment that waits for one. Two that try at once: one succeeds.
func (r *Runner) attach(ctx context.Context, p stead.Principal, pin session.AgentPin, req session.CreateRequest, guarded session.Guarded, drafts [][]byte) (session.Session, error) {
	v, err := r.environmentView(ctx, p, req.Environment.Attach, policy.EnvironmentWrite)
	if stead.KindOf(err) == stead.KindNotFound {
		return session.Session{}, stead.Invalid("environment.environment_id", "there is no environment %.80q", req.Environment.Attach)
	}
	if err != nil {
		return session.Session{}, err
	}
	if v.Environment.Gone() {
		return session.Session{}, expired()
	}
	key := v.Key
	created := req.Created(pin, p)
	created.Environment, created.VaultIDs, created.With = v.Created.Environment, united(v.Created.VaultIDs, req.VaultIDs), len(req.Input) > 0
	if err := r.attachable(ctx, p, created.VaultIDs, pin.Spec.Tools, req.Environment); err != nil {
		return session.Session{}, err
	}
	for range maxConflicts {
		now := r.now()
		first, err := session.NewEvent(now, session.KindSessionCreated, created)
		if err != nil {
			return session.Session{}, err
		}
		events, status := []stead.Event{first}, session.StatusIdle
		if len(req.Input) > 0 {
			e, err := r.messageEvent(ctx, key, p, session.Message{Input: req.Input, Guardrails: guarded.Findings, Traceparent: req.Traceparent})
			if err != nil {
				return session.Session{}, err
			}
			events, status = append(events, e), session.StatusInProgress
		}
		free := v.Created.Agent.ID == ""
		in := journal.Input{
			Events: events, If: v.Tail, Key: req.Key, Digest: req.Digest, Audit: drafts,
			Update: &journal.Listing{Status: status, Metadata: req.Metadata, LastActive: now, Agent: pin.ID},
		}
		if !free {
			in.If = 1 << 62 // no session has this tail: only a known key gets through
		}
		_, err = r.cfg.Store.Send(ctx, key, in)
		switch {
		case stead.KindOf(err) == stead.KindTail && !free:
			return session.Session{}, stead.Errorf(stead.KindConflict, "environment %s is attached to session %s already", req.Environment.Attach, key.Session)
		case stead.KindOf(err) == stead.KindTail:
		case err != nil:
			return session.Session{}, err
		}
		r.arrived(key)
		stored := err == nil
		if v, err = r.view(ctx, key); err != nil || stored {
			return v.Session(), err
		}
	}
	return session.Session{}, stead.Errorf(stead.KindUnavailable, "the environment is too busy to be attached; try again")
}

// united are the vaults of an environment and of the session that attaches it, each once.
func united(a, b []string) []string {
	out := slices.Clone(a)
	for _, id := range b {
		if !slices.Contains(a, id) {
			out = append(out, id)
		}
	}
	return out
}

// environmentView is the view of the session that an environment belongs to.
func (r *Runner) environmentView(ctx context.Context, p stead.Principal, id string, effect policy.Effect) (*session.View, error) {
	s, ok := session.SessionOfEnvironment(id)
	if !ok {
		return nil, stead.NotFound("environment", id)
	}
	key := keyOf(p, s)
	if err := r.allow(ctx, p, effect, key, id); err != nil {
		return nil, err
	}
	v, err := r.view(ctx, key)
	if stead.KindOf(err) == stead.KindNotFound || err == nil && v.Environment == nil {
		return nil, stead.NotFound("environment", id)
	}
	return v, err
}

// Environment implements session.Environments.
func (r *Runner) Environment(ctx context.Context, p stead.Principal, id string) (session.EnvironmentInfo, error) {
	v, err := r.environmentView(ctx, p, id, policy.EnvironmentRead)
	if err != nil {
		return session.EnvironmentInfo{}, err
	}
	info, _ := v.Info()
	return info, nil
}

// ListEnvironments implements session.Environments.
func (r *Runner) ListEnvironments(ctx context.Context, p stead.Principal, q session.PageQuery) (session.Page[session.EnvironmentInfo], error) {
	page := session.Page[session.EnvironmentInfo]{Data: []session.EnvironmentInfo{}}
	if err := r.allow(ctx, p, policy.EnvironmentRead, stead.SessionKey{}, ""); err != nil {
		return page, err
	}
	query := journal.Query{Environment: session.EnvironmentHosted, Desc: q.Desc, Limit: pageLimit(q) + 1}
	if q.After != "" {
		s, ok := session.SessionOfEnvironment(q.After)
		if !ok {
			return page, stead.Invalid("after", "after must be the id of an environment")
		}
		query.After = s
	}
	heads, err := r.cfg.Store.Heads(ctx, p.Project, query)
	if err != nil {
		return page, err
	}
	for _, h := range heads {
		if len(page.Data) == pageLimit(q) {
			page.HasMore = true
			break
		}
		v, err := r.view(ctx, h.Key)
		if stead.KindOf(err) == stead.KindNotFound {
			continue // it was deleted meanwhile
		}
		if err != nil {
			return page, err
		}
		if info, ok := v.Info(); ok && (!p.Bound || r.own(ctx, p, h.Key) == nil) {
			page.Data = append(page.Data, info)
		}
	}
	return page, nil
}

// PutFile implements session.Environments.
func (r *Runner) PutFile(ctx context.Context, p stead.Principal, id, path string, data []byte) (environment.File, error) {
	v, err := r.environmentView(ctx, p, id, policy.EnvironmentWrite)
	if err != nil {
		return environment.File{}, err
	}
	at, err := environment.FilePath("path", path)
	if err != nil {
		return environment.File{}, err
	}
	e := v.Environment
	switch {
	case !utf8.ValidString(at): // the journal is JSON
		return environment.File{}, stead.Invalid("path", "the path of a file that is given must be UTF-8")
	case !e.Hosted():
		return environment.File{}, stead.Invalid("environment_id", "environment %s is self-hosted: its files are on the machine that hosts it", id)
	case e.Gone():
		return environment.File{}, expired()
	case e.Status == session.EnvironmentIsFailed:
		return environment.File{}, stead.Errorf(stead.KindConflict, "environment %s has failed", id)
	case len(data) > stead.MaxTextBytes:
		return environment.File{}, stead.Errorf(stead.KindTooLarge, "the file has %d bytes, the limit is %d", len(data), stead.MaxTextBytes)
	case len(e.Uploads) >= session.MaxUploads:
		return environment.File{}, stead.Errorf(stead.KindLimited, "%d files wait to be put into the workspace, which is the limit: run a command first", len(e.Uploads))
	}
	if err := r.admits(ctx, v, at, len(data)); err != nil {
		return environment.File{}, err
	}
	digest, err := r.cfg.Blobs.Put(ctx, v.Key, data)
	if err != nil {
		return environment.File{}, err
	}
	ev, err := session.NewEvent(r.now(), session.KindInputFile, session.FileInput{Path: at, Data: stead.Text{Digest: digest, Bytes: len(data)}, By: p})
	if err != nil {
		return environment.File{}, err
	}
	if _, err := r.cfg.Store.Send(ctx, v.Key, journal.Input{Events: []stead.Event{ev}, If: -1}); err != nil {
		return environment.File{}, err
	}
	r.arrived(v.Key)
	return environment.File{Path: at, Size: int64(len(data))}, nil
}

// admits refuses a file that can be seen to be impossible. What can't be seen now, because commands run
// or the environment is elsewhere, shows when the file is put into the workspace.
func (r *Runner) admits(ctx context.Context, v *session.View, at string, size int) error {
	if other := v.Environment.Blocks(at); other != "" {
		return &stead.Error{Kind: stead.KindConflict, Param: "path", Message: fmt.Sprintf("%q can't be there together with %q, which waits to be put into the workspace", at, other)}
	}
	if v.Turn != nil || !v.Environment.Resident(r.cfg.Node) {
		return nil
	}
	return r.cfg.Environments.Admits(ctx, v.Key, at, int64(size))
}

// Files implements session.Environments.
func (r *Runner) Files(ctx context.Context, p stead.Principal, id string, q environment.ListQuery) (environment.FilePage, error) {
	v, err := r.environmentView(ctx, p, id, policy.EnvironmentRead)
	if err != nil {
		return environment.FilePage{}, err
	}
	if v.Environment.Gone() {
		return environment.FilePage{}, expired()
	}
	return r.cfg.Environments.Files(ctx, v.Key, r.stateOf(v.Environment, 0), q)
}

// ReadFile implements session.Environments.
func (r *Runner) ReadFile(ctx context.Context, p stead.Principal, id, path string, w io.Writer) error {
	v, err := r.environmentView(ctx, p, id, policy.EnvironmentRead)
	if err != nil {
		return err
	}
	at, err := environment.FilePath("path", path)
	if err != nil {
		return err
	}
	if v.Environment.Gone() {
		return expired()
	}
	return r.cfg.Environments.ReadFile(ctx, v.Key, r.stateOf(v.Environment, 0), at, w)
}

// Executor implements session.Environments.
func (r *Runner) Executor(ctx context.Context, key stead.SessionKey, in session.ConnectionInput) error {
	v, err := r.view(ctx, key)
	if err != nil {
		return err
	}
	if v.Environment == nil || v.Environment.Hosted() {
		return stead.NotFound("self-hosted environment", session.EnvironmentID(key.Session))
	}
	in.Node = cmp.Or(in.Node, r.cfg.Node)
	ev, err := session.NewEvent(r.now(), session.KindInputConnection, in)
	if err != nil {
		return err
	}
	_, err = r.cfg.Store.Send(ctx, key, journal.Input{Events: []stead.Event{ev}, If: -1})
	r.arrived(key)
	return err
}

// Artifacts implements session.Environments.
func (r *Runner) Artifacts(ctx context.Context, p stead.Principal, id stead.SessionID, q session.PageQuery) (session.Page[session.ArtifactInfo], error) {
	page := session.Page[session.ArtifactInfo]{Data: []session.ArtifactInfo{}}
	v, err := r.readable(ctx, p, id)
	if err != nil {
		return page, err
	}
	all := v.Artifacts()
	if q.Desc {
		slices.Reverse(all)
	}
	if q.After != "" {
		at := slices.IndexFunc(all, func(a session.ArtifactInfo) bool { return a.ID == q.After })
		if at < 0 {
			return page, stead.Invalid("after", "no artifact with id %.80q in this list", q.After)
		}
		all = all[at+1:]
	}
	n := min(len(all), pageLimit(q))
	page.Data, page.HasMore = append(page.Data, all[:n]...), len(all) > n
	return page, nil
}

func (r *Runner) artifact(ctx context.Context, p stead.Principal, id stead.SessionID, artifact string) (*session.View, int, error) {
	v, err := r.readable(ctx, p, id)
	if err != nil {
		return nil, 0, err
	}
	at := slices.IndexFunc(v.Artifacts(), func(a session.ArtifactInfo) bool { return a.ID == artifact })
	if at < 0 {
		return nil, 0, stead.NotFound("artifact", artifact)
	}
	return v, at, nil
}

// Artifact implements session.Environments.
func (r *Runner) Artifact(ctx context.Context, p stead.Principal, id stead.SessionID, artifact string) (session.ArtifactInfo, error) {
	v, at, err := r.artifact(ctx, p, id, artifact)
	if err != nil {
		return session.ArtifactInfo{}, err
	}
	return v.Artifacts()[at], nil
}

// ArtifactContent implements session.Environments.
func (r *Runner) ArtifactContent(ctx context.Context, p stead.Principal, id stead.SessionID, artifact string, w io.Writer) error {
	v, at, err := r.artifact(ctx, p, id, artifact)
	if err != nil {
		return err
	}
	for _, part := range v.Environment.Artifacts[at].Parts {
		if err := r.copyBlob(ctx, v.Key, part.Digest, w); err != nil {
			return err
		}
	}
	return nil
}

// copyBlob passes a blob on as it is read: whoever takes it may be slow, and there may be many of them.
func (r *Runner) copyBlob(ctx context.Context, key stead.SessionKey, digest string, w io.Writer) error {
	from, err := r.cfg.Blobs.Open(ctx, key, digest)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(w, from)
	return err
}

// DeleteArtifact implements session.Environments.
func (r *Runner) DeleteArtifact(ctx context.Context, p stead.Principal, id stead.SessionID, artifact string) error {
	if err := r.allow(ctx, p, policy.SessionWrite, keyOf(p, id), artifact); err != nil {
		return err
	}
	v, _, err := r.artifact(ctx, p, id, artifact)
	if err != nil {
		return err
	}
	ev, err := session.NewEvent(r.now(), session.KindInputArtifact, session.ArtifactInput{ID: artifact, By: p})
	if err != nil {
		return err
	}
	_, err = r.cfg.Store.Send(ctx, v.Key, journal.Input{Events: []stead.Event{ev}, If: -1})
	return err
}
