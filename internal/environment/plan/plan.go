// Package plan resolves what an environment names, when it is asked for: its template, files and
// skills. What comes out can be made without asking anybody again, and does not change when a
// template does.
//
// Shape: template.Config as decoded ─▶ inherited, resolved ─▶ session.EnvironmentPlan
//
// Errors: KindInvalid with the field at fault (environment.environment_template_id) for what is not
// there; those of template.Inherit.
package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment/host"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/template"
)

// Config says where things are found. Only Keys is required.
type Config struct {
	Keys *seal.Keys
	// Template returns a template's configuration, its bytes included.
	Template func(ctx context.Context, p stead.Principal, id string) (template.Config, error)
	// File returns the size of a file of the Files API.
	File func(ctx context.Context, p stead.Principal, id string) (size int64, err error)
	// Skill resolves a skill: the version may be "", "latest" or a number.
	Skill func(ctx context.Context, p stead.Principal, id, version string) (template.Skill, error)
	// RemoteURL is the address at which a self-hosted environment's executor connects, token included.
	RemoteURL func(environmentID string) string
}

// Planner implements server.Planner.
type Planner struct{ cfg Config }

// New makes a planner.
func New(cfg Config) *Planner { return &Planner{cfg} }

// Plan resolves a configuration.
func (pl *Planner) Plan(ctx context.Context, p stead.Principal, c template.Config) (session.EnvironmentPlan, error) {
	if c.TemplateID != "" {
		inherited, err := pl.inherit(ctx, p, c)
		if err != nil {
			return session.EnvironmentPlan{}, err
		}
		c = inherited
	}
	c = c.Effective()
	if err := pl.resolve(ctx, p, &c); err != nil {
		return session.EnvironmentPlan{}, err
	}
	public, err := json.Marshal(c.Public)
	if err != nil {
		return session.EnvironmentPlan{}, stead.Wrap(stead.KindInternal, err, "an environment's configuration can't be written")
	}
	out := session.EnvironmentPlan{Type: string(c.Type), Config: public, Object: pl.object(c)}
	for _, digest := range slices.Sorted(maps.Keys(c.Bytes)) {
		out.Blobs = append(out.Blobs, c.Bytes[digest])
	}
	if len(c.Env) > 0 || len(c.Commands) > 0 {
		out.Seal = func(key stead.SessionKey) []byte { return c.Secret.Seal(pl.cfg.Keys, host.SealLabel(key.Project, key.Session)) }
	}
	return out, nil
}

func (pl *Planner) inherit(ctx context.Context, p stead.Principal, c template.Config) (template.Config, error) {
	const at = "environment.environment_template_id"
	if pl.cfg.Template == nil {
		return c, stead.Errorf(stead.KindNotImplemented, "this server has no environment templates")
	}
	base, err := pl.cfg.Template(ctx, p, c.TemplateID)
	if stead.KindOf(err) == stead.KindNotFound {
		return c, stead.Invalid(at, "%s: there is no template %.80q", at, c.TemplateID)
	}
	if err != nil {
		return c, err
	}
	return template.Inherit(base, c, "environment")
}

// resolve looks up what the configuration names by id.
func (pl *Planner) resolve(ctx context.Context, p stead.Principal, c *template.Config) error {
	c.Files, c.Skills = slices.Clone(c.Files), slices.Clone(c.Skills)
	for i := range c.Files {
		f := &c.Files[i]
		if f.FileID == "" {
			continue
		}
		at := fmt.Sprintf("environment.files[%d].file_id", i)
		if pl.cfg.File == nil {
			return stead.Errorf(stead.KindNotImplemented, "%s: this server has no files API", at)
		}
		size, err := pl.cfg.File(ctx, p, f.FileID)
		if err != nil {
			return missing(err, at, f.FileID)
		}
		f.Size = size
	}
	for i := range c.Skills {
		s := &c.Skills[i]
		if s.SkillID == "" {
			continue
		}
		at := fmt.Sprintf("environment.skills[%d].skill_id", i)
		if pl.cfg.Skill == nil {
			return stead.Errorf(stead.KindNotImplemented, "%s: this server has no skills API", at)
		}
		found, err := pl.cfg.Skill(ctx, p, s.SkillID, s.Version)
		if err != nil {
			return missing(err, at, s.SkillID)
		}
		*s = found
	}
	return nil
}

// missing says that what a field names is not there.
func missing(err error, at, id string) error {
	if stead.KindOf(err) == stead.KindNotFound {
		return stead.Invalid(at, "%s: there is none with id %.80q", at, id)
	}
	return err
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
