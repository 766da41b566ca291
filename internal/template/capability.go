package template

import (
	"errors"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/capability"
	"github.com/stead-dev/stead/internal/param"
)

func (d *decoder) skills() error {
	list, ok, err := objects(d.o, "skills", MaxSkills)
	if !ok || err != nil {
		return err
	}
	d.c.Skills = make([]Skill, len(list))
	for i, o := range list {
		if d.c.Skills[i], err = d.skill(o); err != nil {
			return err
		}
		for _, s := range d.c.Skills[:i] {
			if s.Name != "" && s.Name == d.c.Skills[i].Name || s.SkillID != "" && s.SkillID == d.c.Skills[i].SkillID {
				return stead.Invalid(o.Path("name"), "%s: this skill is in the list already", o.Path("name"))
			}
		}
	}
	return nil
}

func (d *decoder) skill(o param.Object) (Skill, error) {
	kind, err := param.Need(o.Enum("type", kindInline, kindReference))(o.Path("type"))
	if err != nil {
		return Skill{}, err
	}
	if kind == kindReference {
		return reference(o)
	}
	about, digest, err := d.inline(o, capability.Bundle.Skill)
	return Skill{Name: about.Name, Description: about.Description, Digest: digest}, err
}

func reference(o param.Object) (Skill, error) {
	if err := only(o, "a skill by reference", []string{"type", "skill_id", "version"}); err != nil {
		return Skill{}, err
	}
	id, err := identifier(o, "skill_id")
	if err != nil {
		return Skill{}, err
	}
	version, has, err := o.String("version")
	if err == nil && has && version != LatestVersion && !IsVersion(version) {
		err = stead.Invalid(o.Path("version"), `%s must be a positive whole number as a text, or "latest", not %.40q`, o.Path("version"), version)
	}
	return Skill{SkillID: id, Version: version}, err
}

// LatestVersion is the selector of a skill's newest version. An omitted version, "" here, selects the default one.
const LatestVersion = "latest"

// IsVersion reports whether s is a skill's version: a positive whole number.
func IsVersion(s string) bool {
	return s != "" && len(s) <= maxVersionBytes && s[0] != '0' && strings.Trim(s, "0123456789") == ""
}

func (d *decoder) plugins() error {
	list, ok, err := objects(d.o, "plugins", MaxSkills)
	if !ok || err != nil {
		return err
	}
	d.c.Plugins = make([]Plugin, len(list))
	for i, o := range list {
		if _, err := param.Need(o.Enum("type", kindInline))(o.Path("type")); err != nil {
			return err
		}
		about, digest, err := d.inline(o, capability.Bundle.Plugin)
		if err != nil {
			return err
		}
		d.c.Plugins[i] = Plugin{Name: about.Name, Description: about.Description, Digest: digest}
		for _, p := range d.c.Plugins[:i] {
			if p.Name == about.Name {
				return stead.Invalid(o.Path("name"), "%s: a plugin of the name %q is in the list already", o.Path("name"), about.Name)
			}
		}
	}
	return nil
}

// inline reads an archive, makes sure that it says of itself what the request says of it, and keeps
// its bytes.
func (d *decoder) inline(o param.Object, read func(capability.Bundle) (capability.About, error)) (capability.About, string, error) {
	if err := only(o, "an inline archive", []string{"type", "name", "description", "source"}); err != nil {
		return capability.About{}, "", err
	}
	name, err := param.Need(o.String("name"))(o.Path("name"))
	if err != nil {
		return capability.About{}, "", err
	}
	description, err := param.Need(o.String("description"))(o.Path("description"))
	if err != nil {
		return capability.About{}, "", err
	}
	source, err := param.Need(o.Object("source"))(o.Path("source"))
	if err != nil {
		return capability.About{}, "", err
	}
	data, err := archive(source)
	if err != nil {
		return capability.About{}, "", err
	}
	about, err := aboutOf(data, read)
	if err != nil {
		return about, "", inArchive(source.Path("data"), err)
	}
	if name != about.Name {
		return about, "", stead.Invalid(o.Path("name"), "%s is %.80q, and the archive says %q", o.Path("name"), name, about.Name)
	}
	if strings.TrimSpace(description) != about.Description {
		return about, "", stead.Invalid(o.Path("description"), "%s is not the description that the archive declares", o.Path("description"))
	}
	digest := digestOf(data)
	d.c.Bytes[digest] = data
	return about, digest, nil
}

func archive(source param.Object) ([]byte, error) {
	if err := only(source, "an inline source", []string{"type", "media_type", "data"}); err != nil {
		return nil, err
	}
	if _, err := param.Need(source.Enum("type", "base64"))(source.Path("type")); err != nil {
		return nil, err
	}
	if _, err := param.Need(source.Enum("media_type", "application/zip"))(source.Path("media_type")); err != nil {
		return nil, err
	}
	return decodeBase64(source, "data", capability.MaxArchiveBytes)
}

func aboutOf(data []byte, read func(capability.Bundle) (capability.About, error)) (capability.About, error) {
	bundle, err := capability.Open(data)
	if err != nil {
		return capability.About{}, err
	}
	return read(bundle)
}

// inArchive says which field held the archive that err is about.
func inArchive(at string, err error) error {
	if e, ok := errors.AsType[*stead.Error](err); ok {
		named := *e
		named.Param, named.Message = at, at+": "+e.Message
		return &named
	}
	return err
}
