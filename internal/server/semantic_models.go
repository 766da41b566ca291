package server

import (
	"context"
	"math"
	"net/http"
	"strconv"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/semantic"
	"github.com/stead-dev/stead/internal/semantic/layer"
	uploads "github.com/stead-dev/stead/internal/semantic/upload" // "upload" is another thing here
)

// SemanticModels keep what projects upload: see package upload, which implements it.
type SemanticModels interface {
	Create(ctx context.Context, p stead.Principal, text string, w uploads.Write) (uploads.Model, error)
	Update(ctx context.Context, p stead.Principal, id, text string, w uploads.Write) (uploads.Model, error)
	Delete(ctx context.Context, p stead.Principal, id string, over int64) error
	Get(ctx context.Context, p stead.Principal, id string) (uploads.Model, error)
	List(ctx context.Context, p stead.Principal, after string, desc bool, limit int) ([]uploads.Model, bool, error)
	Versions(ctx context.Context, p stead.Principal, id string, after int64, desc bool, limit int) ([]uploads.Model, bool, error)
	Version(ctx context.Context, p stead.Principal, id string, version int64) (uploads.Model, error)
	Validate(ctx context.Context, p stead.Principal, text string) (*semantic.Model, error)
}

// SemanticLayer answers in a project's terms: see package layer, which implements it.
type SemanticLayer interface {
	Describe(ctx context.Context, by layer.By, only []string, model, term string) (layer.Described, error)
	Query(ctx context.Context, by layer.By, only []string, q semantic.Query) (semantic.Answer, error)
}

// withSemantic serves a route of semantic models, where there are any.
func (s *server) withSemantic(handle handler) handler {
	return func(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
		if s.SemanticModels == nil || s.SemanticLayer == nil {
			return stead.Errorf(stead.KindNotImplemented, "this server has no semantic models")
		}
		return handle(w, r, p)
	}
}

type wireSemanticModel struct {
	ID          string  `json:"id"`
	Object      string  `json:"object"` // "semantic_model"
	Name        string  `json:"name"`
	Description string  `json:"description"`
	Version     int64   `json:"version"`
	Digest      string  `json:"digest"`
	Bytes       int     `json:"bytes"`
	Metrics     int     `json:"metrics"`
	Entities    int     `json:"entities"`
	Actions     int     `json:"actions"`
	WrittenBy   string  `json:"written_by"`
	CreatedAt   int64   `json:"created_at"`     // of the model
	UpdatedAt   int64   `json:"updated_at"`     // of this version
	Problem     *string `json:"problem"`        // why it can't be used; null: it can
	Text        *string `json:"text,omitempty"` // of one; lists leave it out
}

func wireSemanticModelOf(v uploads.Model, object string) wireSemanticModel {
	return wireSemanticModel{
		ID: v.ID, Object: object, Name: v.Name, Description: v.Description, Version: v.Version, Digest: v.Digest, Bytes: v.Bytes,
		Metrics: v.Metrics, Entities: v.Entities, Actions: v.Actions, WrittenBy: v.By, CreatedAt: v.CreatedAt / millis, UpdatedAt: v.UpdatedAt / millis,
		Problem: known(v.Problem), Text: known(v.Text),
	}
}

const (
	objectSemanticModel        = "semantic_model"
	objectSemanticModelVersion = "semantic_model.version"
)

// writeSemanticModel answers with a model. Its ETag is its version, for the next write's If-Match.
func (s *server) writeSemanticModel(w http.ResponseWriter, v uploads.Model) error {
	w.Header().Set("ETag", strconv.Quote(strconv.FormatInt(v.Version, 10)))
	return s.write(w, wireSemanticModelOf(v, objectSemanticModel))
}

// semanticText reads a model's text, and nothing else but what is named.
func semanticText(req request, what string, more ...string) (string, error) {
	if err := req.Only(what, append([]string{"text"}, more...)...); err != nil {
		return "", err
	}
	return param.Need(req.String("text"))("text")
}

func (s *server) createSemanticModel(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	text, err := semanticText(req, "a semantic model")
	if err != nil {
		return err
	}
	made, err := s.SemanticModels.Create(r.Context(), p, text, uploads.Write{Key: req.key, Digest: req.digest})
	if err != nil {
		return err
	}
	return s.writeSemanticModel(w, made)
}

func (s *server) updateSemanticModel(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	text, err := semanticText(req, "a version of a semantic model", "expected_version")
	if err != nil {
		return err
	}
	over, err := versionOver(r, req)
	if err != nil {
		return err
	}
	made, err := s.SemanticModels.Update(r.Context(), p, r.PathValue("id"), text, uploads.Write{Over: over, Key: req.key, Digest: req.digest})
	if err != nil {
		return err
	}
	return s.writeSemanticModel(w, made)
}

func (s *server) deleteSemanticModel(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	over, err := expectedVersion(r)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	if err := s.SemanticModels.Delete(r.Context(), p, id, max(over, 0)); err != nil {
		return err
	}
	return s.write(w, deleted{id, true, "semantic_model.deleted"})
}

func (s *server) getSemanticModel(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.SemanticModels.Get(r.Context(), p, r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.writeSemanticModel(w, found)
}

func (s *server) listSemanticModels(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := idPage(r.URL.Query(), uploads.Prefix)
	if err != nil {
		return err
	}
	found, more, err := s.SemanticModels.List(r.Context(), p, q.After, q.Desc, q.Limit)
	if err != nil {
		return err
	}
	data := make([]wireSemanticModel, len(found))
	for i, v := range found {
		data[i] = wireSemanticModelOf(v, objectSemanticModel)
	}
	return s.write(w, listOf(data, more, func(v wireSemanticModel) string { return v.ID }))
}

func (s *server) listSemanticModelVersions(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := page(r.URL.Query())
	if err != nil {
		return err
	}
	after, _, err := queryInt(r.URL.Query(), "after", 1, math.MaxInt32)
	if err != nil {
		return err
	}
	found, more, err := s.SemanticModels.Versions(r.Context(), p, r.PathValue("id"), int64(after), q.Desc, q.Limit)
	if err != nil {
		return err
	}
	data := make([]wireSemanticModel, len(found))
	for i, v := range found {
		data[i] = wireSemanticModelOf(v, objectSemanticModelVersion)
	}
	return s.write(w, listOf(data, more, func(v wireSemanticModel) string { return strconv.FormatInt(v.Version, 10) }))
}

func (s *server) getSemanticModelVersion(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	n, err := strconv.ParseInt(r.PathValue("version"), 10, 64)
	if err != nil || n < 1 {
		return stead.Errorf(stead.KindNotFound, "%s has no version %.40q", r.PathValue("id"), r.PathValue("version"))
	}
	found, err := s.SemanticModels.Version(r.Context(), p, r.PathValue("id"), n)
	if err != nil {
		return err
	}
	return s.write(w, wireSemanticModelOf(found, objectSemanticModelVersion))
}

func (s *server) validateSemanticModel(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	text, err := semanticText(req, "a validation")
	if err != nil {
		return err
	}
	m, err := s.SemanticModels.Validate(r.Context(), p, text)
	if err != nil {
		return err
	}
	return s.write(w, struct {
		Object   string            `json:"object"` // "semantic_model.validation"
		Overview semantic.Overview `json:"overview"`
	}{"semantic_model.validation", m.Overview()})
}

// querySemantic answers whoever asks, without an agent: with the rows that this one may see.
func (s *server) querySemantic(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	q, err := semantic.ReadQuery(req.raw)
	if err != nil {
		return err
	}
	got, err := s.SemanticLayer.Query(r.Context(), layer.By{Principal: p}, nil, q)
	if err != nil {
		return err
	}
	return s.write(w, struct {
		Object string `json:"object"` // "semantic_answer"
		semantic.Answer
	}{"semantic_answer", got})
}

func (s *server) describeSemantic(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a question for a term", "term", "model"); err != nil {
		return err
	}
	term, _, err := req.String("term")
	if err != nil {
		return err
	}
	model, _, err := req.String("model")
	if err != nil {
		return err
	}
	got, err := s.SemanticLayer.Describe(r.Context(), layer.By{Principal: p}, nil, model, term)
	if err != nil {
		return err
	}
	return s.write(w, struct {
		Object string `json:"object"` // "semantic_description"
		layer.Described
	}{"semantic_description", got})
}
