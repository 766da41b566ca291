package host

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stead-dev/stead"
)

// What an import says of its layer and its template becomes part of no path: neither another session's layer nor a directory
// of the host is opened by it, and nothing is written.
func TestAnImportNamesNoPaths(t *testing.T) {
	b := newBench(t)
	b.session("sess_alice", commands("true"))
	// A workspace that looks like a layer of before there were users.
	trap := filepath.Join(b.cfg.Dir, EnvironmentsDir, "default", "sess_trap", "workspace")
	if err := os.MkdirAll(filepath.Join(trap, layerRoot), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(trap, oldMark), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, digest := range []string{".", "..", "../users/sess_alice", "../../environments/default/sess_trap/workspace", "ABC"} {
		m := &bench{Host: b.Host, t: t, driver: b.driver, key: stead.SessionKey{Project: b.key.Project, Session: "sess_mallory"}}
		m.setup(commands("true"))
		m.prepare()
		m.state.Layer = digest
		if _, err := m.tryOpen(); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("layer %q: %v, want a refusal", digest, err)
		}
	}
}

func TestAnImportWritesNothingElsewhere(t *testing.T) {
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, func(h *Config) {
		h.Template = func(context.Context, stead.ProjectID, string) (int64, error) { return 1337, nil }
	})
	up, err := filepath.Rel(filepath.Join(b.cfg.Dir, layersDir, "default", "x", layerUsers), victim)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range []string{up, "../" + up, "envtmpl_/../" + up, "sess_other"} {
		c := commands("true")
		c.TemplateID, c.TemplateVersion = id, 1337
		b.setup(c)
		_, err := b.Prepare(t.Context(), b.key, b.state.Setup, b.state.Note) // with an error or without the claim
		if users, _ := filepath.Glob(filepath.Join(b.layersOf("default"), "*", layerUsers, "*")); len(users) > 1 || i < 2 && err != nil {
			t.Errorf("%q: the layer is used by %q: %v", id, users, err)
		}
	}
	if data, err := os.ReadFile(victim); err != nil || string(data) != "mine" {
		t.Errorf("the file of somebody else is %q, %v", data, err)
	}
}
