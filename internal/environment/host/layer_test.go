package host

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/template"
)

// zipped is an archive as a client sends it: path → content.
func zipped(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, content := range files {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// bundled adds an inline skill and an inline plugin that say something to a configuration.
func bundled(t *testing.T, c template.Config, says string) template.Config {
	t.Helper()
	skill := zipped(t, map[string]string{"rules/SKILL.md": "---\nname: rules\ndescription: d\n---\n" + says})
	plugin := zipped(t, map[string]string{"more/plugin.md": says})
	c.Bytes = map[string][]byte{}
	name := func(data []byte) string {
		sum := sha256.Sum256(data)
		digest := hex.EncodeToString(sum[:])
		c.Bytes[digest] = data
		return digest
	}
	c.Skills = []template.Skill{{Name: "rules", Description: "d", Digest: name(skill)}}
	c.Plugins = []template.Plugin{{Name: "more", Description: "d", Digest: name(plugin)}}
	return c
}

// session is another one on the same node, which is prepared and open.
func (b *bench) session(id stead.SessionID, c template.Config) *bench {
	b.t.Helper()
	other := &bench{Host: b.Host, t: b.t, driver: b.driver, key: stead.SessionKey{Project: b.key.Project, Session: id}}
	other.setup(c)
	other.prepare()
	other.open()
	return other
}

// TestASessionHasItsOwnBundlesAndNobodyElses: also where a layer was made by another session with the same
// set-up commands, which found in the workspace what that session had put there.
func TestASessionHasItsOwnBundlesAndNobodyElses(t *testing.T) {
	b := newBench(t)
	c := commands("ls -A .agents 2>/dev/null | sort > seen; true")
	for id, says := range map[stead.SessionID]string{"sess_ann": "ann's customers", "sess_bob": "bob's rules", "sess_none": ""} {
		mine := c
		if says != "" {
			mine = bundled(t, c, says)
		}
		s := b.session(id, mine)
		got := s.sh("cat .agents/skills/rules/SKILL.md .agents/plugins/more/plugin.md 2>/dev/null; cat seen")
		want := ""
		if says != "" {
			want = "---\nname: rules\ndescription: d\n---\n" + says + says + "plugins\nskills\n"
		}
		if got != want {
			t.Errorf("%s has %q, want %q", id, got, want)
		}
	}
	again := b.session("sess_ann2", bundled(t, c, "ann's new rules"))
	if got := again.sh("tail -n 1 .agents/skills/rules/SKILL.md"); got != "ann's new rules" {
		t.Errorf("after an update its skill says %q", got)
	}
}
