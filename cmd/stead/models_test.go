package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/model"
)

const (
	oneRoute  = "providers: [{name: a, api: sim}]\nmodels: [{name: default, routes: [{provider: a, model: sim}]}]\ncapacity: [{name: p, provider: a, concurrent: 1}]\n"
	twoRoutes = "providers: [{name: b, api: sim}, {name: a, api: sim}]\nmodels: [{name: default, routes: [{provider: b, model: sim}, {provider: a, model: sim, priority: 1}]}]\ncapacity: [{name: p, provider: a, concurrent: 1}]\n"
	badRoute  = "providers: [{name: a, api: sim}]\nmodels: [{name: default, routes: [{provider: nobody, model: sim}]}]\n"
)

func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stead.yaml")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(t.TempDir(), "data")
	load := func() (*config.Config, error) {
		return config.Load(config.Flags{Listen: "127.0.0.1:0", Data: data, File: file}, func(string) (string, bool) { return "", false })
	}
	put(oneRoute)
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	n, err := openNode(t.Context(), cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.stop)
	first := func() string {
		t.Helper()
		routes, err := n.models.Explain("default", model.Caller{Project: "default"})
		if err != nil {
			t.Fatal(err)
		}
		return routes[0].Route.Name()
	}
	pool := n.throughput.Load().all[0]
	_, begun, err := n.models.Resolve("default", model.Caller{}) // of a call that is under way
	if err != nil {
		t.Fatal(err)
	}

	put(badRoute)
	if err := n.reload(t.Context(), load); err == nil || !strings.Contains(err.Error(), "nobody") || first() != "a/sim" {
		t.Errorf("%v, and calls go to %s: a bad file must change nothing", err, first())
	}
	put(twoRoutes)
	if err := n.reload(t.Context(), load); err != nil || first() != "b/sim" {
		t.Errorf("%v, and calls go to %s", err, first())
	}
	if n.throughput.Load().all[0] != pool {
		t.Error("a pool that is as it was began anew")
	}
	for _, err := range begun.Generate(t.Context(), model.Request{Model: "sim"}) {
		if err != nil {
			t.Errorf("a call that had begun: %v", err)
		}
	}
}
