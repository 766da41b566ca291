package catalog

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// named is a model that is told apart by its name; it is never called here.
type named string

func (named) Generate(context.Context, model.Request) iter.Seq2[model.Delta, error] { return nil }

func testCatalog(t *testing.T, change func(*Config)) *Catalog {
	t.Helper()
	cfg := Config{
		Providers: []Provider{{Name: "openai", Model: named("openai")}, {Name: "local", Model: named("local")}},
		Models: []Entry{
			{Name: "fast", Provider: "local", Model: "qwen3", ContextWindow: 32_000, MaxOutputTokens: 4_000, Price: &model.Price{Input: 5}},
			{Name: "gpt-4o", Provider: "openai", Model: "gpt-4o-2024-08-06"},
		},
	}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestResolve(t *testing.T) {
	plain := testCatalog(t, nil)
	set := testCatalog(t, func(c *Config) { c.Default, c.Fallback = "openai/o3", "fast" })
	entry := testCatalog(t, func(c *Config) {
		c.Default = "gpt-4o"
		c.Models = append(c.Models, Entry{Name: DefaultName, Provider: "local", Model: "m", ContextWindow: 1})
	})
	price := &model.Price{Input: 5}
	for _, tc := range []struct {
		name string
		c    *Catalog
		want model.Info
	}{
		{"fast", plain, model.Info{Name: "fast", Provider: "local", Upstream: "qwen3", ContextWindow: 32_000, MaxOutputTokens: 4_000, Price: price}},
		{"gpt-4o", plain, model.Info{Name: "gpt-4o", Provider: "openai", Upstream: "gpt-4o-2024-08-06", ContextWindow: 128_000, MaxOutputTokens: 16_384}},
		{"default", plain, model.Info{Name: "default", Provider: "local", Upstream: "qwen3", ContextWindow: 32_000, MaxOutputTokens: 4_000, Price: price}},
		{"local/meta/llama", plain, model.Info{Name: "local/meta/llama", Provider: "local", Upstream: "meta/llama", ContextWindow: DefaultContextWindow}},
		{"default", set, model.Info{Name: "default", Provider: "openai", Upstream: "o3", ContextWindow: 200_000, MaxOutputTokens: 100_000}},
		{"whatever", set, model.Info{Name: "whatever", Provider: "local", Upstream: "qwen3", ContextWindow: 32_000, MaxOutputTokens: 4_000, Price: price}},
		{"default", entry, model.Info{Name: "default", Provider: "local", Upstream: "m", ContextWindow: 1}},
	} {
		got, m, err := tc.c.Resolve(tc.name, model.Caller{})
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		got.Card, got.Highest = model.Card{}, nil // see registry_test.go
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, d)
		}
		if m != named(tc.want.Provider) {
			t.Errorf("%s: resolved to %v", tc.name, m)
		}
	}
}

func TestUnknownNames(t *testing.T) {
	c := testCatalog(t, func(c *Config) { c.Fallback = "" })
	sim, err := New(Config{Sim: named("sim")})
	if err != nil {
		t.Fatal(err)
	}
	back := testCatalog(t, func(c *Config) { c.Fallback = "fast" })
	for _, tc := range []struct {
		c          *Catalog
		name, hint string
	}{
		{c, "gtp-4o", `Did you mean "gpt-4o"?`},
		{c, "fsat", `Did you mean "fast"?`},
		{c, "opnai/gpt-4o", `Did you mean "openai/gpt-4o"?`},
		{c, "claude", `local/MODEL, openai/MODEL.`},
		{c, "", `local/MODEL, openai/MODEL.`},
		{c, "openai/", "MODEL"},
		{back, "opnai/gpt-4o", `Did you mean "openai/gpt-4o"?`}, // only bare names fall back
		{sim, "gpt-4o", "No model provider is configured"},
		{sim, "sim/sim", "No model provider is configured"},
	} {
		_, _, err := tc.c.Resolve(tc.name, model.Caller{})
		e, ok := errors.AsType[*stead.Error](err)
		if !ok || e.Kind != stead.KindNotFound || e.Code != "model_not_found" || e.Param != "model" {
			t.Errorf("%q: %#v", tc.name, err)
			continue
		}
		if !strings.Contains(e.Hint, tc.hint) {
			t.Errorf("%q: hint %q, want %q", tc.name, e.Hint, tc.hint)
		}
	}
}

func TestSimServesWithoutProviders(t *testing.T) {
	c, err := New(Config{Sim: named("sim")})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sim", "default"} {
		in, m, err := c.Resolve(name, model.Caller{})
		if err != nil || m != named("sim") || in.Name != name || in.Provider != "sim" || in.ContextWindow != DefaultContextWindow {
			t.Errorf("%s: %+v, %v, %v", name, in, m, err)
		}
	}
	c, err = New(Config{Sim: named("sim"), Fallback: "sim"})
	if err != nil {
		t.Fatal(err)
	}
	if in, _, err := c.Resolve("gpt-4o", model.Caller{}); err != nil || in.Upstream != "sim" || in.Name != "gpt-4o" {
		t.Errorf("fallback: %+v, %v", in, err)
	}
	// With a provider, the built-in model does not serve at all.
	c = testCatalog(t, func(c *Config) { c.Sim = named("sim") })
	if _, _, err := c.Resolve("sim", model.Caller{}); stead.KindOf(err) != stead.KindNotFound {
		t.Errorf("sim beside a provider: %v", err)
	}
}

func TestList(t *testing.T) {
	var names []string
	for _, in := range testCatalog(t, nil).List("p") {
		names = append(names, in.Name)
	}
	if d := cmp.Diff([]string{"default", "fast", "gpt-4o"}, names); d != "" {
		t.Errorf("list (-want +got):\n%s", d)
	}
}

func TestNewRefuses(t *testing.T) {
	p := []Provider{{Name: "a", Model: named("a")}}
	for _, tc := range []struct {
		cfg   Config
		param string
	}{
		{Config{}, "providers"},
		{Config{Providers: []Provider{{Name: "a/b", Model: named("a")}}}, "providers[0].name"},
		{Config{Providers: []Provider{{Name: "a", Model: named("a")}, {Name: "a", Model: named("b")}}}, "providers[1].name"},
		{Config{Providers: []Provider{{Name: "a"}}}, "providers[0]"},
		{Config{Providers: p, Models: []Entry{{Provider: "a", Model: "m"}}}, "models[0].name"},
		{Config{Providers: p, Models: []Entry{{Name: "n", Provider: "a"}}}, "models[0].model"},
		{Config{Providers: p, Models: []Entry{{Name: "n", Provider: "b", Model: "m"}}}, "models[0].provider"},
		{Config{Providers: p, Models: []Entry{{Name: "n", Provider: "a", Model: "m"}, {Name: "n", Provider: "a", Model: "m"}}}, "models[1].name"},
		{Config{Providers: p, Models: []Entry{{Name: "n", Provider: "a", Model: "m", ContextWindow: -1}}}, "models[0].context_window"},
		{Config{Providers: p, Models: []Entry{{Name: "n", Provider: "a", Model: "m", MaxOutputTokens: -1}}}, "models[0].max_output_tokens"},
		{Config{Providers: p, Default: "x"}, "default_model"},
		{Config{Providers: p, Fallback: "x"}, "fallback_model"},
	} {
		_, err := New(tc.cfg)
		e, ok := errors.AsType[*stead.Error](err)
		if !ok || e.Kind != stead.KindInvalid || e.Param != tc.param {
			t.Errorf("want a refusal of %s, got %#v", tc.param, err)
		}
	}
}
