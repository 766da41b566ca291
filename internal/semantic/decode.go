package semantic

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/stead-dev/stead"
)

// digestDigits is how much of a model's digest tells it from another.
const digestDigits = 16

// Parse reads a model and checks all of it. An error names the line and the key.
func Parse(text []byte) (*Model, error) {
	m, err := decode(text)
	if err != nil {
		return nil, err
	}
	return m, m.check()
}

// ParseVersion is Parse for a model whose version somebody else counts: it may leave its own out, or say the same. 0: that is
// not known yet.
func ParseVersion(text []byte, version int64) (*Model, error) {
	m, err := decode(text)
	if err != nil {
		return nil, err
	}
	switch _, said := m.lines["version"]; {
	case !said:
		m.Version = max(version, 1)
	case version > 0 && m.Version != version:
		return nil, m.wrong("version", "it says %d, and this is version %d: write that, or leave it out", m.Version, version)
	}
	return m, m.check()
}

// NameOf is the name that a text gives its model, before anything is checked; "": it gives none.
func NameOf(text []byte) string {
	var named struct{ Name string }
	if file, err := parsed(text); err != nil || yaml.NodeToValue(file.Docs[0].Body, &named) != nil {
		return ""
	}
	return named.Name
}

// parsed is the one document of a text.
func parsed(text []byte) (*ast.File, error) {
	if len(text) > MaxModelBytes {
		return nil, stead.Errorf(stead.KindTooLarge, "the model has %d bytes, the limit is %d", len(text), MaxModelBytes)
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, yamlError(err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil || file.Docs[0].Body.Type() == ast.NullType {
		return nil, stead.Invalid("", "a model is one YAML document, and there are %d", len(file.Docs))
	}
	return file, nil
}

func decode(text []byte) (*Model, error) {
	file, err := parsed(text)
	if err != nil {
		return nil, err
	}
	m := &Model{lines: map[string]int{}}
	if err := lines(m.lines, "", file.Docs[0].Body, 0); err != nil {
		return nil, err
	}
	if err := yaml.NodeToValue(file.Docs[0].Body, m, yaml.Strict()); err != nil {
		return nil, yamlError(err)
	}
	sum := sha256.Sum256(text)
	m.Digest = hex.EncodeToString(sum[:])[:digestDigits]
	return m, nil
}

// maxNesting bounds the depth of a document.
const maxNesting = 64

// lines notes where each key stands. Anchors, aliases and merges are refused: what a model says it says where it stands.
func lines(at map[string]int, path string, n ast.Node, depth int) error {
	if depth > maxNesting {
		return stead.Invalid("", "the model is nested too deeply")
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			if err := lines(at, path, v, depth+1); err != nil {
				return err
			}
		}
	case *ast.MappingValueNode:
		key := n.Key.GetToken().Value
		if path != "" {
			key = path + "." + key
		}
		if n.Key.Type() == ast.MergeKeyType {
			return stead.Invalid("", "line %d: merges are not for models: write what is meant", n.Key.GetToken().Position.Line)
		}
		at[key] = n.Key.GetToken().Position.Line
		return lines(at, key, n.Value, depth+1)
	case *ast.SequenceNode:
		for i, v := range n.Values {
			key := path + "[" + strconv.Itoa(i) + "]"
			at[key] = v.GetToken().Position.Line
			if err := lines(at, key, v, depth+1); err != nil {
				return err
			}
		}
	case *ast.AnchorNode, *ast.AliasNode:
		return stead.Invalid("", "line %d: anchors and aliases are not for models: write what is meant", n.GetToken().Position.Line)
	}
	return nil
}

// yamlError says where: "line 3, column 1: unknown field "entites"".
func yamlError(err error) error {
	var y yaml.Error
	if !errors.As(err, &y) || y.GetToken() == nil {
		return stead.Invalid("", "%s", strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	at, message := y.GetToken().Position, y.GetMessage()
	if wrong, ok := errors.AsType[*yaml.TypeError](err); ok {
		message = fmt.Sprintf("this must be %s, not %s", kindName(wrong.DstType), kindName(wrong.SrcType))
	}
	e := stead.Invalid("", "line %d, column %d: %s", at.Line, at.Column, message)
	e.Hint = "docs/semantic.md has every key of a model."
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
	case reflect.Map, reflect.Struct, reflect.Pointer:
		return "keys with values"
	}
	return "a number"
}

// Duration is a time.Duration as models write it: "90m", "24h", "7d".
type Duration time.Duration

// UnmarshalYAML implements yaml.BytesUnmarshaler.
func (d *Duration) UnmarshalYAML(b []byte) error {
	text := strings.Trim(strings.TrimSpace(string(b)), `"'`)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		const most = 3650
		if err != nil || n < 1 || n > most {
			return fmt.Errorf("%q is no duration: write 90m, 24h or 7d", text)
		}
		*d = Duration(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < time.Second {
		return fmt.Errorf("%q is no duration: write 90m, 24h or 7d", text)
	}
	*d = Duration(v)
	return nil
}

func (d Duration) String() string {
	const day = 24 * time.Hour
	v := time.Duration(d)
	switch {
	case v%day == 0 && v > day:
		return fmt.Sprintf("%dd", v/day)
	case v%time.Hour == 0:
		return fmt.Sprintf("%dh", v/time.Hour)
	case v%time.Minute == 0:
		return fmt.Sprintf("%dm", v/time.Minute)
	}
	return v.String()
}

// wrong is the error of a key: with the line of it, or of the nearest one around it.
func (m *Model) wrong(key, format string, args ...any) *stead.Error {
	line := 0
	for k := key; line == 0 && k != ""; {
		if line = m.lines[k]; line == 0 {
			i := strings.LastIndexAny(k, ".[")
			k = k[:max(i, 0)]
		}
	}
	return stead.Invalid(key, "line %d: %s: %s", line, key, fmt.Sprintf(format, args...))
}

// under is a wrong around an error of find or of a value: with its hint.
func (m *Model) under(key string, err error) error {
	if err == nil {
		return nil
	}
	inner, ok := errors.AsType[*stead.Error](err)
	if !ok {
		return m.wrong(key, "%s", err)
	}
	e := m.wrong(key, "%s", inner.Message)
	e.Hint = inner.Hint
	return e
}
