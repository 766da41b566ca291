package template

import (
	"errors"
	"maps"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

// Inherit lays an inline configuration over its template's: see the package comment for the rule.
// path is where the inline configuration stands in the request. KindInvalid when its network lets
// through what the template's does not.
func Inherit(template, inline Config, path string) (Config, error) {
	out := template
	out.Type, out.TemplateID = TypeHosted, inline.TemplateID
	out.Bytes = maps.Clone(template.Bytes)
	if out.Bytes == nil {
		out.Bytes = map[string][]byte{}
	}
	maps.Copy(out.Bytes, inline.Bytes)
	if inline.Network != nil {
		var err error
		if out.Network, err = inline.Network.narrow(*template.Effective().Network); err != nil {
			return Config{}, broader(inNetwork(path+".network", err))
		}
	}
	if inline.Size != "" {
		out.Size = inline.Size
	}
	out.replace(inline)
	return out, nil
}

// broader adds what to do about a network that is refused.
func broader(err error) error {
	if e, ok := errors.AsType[*stead.Error](err); ok {
		e.Hint = "A session may narrow its template's network. To broaden it, update the template."
	}
	return err
}

// replace takes over the fields, but the network, that from has.
func (c *Config) replace(from Config) {
	if from.Packages != nil {
		c.Packages = from.Packages
	}
	if from.Files != nil {
		c.Files = from.Files
	}
	if from.Variables != nil {
		c.Variables, c.Env = from.Variables, from.Env
	}
	if from.Setup != nil {
		c.Setup, c.Commands = from.Setup, from.Commands
	}
	if from.Skills != nil {
		c.Skills = from.Skills
	}
	if from.Plugins != nil {
		c.Plugins = from.Plugins
	}
	if from.Directories != nil {
		c.Directories = from.Directories
	}
}

// Patch is a decoded change of a template: an omitted field stays, null is its default again.
type Patch struct {
	set     Config
	cleared map[string]bool // fields that were null
	name    *string         // "" clears the name; nil: omitted
}

// DecodePatch reads the body that creates or updates a template.
func DecodePatch(o param.Object) (Patch, error) {
	if err := only(o, "an environment template", fieldsTemplate); err != nil {
		return Patch{}, err
	}
	p := Patch{cleared: map[string]bool{}}
	for _, name := range fieldsTemplate {
		p.cleared[name] = o.Null(name)
	}
	name, has, err := o.String("name")
	if err == nil && len([]rune(name)) > MaxNameRunes {
		err = stead.Invalid(o.Path("name"), "%s is longer than the limit of %d characters", o.Path("name"), MaxNameRunes)
	}
	if err != nil {
		return Patch{}, err
	}
	if has || p.cleared["name"] {
		p.name = &name
	}
	p.set, err = newDecoder(o).run()
	return p, err
}

// Apply changes a configuration and its name.
func (p Patch) Apply(name *string, c *Config) {
	if p.name != nil {
		*name = *p.name
	}
	for field, clear := range map[string]func(){
		"network":                func() { c.Network = nil },
		"packages":               func() { c.Packages = nil },
		"files":                  func() { c.Files = nil },
		"env":                    func() { c.Variables, c.Env = nil, nil },
		"setup_commands":         func() { c.Setup, c.Commands = nil, nil },
		"skills":                 func() { c.Skills = nil },
		"plugins":                func() { c.Plugins = nil },
		"capability_directories": func() { c.Directories = nil },
	} {
		if p.cleared[field] {
			clear()
		}
	}
	c.Type = TypeHosted
	if p.set.Network != nil {
		c.Network = p.set.Network
	}
	c.replace(p.set)
	if c.Bytes == nil {
		c.Bytes = map[string][]byte{}
	}
	maps.Copy(c.Bytes, p.set.Bytes)
}
