package server

import (
	"context"
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/source"
)

// Sources keeps the sources of vector stores: see package source, which implements it.
type Sources interface {
	Create(ctx context.Context, p stead.Principal, store string, spec source.Spec, key, digest string) (source.Source, error)
	List(ctx context.Context, p stead.Principal, store string) ([]source.Source, error)
	Get(ctx context.Context, p stead.Principal, store, id string) (source.Source, error)
	Delete(ctx context.Context, p stead.Principal, store, id string) error
	Update(ctx context.Context, p stead.Principal, store, id string, access *[]source.Rule, otherwise *string) (source.Source, error)
	Sync(ctx context.Context, p stead.Principal, store, id string) (source.Source, error)
}

func (s *server) createSource(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	spec, err := sourceSpec(req.Object)
	if err != nil {
		return err
	}
	made, err := s.Sources.Create(r.Context(), p, r.PathValue("id"), spec, req.key, req.digest)
	if err != nil {
		return err
	}
	return s.write(w, wireVectorSourceOf(made))
}

func (s *server) listSources(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Sources.List(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	data := make([]wireVectorSource, len(found))
	for i, f := range found {
		data[i] = wireVectorSourceOf(f)
	}
	return s.write(w, listOf(data, false, func(f wireVectorSource) string { return f.ID }))
}

func (s *server) getSource(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Sources.Get(r.Context(), p, r.PathValue("id"), r.PathValue("source"))
	if err != nil {
		return err
	}
	return s.write(w, wireVectorSourceOf(found))
}

func (s *server) updateSource(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a change of a source", "access", "access_default"); err != nil {
		return err
	}
	var access *[]source.Rule
	if _, has := req.Raw("access"); has {
		rules, err := accessRules(req.Object)
		if err != nil {
			return err
		}
		access = &rules
	}
	var otherwise *string
	if said, has, err := req.String("access_default"); err != nil {
		return err
	} else if has {
		otherwise = &said
	}
	found, err := s.Sources.Update(r.Context(), p, r.PathValue("id"), r.PathValue("source"), access, otherwise)
	if err != nil {
		return err
	}
	return s.write(w, wireVectorSourceOf(found))
}

func (s *server) deleteSource(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("source")
	if err := s.Sources.Delete(r.Context(), p, r.PathValue("id"), id); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "vector_store.source.deleted"})
}

func (s *server) syncSource(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Sources.Sync(r.Context(), p, r.PathValue("id"), r.PathValue("source"))
	if err != nil {
		return err
	}
	return s.write(w, wireVectorSourceOf(found))
}

// sourceSpec reads what a source is to be: package source says what may be.
func sourceSpec(o param.Object) (source.Spec, error) {
	var spec source.Spec
	if err := o.Only("a source", "name", "type", "directory", "repository", "branch", "server", "database", "site", "urls", "sitemap", "path", "include", "exclude", "interval_seconds", "chunking_strategy", "attributes", "access", "access_default"); err != nil {
		return spec, err
	}
	for name, into := range map[string]*string{"name": &spec.Name, "type": &spec.Type, "directory": &spec.Directory, "repository": &spec.Repository, "branch": &spec.Branch, "server": &spec.Server, "database": &spec.Database, "site": &spec.Site, "sitemap": &spec.Sitemap, "path": &spec.Path, "access_default": &spec.AccessDefault} {
		if err := setString(o, name, into); err != nil {
			return spec, err
		}
	}
	var err error
	if spec.URLs, _, err = o.Strings("urls"); err != nil {
		return spec, err
	}
	if spec.Include, _, err = o.Strings("include"); err != nil {
		return spec, err
	}
	if spec.Exclude, _, err = o.Strings("exclude"); err != nil {
		return spec, err
	}
	if spec.Interval, _, err = o.Int("interval_seconds", 0, source.MaxInterval); err != nil {
		return spec, err
	}
	if spec.Attributes, err = attributesOf(o); err != nil {
		return spec, err
	}
	if spec.Plan, err = planOf(o); err != nil {
		return spec, err
	}
	spec.Access, err = accessRules(o)
	return spec, err
}

func accessRules(o param.Object) (out []source.Rule, err error) {
	list, _, err := o.List("access")
	if err != nil {
		return nil, err
	}
	for i, raw := range list {
		rule, err := accessRule(o, i, raw)
		if err != nil {
			return nil, err
		}
		out = append(out, rule)
	}
	return out, nil
}

func accessRule(o param.Object, i int, raw []byte) (source.Rule, error) {
	var r source.Rule
	one, err := param.Parse(param.Index(o.Path("access"), i), raw)
	if err != nil {
		return r, err
	}
	if err := one.Only("a rule", "paths", "labels", "principals", "roles", "everyone"); err != nil {
		return r, err
	}
	for name, into := range map[string]*[]string{"paths": &r.Paths, "labels": &r.Labels, "principals": &r.Principals, "roles": &r.Roles} {
		if *into, _, err = one.Strings(name); err != nil {
			return r, err
		}
	}
	r.Everyone, _, err = one.Bool("everyone")
	return r, err
}
