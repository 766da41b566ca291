package template_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/template"
)

func TestANetworkCanNarrowAndNeverBroaden(t *testing.T) {
	const (
		off  = `{"access":"disabled"}`
		open = `{"access":"enabled"}`
		none = `{"access":"restricted"}`
	)
	some := func(allowed string) string { return `{"access":"restricted","allowed_domains":[` + allowed + `]}` }
	block := func(blocked string) string { return `{"access":"restricted","blocked_domains":[` + blocked + `]}` }
	for _, tc := range []struct{ wide, narrow, want string }{ // want is "" where it is refused
		{open, open, "enabled [] []"}, {open, off, "disabled [] []"}, {open, some(`"a.de"`), "restricted [a.de] []"},
		{off, open, ""}, {off, some(`"a.de"`), ""}, {some(`"a.de"`), open, ""}, {block(`"a.de"`), open, ""},
		{some(`"a.de","b.de"`), some(`"b.de"`), "restricted [b.de] []"}, {some(`"a.de"`), some(`"a.de","b.de"`), ""},
		{some(`"*.a.de"`), some(`"x.a.de"`), "restricted [x.a.de] []"}, {some(`"a.de"`), some(`"*.a.de"`), ""},
		{some(`"a.de"`), none, "disabled [] []"}, {some(`"a.de"`), block(`"b.de"`), "restricted [a.de] [b.de]"},
		{block(`"a.de"`), block(`"b.de"`), "restricted [] [a.de b.de]"}, {block(`"a.de"`), some(`"x.a.de"`), "restricted [x.a.de] [a.de]"},
	} {
		wide := decode(t, `{"type":"hosted","network":`+tc.wide+`}`)
		got, err := template.Inherit(wide, decode(t, `{"type":"hosted","network":`+tc.narrow+`}`), "environment")
		if tc.want == "" {
			if e, ok := err.(*stead.Error); !ok || !strings.HasPrefix(e.Param, "environment.network.") || e.Hint == "" {
				t.Errorf("%s inside %s: %v", tc.narrow, tc.wide, err)
			}
			continue
		}
		if n := got.Network; err != nil || fmt.Sprint(n.Access, " ", n.Allowed, " ", n.Blocked) != tc.want {
			t.Errorf("%s inside %s: %+v, %v, want %s", tc.narrow, tc.wide, n, err, tc.want)
		}
	}
}

func TestInheritance(t *testing.T) {
	base := decode(t, `{"type":"openai_hosted","network":{"access":"restricted","allowed_domains":["a.de","b.de"]},
		"packages":{"python":["a"],"npm":["b"]},"env":{"A":"1","B":"2"},"setup_commands":[{"command":"one"}],
		"files":[{"type":"inline","path":"/workspace/a","data":"YQ=="}]}`)
	got, err := template.Inherit(base, decode(t, `{"type":"openai_hosted","environment_template_id":"envtmpl_1","container_size":"small",
		"packages":{"npm":["c"]},"env":{"C":"3"},"network":{"access":"restricted","allowed_domains":["b.de"]},"setup_commands":null}`), "environment")
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got.Packages) != "&{[c] [] []}" || fmt.Sprint(got.Env) != "map[C:3]" || fmt.Sprint(got.Commands) != "[one]" ||
		len(got.Files) != 1 || fmt.Sprint(got.Network.Allowed) != "[b.de]" || got.Size != environment.SizeSmall || got.TemplateID != "envtmpl_1" {
		t.Errorf("inherited %+v", got)
	}
	if string(got.Bytes[got.Files[0].Digest]) != "a" {
		t.Error("the bytes of the template's file are not there")
	}
	if got, err := template.Inherit(base, decode(t, `{"type":"openai_hosted","files":[],"env":{}}`), "environment"); err != nil || len(got.Files)+len(got.Env) != 0 {
		t.Errorf("empty lists: %+v, %v", got, err)
	}
	_, err = template.Inherit(base, decode(t, `{"type":"openai_hosted","network":{"access":"enabled"}}`), "environment")
	if e, ok := err.(*stead.Error); !ok || e.Param != "environment.network.access" {
		t.Errorf("a broader network: %v", err)
	}
	_, err = template.Inherit(decode(t, `{"type":"openai_hosted"}`), decode(t, `{"type":"openai_hosted","network":{"access":"enabled"}}`), "environment")
	if stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("a template without a network has the default one, which is off: %v", err)
	}
}

func TestAPatchKeepsClearsAndReplaces(t *testing.T) {
	c, name := template.Config{}, ""
	apply := func(text string) {
		t.Helper()
		p, err := template.DecodePatch(object(t, text))
		if err != nil {
			t.Fatal(err)
		}
		p.Apply(&name, &c)
	}
	apply(`{"name":"first","env":{"A":"1"},"network":{"access":"enabled"},"setup_commands":[{"command":"x"}],"packages":{"python":["a"]}}`)
	apply(`{"env":{"B":"2"}}`)
	if name != "first" || fmt.Sprint(c.Env) != "map[B:2]" || c.Network.Access != template.AccessEnabled || len(c.Commands) != 1 {
		t.Fatalf("after a change of env: %q %+v", name, c)
	}
	apply(`{"name":null,"network":null,"env":null,"setup_commands":null,"packages":null,"desktop":null}`)
	if name != "" || c.Network != nil || c.Env != nil || c.Variables != nil || c.Commands != nil || c.Setup != nil || c.Packages != nil {
		t.Fatalf("after nulls: %q %+v", name, c)
	}
	for _, text := range []string{`{"container_size":"small"}`, `{"type":"openai_hosted"}`, `{"environment_template_id":"x"}`, `{"name":1}`} {
		if _, err := template.DecodePatch(object(t, text)); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSecretsOpenForTheirPlaceAlone(t *testing.T) {
	keys, err := seal.New(make([]byte, seal.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	c := decode(t, `{"type":"openai_hosted","env":{"A":"s3cret"},"setup_commands":[{"command":"run s3cret"}]}`)
	l := seal.Label{Project: "p", Kind: "session", ID: "sess_1"}
	sealed := c.Secret.Seal(keys, l)
	if strings.Contains(string(sealed), "s3cret") {
		t.Fatal("the sealed bytes show the secret")
	}
	back, err := template.OpenSecret(keys, l, sealed)
	if err != nil || !reflect.DeepEqual(back, c.Secret) {
		t.Fatalf("%+v, %v", back, err)
	}
	l.ID = "sess_2"
	if _, err := template.OpenSecret(keys, l, sealed); err == nil {
		t.Fatal("it opened for another session")
	}
}

func TestTheScriptRunsInOrderAndNamesNoSecret(t *testing.T) {
	c := decode(t, `{"type":"openai_hosted","packages":{"npm":["left-pad"],"python":["requests==2.31.0"],"system":["jq"]},
		"env":{"A":"1"},"setup_commands":[{"command":"echo s3cret","cwd":"/tmp"}]}`)
	s := c.SetupScript()
	var names []string
	for _, step := range s.Steps {
		names = append(names, step.Name)
		if step.Command.Env["A"] != "1" || !strings.HasPrefix(step.Command.Env["PATH"], "/opt/stead/python/bin:/opt/stead/npm/bin:") {
			t.Errorf("%s runs with %v", step.Name, step.Command.Env)
		}
		if err := step.Failed(environment.Exit{Code: 2}); strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error shows the command: %v", err)
		}
	}
	if want := []string{"packages.system: update", "packages.system", "packages.python: virtual environment", "packages.python", "packages.npm", "setup_commands[0]"}; !slices.Equal(names, want) || !s.AsRoot {
		t.Fatalf("steps %q, as root %v", names, s.AsRoot)
	}
	last := s.Steps[len(s.Steps)-1]
	if last.Command.Dir != "/tmp" || last.Command.Args[2] != "echo s3cret" || last.Failed(environment.Exit{Code: 2}).Error() != "setup_commands[0] failed with exit code 2" {
		t.Errorf("the last step: %+v, %v", last, last.Failed(environment.Exit{Code: 2}))
	}
}

func TestALayerIsNamedByWhatItIsMadeOf(t *testing.T) {
	digest := func(fields string) string {
		return decode(t, `{"type":"openai_hosted"`+fields+`}`).LayerDigest("ns amd64 project")
	}
	if digest("") != "" || digest(`,"env":{"A":"1"}`) != "" {
		t.Fatal("a configuration without a set-up has a layer")
	}
	file := `,"files":[{"type":"inline","path":"/workspace/a","data":"YQ=="}]`
	python, command := `,"packages":{"python":["a","b"]}`, `,"setup_commands":[{"command":"x"}]`
	skill := `,"skills":[{"type":"skill_reference","skill_id":"skill_1","version":"1"}]`
	same := [][2]string{
		{python, python + file}, {python, python + skill}, {command, command + `,"capability_directories":["/workspace/c"]`}, {python, python + `,"network":{"access":"enabled"}`}, {python, python + `,"container_size":"small"`},
		{python, `,"packages":{"python":["a","b"],"npm":[]}`},
	}
	other := [][2]string{
		{python, `,"packages":{"python":["b","a"]}`}, {python, `,"packages":{"npm":["a","b"]}`}, {python, python + command},
		{python, python + `,"env":{"A":"1"}`}, {command, command + file}, {command, `,"setup_commands":[{"command":"x","cwd":"/tmp"}]`},
		{command + `,"env":{"A":"1"}`, command + `,"env":{"A":"2"}`},
		{command, command + skill}, {command + skill, command + strings.ReplaceAll(skill, `"version":"1"`, `"version":"2"`)},
	}
	for _, p := range same {
		if digest(p[0]) != digest(p[1]) {
			t.Errorf("%s and %s have different layers", p[0], p[1])
		}
	}
	for _, p := range other {
		if digest(p[0]) == digest(p[1]) {
			t.Errorf("%s and %s have one layer", p[0], p[1])
		}
	}
	bundled := func(skill, plugin string) string {
		c := decode(t, `{"type":"openai_hosted"`+command+`}`)
		c.Skills, c.Plugins = []template.Skill{{Name: "rules", Digest: skill}}, []template.Plugin{{Name: "rules", Digest: plugin}}
		return c.LayerDigest("base")
	}
	if first := bundled("a", "b"); first == bundled("b", "b") || first == bundled("a", "a") {
		t.Error("what is in a bundle does not count")
	}
	c := decode(t, `{"type":"openai_hosted"`+python+`}`)
	if c.LayerDigest("a") == c.LayerDigest("b") {
		t.Error("the base does not count")
	}
}
