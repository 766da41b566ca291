package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

// TestWhereASessionMayWork: the session names a directory, and the person at the machine bounds it.
func TestWhereASessionMayWork(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", filepath.Join(base, "home"))
	for _, dir := range []string{"home/src/deep", "home/src-not", "elsewhere"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"home/src/out": "../../elsewhere", "home/in": "src/deep"} {
		if err := os.Symlink(to, filepath.Join(base, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(base, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		bounded     bool
		named       string // below base, unless it is absolute
		dir, refuse string // below base
	}{
		{true, "", "home/src", ""},
		{true, "home/src", "home/src", ""},
		{true, "home/src/deep", "home/src/deep", ""},
		{true, "home/in", "home/src/deep", ""}, // a link that stays inside
		{true, "/workspace", "home/src", ""},   // the contract's default: no wish
		{true, "home", "", "--workspace allows"},
		{true, "home/src-not", "", "--workspace allows"},
		{true, "elsewhere", "", "--workspace allows"},
		{true, "home/src/out", "", "--workspace allows"}, // a link that leads out
		{true, "/", "", "--workspace allows"},
		{true, "nowhere", "", "no directory of this machine"},
		{false, "", "home/src", ""},
		{false, "elsewhere", "elsewhere", ""},
		{false, "home/in", "home/src/deep", ""},
		{false, "home", "", "all of your own files"},
		{false, "/", "", "all of your own files"},
		{false, "nowhere", "", "no directory of this machine"},
		{false, "file", "", "no directory of this machine"},
	} {
		named := tt.named
		if named != "" && !filepath.IsAbs(named) {
			named = filepath.Join(base, named)
		}
		p := placing{own: filepath.Join(base, "home/src"), bounded: tt.bounded, sandbox: "none", say: &executorVoice{out: io.Discard}}
		dir, _, err := p.decide(named)
		e, refused := errors.AsType[*stead.Error](err)
		switch {
		case tt.refuse == "" && (err != nil || dir != filepath.Join(base, tt.dir)):
			t.Errorf("bounded %v, named %q: %q, %v", tt.bounded, tt.named, dir, err)
		case tt.refuse != "" && (!refused || !strings.Contains(e.Message, tt.refuse) || e.Hint == ""):
			t.Errorf("bounded %v, named %q: %q, %v", tt.bounded, tt.named, dir, err)
		}
	}
}
