package agent

import (
	"bytes"
	"encoding/json"
	"regexp"
	"sync"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
)

var (
	functionName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`) })
	serverLabel  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`) })
)

// Validate checks a whole Spec; path is where it stands in the request ("" or "agent").
func (s *Spec) Validate(path string) error {
	at := func(name string) string {
		if path == "" {
			return name
		}
		return path + "." + name
	}
	if s.Model == "" {
		return stead.Invalid(at("model"), "%s is required", at("model"))
	}
	if utf8.RuneCountInString(s.Model) > stead.MaxNameRunes {
		return stead.Invalid(at("model"), "%s is longer than %d characters", at("model"), stead.MaxNameRunes)
	}
	if s.Name != nil && utf8.RuneCountInString(*s.Name) > stead.MaxNameRunes {
		return stead.Invalid(at("name"), "%s is longer than %d characters", at("name"), stead.MaxNameRunes)
	}
	if s.Instructions != nil && len(*s.Instructions) > stead.MaxInstructionsBytes {
		return stead.Invalid(at("instructions"), "%s is longer than %d bytes", at("instructions"), stead.MaxInstructionsBytes)
	}
	if err := ValidateMetadata(at("metadata"), s.Metadata); err != nil {
		return err
	}
	return ValidateTools(at("tools"), s.Tools)
}

// ValidateTools checks a list of tools: names, their uniqueness, number and size.
func ValidateTools(path string, tools []Tool) error {
	if len(tools) > stead.MaxTools {
		return stead.Invalid(path, "%s has %d entries, the limit is %d", path, len(tools), stead.MaxTools)
	}
	names := map[string]bool{} // function names and server labels; they do not collide with each other
	for i, t := range tools {
		if err := validateTool(param.Index(path, i), t, names); err != nil {
			return err
		}
	}
	if len(tools) == 0 {
		return nil
	}
	whole, err := json.Marshal(WireTools(tools))
	if err != nil {
		return stead.Wrap(stead.KindInvalid, err, "%s can't be written as JSON", path)
	}
	if len(whole) > stead.MaxToolsBytes {
		return stead.Invalid(path, "%s takes %d bytes of compact JSON, the limit is %d", path, len(whole), stead.MaxToolsBytes)
	}
	return nil
}

func validateTool(path string, t Tool, seen map[string]bool) error {
	field, name := "", ""
	switch t.Type {
	case ToolFunction:
		field, name = "name", t.Name
		if !functionName().MatchString(name) {
			return stead.Invalid(path+".name", "%s.name %.80q must be 1 to 64 letters, digits, _ or -", path, name)
		}
	case ToolMemory, ToolSemantic, ToolSQL, ToolFileSearch:
		field, name = "server_label", t.ServerLabel // an mcp tool of that label would be taken for it
	case ToolMCP:
		field, name = "server_label", t.ServerLabel
		if !serverLabel().MatchString(name) {
			return stead.Invalid(path+".server_label", "%s.server_label %.80q must be 1 to 64 letters, digits, _ or -", path, name)
		}
	default:
		field, name = "type", t.Type
	}
	if seen[field+" "+name] {
		return stead.Invalid(path+"."+field, "%s.%s %q is used twice", path, field, name)
	}
	seen[field+" "+name] = true
	return nil
}

// Metadata reads o's metadata: null is an empty map.
func Metadata(o param.Object) (map[string]string, error) {
	m, _, err := o.StringMap("metadata")
	if err != nil {
		return nil, err
	}
	return orMap(m), ValidateMetadata(o.Path("metadata"), m)
}

// ValidateMetadata checks the contract's limits on metadata.
func ValidateMetadata(path string, m map[string]string) error {
	if len(m) > stead.MaxMetadataPairs {
		return stead.Invalid(path, "%s has %d pairs, the limit is %d", path, len(m), stead.MaxMetadataPairs)
	}
	for k, v := range m {
		if k == "" || utf8.RuneCountInString(k) > stead.MaxMetadataKeyRunes {
			return stead.Invalid(path, "%s: the key %.80q must have 1 to %d characters", path, k, stead.MaxMetadataKeyRunes)
		}
		if utf8.RuneCountInString(v) > stead.MaxMetadataValueRunes {
			return stead.Invalid(path+"."+k, "%s.%s is longer than %d characters", path, k, stead.MaxMetadataValueRunes)
		}
	}
	return nil
}

// compact drops the white space of valid JSON, and copies it out of the request's buffer.
func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}
