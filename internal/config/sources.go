package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// MaxSourceDirectories is the most directories, and the most repositories, that sources may name.
const MaxSourceDirectories = 256

// Sources is what sources of vector stores may read of this machine.
type Sources struct {
	Directories  []SourceDirectory  `yaml:"directories"`
	Repositories []SourceRepository `yaml:"repositories"`
	Servers      []SourceServer     `yaml:"servers"`
	Sites        []SourceSite       `yaml:"sites"`
}

// SourceSite is a site of pages that sources may name: one that has private addresses, or wants headers. Public pages need none.
type SourceSite struct {
	Name         string            `yaml:"name"`
	URLs         []string          `yaml:"urls"`    // start pages
	Private      []string          `yaml:"private"` // names and networks that are not public and may be reached
	Headers      map[string]string `yaml:"headers"` // sent to the hosts of URLs alone
	IgnoreRobots bool              `yaml:"ignore_robots"`
	Projects     []string          `yaml:"projects"` // none: all
}

// SourceServer is a tool server of mcp_servers whose resources sources may name.
type SourceServer struct {
	Label    string   `yaml:"label"`
	Projects []string `yaml:"projects"` // none: all
}

// SourceRepository is a Git repository that sources may name: a directory that every node has under the same path, or an https URL.
type SourceRepository struct {
	Name     string   `yaml:"name"`
	Path     string   `yaml:"path"`
	URL      string   `yaml:"url"`
	Token    string   `yaml:"token"`    // for URL
	Projects []string `yaml:"projects"` // none: all
}

// SourceDirectory is a directory that sources may name. Every node has it under the same path.
type SourceDirectory struct {
	Name     string   `yaml:"name"`
	Path     string   `yaml:"path"`
	Projects []string `yaml:"projects"` // none: all
	// Permissions say who of the file system is whom; nil: rules of sources alone say who may read what.
	Permissions *SourcePermissions `yaml:"permissions"`
}

var sourceName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// sourceNamed refuses what is no name of something that sources may name, or is another's already. Else it is taken from then on.
func sourceNamed(at, what, name string, seen map[string]bool) error {
	switch {
	case !sourceName.MatchString(name):
		return invalid(at+".name", "Lower-case letters, digits, dots, dashes and underscores, 64 at most.", "%s.name %.80q is no name", at, name)
	case seen[name]:
		return invalid(at+".name", "Give each "+what+" a name of its own.", "%s.name %q is there twice", at, name)
	}
	seen[name] = true
	return nil
}

func (c *Config) checkSources() error {
	if n := len(c.Sources.Directories); n > MaxSourceDirectories {
		return invalid("sources.directories", "Remove some.", "%d directories are more than the limit of %d", n, MaxSourceDirectories)
	}
	data, err := filepath.Abs(c.Data)
	if err != nil {
		return invalid("data", "Give an absolute path.", "data can't be found: %s", err)
	}
	seen := map[string]bool{}
	for i, d := range c.Sources.Directories {
		at := fmt.Sprintf("sources.directories[%d]", i)
		if err := sourceNamed(at, "directory", d.Name, seen); err != nil {
			return err
		}
		switch {
		case !filepath.IsAbs(d.Path):
			return invalid(at+".path", "Begin it at the root.", "%s.path %.80q is no absolute path", at, d.Path)
		case within(real(d.Path), real(data)) || within(real(data), real(d.Path)):
			return invalid(at+".path", "Keep documents and the server's data apart.", "%s.path %.80q and data, %.80q, lie inside of each other", at, d.Path, data)
		}
	}
	for i, d := range c.Sources.Directories {
		if err := d.Permissions.check(fmt.Sprintf("sources.directories[%d].permissions", i)); err != nil {
			return err
		}
	}
	if err := c.checkSites(); err != nil {
		return err
	}
	if err := c.checkRepositories(); err != nil {
		return err
	}
	return c.checkSourceServers()
}

func (c *Config) checkSourceServers() error {
	seen := map[string]bool{}
	for i, s := range c.Sources.Servers {
		at := fmt.Sprintf("sources.servers[%d]", i)
		known := slices.IndexFunc(c.Servers, func(o Server) bool { return o.Label == s.Label })
		switch {
		case known < 0:
			return invalid(at+".label", "Name one of mcp_servers.", "%s.label %.80q is no tool server", at, s.Label)
		case seen[s.Label]:
			return invalid(at+".label", "Name each server once.", "%s.label %q is there twice", at, s.Label)
		case c.Servers[known].Auth != "":
			return invalid(at+".label", "Sources are read for nobody: name a server without auth, or with headers.", "%s.label %q is a server that is told who asks", at, s.Label)
		}
		seen[s.Label] = true
	}
	return nil
}

func (c *Config) checkRepositories() error {
	if n := len(c.Sources.Repositories); n > MaxSourceDirectories {
		return invalid("sources.repositories", "Remove some.", "%d repositories are more than the limit of %d", n, MaxSourceDirectories)
	}
	seen := map[string]bool{}
	for i, r := range c.Sources.Repositories {
		at := fmt.Sprintf("sources.repositories[%d]", i)
		u, err := url.Parse(r.URL)
		if err := sourceNamed(at, "repository", r.Name, seen); err != nil {
			return err
		}
		switch {
		case (r.Path == "") == (r.URL == ""):
			return invalid(at, "A path on this machine, or an https URL.", "%s has one of path and url", at)
		case r.Path != "" && (!filepath.IsAbs(r.Path) || r.Token != ""):
			return invalid(at+".path", "Begin it at the root; token is for a URL.", "%s.path %.80q is no absolute path, or has a token", at, r.Path)
		case r.URL != "" && (err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil):
			return invalid(at+".url", "https://HOST/PATH; a secret is written in token.", "%s.url is no https URL without a user", at)
		}
	}
	return nil
}

// real is a path without links, as far as it is there.
func real(name string) string {
	if found, err := filepath.EvalSymlinks(name); err == nil {
		return found
	}
	return filepath.Clean(name)
}

// within reports whether a path is a directory, or lies in it.
func within(name, dir string) bool {
	rel, err := filepath.Rel(dir, name)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
