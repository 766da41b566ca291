//go:build unix

package mcp_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/tool/mcp"
	"github.com/stead-dev/stead/internal/tool/tooltest"
)

// modeVariable makes the test binary a stdio server that behaves as the mode says.
const modeVariable = "STEAD_TEST_STDIO"

func TestMain(m *testing.M) {
	mode := os.Getenv(modeVariable)
	if mode == "" {
		os.Exit(m.Run())
	}
	if err := behave(mode); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func behave(mode string) error {
	switch mode {
	case "tools": // greets on stdout, as many do, and talks a lot on stderr
		fmt.Println("Welcome!\n{\"not\": \"a message\"}")
		fmt.Fprintln(os.Stderr, strings.Repeat("long", 10_000))
		for i := range 1000 {
			fmt.Fprintln(os.Stderr, "line", i)
		}
		s, err := tooltest.New(tooltest.Options{})
		if err != nil {
			return err
		}
		return s.RunStdio(context.Background())
	case "stubborn": // has a child, and minds neither the end of stdin nor signals
		child := exec.Command("sleep", "600")
		if err := child.Start(); err != nil {
			return err
		}
		ids := fmt.Sprintf("%d %d", os.Getpid(), child.Process.Pid)
		if err := os.WriteFile(os.Getenv("PIDS"), []byte(ids), 0o600); err != nil {
			return err
		}
		ignoreSignals()
		serveLines(func() {})
		select {}
	case "dies":
		serveLines(func() { os.Exit(3) })
	case "deaf": // stops reading after the first call
		serveLines(func() { select {} })
	case "mute":
		time.Sleep(time.Hour)
	case "garbage":
		for {
			fmt.Println("garbage")
		}
	case "endless":
		for {
			fmt.Print(strings.Repeat("x", 1<<20))
		}
	}
	return nil
}

func stdio(t *testing.T, mode string, c mcp.Config, env map[string]string) (*mcp.Manager, tool.Server) {
	t.Helper()
	if env == nil {
		env = map[string]string{}
	}
	env[modeVariable] = mode
	c.Servers = []mcp.Configured{{Label: mode, Command: os.Args[0], Env: env}}
	return open(t, c), tool.Server{Label: mode}
}

// logBuffer collects a log; processes write while tests read.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func TestStdioTools(t *testing.T) {
	var log logBuffer
	m, server := stdio(t, "tools", mcp.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, nil)
	if got := allText(callOne(t, m, server, tooltest.Count, `{}`)); got != "counted" {
		t.Errorf("got %q", got)
	}
	// The same process answers again: connections are shared.
	if got := allText(callOne(t, m, server, tooltest.Read, `{}`)); got != "1 calls" {
		t.Errorf("got %q", got)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if n := strings.Count(log.b.String(), "tool server stderr"); n == 0 || n > 200 || log.b.Len() > 1<<20 {
		t.Errorf("%d lines, %d bytes were logged", n, log.b.Len())
	}
}

func TestStdioProcessesAreEnded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	m, server := stdio(t, "stubborn", mcp.Config{}, map[string]string{"PIDS": file})
	if _, err := m.Tools(t.Context(), server); err != nil {
		t.Fatal(err)
	}
	ids, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range strings.Fields(string(ids)) {
		pid, _ := strconv.Atoi(id)
		deadline := time.Now().Add(tooltest.Patience)
		for !gone(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d is left", pid)
			}
			time.Sleep(time.Millisecond) // polls with a deadline
		}
	}
}

// gone reports that a process has ended; one that only waits to be reaped by its parent has.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.Contains(stat, []byte(") Z "))
}

func TestStdioServerDiesInACall(t *testing.T) {
	m, server := stdio(t, "dies", mcp.Config{}, nil)
	do := find(t, m, server, "do")
	deadline := time.Now().Add(tooltest.Patience)
	for lost := 0; lost < 2; { // the second loss needs a fresh process
		r, err := do.Call(t.Context(), tool.Call{Key: "k"})
		switch outcomeOf(r, err) {
		case missing:
			lost++
		case notSent: // before the end of the old process was noticed
		default:
			t.Fatalf("got %+v, %v", r, err)
		}
		if time.Now().After(deadline) {
			t.Fatal("never reconnected")
		}
	}
}

// A server that does not read must not hold up a call beyond its time.
func TestStdioServerThatStopsReading(t *testing.T) {
	m, server := stdio(t, "deaf", mcp.Config{CallTimeout: 200 * time.Millisecond}, nil)
	do := find(t, m, server, "do")
	large := []byte(`{"text": "` + strings.Repeat("x", 4<<20) + `"}`)
	start := time.Now()
	for range 3 {
		if r, err := do.Call(t.Context(), tool.Call{Key: "k", Arguments: large}); err == nil {
			t.Errorf("got %+v", r)
		}
	}
	if took := time.Since(start); took > tooltest.Patience {
		t.Errorf("took %v", took)
	}
}

func TestStdioHostileStart(t *testing.T) {
	for _, mode := range []string{"mute", "garbage", "endless"} {
		t.Run(mode, func(t *testing.T) {
			m, server := stdio(t, mode, mcp.Config{ConnectTimeout: 500 * time.Millisecond}, nil)
			if _, err := m.Tools(t.Context(), server); stead.KindOf(err) != stead.KindUnavailable {
				t.Errorf("got %v", err)
			}
		})
	}
	m := open(t, mcp.Config{Servers: []mcp.Configured{{Label: "none", Command: "/no/such/command"}}})
	if _, err := m.Tools(t.Context(), tool.Server{Label: "none"}); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("got %v", err)
	}
}

func ignoreSignals() { signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP) }
