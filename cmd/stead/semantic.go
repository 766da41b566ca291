package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/semantic"
	"github.com/stead-dev/stead/internal/semantic/layer"
	"github.com/stead-dev/stead/internal/semantic/sqlread"
	"github.com/stead-dev/stead/internal/semantic/upload"
	"github.com/stead-dev/stead/internal/tool/schema"
)

// openSemantic makes the semantic layer of a configuration and its declaredModels. closeAll ends its connections. uploaded: nil where there is no server.
func openSemantic(cfg *config.Config, models []layer.Declared, authorizer policy.Authorizer, uploaded layer.Uploaded) (l *layer.Layer, closeAll func(context.Context) error, err error) {
	databases := map[string]semantic.Database{}
	var readers []sqlread.Reader
	closeAll = func(context.Context) error {
		var all []error
		for _, r := range readers {
			all = append(all, r.Close())
		}
		return errors.Join(all...)
	}
	for _, d := range cfg.AllDatabases() {
		r, err := sqlread.Open(sqlread.Config{Name: d.Name, Dialect: semantic.Dialect(d.Driver), DSN: d.DSN})
		if err != nil {
			return nil, closeAll, fmt.Errorf("databases: %w", err)
		}
		readers = append(readers, r)
		databases[d.Name] = r
	}
	l, err = layer.New(layer.Config{Databases: databases, Models: models, Uploaded: uploaded, Policy: authorizer, Now: time.Now})
	return l, closeAll, err
}

// declaredModels reads the models of a configuration.
func declaredModels(cfg *config.Config) ([]layer.Declared, error) {
	var out []layer.Declared
	for _, m := range cfg.Semantic.Models {
		model, err := readSemantic(m.File)
		if err != nil {
			return nil, err
		}
		declared := layer.Declared{Model: model}
		for _, p := range m.Projects {
			declared.Projects = append(declared.Projects, stead.ProjectID(p))
		}
		out = append(out, declared)
	}
	return out, nil
}

// semanticUploads keeps the models that projects upload.
func semanticUploads(cfg *config.Config, documents document.Store, authorizer policy.Authorizer, taken func(stead.ProjectID, string) bool) *upload.Service {
	return upload.NewService(upload.Config{Documents: documents, Policy: authorizer, Schema: checkSchema, Taken: taken, Now: time.Now,
		Grants: func(database string, project stead.ProjectID) []string {
			for _, d := range cfg.AllDatabases() {
				if d.Name == database && d.Uploads != nil && slices.Contains(d.Uploads.Projects, string(project)) {
					return d.Uploads.Tables
				}
			}
			return nil
		}})
}

// readSemantic reads a model, with the schemas of its actions.
func readSemantic(file string) (*semantic.Model, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "the semantic model can't be read")
	}
	m, err := semantic.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for name, a := range m.Actions {
		if _, err := schema.Compile(a.Schema()); err != nil {
			return nil, fmt.Errorf("%s: %w", file, stead.Invalid("actions."+name+".arguments", "the arguments of the action %s are no JSON Schema: %s", name, err))
		}
	}
	return m, nil
}
