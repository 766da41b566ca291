package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

// SemanticModel is what a person is shown of a semantic model, or of one of its versions.
type SemanticModel struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Version   int64           `json:"version"`
	Metrics   int             `json:"metrics"`
	Entities  int             `json:"entities"`
	Actions   int             `json:"actions"`
	WrittenBy string          `json:"written_by"`
	UpdatedAt int64           `json:"updated_at"` // Unix seconds
	Problem   *string         `json:"problem"`
	Text      string          `json:"text"`
	Raw       json.RawMessage `json:"-"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *SemanticModel) UnmarshalJSON(b []byte) error {
	type bare SemanticModel
	return keep(b, (*bare)(v), &v.Raw)
}

const semanticModelsPath = "/v1/semantic_models"

// semanticModelPath is a model's, by its name.
func semanticModelPath(name string) string {
	return semanticModelsPath + "/smod_" + url.PathEscape(name)
}

// SemanticModels lists the models that the project uploaded, without their texts.
func (c *Client) SemanticModels(ctx context.Context) ([]SemanticModel, error) {
	return list(ctx, c, semanticModelsPath, url.Values{"order": {"asc"}}, 0, func(v SemanticModel) string { return v.ID })
}

// SemanticModel retrieves one with its text; version 0 is the newest.
func (c *Client) SemanticModel(ctx context.Context, name string, version int64) (v SemanticModel, err error) {
	path := semanticModelPath(name)
	if version > 0 {
		path += "/versions/" + strconv.FormatInt(version, 10)
	}
	return v, c.call(ctx, http.MethodGet, path, nil, nil, &v)
}

// SemanticModelVersions lists the versions of one, the newest first.
func (c *Client) SemanticModelVersions(ctx context.Context, name string) ([]SemanticModel, error) {
	return list(ctx, c, semanticModelPath(name)+"/versions", nil, 0, func(v SemanticModel) string { return strconv.FormatInt(v.Version, 10) })
}

// CreateSemanticModel uploads a new model.
func (c *Client) CreateSemanticModel(ctx context.Context, text string) (v SemanticModel, err error) {
	return v, c.call(ctx, http.MethodPost, semanticModelsPath, nil, map[string]any{"text": text}, &v)
}

// UpdateSemanticModel writes the next version, over the one expected.
func (c *Client) UpdateSemanticModel(ctx context.Context, name, text string, over int64) (v SemanticModel, err error) {
	return v, c.call(ctx, http.MethodPost, semanticModelPath(name), nil, map[string]any{"text": text, "expected_version": over}, &v)
}

// DeleteSemanticModel removes one with its versions.
func (c *Client) DeleteSemanticModel(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, semanticModelPath(name), nil, nil, nil)
}
