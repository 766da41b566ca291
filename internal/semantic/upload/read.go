package upload

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/semantic"
)

// shown is a version as it is answered. whole: with its text.
func (s *Service) shown(ctx context.Context, d document.Document, h head, v version, whole bool) (Model, error) {
	out := Model{
		ID: d.ID, Name: h.Name, Description: h.Description, Version: v.N, Digest: v.Digest, Bytes: v.Bytes, Metrics: v.Metrics, Entities: v.Entities, Actions: v.Actions,
		By: v.By, CreatedAt: d.CreatedAt, UpdatedAt: v.At,
	}
	if whole {
		raw, err := s.text(ctx, d.Project, v)
		if err != nil {
			return out, err
		}
		out.Text = raw
	}
	if v.N != newest(h).N {
		return out, nil
	}
	if _, err := s.load(ctx, d.Project, v); err != nil {
		if stead.KindOf(err) == stead.KindUnavailable {
			return out, err
		}
		out.Problem = err.Error()
	}
	return out, nil
}

func (s *Service) text(ctx context.Context, project stead.ProjectID, v version) (string, error) {
	d, err := s.cfg.Documents.GetDocument(ctx, document.Key{Project: project, Kind: kindText, ID: v.Text})
	if err != nil {
		return "", err
	}
	var t text
	if err := json.Unmarshal(d.Data, &t); err != nil {
		return "", stead.Wrap(stead.KindInternal, err, "the text of a semantic model can't be read")
	}
	return t.Text, nil
}

// load makes a version ready. What the operator grants is looked at each time: it may be less than when it was uploaded. With that
// error, the model is there too.
func (s *Service) load(ctx context.Context, project stead.ProjectID, v version) (*semantic.Model, error) {
	s.mu.Lock()
	m := s.ready[v.Text]
	s.mu.Unlock()
	if m != nil {
		return m, s.granted(project, m)
	}
	raw, err := s.text(ctx, project, v)
	if err != nil {
		return nil, err
	}
	if m, err = s.whole(raw, v.N); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if len(s.ready) >= maxCached {
		clear(s.ready)
	}
	s.ready[v.Text] = m
	s.mu.Unlock()
	return m, s.granted(project, m)
}

// Loaded is a model in force, or why it can't be used.
type Loaded struct {
	Name  string
	Model *semantic.Model
	Err   error
	// Ungranted is the model whose grant was taken back: what it means is known, but not to be read. nil with Err: nothing of it is.
	Ungranted *semantic.Model
}

// Models are a project's models, in their newest versions. Nobody's policies are asked.
func (s *Service) Models(ctx context.Context, project stead.ProjectID) ([]Loaded, error) {
	found, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: project, Kind: kindHead, Limit: MaxModels + 1})
	if err != nil {
		return nil, err
	}
	var out []Loaded
	for _, d := range found {
		l := Loaded{Name: strings.TrimPrefix(d.ID, Prefix)}
		h, err := read(d)
		if err == nil {
			l.Model, err = s.load(ctx, project, newest(h))
		}
		if stead.KindOf(err) == stead.KindUnavailable {
			return nil, err
		}
		if l.Err = err; err != nil {
			l.Model, l.Ungranted = nil, l.Model
		}
		out = append(out, l)
	}
	return out, nil
}

// Get returns a model with its text.
func (s *Service) Get(ctx context.Context, p stead.Principal, id string) (Model, error) {
	return s.Version(ctx, p, id, AnyVersion)
}

// Version returns one version with its text; AnyVersion: the newest.
func (s *Service) Version(ctx context.Context, p stead.Principal, id string, n int64) (Model, error) {
	if err := s.check(ctx, p, policy.SemanticRead, strings.TrimPrefix(id, Prefix)); err != nil {
		return Model{}, err
	}
	d, h, err := s.get(ctx, p, id)
	if err != nil {
		return Model{}, err
	}
	if n == AnyVersion {
		return s.shown(ctx, d, h, newest(h), true)
	}
	i := slices.IndexFunc(h.Versions, func(v version) bool { return v.N == n })
	if i < 0 {
		return Model{}, stead.Errorf(stead.KindNotFound, "the semantic model %s has no version %d: the newest is %d, and the last %d are kept", h.Name, n, newest(h).N, MaxVersions)
	}
	return s.shown(ctx, d, h, h.Versions[i], true)
}

// Versions lists the versions of a model, without their texts: behind or before a version, the newest first if desc.
func (s *Service) Versions(ctx context.Context, p stead.Principal, id string, after int64, desc bool, limit int) ([]Model, bool, error) {
	if err := s.check(ctx, p, policy.SemanticRead, strings.TrimPrefix(id, Prefix)); err != nil {
		return nil, false, err
	}
	d, h, err := s.get(ctx, p, id)
	if err != nil {
		return nil, false, err
	}
	versions := slices.Clone(h.Versions)
	if desc {
		slices.Reverse(versions)
	}
	var out []Model
	for _, v := range versions {
		if after > 0 && (desc && v.N >= after || !desc && v.N <= after) {
			continue
		}
		if len(out) == limit {
			return out, true, nil
		}
		one, err := s.shown(ctx, d, h, v, false)
		if err != nil {
			return nil, false, err
		}
		out = append(out, one)
	}
	return out, false, nil
}

// List lists a project's models, without their texts.
func (s *Service) List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) ([]Model, bool, error) {
	if err := s.check(ctx, p, policy.SemanticRead, ""); err != nil {
		return nil, false, err
	}
	found, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: p.Project, Kind: kindHead, After: after, Desc: desc, Limit: limit + 1})
	if err != nil {
		return nil, false, err
	}
	more := len(found) > limit
	var out []Model
	for _, d := range found[:min(limit, len(found))] {
		h, err := read(d)
		if err != nil {
			return nil, false, err
		}
		one, err := s.shown(ctx, d, h, newest(h), false)
		if err != nil {
			return nil, false, err
		}
		out = append(out, one)
	}
	return out, more, nil
}
