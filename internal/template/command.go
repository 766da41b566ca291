package template

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/param"
)

func (d *decoder) env() error {
	env, ok, err := d.o.StringMap("env")
	if !ok || err != nil {
		return err
	}
	at := d.o.Path("env")
	if len(env) > MaxVariables {
		return tooMany(at, len(env), MaxVariables)
	}
	size := 0
	names := slices.Sorted(maps.Keys(env))
	for _, name := range names {
		if err := checkVariable(at, name, env[name]); err != nil {
			return err
		}
		size += len(name) + len(env[name])
	}
	if size > MaxEnvBytes {
		return stead.Invalid(at, "%s has %d bytes of names and values, the limit is %d", at, size, MaxEnvBytes)
	}
	d.c.Variables = append([]string{}, names...)
	d.c.Env = env
	return nil
}

// checkVariable never shows a value.
func checkVariable(at, name, value string) error {
	switch {
	case !environment.IsVariable(name):
		e := stead.Invalid(at, "%s has a variable named %.80q", at, name)
		e.Hint = "Names are letters, digits and underscores, and do not begin with a digit."
		return e
	case environment.ReservedVariable(name):
		return stead.Invalid(at+"."+name, "%s.%s is set by the runtime, or changes how programs are loaded, and can't be given", at, name)
	case strings.ContainsRune(value, 0):
		return stead.Invalid(at+"."+name, "%s.%s holds a NUL, which no variable can", at, name)
	}
	return nil
}

func (d *decoder) setup() error {
	list, ok, err := objects(d.o, "setup_commands", MaxCommands)
	if !ok || err != nil {
		return err
	}
	size := 0
	d.c.Setup, d.c.Commands = make([]Setup, len(list)), make([]string, len(list))
	for i, o := range list {
		if err := only(o, "a set-up command", []string{"command", "cwd"}); err != nil {
			return err
		}
		if d.c.Commands[i], err = command(o); err != nil {
			return err
		}
		if size += len(d.c.Commands[i]); size > MaxSetupBytes {
			return stead.Invalid(d.o.Path("setup_commands"), "%s are longer than %d bytes together", d.o.Path("setup_commands"), MaxSetupBytes)
		}
		dir, has, err := o.String("cwd")
		if err != nil {
			return err
		}
		if !has {
			dir = environment.WorkspaceDir
		}
		if err := checkAbsolute(o.Path("cwd"), dir); err != nil {
			return err
		}
		d.c.Setup[i] = Setup{Dir: dir}
	}
	return nil
}

// command reads a confidential text: errors say where it stands, and nothing of it.
func command(o param.Object) (string, error) {
	at := o.Path("command")
	text, err := param.Need(o.String("command"))(at)
	switch {
	case err != nil:
		return "", err
	case strings.TrimSpace(text) == "":
		return "", stead.Invalid(at, "%s is empty", at)
	case len(text) > MaxCommandBytes:
		return "", stead.Invalid(at, "%s has %d bytes, the limit is %d", at, len(text), MaxCommandBytes)
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return "", stead.Invalid(at, "%s holds a NUL or is not UTF-8", at)
	}
	return text, nil
}
