package template

import (
	"encoding/json"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/capability"
	"github.com/stead-dev/stead/internal/param"
)

// Foreign reads the configuration of an environment that comes with a file from elsewhere, as strictly as one that is asked for: what the
// file says proves nothing. content has what the file brings, by digest.
//
// What comes out is of no template, and its skills are inline, as their archives come along. Files by id stay references, which
// Resolve looks up for whoever imports. Variables and set-up commands are left out: who sealed them keeps them. Bytes holds nothing.
func Foreign(config json.RawMessage, content func(digest string) ([]byte, error)) (Config, error) {
	var p Public
	if err := json.Unmarshal(config, &p); err != nil {
		return Config{}, stead.Wrap(stead.KindInvalid, err, "the configuration of the environment can't be read")
	}
	o, err := param.Parse("environment", encode(p.asked()))
	if err != nil {
		return Config{}, err
	}
	c, err := Decode(o)
	if err != nil || c.Type != TypeHosted {
		return c, err
	}
	if c.Network, err = p.Network.narrowed(c.Network); err != nil {
		return Config{}, err
	}
	for i := range c.Files {
		f := &c.Files[i]
		if f.FileID != "" {
			continue
		}
		data, err := content(p.Files[i].Digest)
		if err != nil {
			return Config{}, at(place("environment", "files", i, ""), err)
		}
		f.Digest, f.Size = p.Files[i].Digest, int64(len(data))
	}
	return c, c.capabilities(p, content)
}

// asked is a configuration as a request says it, but for the contents of files and archives.
func (p Public) asked() map[string]any {
	if p.Type == TypeSelf {
		return map[string]any{"type": p.Type, "workspace_directory": p.Workspace, "capability_directories": p.Directories}
	}
	out := map[string]any{"type": p.Type, "packages": p.Packages, "capability_directories": p.Directories}
	if p.Size != "" {
		out["container_size"] = p.Size
	}
	if n := p.Network; n != nil {
		asked := *n
		if len(n.Allowed) > 0 {
			asked.Blocked = nil // what has both inherited one of them: see narrowed
		}
		out["network"] = asked
	}
	if p.Files != nil {
		files := make([]map[string]any, len(p.Files))
		for i, f := range p.Files {
			files[i] = map[string]any{"type": kindInline, "path": f.Path, "data": ""}
			if f.FileID != "" {
				files[i] = map[string]any{"type": kindFileID, "path": f.Path, "file_id": f.FileID}
			}
		}
		out["files"] = files
	}
	return out
}

// narrowed adds the list of blocked domains to a network that was read without it.
func (n *Network) narrowed(read *Network) (*Network, error) {
	if n == nil || len(n.Allowed) == 0 || len(n.Blocked) == 0 {
		return read, nil
	}
	o, err := param.Parse("environment", encode(map[string]any{"network": Network{Access: n.Access, Blocked: n.Blocked}}))
	if err != nil {
		return nil, err
	}
	d := newDecoder(o)
	if err := d.network(); err != nil {
		return nil, err
	}
	return &Network{read.Access, read.Allowed, d.c.Network.Blocked}, nil
}

// capabilities takes over skills and plugins whose archives say of themselves what the configuration does.
func (c *Config) capabilities(p Public, content func(digest string) ([]byte, error)) error {
	if len(p.Skills) > MaxSkills {
		return tooMany("environment.skills", len(p.Skills), MaxSkills)
	}
	if len(p.Plugins) > MaxSkills {
		return tooMany("environment.plugins", len(p.Plugins), MaxSkills)
	}
	brought := func(list string, i int, name, description, digest string, read func(capability.Bundle) (capability.About, error)) error {
		path := place("environment", list, i, "")
		data, err := content(digest)
		if err != nil {
			return at(path, err)
		}
		about, err := aboutOf(data, read)
		if err != nil {
			return inArchive(path, err)
		}
		if about.Name != name || about.Description != strings.TrimSpace(description) {
			return stead.Invalid(path, "%s is %.80q, and its archive says %q, or describes it otherwise", path, name, about.Name)
		}
		return nil
	}
	names := map[string]bool{}
	for i, s := range p.Skills {
		if err := brought("skills", i, s.Name, s.Description, s.Digest, capability.Bundle.Skill); err != nil {
			return err
		}
		c.Skills = append(c.Skills, Skill{Name: s.Name, Description: s.Description, Digest: s.Digest}) // Resolve refuses a second of the name
	}
	for i, g := range p.Plugins {
		if err := brought("plugins", i, g.Name, g.Description, g.Digest, capability.Bundle.Plugin); err != nil {
			return err
		}
		if names[g.Name] {
			return stead.Invalid(place("environment", "plugins", i, ""), "a plugin of the name %q is in the list already", g.Name)
		}
		names[g.Name] = true
		c.Plugins = append(c.Plugins, Plugin{Name: g.Name, Description: g.Description, Digest: g.Digest})
	}
	return nil
}
