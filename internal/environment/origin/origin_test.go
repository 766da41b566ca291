package origin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/ns"
	"github.com/stead-dev/stead/internal/environment/origin"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/tool/mcp"
	"github.com/stead-dev/stead/internal/tool/tooltest"
)

// relayArg makes the test binary a stdio server: see tooltest.Relay.
const relayArg = "stead-test-relay"

func TestMain(m *testing.M) {
	if os.Args[0] == ns.Argv0 {
		ns.Main()
	}
	if len(os.Args) == 3 && os.Args[1] == relayArg {
		if err := tooltest.Relay(os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func manager(t *testing.T) *mcp.Manager {
	m := mcp.New(mcp.Config{Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), tooltest.Patience)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return m
}

func in(env environment.Environment, key string) *origin.Origin {
	return origin.New(origin.Config{Key: key, Open: func(context.Context) (environment.Environment, error) { return env, nil }})
}

// TestConformanceStdio runs the whole suite against a process inside an environment.
func TestConformanceStdio(t *testing.T) {
	tooltest.Run(t, tooltest.Options{Lines: true}, func(t *testing.T, s *tooltest.Server) (tool.Source, tool.Server) {
		return manager(t), tool.Server{
			Label: "test", Command: &tool.Command{Args: []string{os.Args[0], relayArg, s.Address()}}, Origin: in(openBare(t), "sess_1"),
		}
	})
}

// TestConformanceDial runs it against a server that is reached from the environment.
func TestConformanceDial(t *testing.T) {
	tooltest.Run(t, tooltest.Options{}, func(t *testing.T, s *tooltest.Server) (tool.Source, tool.Server) {
		n := networked{openBare(t), make(chan string, 1024)}
		t.Cleanup(func() {
			if len(n.dialled) == 0 {
				t.Error("the environment was not asked to dial")
			}
		})
		return manager(t), tool.Server{Label: "test", URL: s.URL(), Origin: in(n, "sess_1")}
	})
}

func call(t *testing.T, m tool.Source, s tool.Server, name, arguments string) string {
	t.Helper()
	tools, err := m.Tools(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range tools {
		if one.Spec().Name == name {
			r, err := one.Call(t.Context(), tool.Call{Key: "k", Arguments: json.RawMessage(arguments)})
			if err != nil {
				t.Fatalf("call %s: %v", name, err)
			}
			return r.Content[0].Text.Inline
		}
	}
	t.Fatalf("no tool %q", name)
	return ""
}

// npm is the directory with public servers, written by others.
func npm(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../tool/mcp/testdata/npm")
	if err != nil {
		t.Fatal(err)
	}
	_, missing := os.Stat(filepath.Join(dir, everything))
	if _, noNode := exec.LookPath("node"); missing != nil || noNode != nil {
		const hint = "server-everything is not installed: npm ci --prefix internal/tool/mcp/testdata/npm"
		if os.Getenv("CI") != "" {
			t.Fatal(hint)
		}
		t.Skip(hint)
	}
	return dir
}

const everything = "node_modules/@modelcontextprotocol/server-everything/dist/index.js"

// testEverything runs a public server in an environment that has the directory at a path.
func testEverything(t *testing.T, env environment.Environment, dir string) {
	m, s := manager(t), tool.Server{
		Label: "all", Origin: in(env, "sess_1"),
		Command: &tool.Command{Args: []string{"node", dir + "/" + everything, "stdio"}},
	}
	if got := call(t, m, s, "echo", `{"message": "from inside"}`); !strings.Contains(got, "from inside") {
		t.Errorf("echo: %q", got)
	}
	if got := call(t, m, s, "get-sum", `{"a": 2, "b": 40}`); !strings.Contains(got, "42") {
		t.Errorf("sum: %q", got)
	}
	if got := call(t, m, s, "get-env", `{}`); !strings.Contains(got, `"GIVEN": "to the environment"`) {
		t.Errorf("its environment: %s", got)
	}
}

func TestEverythingBare(t *testing.T) {
	t.Setenv("GIVEN", "to the environment")
	dir, env := npm(t), openBare(t)
	testEverything(t, env, dir)
	if env.started() != 1 {
		t.Errorf("%d processes were started", env.started())
	}
}

// One process for each session and label; a resumed environment gets a new one.
func TestLifetime(t *testing.T) {
	s, err := tooltest.Start(tooltest.Options{Lines: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	m := manager(t)
	command := &tool.Command{Args: []string{os.Args[0], relayArg, s.Address()}}
	first, second := openBare(t), openBare(t)
	resident := first
	resumed := origin.New(origin.Config{Key: "one", Open: func(context.Context) (environment.Environment, error) { return resident, nil }})
	use := func(label string, o tool.Origin) {
		t.Helper()
		if got := call(t, m, tool.Server{Label: label, Command: command, Origin: o}, tooltest.Read, `{}`); got == "" {
			t.Error("no answer")
		}
	}
	use("a", resumed)
	use("a", resumed)
	if n := first.started(); n != 1 {
		t.Fatalf("one server was used twice, and started %d times", n)
	}
	use("b", resumed)
	if n := first.started(); n != 2 {
		t.Fatalf("two labels are %d processes", n)
	}
	use("a", in(second, "two"))
	if n := second.started(); n != 1 {
		t.Fatalf("another session's server was started %d times in its environment", n)
	}
	third := openBare(t)
	resident = third
	first.Close(t.Context()) // suspended; the next use resumes
	deadline := time.Now().Add(tooltest.Patience)
	for third.started() == 0 {
		if _, err := m.Tools(t.Context(), tool.Server{Label: "a", Command: command, Origin: resumed}); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("the server was not started again in the resumed environment")
		}
	}
}

func TestRefusals(t *testing.T) {
	m, env := manager(t), openBare(t)
	o := in(env, "sess_1")
	for name, c := range map[string]struct {
		server tool.Server
		kind   stead.Kind
	}{
		"a command without an origin":    {tool.Server{Label: "x", Command: &tool.Command{Args: []string{"true"}}}, stead.KindInvalid},
		"an empty command":               {tool.Server{Label: "x", Command: &tool.Command{}, Origin: o}, stead.KindInvalid},
		"a command with a URL":           {tool.Server{Label: "x", URL: "http://a.example", Command: &tool.Command{Args: []string{"true"}}, Origin: o}, stead.KindInvalid},
		"the operator's, from inside":    {tool.Server{Label: "x", Origin: o}, stead.KindInvalid},
		"no such program":                {tool.Server{Label: "x", Command: &tool.Command{Args: []string{"/no/such"}}, Origin: o}, stead.KindUnavailable},
		"a program that is no server":    {tool.Server{Label: "x", Command: &tool.Command{Args: []string{"false"}}, Origin: o}, stead.KindUnavailable},
		"an environment that can't dial": {tool.Server{Label: "x", URL: "http://127.0.0.1:1/mcp", Origin: o}, stead.KindUnavailable},
	} {
		if _, err := m.Tools(t.Context(), c.server); stead.KindOf(err) != c.kind {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// start runs a shell script inside.
func start(t *testing.T, script string, stderr io.Writer) io.ReadWriteCloser {
	t.Helper()
	s, err := in(openBare(t), "k").Start(t.Context(), tool.Command{Args: []string{"sh", "-c", script}}, stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func TestStream(t *testing.T) {
	var stderr syncBuffer
	s := start(t, `read line; echo "got $line"; echo oops >&2; exit 3`, &stderr)
	if _, err := io.WriteString(s, "hello\n"); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(s)
	if string(out) != "got hello\n" || err == nil || !strings.Contains(err.Error(), "exit code 3") {
		t.Errorf("got %q, %v", out, err)
	}
	s.Close()
	if got := stderr.b.String(); got != "oops\n" {
		t.Errorf("stderr: %q", got)
	}
	if _, err := io.WriteString(s, "late\n"); err == nil {
		t.Error("a write to an ended process succeeded")
	}
}

// A process that minds nothing, writes without end and is not read, ends when its stream is closed.
func TestCloseEndsTheStubborn(t *testing.T) {
	s := start(t, `trap "" TERM INT HUP; while :; do echo noise; done`, io.Discard)
	if _, err := s.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.Close()
	if took := time.Since(began); took > tooltest.Patience {
		t.Errorf("took %v", took)
	}
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Error("a closed stream can be read")
	}
}
