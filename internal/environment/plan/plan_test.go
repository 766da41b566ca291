package plan

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/host"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/template"
)

// What this node's driver can't do is refused when an environment is asked for, wherever the wish
// comes from: the request or the template that it names.
func TestWhatTheDriverCannotDoIsRefused(t *testing.T) {
	able := func(r *environment.Report) func(template.Config) error {
		h, err := host.New(host.Config{Dir: t.TempDir(), Report: r})
		if err != nil {
			t.Fatal(err)
		}
		return h.Able
	}
	network := func(access template.Access, allowed ...string) template.Config {
		return template.Config{Public: template.Public{Type: template.TypeHosted, Network: &template.Network{Access: access, Allowed: allowed}}}
	}
	packages := template.Config{Public: template.Public{Type: template.TypeHosted, Packages: &template.Packages{Python: []string{"requests"}}}}
	commands := template.Config{
		Public: template.Public{Type: template.TypeHosted, Setup: []template.Setup{{Dir: "/workspace"}}}, Secret: template.Secret{Commands: []string{"true"}},
	}
	weak := &environment.Report{Driver: "weak", Usable: true, Controls: []environment.Control{{Name: environment.ControlLayers, Gap: "None."}}}
	whole := &environment.Report{Driver: "whole", Usable: true, Egress: true, Controls: []environment.Control{{Name: environment.ControlLayers, By: "overlays"}}}
	inherited := template.Config{Public: template.Public{Type: template.TypeHosted, TemplateID: "envtmpl_1"}}
	for _, tt := range []struct {
		name             string
		report           *environment.Report
		asked, inherited template.Config
		param, says      string // "": it is made
	}{
		{"no network", weak, network(template.AccessDisabled), template.Config{}, "", ""},
		{"restricted to nothing", weak, network(template.AccessRestricted), template.Config{}, "", ""},
		{"restricted", weak, network(template.AccessRestricted, "example.com"), template.Config{}, "environment.network", `"restricted", and the driver of this server's environments, weak, has no way out`},
		{"the whole network", weak, network(template.AccessEnabled), template.Config{}, "environment.network", "weak"},
		{"by a template", weak, inherited, network(template.AccessEnabled), "environment.network", "template envtmpl_1 counts too"},
		{"packages", weak, packages, template.Config{}, "environment.packages", "can't install"},
		{"set-up commands", weak, commands, template.Config{}, "environment.setup_commands", "can't install"},
		{"a driver that can: network", whole, network(template.AccessEnabled), template.Config{}, "", ""},
		{"a driver that can: packages", whole, packages, template.Config{}, "", ""},
		{"no driver here, another node may have one", nil, network(template.AccessEnabled), template.Config{}, "", ""},
		{"a machine of the user's", weak, template.Config{Public: template.Public{Type: template.TypeSelf, Workspace: "/w"}}, template.Config{}, "", ""},
	} {
		resolve := func(_ context.Context, _ stead.Principal, c template.Config, path string) (template.Config, error) {
			if c.TemplateID == "" {
				return c, nil
			}
			return template.Inherit(tt.inherited, c, path)
		}
		_, err := New(Config{Resolve: resolve, Able: able(tt.report)}).Plan(t.Context(), stead.Principal{}, tt.asked)
		e, refused := errors.AsType[*stead.Error](err)
		switch {
		case tt.param == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.param != "" && (!refused || e.Kind != stead.KindInvalid || e.Param != tt.param || !strings.Contains(e.Message, tt.says) || !strings.Contains(e.Hint, "stead doctor")):
			t.Errorf("%s: %+v", tt.name, e)
		}
	}
}

// Whoever has a credential that goes wherever the allowed domains lead must know whether there are some.
func TestABroadNetwork(t *testing.T) {
	for _, tt := range []struct {
		network template.Network
		broad   bool
	}{
		{template.Network{Access: template.AccessDisabled}, false},
		{template.Network{Access: template.AccessEnabled}, true},
		{template.Network{Access: template.AccessRestricted}, false},
		{template.Network{Access: template.AccessRestricted, Allowed: []string{"example.com"}}, false},
		{template.Network{Access: template.AccessRestricted, Blocked: []string{"example.com"}}, true},
	} {
		c := template.Config{Public: template.Public{Type: template.TypeHosted, Network: &tt.network}}
		resolve := func(_ context.Context, _ stead.Principal, c template.Config, _ string) (template.Config, error) {
			return c, nil
		}
		p, err := New(Config{Resolve: resolve, Able: func(template.Config) error { return nil }}).Plan(t.Context(), stead.Principal{}, c)
		if err != nil || p.Broad != tt.broad {
			t.Errorf("%+v: broad is %t, %v", tt.network, p.Broad, err)
		}
	}
}

// What an imported environment names by id is had as by a new one: not by one who may not read it, and only where a workspace is there already may it be gone.
func TestAnEnvironmentFromElsewhere(t *testing.T) {
	resolve := func(_ context.Context, p stead.Principal, c template.Config, _ string) (template.Config, error) {
		for i := range c.Files {
			switch f := &c.Files[i]; {
			case f.FileID == "file_closed" && p.ID == "mallory":
				return c, stead.Errorf(stead.KindForbidden, "no")
			case f.FileID == "file_gone":
				return c, stead.Invalid("environment.files[0].file_id", "no such file")
			case f.FileID == "file_wrong":
				return c, stead.Invalid("size", "it is wrong in another way")
			case f.FileID != "":
				f.Size = 7
			}
		}
		return c.Effective(), nil
	}
	pl := New(Config{Resolve: resolve, Able: func(template.Config) error { return nil }})
	const closed, gone = `{"path":"/workspace/a","file_id":"file_closed"}`, `{"path":"/workspace/b","file_id":"file_gone"}`
	for _, tt := range []struct {
		name, kind, files, by string
		made                  bool
		refused               stead.Kind
		left                  int
	}{
		{"new, by one who may", "openai_hosted", closed, "ada", false, "", 1},
		{"new, by one who may not", "openai_hosted", closed, "mallory", false, stead.KindForbidden, 0},
		{"made, by one who may not", "openai_hosted", closed, "mallory", true, stead.KindForbidden, 0},
		{"new, and gone", "openai_hosted", closed + "," + gone, "ada", false, stead.KindInvalid, 0},
		{"made, and gone", "openai_hosted", closed + "," + gone, "ada", true, "", 1},
		{"made, and wrong in another way", "openai_hosted", closed + `,{"path":"/workspace/b","file_id":"file_wrong"}`, "ada", true, stead.KindInvalid, 0},
		{"of another type than it says", "self_hosted", closed, "ada", false, stead.KindInvalid, 0},
	} {
		plan, err := pl.Foreign(t.Context(), stead.Principal{ID: tt.by}, session.ForeignEnvironment{
			Type: tt.kind, Made: tt.made, Config: []byte(`{"type":"openai_hosted","environment_template_id":"envtmpl_1","template_version":3,"variables":["TOKEN"],"setup":[{"cwd":"/workspace"}],"files":[` + tt.files + `]}`),
			Content: func(string) ([]byte, error) { return nil, errors.New("nothing was brought") },
		})
		if stead.KindOf(err) != tt.refused && (err != nil || tt.refused != "") {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var c template.Public
		if err == nil && (json.Unmarshal(plan.Config, &c) != nil || len(c.Files) != tt.left || c.Files[0].Size != 7 || c.TemplateID != "" || c.TemplateVersion != 0 || len(c.Variables)+len(c.Setup) > 0 || plan.Works || plan.Seal != nil) {
			t.Errorf("%s: %s", tt.name, plan.Config)
		}
	}
}
