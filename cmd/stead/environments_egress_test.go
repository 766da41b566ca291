package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/egress"
)

// TestAWrongWayOutIsFoundAtTheStart: and named as the operator wrote it, not when the first agent's
// environment is opened.
func TestAWrongWayOutIsFoundAtTheStart(t *testing.T) {
	for _, c := range []struct{ egress, field, says string }{
		{`{private: ["10.0.0.0/8", "10.1.2.3/8"]}`, "environments.egress.private[1]", "10.1.2.3/8"},
		{`{private: ["not a name"]}`, "environments.egress.private[0]", "not a name"},
		{`{private: ["inside.example:443"]}`, "environments.egress.private[0]", "port"},
		{`{credentials: [{variable: TOKEN, hosts: ["api.example.com", "10.0.0.1"], value: v}]}`, "environments.egress.credentials[0].hosts[1]", "10.0.0.1"},
		{`{limits: {up_bytes: -1}}`, "environments.egress.limits.up_bytes", "-1 is not between 0 and"},
		{`{limits: {connections: 5000}}`, "environments.egress.limits.connections", "5000 is not between 0 and 4096"},
		{`{private: ["10.0.0.0/8", "inside.example"], credentials: [{variable: TOKEN, hosts: ["*.example.com"], value: v}], proxy: "http://127.0.0.1:3128"}`, "", ""},
	} {
		file := filepath.Join(t.TempDir(), "stead.yaml")
		text := "environments:\n  driver: none\n  egress: " + c.egress + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(config.Flags{Listen: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"), File: file}, func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		n, err := openNode(t.Context(), cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
		if err == nil {
			n.stop()
		}
		wrong, ok := errors.AsType[*stead.Error](err)
		switch {
		case c.field == "":
			if err != nil {
				t.Errorf("%s: %v", c.egress, err)
			}
		case !ok || wrong.Kind != stead.KindInvalid || wrong.Param != c.field || !strings.Contains(wrong.Message, c.field) || !strings.Contains(wrong.Message, c.says):
			t.Errorf("%s: %v, want one that names %s and says %q", c.egress, err, c.field, c.says)
		}
	}
}

// TestTheOperatorsLimitsAreThoseOfTheWayOut: each under its own name.
func TestTheOperatorsLimitsAreThoseOfTheWayOut(t *testing.T) {
	way, err := egressOf(config.Egress{Limits: config.EgressLimits{UpBytes: 1, DownBytes: 2, BytesPerSecond: 3, Connections: 4, PerMinute: 5}})
	if want := (egress.Limits{UpBytes: 1, DownBytes: 2, BytesPerSecond: 3, Connections: 4, PerMinute: 5}); err != nil || way.Limits != want {
		t.Errorf("%+v, %v; want %+v", way.Limits, err, want)
	}
}
