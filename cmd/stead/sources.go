package main

import (
	"path/filepath"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/source/directory"
	"github.com/stead-dev/stead/internal/source/git"
)

// repositoriesDir holds, in the data directory, shallow copies of repositories that sources read. It may be deleted.
const repositoriesDir = "repositories"

// sourceReaders read what the configuration allows sources to read.
func sourceReaders(c config.Sources, data string) map[string]source.Reader {
	roots := make([]directory.Root, len(c.Directories))
	for i, d := range c.Directories {
		roots[i] = directory.Root{Name: d.Name, Path: d.Path}
		for _, p := range d.Projects {
			roots[i].Projects = append(roots[i].Projects, stead.ProjectID(p))
		}
	}
	repositories := make([]git.Repository, len(c.Repositories))
	for i, r := range c.Repositories {
		repositories[i] = git.Repository{Name: r.Name, Path: r.Path, URL: r.URL, Token: r.Token}
		for _, p := range r.Projects {
			repositories[i].Projects = append(repositories[i].Projects, stead.ProjectID(p))
		}
	}
	return map[string]source.Reader{source.Directory: directory.New(roots, time.Now), source.Git: git.New(repositories, filepath.Join(data, repositoriesDir))}
}
