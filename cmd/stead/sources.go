package main

import (
	"path/filepath"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/source/directory"
	"github.com/stead-dev/stead/internal/source/git"
	"github.com/stead-dev/stead/internal/source/mcp"
	"github.com/stead-dev/stead/internal/source/sql"
	"github.com/stead-dev/stead/internal/tool"
)

// repositoriesDir holds, in the data directory, shallow copies of repositories that sources read. It may be deleted.
const repositoriesDir = "repositories"

// sourceReaders read what the configuration allows sources to read.
func sourceReaders(cfg *config.Config, resources tool.Resources, databases []*openDatabase) map[string]source.Reader {
	c := cfg.Sources
	roots := make([]directory.Root, len(c.Directories))
	for i, d := range c.Directories {
		roots[i] = directory.Root{Name: d.Name, Path: d.Path, Projects: projectIDs(d.Projects)}
		if p := d.Permissions; p != nil {
			users, groups := p.IDs()
			roots[i].Permissions = &directory.Permissions{Users: users, Groups: groups, Everyone: p.Others == config.OthersEveryone}
		}
	}
	repositories := make([]git.Repository, len(c.Repositories))
	for i, r := range c.Repositories {
		repositories[i] = git.Repository{Name: r.Name, Path: r.Path, URL: r.URL, Token: r.Token, Projects: projectIDs(r.Projects)}
	}
	servers := make([]mcp.Server, len(c.Servers))
	for i, s := range c.Servers {
		servers[i] = mcp.Server{Label: s.Label, Projects: projectIDs(s.Projects)}
	}
	var grants []sql.Grant
	for _, d := range databases {
		if s := d.config.Sources; s != nil {
			g := sql.Grant{Database: d.Database, Projects: projectIDs(s.Projects), Samples: s.Many()}
			if p := s.Permissions; p != nil {
				g.Permissions = &sql.Permissions{Roles: p.Roles, Everyone: p.Others == config.OthersEveryone}
			}
			grants = append(grants, g)
		}
	}
	return map[string]source.Reader{
		source.Directory: directory.New(roots, time.Now),
		source.Git:       git.New(repositories, filepath.Join(cfg.Data, repositoriesDir)),
		source.MCP:       mcp.New(servers, resources, time.Now),
		source.SQL:       sql.New(grants),
		source.Web:       webReader(cfg),
	}
}

func projectIDs(names []string) []stead.ProjectID {
	var out []stead.ProjectID
	for _, p := range names {
		out = append(out, stead.ProjectID(p))
	}
	return out
}
