package server

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/template"
)

// Templates keeps what environments are made from: see package template, which implements it.
type Templates interface {
	Create(ctx context.Context, p stead.Principal, patch template.Patch, key, digest string) (template.Template, error)
	Get(ctx context.Context, p stead.Principal, id string) (template.Template, error)
	List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) ([]template.Template, bool, error)
	Update(ctx context.Context, p stead.Principal, id string, patch template.Patch) (template.Template, error)
	Delete(ctx context.Context, p stead.Principal, id string) error
}

// ofTemplates serves a route of one template. The mux can't hold /environments/templates/{id} beside
// /environments/{id}/files, both of which /environments/templates/files is; so it holds
// /environments/{collection}/{id}, which is wider than either, and here we look which it is.
func (s *server) ofTemplates(handle handler) handler {
	return func(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
		if r.PathValue("collection") != "templates" {
			return s.unknown(w, r, p)
		}
		return handle(w, r, p)
	}
}

func (s *server) createTemplate(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	patch, err := template.DecodePatch(req.Object)
	if err != nil {
		return err
	}
	t, err := s.Templates.Create(r.Context(), p, patch, req.key, req.digest)
	if err != nil {
		return err
	}
	return s.write(w, t.Wire())
}

func (s *server) getTemplate(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	t, err := s.Templates.Get(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.write(w, t.Wire())
}

func (s *server) updateTemplate(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	patch, err := template.DecodePatch(req.Object)
	if err != nil {
		return err
	}
	t, err := s.Templates.Update(r.Context(), p, r.PathValue("id"), patch)
	if err != nil {
		return err
	}
	return s.write(w, t.Wire())
}

func (s *server) listTemplates(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := idPage(r.URL.Query(), template.Prefix)
	if err != nil {
		return err
	}
	found, more, err := s.Templates.List(r.Context(), p, q.After, q.Desc, q.Limit)
	if err != nil {
		return err
	}
	data := make([]json.RawMessage, len(found))
	for i, t := range found {
		data[i] = t.Wire()
	}
	l := listOf(data, more, func(json.RawMessage) string { return "" })
	if n := len(found); n > 0 {
		l.FirstID, l.LastID = &found[0].ID, &found[n-1].ID
	}
	return s.write(w, l)
}

func (s *server) deleteTemplate(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := r.PathValue("id")
	if err := s.Templates.Delete(r.Context(), p, id); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "agent.environment.template.deleted"})
}
