package source

import (
	"path"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// pattern matches paths, part by part: "**" is any number of directories, other parts are as package path has them.
//
//	*.md         a name, in any directory
//	docs/*.md    a path from the root
//	docs/**      everything below
//	drafts/      everything below a directory of that name, in any directory
type pattern []string

func parsePattern(p string) pattern {
	below := strings.HasSuffix(p, "/")
	p = strings.TrimSuffix(p, "/")
	rooted := strings.Contains(p, "/")
	parts := parts(strings.TrimPrefix(p, "/"))
	if !rooted && p != "**" {
		parts = append([]string{"**"}, parts...)
	}
	if below {
		parts = append(parts, "**")
	}
	return parts
}

// parts are those of a path, as they are compared: an "ü" is one letter, also where a file system has it as two.
func parts(p string) []string { return strings.Split(norm.NFC.String(p), "/") }

func (p pattern) check() error {
	for _, part := range p {
		if _, err := path.Match(part, ""); err != nil {
			return err
		}
	}
	return nil
}

// matches reports whether a path is meant. A wildcard stands for a dot at the beginning of a name only with dots, as in shells.
func (p pattern) matches(parts []string, dots bool) bool {
	i, j := 0, 0
	star, from := -1, 0 // the last "**", and the part that it ended before
	for i < len(parts) {
		switch {
		case j < len(p) && p[j] == "**":
			star, from = j, i
			j++
			continue
		case j < len(p) && one(p[j], parts[i], dots):
			i++
			j++
			continue
		case star >= 0 && (dots || !strings.HasPrefix(parts[from], ".")):
			from++
			i, j = from, star+1
			continue
		}
		return false
	}
	return j == len(p) // what is below a directory is not the directory
}

func one(pattern, name string, dots bool) bool {
	if !dots && strings.HasPrefix(name, ".") && !strings.HasPrefix(pattern, ".") {
		return false
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// patterns are a list of them.
type patterns []pattern

func parsePatterns(list []string) patterns {
	out := make(patterns, len(list))
	for i, p := range list {
		out[i] = parsePattern(p)
	}
	return out
}

func (ps patterns) match(parts []string, dots bool) bool {
	for _, p := range ps {
		if p.matches(parts, dots) {
			return true
		}
	}
	return false
}

// Selection says which paths of a source are read.
type Selection struct{ include, exclude patterns }

// Select makes the Selection of a source. Names that begin with a dot are left out unless a pattern has the dot.
func Select(spec Spec) Selection {
	include := spec.Include
	if len(include) == 0 {
		include = []string{"**"}
	}
	return Selection{parsePatterns(include), parsePatterns(spec.Exclude)}
}

// Has reports whether a document of that path is read.
func (s Selection) Has(p string) bool {
	parts := parts(p)
	return s.include.match(parts, false) && !s.exclude.match(parts, true)
}

// Excludes reports whether a path is one that is left out by name, and not only no one that is chosen.
func (s Selection) Excludes(p string) bool { return s.exclude.match(strings.Split(p, "/"), true) }

// Skips reports whether nothing below a directory is read, as far as that can be told.
func (s Selection) Skips(dir string) bool {
	parts := parts(dir)
	for _, p := range s.exclude {
		if p[len(p)-1] == "**" && len(p) > 1 && p[:len(p)-1].matches(parts, true) {
			return true
		}
	}
	return false
}

// rules are the rules of access of a source, ready to be asked.
type rules []struct {
	Rule
	paths patterns
}

// say reports whether any of them says who may read a document.
func (rs rules) say(parts []string) bool {
	for _, r := range rs {
		if r.says() && r.paths.match(parts, true) {
			return true
		}
	}
	return false
}

func parseRules(list []Rule) rules {
	out := make(rules, len(list))
	for i, r := range list {
		out[i].Rule, out[i].paths = r, parsePatterns(r.Paths)
	}
	return out
}
