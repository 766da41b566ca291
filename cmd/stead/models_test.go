package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/usage"
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
	pool := n.throughput.Load().all[0].Pool
	_, begun, err := n.models.Resolve("default", model.Caller{}) // of a call that is under way
	if err != nil {
		t.Fatal(err)
	}

	for _, text := range []string{"", "# the providers\n", oneRoute[:strings.Index(oneRoute, "capacity:")]} {
		put(text)
		if err := n.reload(t.Context(), load); err == nil || first() != "a/sim" {
			t.Errorf("%q was taken: %v, and calls go to %s", text, err, first())
		}
	}
	put(badRoute)
	if err := n.reload(t.Context(), load); err == nil || !strings.Contains(err.Error(), "nobody") || first() != "a/sim" {
		t.Errorf("%v, and calls go to %s: a bad file must change nothing", err, first())
	}
	put(twoRoutes)
	if err := n.reload(t.Context(), load); err != nil || first() != "b/sim" {
		t.Errorf("%v, and calls go to %s", err, first())
	}
	if n.throughput.Load().all[0].Pool != pool {
		t.Error("a pool that is as it was began anew")
	}
	for _, err := range begun.Generate(t.Context(), model.Request{Model: "sim"}) {
		if err != nil {
			t.Errorf("a call that had begun: %v", err)
		}
	}
}

// Cached tokens cost what input does where a price does not say otherwise; nothing is free that nobody said is.
func TestCachedInputWithoutAPriceCostsAsInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stead.yaml")
	cached := stead.Usage{InputTokens: 1_000_000, CachedTokens: 1_000_000}
	for written, want := range map[string]int64{
		"{input: 1, output: 10}": 100_000_000, "{input: 1, cached_input: 0.1, output: 10}": 10_000_000, "{input: 1, cached_input: 0, output: 10}": 0,
	} {
		book := strings.Replace(written, "{", "{model: m, ", 1)
		text := "providers: [{name: a, api: sim}]\nmodels: [{name: m, routes: [{provider: a, model: sim, price: " + written + "}], price: " + written + "}]\n" +
			"prices: [{version: v, valid_from: 2026-01-01, entries: [" + book + "]}]\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(config.Flags{Listen: "127.0.0.1:0", Data: filepath.Dir(file), File: file}, func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		byBook := usage.NewBook(priceEditions(cfg)).Price(usage.Sale{At: time.Now().UnixMilli(), Model: "m"})
		for of, price := range map[string]*model.Price{"model": priceOf(cfg.Models[0].Price), "route": routeOf(cfg.Models[0].Routes[0]).Price, "book": byBook} {
			if cost := price.Cost(cached); cost != want {
				t.Errorf("a price %s of the %s: a million cached tokens cost %d micro-cents, want %d", written, of, cost, want)
			}
		}
	}
}

// A reload takes prices with the models that they are for, and says in the log what it does not take.
func TestAReloadTakesPricesAndNamesWhatItDoesNotTake(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stead.yaml")
	load := func() (*config.Config, error) {
		return config.Load(config.Flags{Listen: "127.0.0.1:0", Data: filepath.Dir(file), File: file}, func(string) (string, bool) { return "", false })
	}
	put := func(text string) *config.Config {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := load()
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	var said strings.Builder
	n, err := openNode(t.Context(), put(oneRoute), slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.stop)
	sale := usage.Sale{At: time.Now().UnixMilli(), Model: "default", Provider: "b", Upstream: "sim"}
	if p := n.metering.prices.Price(sale); p != nil {
		t.Errorf("priced before: %+v", p)
	}
	put(twoRoutes + "limits: {model_call_seconds: 9}\nprices: [{version: v2, valid_from: 2026-01-01, entries: [{provider: b, input: 3, output: 4}]}]\n")
	if err := n.reload(t.Context(), load); err != nil {
		t.Fatal(err)
	}
	if p := n.metering.prices.Price(sale); p == nil || p.Version != "v2" || p.Input != 300_000_000 {
		t.Errorf("priced by %+v", p)
	}
	if strings.Contains(said.String(), "restart") {
		t.Errorf("everything was taken: %s", said.String())
	}
	put(twoRoutes + "limits: {model_idle_seconds: 9}\nprices: []\n")
	if err := n.reload(t.Context(), load); err != nil || !strings.Contains(said.String(), `parts=[limits]`) || !strings.Contains(said.String(), `level=WARN msg="the configuration was read again, and took away" prices="1: v2"`) {
		t.Errorf("%v, and the log says %s", err, said.String())
	}
}

// A reload takes budgets, and the turns that wait for one go on; it takes what was agreed as well.
func TestAReloadTakesBudgetsAndTerms(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stead.yaml")
	load := func() (*config.Config, error) {
		return config.Load(config.Flags{Listen: "127.0.0.1:0", Data: filepath.Dir(file), File: file}, func(string) (string, bool) { return "", false })
	}
	put := func(calls, more string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(oneRoute+"budgets: [{name: b, scope: project, on_limit: wait, limit: {calls: "+calls+"}}]\n"+more), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("1", "")
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	n, err := openNode(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.stop)
	begin := func() string {
		_, body := ask(t, n, "POST", "/v1/agents/sessions", `{"agent":{"model":"default"},"environment":{"type":"none"},"input":"Say hi"}`)
		var made struct{ ID string }
		if err := json.Unmarshal([]byte(body), &made); err != nil || made.ID == "" {
			t.Fatalf("%v: %s", err, body)
		}
		return made.ID
	}
	until := func(id, status string) {
		t.Helper()
		said := ""
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if _, said = ask(t, n, "GET", "/v1/agents/sessions/"+id, ""); strings.Contains(said, `"status":"`+status+`"`) {
				return
			}
		}
		t.Fatalf("not %s: %s", status, said)
	}
	until(begin(), "idle")
	second := begin()
	until(second, "requires_action")
	put("3", "settlement: {rest: us, rules: [{name: r, match: {}, shares: [{party: them, basis_points: 1000}]}]}\ncommitments: [{name: c, provider: a, start: 2026-11-01, period: month, tokens: 5}]\n")
	if err := n.reload(t.Context(), load); err != nil {
		t.Fatal(err)
	}
	until(second, "idle")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) { // what the turn held is settled behind it
		_, body := ask(t, n, "GET", "/v1/budgets/config_b", "")
		if strings.Contains(body, `"calls":3`) && strings.Contains(body, `"calls":2`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the budget: %s", body)
		}
	}
	if res, body := ask(t, n, "GET", "/v1/usage/statement?month=2026-11", ""); res.StatusCode != http.StatusOK || !strings.Contains(body, "them") {
		t.Errorf("the statement: %s", body)
	}
	if _, body := ask(t, n, "GET", "/v1/capacity/commitments", ""); !strings.Contains(body, `"name":"c"`) {
		t.Errorf("the commitments: %s", body)
	}
}

// Whoever makes a stateless call is told where it went and which other routes there were, in the words of explain.
func TestAStatelessCallSaysWhichRoutesWereConsidered(t *testing.T) {
	n := openConfigured(t, `
providers: [{name: a, api: sim, region: us}, {name: b, api: sim, region: eu}, {name: c, api: sim, region: eu}]
models:
  - name: mine
    routes: [{provider: a, model: sim}, {provider: b, model: sim}, {provider: c, model: sim, priority: 1}, {provider: c, model: other, priority: 2, when: {calls: stateful}}]
  - {name: plain, routes: [{provider: a, model: sim}]}
residency: [{project: default, regions: [eu]}]
`, io.Discard)
	const want = `b/sim (priority 0); c/sim: priority 1; a/sim: project default stays in eu, and its region is "us"; c/other: it is for turns of sessions`
	for path, body := range map[string]string{
		"chat/completions": `"messages":[{"role":"user","content":"Say hi"}]`, "responses": `"store":false,"input":"Say hi"`, "embeddings": `"input":"hi"`,
	} {
		for _, stream := range []string{"false", "true"} {
			res, got := ask(t, n, "POST", "/v1/"+path, `{"model":"mine","stream":`+stream+`,`+body+`}`)
			if said := res.Header.Get("X-Stead-Route"); res.StatusCode != 200 || said != want {
				t.Errorf("%s, stream %s: %d %q, want %q: %s", path, stream, res.StatusCode, said, want, got)
			}
		}
	}
}

// Where all routes failed, the answer says the same of the last one.
func TestAFailedStatelessCallSaysWhichRoutesWereTried(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	t.Cleanup(up.Close)
	n := openConfigured(t, "providers: [{name: a, api: chat, base_url: "+up.URL+"}, {name: b, api: chat, base_url: "+up.URL+"}]\n"+
		"models: [{name: mine, routes: [{provider: a, model: x}, {provider: b, model: y, priority: 1}]}]\n", io.Discard)
	const want = "failed at b/y (priority 1); tried a/x: server_overloaded"
	for _, body := range []string{`"stream":true`, `"stream":false`} {
		res, got := ask(t, n, "POST", "/v1/chat/completions", `{"model":"mine","messages":[{"role":"user","content":"hi"}],`+body+`}`)
		if said := res.Header.Get("X-Stead-Route"); res.StatusCode < 500 || said != want {
			t.Errorf("%s: %d %q, want %q: %s", body, res.StatusCode, said, want, got)
		}
	}
}
