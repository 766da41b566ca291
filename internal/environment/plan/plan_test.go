package plan

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/host"
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
