package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/stead-dev/stead"
)

// Flags are what the command line said; "" means that it said nothing.
type Flags struct {
	Listen, Data, Database string
	File                   string // "" for none
}

// Load reads the file, if one is named, lays the environment and the flags over it and checks the
// whole. Without a file the providers are those whose keys are in
// the environment. Without providers the model sim serves.
func Load(flags Flags, env func(string) (string, bool)) (*Config, error) {
	c := &Config{}
	if flags.File != "" {
		if err := c.readFile(flags.File, env); err != nil {
			return nil, err
		}
	} else {
		c.fromEnvironment(env)
	}
	c.overlay(flags, env)
	if err := c.check(); err != nil {
		if flags.File != "" {
			return nil, fmt.Errorf("%s: %w", flags.File, err)
		}
		return nil, err
	}
	return c, nil
}

// overlay applies precedence: flag, environment, file, default.
func (c *Config) overlay(flags Flags, env func(string) (string, bool)) {
	set := func(dst *string, flag, name, def string) {
		if flag != "" {
			*dst = flag
			return
		}
		if v, ok := env(name); ok && v != "" {
			*dst = v
			return
		}
		if *dst == "" {
			*dst = def
		}
	}
	set(&c.Listen, flags.Listen, EnvListen, DefaultListen)
	set(&c.Data, flags.Data, EnvData, DefaultData)
	set(&c.Database, flags.Database, EnvDatabase, "")
	set(&c.SealKey, "", EnvSealKey, "")
	if c.Auth.Mode == "" {
		c.Auth.Mode = AuthNone
	}
}

func (c *Config) readFile(name string, env func(string) (string, bool)) error {
	f, err := os.Open(name)
	if err != nil {
		e := stead.Wrap(stead.KindInvalid, err, "the configuration can't be read")
		e.Hint = "Name an existing file with --config, or leave it out to start from the environment."
		return e
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return stead.Wrap(stead.KindInvalid, err, "the configuration can't be read")
	}
	if len(data) > MaxFileBytes {
		return stead.Errorf(stead.KindTooLarge, "%s is larger than the limit of %d bytes", name, MaxFileBytes)
	}
	if err := c.parse(data, env); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// parse decodes one YAML document. An empty file is an empty configuration.
func (c *Config) parse(data []byte, env func(string) (string, bool)) error {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return yamlError(err)
	}
	if len(file.Docs) > 1 {
		e := stead.Invalid("", "the configuration has %d documents: one is read", len(file.Docs))
		e.Hint = "Remove the lines of three dashes."
		return e
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil || file.Docs[0].Body.Type() == ast.NullType {
		return nil
	}
	c.Sections = sections(file.Docs[0].Body)
	x := &expander{env: env}
	ast.Walk(x, file.Docs[0].Body)
	if x.err != nil {
		return x.err
	}
	if err := yaml.NodeToValue(file.Docs[0].Body, c, yaml.Strict()); err != nil {
		return yamlError(err)
	}
	return nil
}

// sections are the keys of a document that have a value.
func sections(body ast.Node) []string {
	m, ok := body.(*ast.MappingNode)
	if !ok {
		return nil
	}
	var out []string
	for _, v := range m.Values {
		if v.Value.Type() != ast.NullType {
			out = append(out, v.Key.String())
		}
	}
	return out
}

// yamlError says where: "line 3, column 1: unknown field "lissten"" and the lines around it.
func yamlError(err error) error {
	var y yaml.Error
	if !errors.As(err, &y) || y.GetToken() == nil {
		return stead.Invalid("", "%s", strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	at := y.GetToken().Position
	message, hint := y.GetMessage(), "Look at that line: indentation, brackets and quotes must fit."
	switch wrong, isType := errors.AsType[*yaml.TypeError](err); {
	case strings.HasPrefix(message, "unknown field"):
		hint = "The keys are listed in the package comment of internal/config and in examples/stead.yaml."
	case isType: // its own message speaks of Go
		message = fmt.Sprintf("this must be %s, not %s", kindName(wrong.DstType), kindName(wrong.SrcType))
		hint = "examples/stead.yaml shows every key with a value."
	}
	e := stead.Invalid("", "line %d, column %d: %s", at.Line, at.Column, message)
	e.Hint = hint
	return e
}

// kindName says in the words of YAML what a Go type holds.
func kindName(t reflect.Type) string {
	if t == nil {
		return "what it is"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "keys with values"
	}
	return "a number"
}

// expander replaces ${VAR} in the scalars of a document.
type expander struct {
	env func(string) (string, bool)
	err error
}

// Visit implements ast.Visitor.
func (x *expander) Visit(n ast.Node) ast.Visitor {
	if x.err != nil {
		return nil
	}
	if p, ok := n.(*ast.MappingValueNode); ok && keyInVault(p) {
		return nil // it stays as it is
	}
	s, ok := n.(*ast.StringNode)
	if !ok || !strings.Contains(s.Value, "${") {
		return x
	}
	value, err := expand(s.Value, x.env)
	if err != nil {
		e := stead.Invalid("", "line %d: %s", s.GetToken().Position.Line, err)
		e.Hint = "Set the variable, or write ${NAME:-} to let it be empty."
		x.err = e
		return nil
	}
	s.Value = value
	return x
}

// filePrefix begins what is in a file of its own, as orchestrators hand out secrets.
const filePrefix = "file:"

// maxSecretBytes is the largest of these files.
const maxSecretBytes = 64 << 10

// readSecret reads a file's text without the line break at its end; false when there is no such file.
// No error tells what is in it.
func readSecret(path string) (text string, ok bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	switch {
	case err != nil:
		return "", false, err
	case len(b) > maxSecretBytes:
		return "", false, fmt.Errorf("the file %s is larger than the limit of %d bytes", path, maxSecretBytes)
	}
	return strings.TrimRight(string(b), "\r\n"), true, nil
}

// notThere says what a value can't be read from.
func notThere(name string) error {
	if path, ok := strings.CutPrefix(name, "file "); ok {
		return fmt.Errorf("the file %s is not there", path)
	}
	return fmt.Errorf("the environment variable %s is not set", name)
}

// expand reads "${NAME}", "${file:PATH}" and "${NAME:-default}"; "$${" stands for a literal "${".
func expand(s string, env func(string) (string, bool)) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "${")
		if !found {
			b.WriteString(s)
			return b.String(), nil
		}
		if literal, ok := strings.CutSuffix(before, "$"); ok {
			b.WriteString(literal + "${")
			s = rest
			continue
		}
		b.WriteString(before)
		expr, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", errors.New(`"${" has no closing "}"`)
		}
		name, def, hasDefault := strings.Cut(expr, ":-")
		if name == "" {
			return "", errors.New(`"${}" names no variable`)
		}
		if strings.HasPrefix(name, vaultPrefix) {
			return "", errors.New("a credential of a vault can be the whole api_key of a provider, and nothing else")
		}
		v, set := env(name)
		if path, ok := strings.CutPrefix(name, filePrefix); ok {
			var err error
			if v, set, err = readSecret(path); err != nil {
				return "", err
			}
			name = "file " + path // in the error below
		}
		switch {
		case hasDefault && v == "":
			v = def
		case !set && !hasDefault:
			return "", notThere(name)
		}
		b.WriteString(v)
		s = after
	}
}
