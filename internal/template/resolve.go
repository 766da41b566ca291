package template

import (
	"context"
	"errors"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/policy"
)

// Resolve completes the configuration of a hosted environment, at the moment when it is made: the
// template is inherited from, omitted fields take their defaults, the sizes of uploaded files and the
// versions of skills are looked up. path is where the configuration stands in the request.
//
// In what it returns, Bytes holds every blob that Digests names, the archives of skills included:
// the caller keeps them with the environment, which then depends on no template and no skill. Files
// by id stay references, since they may be large; they never change, but may be deleted.
//
// Of other types, and of environments that exist already, there is nothing to resolve.
func (s *Service) Resolve(ctx context.Context, p stead.Principal, c Config, path string) (Config, error) {
	if c.Type != TypeHosted || c.EnvironmentID != "" {
		return c.Effective(), nil
	}
	if c.TemplateID != "" {
		base, version, err := s.config(ctx, p, c.TemplateID)
		if err != nil {
			return Config{}, at(path+".environment_template_id", err)
		}
		whole := version
		if c.Packages != nil || c.Files != nil || c.Env != nil || c.Commands != nil || c.Skills != nil || c.Plugins != nil {
			version = 0
		}
		if c, err = Inherit(base, c, path); err != nil {
			return Config{}, err
		}
		c.TemplateVersion, c.BaseVersion = version, whole
	}
	c = c.Effective()
	bytes := map[string][]byte{}
	for _, digest := range c.Digests() {
		bytes[digest] = c.Bytes[digest]
	}
	c.Bytes, c.Files, c.Skills = bytes, slices.Clone(c.Files), slices.Clone(c.Skills)
	if err := s.resolveFiles(ctx, p, c, path); err != nil {
		return Config{}, err
	}
	return c, s.resolveSkills(ctx, p, c, path)
}

func (s *Service) config(ctx context.Context, p stead.Principal, id string) (c Config, version int64, err error) {
	if err := s.allow(ctx, p, policy.TemplateRead, id); err != nil {
		return Config{}, 0, err
	}
	d, data, c, err := s.read(ctx, keyOf(p, id))
	return c, versionOf(d, data), err
}

// Version is a template's version, which each update changes, for the node itself. KindNotFound: it is deleted.
func (s *Service) Version(ctx context.Context, project stead.ProjectID, id string) (int64, error) {
	d, err := s.cfg.Documents.GetDocument(ctx, document.Key{Project: project, Kind: kind, ID: id})
	if err != nil {
		return 0, err
	}
	data, err := decodeStored(d)
	return versionOf(d, data), err
}

func (s *Service) resolveFiles(ctx context.Context, p stead.Principal, c Config, path string) (err error) {
	for i := range c.Files {
		f := &c.Files[i]
		if f.FileID == "" {
			continue
		}
		if f.Size, err = s.cfg.Files.Size(ctx, p, f.FileID); err != nil {
			return at(place(path, "files", i, "file_id"), err)
		}
	}
	return nil
}

func (s *Service) resolveSkills(ctx context.Context, p stead.Principal, c Config, path string) error {
	names := map[string]bool{}
	for i := range c.Skills {
		k := &c.Skills[i]
		if k.SkillID != "" {
			about, number, archive, err := s.cfg.Skills.Archive(ctx, p, k.SkillID, k.Version)
			if err != nil {
				return at(place(path, "skills", i, "skill_id"), err)
			}
			*k = Skill{SkillID: k.SkillID, Version: number, Name: about.Name, Description: about.Description, Digest: digestOf(archive)}
			c.Bytes[k.Digest] = archive
		}
		if names[k.Name] {
			return stead.Invalid(place(path, "skills", i, ""), "%s is the second skill of the name %q", place(path, "skills", i, ""), k.Name)
		}
		names[k.Name] = true
	}
	return nil
}

func place(path, list string, i int, field string) string {
	path = param.Index(path+"."+list, i)
	if field != "" {
		path += "." + field
	}
	return path
}

// at says which field of the request err is about, if the request is what is wrong.
func at(path string, err error) error {
	e, ok := errors.AsType[*stead.Error](err)
	if !ok || e.Kind != stead.KindNotFound && e.Kind != stead.KindForbidden {
		return err
	}
	named := *e
	named.Param, named.Message = path, path+": "+e.Message
	if e.Kind == stead.KindNotFound { // the request itself was found
		named.Kind = stead.KindInvalid
	}
	return &named
}
