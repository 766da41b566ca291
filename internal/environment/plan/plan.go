// Package plan resolves what an environment names, when it is asked for: its template, files and
// skills. What comes out can be made without asking anybody again, and does not change when a
// template does.
//
// Shape: template.Config as decoded ─▶ inherited, resolved ─▶ session.EnvironmentPlan
//
// Errors: KindInvalid with the field at fault (environment.environment_template_id) for what is not
// there, and for what this node's driver can't do; those of template.Service.Resolve.
package plan

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment/wrap"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/template"
)

// Config says where things are found.
type Config struct {
	Keys *seal.Keys
	// Part takes what was sealed for a session apart, into what becomes a blob and what keeps the rest: wrap.Heads.Part.
	Part func(key stead.SessionKey, sealed []byte) (rest []byte, keep func(context.Context) error)
	// Resolve inherits from the template and looks up files and skills: template.Service.Resolve.
	Resolve func(ctx context.Context, p stead.Principal, c template.Config, path string) (template.Config, error)
	// Able refuses what this node's driver can't do: host.Host.Able.
	Able func(template.Config) error
	// RemoteURL is the address at which a self-hosted environment's executor connects, token included.
	RemoteURL func(environmentID string) string
}

// Planner implements server.Planner.
type Planner struct{ cfg Config }

// New makes a planner.
func New(cfg Config) *Planner { return &Planner{cfg} }

// Plan resolves a configuration.
func (pl *Planner) Plan(ctx context.Context, p stead.Principal, c template.Config) (session.EnvironmentPlan, error) {
	c, err := pl.cfg.Resolve(ctx, p, c, "environment")
	if err == nil {
		err = pl.cfg.Able(c)
	}
	if err != nil {
		return session.EnvironmentPlan{}, err
	}
	out, err := pl.planned(c)
	if err != nil {
		return session.EnvironmentPlan{}, err
	}
	for _, digest := range slices.Sorted(maps.Keys(c.Bytes)) {
		out.Blobs = append(out.Blobs, c.Bytes[digest])
	}
	if len(c.Env) > 0 || len(c.Commands) > 0 {
		out.Seal = func(key stead.SessionKey) ([]byte, func(context.Context) error) {
			return pl.cfg.Part(key, c.Secret.Seal(pl.cfg.Keys, wrap.Label(key.Project, key.Session)))
		}
	}
	return out, nil
}

// Foreign resolves what an environment is made of that came with a file, for whoever imports it: what it names here is had as by a new one.
// Whether this node's driver can do it is asked when it is opened: what was said in the session can be read without.
func (pl *Planner) Foreign(ctx context.Context, p stead.Principal, f session.ForeignEnvironment) (session.EnvironmentPlan, error) {
	c, err := template.Foreign(f.Config, f.Content)
	if err == nil && string(c.Type) != f.Type {
		err = stead.Invalid("environment.type", "the environment is of the type %.40q, and its configuration of %q", f.Type, c.Type)
	}
	if err == nil && f.Made {
		c.Files, err = pl.found(ctx, p, c.Files)
	}
	if err == nil {
		c, err = pl.cfg.Resolve(ctx, p, c, "environment")
	}
	if err != nil {
		return session.EnvironmentPlan{}, err
	}
	return pl.planned(c)
}

// found leaves out the files by id that are not here. Which may not be read is an error.
func (pl *Planner) found(ctx context.Context, p stead.Principal, files []template.File) ([]template.File, error) {
	const in = "environment"
	var out []template.File
	for _, f := range files {
		if f.FileID != "" {
			_, err := pl.cfg.Resolve(ctx, p, template.Config{Public: template.Public{Type: template.TypeHosted, Files: []template.File{f}}}, in)
			if e, ok := errors.AsType[*stead.Error](err); ok && e.Kind == stead.KindInvalid && e.Param == in+".files[0].file_id" {
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		out = append(out, f)
	}
	return out, nil
}

// planned is what a resolved configuration comes to, without its contents.
func (pl *Planner) planned(c template.Config) (session.EnvironmentPlan, error) {
	public, err := json.Marshal(c.Public)
	if err != nil {
		return session.EnvironmentPlan{}, stead.Wrap(stead.KindInternal, err, "an environment's configuration can't be written")
	}
	return session.EnvironmentPlan{Type: string(c.Type), Config: public, Object: pl.object(c), Broad: broad(c), Works: len(c.SetupScript().Steps) > 0, BaseVersion: c.BaseVersion}, nil
}

// broad reports whether the network leads to hosts that no list of allowed ones names.
func broad(c template.Config) bool {
	n := c.Effective().Network
	return n != nil && (n.Access == template.AccessEnabled || n.Access == template.AccessRestricted && len(n.Allowed) == 0 && len(n.Blocked) > 0)
}

func (pl *Planner) object(c template.Config) func(string) json.RawMessage {
	return func(id string) json.RawMessage {
		remote := ""
		if c.Type == template.TypeSelf && pl.cfg.RemoteURL != nil {
			remote = pl.cfg.RemoteURL(id)
		}
		return c.WireEnvironment(id, remote)
	}
}
