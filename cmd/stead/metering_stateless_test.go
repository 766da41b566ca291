package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/usage"
)

// Calls that are made one after the other fit in a budget that has room for one at a time: what a call held is given
// back when it has ended, for the next one and for the next turn, and not when its record happens to be written.
func TestOneStatelessCallAfterTheOther(t *testing.T) {
	for _, limit := range []string{"tokens: 9000", "seconds: 61"} {
		t.Run(limit, func(t *testing.T) {
			n := openConfigured(t, "budgets: [{name: small, scope: project, limit: {"+limit+"}}]\n", io.Discard)
			for i, body := range []string{
				`{"model":"sim","store":false,"input":"Say hi"}`, `{"model":"sim","store":false,"input":"Say hi"}`,
				`{"model":"sim","store":false,"input":"Say hi","stream":true}`, `{"model":"sim","store":false,"input":"Say hi"}`,
				`{"model":"sim","input":"Say hi"}`, `{"model":"sim","store":false,"input":"Say hi"}`,
			} {
				if res, got := ask(t, n, "POST", "/v1/responses", body); res.StatusCode != 200 {
					t.Fatalf("call %d: %d %s", i, res.StatusCode, got)
				}
			}
		})
	}
}

// What stateless calls held when the server was killed counts at its next start, as an estimated record and in the
// budgets, once: nothing is given back of which nobody knows whether it was used.
func TestAKilledServersStatelessCallsCountWhatTheyHeld(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stead.yaml")
	if err := os.WriteFile(file, []byte("budgets: [{name: b, scope: project, limit: {tokens: 100000}}, {name: each, scope: user, limit: {calls: 100}}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Flags{Listen: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"), File: file}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	impatient(cfg)
	start := func() *node {
		n, err := openNode(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	n := start()
	for range 2 { // as a door does, and then nothing: the process is gone
		hold := usage.HoldPrefix + strings.TrimPrefix(usage.NewRequestID(), usage.RequestPrefix)
		grant, err := n.metering.budgets.Reserve(t.Context(), usage.Ask{
			Subject: usage.Subject{Project: "default", User: "u"}, Hold: hold, At: time.Now().UnixMilli(), Amount: usage.Amount{Cost: 7, Tokens: 1000, Calls: 1, Millis: 60_000},
		})
		if err != nil || len(grant.Counters) != 2 {
			t.Fatalf("%v %+v", err, grant)
		}
	}
	n.stop()
	for restart := range 2 {
		n := start()
		_, budget := ask(t, n, "GET", "/v1/budgets/config_b", "")
		if !strings.Contains(budget, `"used":{"cost_microcents":14,"tokens":2000,"calls":2,"duration_ms":120000},"held":{"cost_microcents":0,"tokens":0,`) {
			t.Errorf("start %d: %s", restart, budget)
		}
		_, records := ask(t, n, "GET", "/v1/usage_records", "")
		if strings.Count(records, `"outcome":"estimated"`) != 2 || strings.Count(records, `"cost_microcents":7`) != 2 {
			t.Errorf("start %d: %s", restart, records)
		}
		n.stop()
	}
}
