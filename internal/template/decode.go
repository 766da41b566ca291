package template

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/param"
)

// Fields of the contract, as each kind of object has them.
var (
	fieldsNone     = []string{"type"}
	fieldsAttached = []string{"type", "environment_id"}
	fieldsSelf     = []string{"type", "workspace_directory", "capability_directories"}
	fieldsMade     = []string{"capability_directories", "desktop", "env", "files", "network", "packages", "plugins", "setup_commands", "skills"}
	fieldsHosted   = append([]string{"type", "container_size", "environment_template_id"}, fieldsMade...)
	fieldsTemplate = append([]string{"name"}, fieldsMade...)
)

// Decode reads the environment of a session, or the one to prewarm. It checks each field; what
// depends on a template is checked by Inherit.
func Decode(o param.Object) (Config, error) {
	kind, err := param.Need(o.Enum("type", string(TypeNone), string(TypeHosted), hosted, string(TypeSelf)))(o.Path("type"))
	if err != nil {
		return Config{}, err
	}
	switch Type(kind) {
	case TypeNone:
		return Config{Public: Public{Type: TypeNone}}, only(o, "an environment of type none", fieldsNone)
	case TypeSelf:
		return decodeSelf(o)
	}
	if _, ok := o.Raw("environment_id"); ok {
		return decodeAttached(o)
	}
	if err := only(o, "a hosted environment", fieldsHosted); err != nil {
		return Config{}, err
	}
	d := newDecoder(o)
	d.c.Type = TypeHosted
	return d.run((*decoder).size, (*decoder).template)
}

// hosted is our synonym of TypeHosted.
const hosted = "hosted"

// only refuses the fields that an object does not have.
func only(o param.Object, what string, allowed []string) error { return o.Only(what, allowed...) }

func decodeAttached(o param.Object) (Config, error) {
	if err := only(o, "an environment that exists already", fieldsAttached); err != nil {
		return Config{}, err
	}
	id, err := identifier(o, "environment_id")
	return Config{Public: Public{Type: TypeHosted, EnvironmentID: id}}, err
}

func identifier(o param.Object, name string) (string, error) {
	id, err := param.Need(o.String(name))(o.Path(name))
	if err == nil && (id == "" || len(id) > maxIDBytes) {
		err = stead.Invalid(o.Path(name), "%s must be an id of 1 to %d bytes", o.Path(name), maxIDBytes)
	}
	return id, err
}

func decodeSelf(o param.Object) (Config, error) {
	if err := only(o, "a self-hosted environment", fieldsSelf); err != nil {
		return Config{}, err
	}
	dir, err := param.Need(o.String("workspace_directory"))(o.Path("workspace_directory"))
	if err == nil {
		err = checkAbsolute(o.Path("workspace_directory"), dir)
	}
	if err != nil {
		return Config{}, err
	}
	dirs, err := directories(o, func(path, dir string) error { return checkAbsolute(path, dir) })
	return Config{Public: Public{Type: TypeSelf, Workspace: dir, Directories: dirs}}, err
}

// decoder reads the fields that templates and hosted environments share.
type decoder struct {
	o param.Object
	c Config
}

func newDecoder(o param.Object) *decoder {
	return &decoder{o: o, c: Config{Bytes: map[string][]byte{}}}
}

func (d *decoder) run(more ...func(*decoder) error) (Config, error) {
	for _, field := range append(more,
		(*decoder).desktop, (*decoder).network, (*decoder).packages, (*decoder).files, (*decoder).env,
		(*decoder).setup, (*decoder).skills, (*decoder).plugins, (*decoder).directories,
	) {
		if err := field(d); err != nil {
			return Config{}, err
		}
	}
	return d.c, nil
}

func (d *decoder) size() error {
	size, _, err := d.o.Enum("container_size", string(environment.SizeSmall), string(environment.SizeMedium), string(environment.SizeLarge))
	d.c.Size = environment.Size(size)
	return err
}

func (d *decoder) template() error {
	if _, ok := d.o.Raw("environment_template_id"); !ok {
		return nil
	}
	id, err := identifier(d.o, "environment_template_id")
	d.c.TemplateID = id
	return err
}

// desktop refuses what this server does not have; false, and null, ask for nothing.
func (d *decoder) desktop() error {
	o, ok, err := d.o.Object("desktop")
	if !ok || err != nil {
		return err
	}
	if err := only(o, "desktop", []string{"enabled"}); err != nil {
		return err
	}
	enabled, err := param.Need(o.Bool("enabled"))(o.Path("enabled"))
	if err != nil || !enabled {
		return err
	}
	e := stead.Errorf(stead.KindNotImplemented, "%s asks for a desktop, which this version of Stead does not have yet", o.Path("enabled"))
	e.Param = o.Path("enabled")
	e.Hint = "To go on without it, send false or leave it out."
	return e
}

func (d *decoder) directories() (err error) {
	d.c.Directories, err = directories(d.o, checkCapabilityDir)
	return err
}

// directories reads capability_directories: nil when they are omitted.
func directories(o param.Object, check func(path, dir string) error) ([]string, error) {
	dirs, ok, err := o.Strings("capability_directories")
	if !ok || err != nil {
		return nil, err
	}
	if len(dirs) > MaxDirectories {
		return nil, tooMany(o.Path("capability_directories"), len(dirs), MaxDirectories)
	}
	for i, dir := range dirs {
		at := param.Index(o.Path("capability_directories"), i)
		if err := check(at, dir); err != nil {
			return nil, err
		}
		if slices.Contains(dirs[:i], dir) {
			return nil, stead.Invalid(at, "%s names %.100q a second time", at, dir)
		}
	}
	return dirs, nil
}

func checkCapabilityDir(at, dir string) error {
	if err := checkAbsolute(at, dir); err != nil {
		return err
	}
	for _, root := range []string{environment.WorkspaceDir, environment.LayerDir} {
		if dir == root || strings.HasPrefix(dir, root+"/") {
			return nil
		}
	}
	return stead.Invalid(at, "%s must be inside %s or %s, not %.100q", at, environment.WorkspaceDir, environment.LayerDir, dir)
}

// checkAbsolute makes sure that a directory is absolute, clean and of harmless characters.
func checkAbsolute(at, dir string) error {
	switch {
	case len(dir) > environment.MaxPathBytes:
		return stead.Invalid(at, "%s has %d bytes, the limit is %d", at, len(dir), environment.MaxPathBytes)
	case !strings.HasPrefix(dir, "/"):
		return stead.Invalid(at, "%s must be an absolute path, not %.100q", at, dir)
	case dir == "/":
		return nil
	}
	return checkParts(at, dir)
}

func checkParts(at, name string) error {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return stead.Invalid(at, "%s has a backslash, a control character or bytes that are not UTF-8", at)
	}
	for part := range strings.SplitSeq(name[1:], "/") {
		if part == "" || part == "." || part == ".." {
			return stead.Invalid(at, `%s must be a clean path, without "//", "." and "..", and with no "/" at its end: %.100q`, at, name)
		}
	}
	return nil
}

func tooMany(at string, n, limit int) error {
	return stead.Invalid(at, "%s has %d entries, the limit is %d", at, n, limit)
}

// objects reads a list of objects: nil when it is omitted, and at most limit entries.
func objects(o param.Object, name string, limit int) ([]param.Object, bool, error) {
	list, ok, err := o.List(name)
	if !ok || err != nil {
		return nil, ok, err
	}
	if len(list) > limit {
		return nil, true, tooMany(o.Path(name), len(list), limit)
	}
	out := make([]param.Object, len(list))
	for i, raw := range list {
		if out[i], err = param.Parse(param.Index(o.Path(name), i), raw); err != nil {
			return nil, true, err
		}
	}
	return out, true, nil
}
