package mcp_test

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/tool/mcp"
	"github.com/stead-dev/stead/internal/tool/tooltest"
)

func open(t *testing.T, c mcp.Config) *mcp.Manager {
	t.Helper()
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	m := mcp.New(c)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), tooltest.Patience)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		noGoroutines(t)
	})
	return m
}

// noGoroutines waits until nothing of a closed Manager runs. The SDK's server side is the test's.
func noGoroutines(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(tooltest.Patience)
	for {
		var left []string
		buf := make([]byte, 4<<20)
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			ours := strings.Contains(g, "stead/internal/tool/mcp.(") || strings.Contains(g, "streamableClientConn") ||
				strings.Contains(g, "net/http.(*persistConn)")
			if ours && !strings.Contains(g, "noGoroutines") {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
			return
		}
		time.Sleep(5 * time.Millisecond) // polls with a deadline
	}
}

func byURL(t *testing.T, s *tooltest.Server) (tool.Source, tool.Server) {
	return open(t, mcp.Config{}), tool.Server{Label: "test", URL: s.URL()}
}

func TestConformanceStream(t *testing.T) { tooltest.Run(t, tooltest.Options{}, byURL) }
func TestConformanceJSON(t *testing.T)   { tooltest.Run(t, tooltest.Options{JSON: true}, byURL) }
