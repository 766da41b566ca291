package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/asset"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/file"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/skill"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/template"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/tool/mcp"
	"github.com/stead-dev/stead/internal/vault"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// configured are the services of what is configured and not journaled.
type configured struct {
	files     *file.Service
	vectors   *vectorstore.Service
	skills    *skill.Service
	templates *template.Service
	memory    *memory.Service
	vaults    *vault.Service
	sources   *source.Service
}

// openConfigured makes them, and deletes what has expired for as long as the node runs.
func (n *node) openConfigured(documents document.Store, memories memory.Store, keys *seal.Keys, authorizer policy.Authorizer, guard mcp.Guard, resources tool.Resources, databases []*openDatabase, embedding *memory.Embedding, unshow memory.Unshow, gone func(context.Context, stead.ProjectID, stead.SessionID) (bool, error)) configured {
	assets := asset.New(documents, n.blobs, time.Now)
	var vectors *vectorstore.Service // which needs the files
	var remembered *memory.Service   // which follows what is forgotten
	files := file.NewService(file.Config{Documents: documents, Assets: assets, Policy: authorizer, Now: time.Now,
		Removed: func(ctx context.Context, project stead.ProjectID, id string) error {
			if err := vectors.FileRemoved(ctx, project, id); err != nil {
				return err
			}
			return remembered.Follow(ctx, project)
		}})
	var sources *source.Service // which needs the vector stores
	vectors = vectorstore.NewService(vectorstore.Config{Documents: documents, Records: memories, Files: files, Policy: authorizer, Log: n.log, Now: time.Now, Embedding: embedding, Read: readDocument(n.cfg.Data),
		Emptied: func(ctx context.Context, project stead.ProjectID, store string) error {
			return sources.StoreEmptied(ctx, project, store)
		}})
	sources = source.NewService(source.Config{Documents: documents, Stores: vectors, Policy: authorizer, Readers: sourceReaders(n.cfg, resources, databases), Log: n.log, Now: time.Now})
	skills := skill.NewService(skill.Config{Documents: documents, Assets: assets, Policy: authorizer, Now: time.Now})
	templates := template.NewService(template.ServiceConfig{
		Documents: documents, Assets: assets, Policy: authorizer, Keys: keys, Files: files, Skills: skills, Now: time.Now,
	})
	labels, apart := n.cfg.Memory.Labels()
	remembered = memory.NewService(memory.Config{Documents: documents, Store: memories, Policy: authorizer, Now: time.Now, Record: n.recordForgotten, Embedding: embedding, Gone: gone, Unshow: unshow, SessionLabels: labels, Apart: apart})
	vaults := vault.NewService(vault.Config{Documents: documents, Keys: keys, Policy: authorizer, Now: time.Now, HTTP: named(guard), Log: n.log})
	ctx, cancel := context.WithCancel(context.Background())
	var sweeping sync.WaitGroup
	sweeping.Go(func() {
		asset.Run(ctx, n.log, files.Sweep, vectors.Sweep, assets.Sweep, remembered.Sweep, vaults.Sweep)
	})
	sweeping.Go(func() { vectors.Run(ctx) })
	sweeping.Go(func() { sources.Run(ctx) })
	sweeping.Go(func() { embedding.Run(ctx) })
	sweeping.Go(func() { every(ctx, lateMemories, func() { n.sweepLate(ctx, remembered) }) })
	n.onStop(func(context.Context) error {
		cancel()
		sweeping.Wait()
		return nil
	})
	return configured{files, vectors, skills, templates, remembered, vaults, sources}
}

// named calls addresses that users name, such as token endpoints, which get secrets: no other place does.
func named(guard mcp.Guard) *http.Client {
	return &http.Client{Transport: mcp.Guarded(guard), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// lateMemories is how often it is looked for what came late from sessions that were deleted.
const lateMemories = 10 * time.Second

func every(ctx context.Context, d time.Duration, do func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

func (n *node) sweepLate(ctx context.Context, m *memory.Service) {
	if _, err := m.SweepForgotten(ctx); err != nil && ctx.Err() == nil {
		n.log.Warn("look for memories of deleted sessions", "err", err)
	}
}

// fileContent reads an uploaded file whole.
func (c configured) fileContent(ctx context.Context, p stead.Principal, id string, max int64) ([]byte, error) {
	content, f, err := c.files.Content(ctx, p, id)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	if f.Bytes > max {
		return nil, stead.Errorf(stead.KindTooLarge, "file %s has %d bytes, the limit is %d", id, f.Bytes, max)
	}
	data := make([]byte, f.Bytes)
	if _, err := io.ReadFull(content, data); err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "read file %s", id)
	}
	return data, nil
}

// nodeContent opens an uploaded file for the node itself, which puts files into environments that were
// asked for by somebody who might read them: Resolve has seen to that.
func (c configured) nodeContent(ctx context.Context, project stead.ProjectID, id string) (io.ReadCloser, error) {
	content, f, err := c.files.Open(ctx, project, id)
	if err != nil {
		return nil, err
	}
	if f.Bytes > environment.MaxFileBytes {
		return nil, errors.Join(stead.Errorf(stead.KindTooLarge, "file %s has %d bytes, a workspace takes files of %d", id, f.Bytes, environment.MaxFileBytes), content.Close())
	}
	return content, nil
}
