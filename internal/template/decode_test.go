package template_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/capability"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/template"
)

func object(t *testing.T, text string) param.Object {
	t.Helper()
	o, err := param.Parse("environment", json.RawMessage(text))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func decode(t *testing.T, text string) template.Config {
	t.Helper()
	c, err := template.Decode(object(t, text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

// zipOf is the base64 of an archive with one file.
func zipOf(t *testing.T, name, text string) string {
	t.Helper()
	b, err := capability.New([]capability.File{{Path: name, Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	data, err := b.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(data)
}

func inlineSkill(t *testing.T, name string) string {
	return fmt.Sprintf(`{"type":"inline","name":%q,"description":"Does it.","source":{"type":"base64","media_type":"application/zip","data":%q}}`,
		name, zipOf(t, "SKILL.md", "---\nname: "+name+"\ndescription: Does it.\n---\nDo.\n"))
}

func TestAWholeConfiguration(t *testing.T) {
	c := decode(t, `{
		"type": "hosted", "container_size": "large", "environment_template_id": "envtmpl_1",
		"network": {"access": "restricted", "allowed_domains": ["Example.com", "*.pypi.org"]},
		"packages": {"python": ["requests[socks] >=2.31,<3"], "npm": ["@types/node@^22"], "system": ["g++", "jq=1.6-2.1"]},
		"files": [{"type": "inline", "path": "/workspace/a/b.txt", "data": "aGVsbG8="}, {"type": "file_id", "path": "/workspace/c", "file_id": "file_1"}],
		"env": {"TOKEN": "s3cret", "A": "1"},
		"setup_commands": [{"command": "make deps", "cwd": "/workspace/a"}, {"command": "true"}],
		"skills": [{"type": "skill_reference", "skill_id": "skill_1", "version": "latest"}, `+inlineSkill(t, "pdf")+`],
		"plugins": [{"type": "inline", "name": "plug", "description": "It plugs.", "source": {"type": "base64", "media_type": "application/zip",
			"data": "`+zipOf(t, ".codex-plugin/plugin.json", `{"name":"plug","description":"It plugs."}`)+`"}}],
		"capability_directories": ["/workspace/skills", "/opt/stead/more"],
		"desktop": {"enabled": false}
	}`)
	public, err := json.Marshal(c.Public)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"s3cret", "make deps", "hello", "aGVsbG8="} {
		if strings.Contains(string(public), secret) {
			t.Errorf("the public part shows %q", secret)
		}
	}
	var back template.Public
	if err := json.Unmarshal(public, &back); err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(back)
	if string(again) != string(public) {
		t.Errorf("the public part is not the same after a journey:\n%s\n%s", public, again)
	}
	if c.Type != template.TypeHosted || c.Size != environment.SizeLarge || c.Network.Allowed[0] != "example.com" ||
		fmt.Sprint(c.Variables) != "[A TOKEN]" || c.Setup[1].Dir != "/workspace" || c.Skills[1].Name != "pdf" || len(c.Bytes) != 3 {
		t.Errorf("decoded %+v", c)
	}
	for _, digest := range c.Digests() {
		if len(c.Bytes[digest]) == 0 {
			t.Errorf("no bytes for %s", digest)
		}
	}
}

func TestOmittedAndDefault(t *testing.T) {
	c := decode(t, `{"type":"openai_hosted","network":null,"files":null,"desktop":null,"some_new_field":null}`)
	if c.Network != nil || c.Files != nil || c.Size != "" {
		t.Fatalf("omitted fields are there: %+v", c)
	}
	e := c.Effective()
	if e.Network.Access != template.AccessDisabled || e.Size != environment.SizeMedium || e.Files == nil || e.Packages == nil {
		t.Fatalf("effective %+v", e)
	}
	if c := decode(t, `{"type":"none"}`); c.Type != template.TypeNone {
		t.Fatalf("none: %+v", c)
	}
	if c := decode(t, `{"type":"self_hosted","workspace_directory":"/srv/project"}`); c.Workspace != "/srv/project" {
		t.Fatalf("self-hosted: %+v", c)
	}
	if c := decode(t, `{"type":"openai_hosted","environment_id":"env_1"}`); c.EnvironmentID != "env_1" {
		t.Fatalf("attached: %+v", c)
	}
}

func TestEveryWrongFieldIsNamed(t *testing.T) {
	long := strings.Repeat("x", 300)
	hosted := func(fields string) string { return `{"type":"openai_hosted",` + fields + `}` }
	for text, param := range map[string]string{
		`{}`:                              "environment.type",
		`{"type":"docker"}`:               "environment.type",
		`{"type":"none","env":{"A":"1"}}`: "environment.env",
		`{"type":"self_hosted"}`:          "environment.workspace_directory",
		`{"type":"self_hosted","workspace_directory":"work"}`:                                             "environment.workspace_directory",
		`{"type":"self_hosted","workspace_directory":"/w","files":[]}`:                                    "environment.files",
		hosted(`"environment_id":"env_1","env":{}`):                                                       "environment.env",
		hosted(`"environment_id":""`):                                                                     "environment.environment_id",
		hosted(`"netwrok":{"access":"disabled"}`):                                                         "environment.netwrok",
		hosted(`"container_size":"huge"`):                                                                 "environment.container_size",
		hosted(`"network":{}`):                                                                            "environment.network.access",
		hosted(`"network":{"access":"enabled","allowed_domains":["a.de"]}`):                               "environment.network.allowed_domains",
		hosted(`"network":{"access":"restricted","allowed_domains":["a.de","https://b.de"]}`):             "environment.network.allowed_domains[1]",
		hosted(`"network":{"access":"restricted","allowed_domains":["a.de/b"]}`):                          "environment.network.allowed_domains[0]",
		hosted(`"network":{"access":"restricted","allowed_domains":["2130706433"]}`):                      "environment.network.allowed_domains[0]",
		hosted(`"network":{"access":"restricted","blocked_domains":["*.a.de"]}`):                          "environment.network.blocked_domains[0]",
		hosted(`"network":{"access":"restricted","allowed_domains":["a.de"],"blocked_domains":["b.de"]}`): "environment.network.blocked_domains",
		hosted(`"packages":{"python":["ok","-r/etc/passwd"]}`):                                            "environment.packages.python[1]",
		hosted(`"packages":{"python":["x @ https://e.de/x.whl"]}`):                                        "environment.packages.python[0]",
		hosted(`"packages":{"python":["./local"]}`):                                                       "environment.packages.python[0]",
		hosted(`"packages":{"python":["x.tar.gz"]}`):                                                      "environment.packages.python[0]",
		hosted(`"packages":{"python":["x; sys_platform=='linux'"]}`):                                      "environment.packages.python[0]",
		hosted(`"packages":{"npm":["--registry=http://e.de"]}`):                                           "environment.packages.npm[0]",
		hosted(`"packages":{"npm":["user/repo"]}`):                                                        "environment.packages.npm[0]",
		hosted(`"packages":{"npm":["a@file:../x"]}`):                                                      "environment.packages.npm[0]",
		hosted(`"packages":{"npm":["a@npm:b"]}`):                                                          "environment.packages.npm[0]",
		hosted(`"packages":{"system":["jq;id"]}`):                                                         "environment.packages.system[0]",
		hosted(`"packages":{"system":["bash-"]}`):                                                         "environment.packages.system[0]",
		hosted(`"packages":{"system":["./x.deb"]}`):                                                       "environment.packages.system[0]",
		hosted(`"packages":{"system":["` + long + `"]}`):                                                  "environment.packages.system[0]",
		hosted(`"packages":{"cargo":["x"]}`):                                                              "environment.packages.cargo",
		hosted(`"files":[{"type":"inline","path":"/workspace/a","data":""},{"type":"file_id","path":"/etc/passwd","file_id":"f"}]`): "environment.files[1].path",
		hosted(`"files":[{"type":"inline","path":"/workspace/../etc","data":""}]`):                                                  "environment.files[0].path",
		hosted(`"files":[{"type":"inline","path":"/workspace/.agents","data":""}]`):                                                 "environment.files[0].path",
		hosted(`"files":[{"type":"inline","path":"/workspace/outputs","data":""}]`):                                                 "environment.files[0].path",
		hosted(`"files":[{"type":"inline","path":"/workspace/.codex/x","data":""}]`):                                                "environment.files[0].path",
		hosted(`"files":[{"type":"inline","path":"/workspace/a\u0000","data":""}]`):                                                 "environment.files[0].path",
		hosted(`"files":[{"type":"inline","path":"/workspace/a","data":"aGVsbG8"}]`):                                                "environment.files[0].data",
		hosted(`"files":[{"type":"inline","path":"/workspace/a","data":"","mode":"0777"}]`):                                         "environment.files[0].mode",
		hosted(`"files":[{"type":"inline","path":"/workspace/a","data":""},{"type":"inline","path":"/workspace/a/b","data":""}]`):   "environment.files[1].path",
		hosted(`"files":[{"type":"inline","path":"/workspace/a","data":""},{"type":"inline","path":"/workspace/a","data":""}]`):     "environment.files[1].path",
		hosted(`"env":{"LD_PRELOAD":"x"}`):                                                                     "environment.env.LD_PRELOAD",
		hosted(`"env":{"https_proxy":"x"}`):                                                                    "environment.env.https_proxy",
		hosted(`"env":{"A=B":"x"}`):                                                                            "environment.env",
		hosted(`"env":{"A":"x\u0000"}`):                                                                        "environment.env.A",
		hosted(`"env":{"A":1}`):                                                                                "environment.env.A",
		hosted(`"setup_commands":[{"command":"true"},{"cwd":"/"}]`):                                            "environment.setup_commands[1].command",
		hosted(`"setup_commands":[{"command":"  "}]`):                                                          "environment.setup_commands[0].command",
		hosted(`"setup_commands":[{"command":"true","cwd":"rel"}]`):                                            "environment.setup_commands[0].cwd",
		hosted(`"setup_commands":[{"command":"true","env":{}}]`):                                               "environment.setup_commands[0].env",
		hosted(`"skills":[{"type":"skill_reference","skill_id":"s","version":"0"}]`):                           "environment.skills[0].version",
		hosted(`"skills":[{"type":"skill_reference","skill_id":"s","version":"v1"}]`):                          "environment.skills[0].version",
		hosted(`"skills":[` + strings.Replace(inlineSkill(t, "pdf"), `"name":"pdf"`, `"name":"xls"`, 1) + `]`): "environment.skills[0].name",
		hosted(`"skills":[` + strings.Replace(inlineSkill(t, "pdf"), "Does it.", "Else.", 1) + `]`):            "environment.skills[0].description",
		hosted(`"skills":[` + inlineSkill(t, "pdf") + `,` + inlineSkill(t, "pdf") + `]`):                       "environment.skills[1].name",
		hosted(`"skills":[{"type":"inline","name":"a","description":"b","source":{"type":"base64","media_type":"application/zip","data":"aGVsbG8="}}]`): "environment.skills[0].source.data",
		hosted(`"plugins":[` + inlineSkill(t, "pdf") + `]`):        "environment.plugins[0].source.data",
		hosted(`"capability_directories":["/workspace/a","/etc"]`): "environment.capability_directories[1]",
		hosted(`"capability_directories":["/workspacex"]`):         "environment.capability_directories[0]",
		hosted(`"desktop":{"enabled":true}`):                       "environment.desktop.enabled",
	} {
		_, err := template.Decode(object(t, text))
		e, ok := errors.AsType[*stead.Error](err)
		if !ok || e.Param != param || e.Kind != stead.KindInvalid && e.Kind != stead.KindNotImplemented {
			t.Errorf("%.200s: want an error about %s, got %q: %v", text, param, paramOf(e), err)
		}
	}
}

func paramOf(e *stead.Error) string {
	if e == nil {
		return ""
	}
	return e.Param
}

func TestErrorsShowNoSecret(t *testing.T) {
	for _, text := range []string{
		`{"type":"openai_hosted","env":{"A":"s3cret\u0000"}}`,
		`{"type":"openai_hosted","setup_commands":[{"command":"s3cret\u0000"}]}`,
		`{"type":"openai_hosted","setup_commands":[{"command":"s3cret","cwd":"x"}]}`,
		`{"type":"openai_hosted","files":[{"type":"inline","path":"/workspace/a","data":"s3cret"}]}`,
	} {
		_, err := template.Decode(object(t, text))
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"type":"openai_hosted","network":{"access":"restricted","allowed_domains":["a.de"]},"packages":{"npm":["a@1"]}}`)
	f.Add(`{"type":"openai_hosted","files":[{"type":"inline","path":"/workspace/a","data":"aGk="}],"env":{"A":"b"},"setup_commands":[{"command":"x"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		o, err := param.Body([]byte(text))
		if err != nil {
			return
		}
		c, err := template.Decode(o)
		if err != nil {
			return
		}
		for _, s := range c.SetupScript().Steps {
			if len(s.Command.Args) == 0 || s.Confidential != strings.HasPrefix(s.Name, "setup_commands[") {
				t.Fatalf("step %+v", s)
			}
		}
		for _, file := range c.Files {
			if !strings.HasPrefix(file.Path, "/workspace/") || strings.Contains(file.Path, "/../") {
				t.Fatalf("file %q", file.Path)
			}
		}
	})
}
