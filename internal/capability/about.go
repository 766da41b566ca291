package capability

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"github.com/stead-dev/stead"
)

// Where a bundle says what it is.
const (
	SkillFile  = "SKILL.md"
	PluginFile = ".codex-plugin/plugin.json"
)

// Skill reads the front matter of a skill's SKILL.md.
func (b Bundle) Skill() (About, error) {
	text, ok := b.file(SkillFile)
	if !ok {
		return About{}, stead.Invalid("", "there is no %s at its top", SkillFile)
	}
	head, err := frontMatter(text)
	if err != nil {
		return About{}, err
	}
	var about About
	if err := yaml.Unmarshal(head, &about); err != nil {
		e := stead.Invalid("", "the front matter of %s is not YAML that can be read, with name and description as texts", SkillFile)
		e.Err = err
		return About{}, e
	}
	about.Description = strings.TrimSpace(about.Description)
	return about, about.check(SkillFile)
}

// frontMatter is what stands between the first two lines of "---". Anchors and aliases are refused:
// nobody needs them there, and a few lines of them can describe gigabytes.
func frontMatter(text []byte) ([]byte, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	none := stead.Invalid("", "%s does not begin with front matter: a line of ---, name and description, and a line of ---", SkillFile)
	first, rest, ok := bytes.Cut(text, []byte("\n"))
	if !ok || strings.TrimRight(string(first), " \t\r") != "---" {
		return nil, none
	}
	size := 0
	for line := range bytes.Lines(rest) {
		if strings.TrimRight(string(line), " \t\r\n") == "---" {
			return anchorless(rest[:size])
		}
		if size += len(line); size > maxHeadBytes {
			return nil, stead.Errorf(stead.KindTooLarge, "the front matter of %s is longer than %d bytes", SkillFile, maxHeadBytes)
		}
	}
	return nil, none
}

func anchorless(head []byte) ([]byte, error) {
	if !utf8.Valid(head) {
		return nil, stead.Invalid("", "the front matter of %s is not valid UTF-8", SkillFile)
	}
	for _, t := range lexer.Tokenize(string(head)) {
		if t.Type == token.AnchorType || t.Type == token.AliasType {
			return nil, stead.Invalid("", "the front matter of %s uses anchors or aliases, which are not read", SkillFile)
		}
	}
	return head, nil
}

// Plugin reads a plugin's manifest.
func (b Bundle) Plugin() (About, error) {
	text, ok := b.file(PluginFile)
	if !ok {
		return About{}, stead.Invalid("", "there is no %s in it", PluginFile)
	}
	if len(text) > maxHeadBytes {
		return About{}, stead.Errorf(stead.KindTooLarge, "%s is larger than %d bytes", PluginFile, maxHeadBytes)
	}
	var about About
	if err := json.Unmarshal(text, &about); err != nil {
		e := stead.Invalid("", "%s is not a JSON object with name and description as texts", PluginFile)
		e.Err = err
		return About{}, e
	}
	about.Description = strings.TrimSpace(about.Description)
	return about, about.check(PluginFile)
}

func (a About) check(file string) error {
	if !IsName(a.Name) {
		return stead.Invalid("", "the name in %s, %.80q, must be 1 to %d lower-case letters, digits and hyphens, with no hyphen at an end", file, a.Name, MaxNameBytes)
	}
	if n := utf8.RuneCountInString(a.Description); n == 0 || n > MaxDescriptionRunes {
		return stead.Invalid("", "the description in %s has %d characters, allowed are 1 to %d", file, n, MaxDescriptionRunes)
	}
	return nil
}

// IsName reports whether a name is fit for a skill or plugin, and for a directory.
func IsName(s string) bool {
	if s == "" || len(s) > MaxNameBytes || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
}
