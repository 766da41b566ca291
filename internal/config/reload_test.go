package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
)

const running = `
providers: [{name: a, api: chat, base_url: "http://a/v1", region: eu}, {name: u, api: chat, base_url: "http://u/v1", region: us}, {name: s, api: sim}]
models: [{name: real, routes: [{provider: a, model: m}]}, {name: toy, routes: [{provider: s, model: sim}]}]
residency: [{project: x, regions: [eu]}, {labels: {data: health}, regions: [eu, us]}]
budgets: [{name: b, scope: project, limit: {calls: 1}}]
`

func loaded(t *testing.T, text string) *Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stead.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Flags{File: file}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A server that runs takes no configuration that may be a part of one, and none that puts the simulator in a real model's place.
func TestWhatAServerThatRunsDoesNotTake(t *testing.T) {
	was := loaded(t, running)
	models, residency := strings.Index(running, "models:"), strings.Index(running, "residency:")
	with := func(old, new string) string { return strings.Replace(running, old, new, 1) }
	for text, param := range map[string]string{
		"": "providers", "# soon\n": "providers",
		running[:models] + "models: []\n" + running[residency:]: "models",
		running[:residency]: "residency",
		running[:residency] + "residency:\nbudgets: []\n":                                                      "residency",
		with(`api: chat, base_url: "http://a/v1"`, "api: sim"):                                                 "providers",
		with("[{provider: a, model: m}]", "[{provider: a, model: m}, {provider: s, model: sim, priority: 1}]"): "models",
		with("[{name: real", "[{name: first, routes: [{provider: s, model: sim}]}, {name: real"):               "models", // the default
	} {
		err := loaded(t, text).Replaces(was)
		if e, ok := errors.AsType[*stead.Error](err); !ok || e.Param != param || e.Hint == "" {
			t.Errorf("%s\n  %v, want a refusal of %s", text, err, param)
		}
	}
	for _, text := range []string{running, strings.Replace(running, "name: toy", "name: game", 1), "listen: 127.0.0.1:1\n" + running} {
		if err := loaded(t, text).Replaces(was); err != nil {
			t.Errorf("%s\n  %v", text, err)
		}
	}
	if err := loaded(t, running).Replaces(loaded(t, "listen: 127.0.0.1:1\n")); err != nil {
		t.Errorf("from the simulator to real models: %v", err)
	}
}

// What is taken away is named, and emptied sections are taken.
func TestWhatAConfigurationHasNoMore(t *testing.T) {
	was := loaded(t, running)
	now := loaded(t, `
providers: [{name: a, api: chat, base_url: "http://a/v1", region: us}]
models: [{name: real, routes: [{provider: a, model: m}]}]
residency: [{project: x, regions: [us]}]
budgets: []
`)
	if err := now.Replaces(was); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"providers": "2: s, u", "models": "1: toy", "residency": "2: data=health in eu, us, project x in eu", "budgets": "1: b"}
	for _, l := range now.Lost(was) {
		if want[l.Section] != l.String() {
			t.Errorf("%s: %q, want %q", l.Section, l, want[l.Section])
		}
		delete(want, l.Section)
	}
	if len(want) > 0 || len(was.Lost(was)) > 0 {
		t.Errorf("not told: %v; and %v of the same", want, was.Lost(was))
	}
}

// A file that somebody writes is waited for, and what can be told to be no whole one is not taken.
func TestAFileIsReadAgainWhenItIsWhole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stead.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	again := func(ctx context.Context) (*Config, error) {
		return Reload(ctx, Flags{File: file}, func(string) (string, bool) { return "", false })
	}
	for _, text := range []string{"", running[:len(running)-1], running[:len(running)/2]} {
		synctest.Test(t, func(t *testing.T) {
			write(text)
			if c, err := again(t.Context()); err == nil {
				t.Errorf("%d bytes of %d were taken: %v", len(text), len(running), c.Sections)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		write("")
		go func() { // a save that takes half a second and more
			for _, part := range []int{1, 2, 3} {
				time.Sleep(SettleTime * 3 / 4)
				write(strings.Repeat("# what is above\n", part))
			}
			write(running)
		}()
		c, err := again(t.Context())
		if err != nil || len(c.Budgets) != 1 {
			t.Errorf("%v %+v", err, c)
		}
		if took := time.Since(began); took < 3*SettleTime || took > 6*SettleTime {
			t.Errorf("taken after %s", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := again(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("of a server that stops: %v", err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if _, err := again(t.Context()); err == nil {
			t.Error("a file that is gone was read")
		}
	})
}
