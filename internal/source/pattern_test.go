package source

import (
	"strings"
	"testing"
	"time"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		include, exclude string
		has, not         string
	}{
		{"", "", "a.md x/y/z.md", ".git/config x/.env"},
		{"*.md", "", "a.md x/y/b.md", "a.txt .x/a.md .a.md"},
		{"docs/*.md", "", "docs/a.md", "a.md docs/x/a.md x/docs/a.md"},
		{"docs/**", "", "docs/a docs/x/y", "a docs docs/.a docs/.x/a"},
		{"docs/**/a.md", "", "docs/a.md docs/x/y/a.md", "docs/b.md docs/.x/a.md"},
		{".github/**", "", ".github/a.yml .github/x/b", ".git/a"},
		{"**", "drafts/ *.tmp", "a x/b", "drafts/a x/drafts/b/c a.tmp x/b.tmp x/.y.tmp"},
		{"/a.md", "", "a.md", "x/a.md"},
		{"**/x/**/y", "", "x/y a/x/b/c/y x/x/y/y", "x y x/y/z"},
		{"[ab]?", "", "ax x/b1", "cx a"},
	} {
		s := Select(Spec{Include: strings.Fields(c.include), Exclude: strings.Fields(c.exclude)})
		for _, p := range strings.Fields(c.has) {
			if !s.Has(p) {
				t.Errorf("%q without %q does not have %s", c.include, c.exclude, p)
			}
		}
		for _, p := range strings.Fields(c.not) {
			if s.Has(p) {
				t.Errorf("%q without %q has %s", c.include, c.exclude, p)
			}
		}
	}
	s := Select(Spec{Exclude: []string{"node_modules/", "a/b/**", "*.md"}})
	for dir, want := range map[string]bool{"node_modules": true, "x/node_modules": true, "a/b": true, "a": false, "x.md": false} {
		if s.Skips(dir) != want {
			t.Errorf("skips %s: %v", dir, !want)
		}
	}
}

// Patterns are users': none may take long.
func TestPatternsAreQuick(t *testing.T) {
	p := parsePattern(strings.Repeat("**/a/", 40) + "b")
	began := time.Now()
	if p.matches(strings.Split(strings.Repeat("a/", 500)+"c", "/"), true) {
		t.Error("it matches")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}
