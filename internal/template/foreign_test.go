package template_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/template"
)

// A configuration that comes with a file is read as one that is asked for: what was made here comes through, of no template and without what is secret, and
// what no request could ask for is refused.
func TestAConfigurationFromElsewhere(t *testing.T) {
	r := newRig(t)
	id := r.create(`{"network":{"access":"restricted","blocked_domains":["bad.example.com"]},"packages":{"python":["requests"]}}`)
	c, err := r.Resolve(t.Context(), r.me, decode(t, `{"type":"hosted","environment_template_id":"`+id+`","container_size":"small","env":{"TOKEN":"s3cret"},"setup_commands":[{"command":"make"}],
		"network":{"access":"restricted","allowed_domains":["*.example.com"]},"capability_directories":["/workspace/more"],
		"files":[{"type":"inline","path":"/workspace/a","data":"aGVsbG8="},{"type":"file_id","path":"/workspace/b","file_id":"file_1"}],
		"skills":[{"type":"skill_reference","skill_id":"skill_1"},`+inlineSkill(t, "pdf")+`]}`), "environment")
	if err != nil || len(c.Network.Allowed) == 0 || len(c.Network.Blocked) == 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	content := func(digest string) ([]byte, error) {
		if data, ok := c.Bytes[digest]; ok {
			return data, nil
		}
		return nil, stead.NotFound("blob", digest)
	}
	whole, err := json.Marshal(c.Public)
	if err != nil {
		t.Fatal(err)
	}
	got, err := template.Foreign(whole, content)
	if err != nil {
		t.Fatal(err)
	}
	if got, err = r.Resolve(t.Context(), r.me, got, "environment"); err != nil {
		t.Fatal(err)
	}
	want := c.Public
	want.TemplateID, want.TemplateVersion, want.Variables, want.Setup = "", 0, []string{}, []template.Setup{}
	want.Skills = slices.Clone(want.Skills)
	want.Skills[0].SkillID, want.Skills[0].Version = "", ""
	if jsonOf(t, got.Public) != jsonOf(t, want) {
		t.Errorf("it came through as\n%s, not\n%s", jsonOf(t, got.Public), jsonOf(t, want))
	}
	many := func(n int, of string) string { return "[" + strings.TrimSuffix(strings.Repeat(of+",", n), ",") + "]" }
	digest := c.Files[0].Digest
	for name, tc := range map[string]struct{ config, param string }{
		"attached elsewhere":      {`{"type":"openai_hosted","environment_id":"env_1"}`, ""},
		"no type":                 {`{}`, "environment.type"},
		"another size":            {`{"type":"openai_hosted","container_size":"huge"}`, "environment.container_size"},
		"a size that is a number": {`{"type":"openai_hosted","container_size":7}`, "?"},
		"out of the workspace":    {`{"type":"openai_hosted","files":[{"path":"/etc/passwd","digest":"` + digest + `"}]}`, "environment.files[0].path"},
		"files in each other":     {`{"type":"openai_hosted","files":[{"path":"/workspace/a","digest":"` + digest + `"},{"path":"/workspace/a/b","digest":"` + digest + `"}]}`, "environment.files[1].path"},
		"content of others":       {`{"type":"openai_hosted","files":[{"path":"/workspace/a","digest":"` + strings.Repeat("0", 64) + `"}]}`, "environment.files[0]"},
		"too many files":          {`{"type":"openai_hosted","files":` + many(template.MaxFiles+1, `{"path":"/workspace/a"}`) + `}`, "environment.files"},
		"an option as a package":  {`{"type":"openai_hosted","packages":{"npm":[],"python":["--index-url=http://x"],"system":[]}}`, "environment.packages.python[0]"},
		"a network of no kind":    {`{"type":"openai_hosted","network":{"access":"all","allowed_domains":[],"blocked_domains":[]}}`, "environment.network.access"},
		"too much to block":       {`{"type":"openai_hosted","network":{"access":"restricted","allowed_domains":["a.de"],"blocked_domains":` + many(template.MaxDomains+1, `"b.de"`) + `}}`, "environment.network.blocked_domains"},
		"a block that is none":    {`{"type":"openai_hosted","network":{"access":"restricted","allowed_domains":["a.de"],"blocked_domains":["http://b.de/"]}}`, "environment.network.blocked_domains[0]"},
		"directories elsewhere":   {`{"type":"openai_hosted","capability_directories":["/etc"]}`, "environment.capability_directories[0]"},
		"a skill by another name": {`{"type":"openai_hosted","skills":[{"name":"../../x","description":"Does it.","digest":"` + c.Skills[1].Digest + `"}]}`, "environment.skills[0]"},
		"a skill that is none":    {`{"type":"openai_hosted","skills":[{"name":"x","digest":"` + digest + `"}]}`, "environment.skills[0]"},
		"a plugin that is none":   {`{"type":"openai_hosted","plugins":[{"name":"x","description":"","digest":"` + digest + `"}]}`, "environment.plugins[0]"},
		"too many skills":         {`{"type":"openai_hosted","skills":` + many(template.MaxSkills+1, `{"name":"x"}`) + `}`, "environment.skills"},
		"a relative machine":      {`{"type":"self_hosted","workspace_directory":"w"}`, "environment.workspace_directory"},
	} {
		c, err := template.Foreign(json.RawMessage(tc.config), content)
		e, refused := errors.AsType[*stead.Error](err)
		switch {
		case tc.param == "" && (err != nil || c.EnvironmentID != ""):
			t.Errorf("%s: %+v, %v", name, c, err)
		case tc.param != "" && (!refused || stead.KindOf(err) != stead.KindInvalid || tc.param != "?" && e.Param != tc.param):
			t.Errorf("%s: %+v", name, err)
		}
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
