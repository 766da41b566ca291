package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/cgroup"
	"github.com/stead-dev/stead/internal/environment/landlock"
	"github.com/stead-dev/stead/internal/environment/ns"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// patience bounds every wait of a test on a busy machine.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	switch os.Args[0] {
	case ns.Argv0:
		ns.Main()
	case landlock.Argv0:
		landlock.Main()
	}
	testscript.Main(m, map[string]func(){"stead": main})
}

// TestScripts types the command line as people do. See testdata/script.
func TestScripts(t *testing.T) { run(t, "testdata/script", nil) }

// TestPostgres does so with a real server, a fresh database a script.
func TestPostgres(t *testing.T) {
	pgtest.URL(t) // where there is none, the test ends here
	run(t, "testdata/postgres", func(e *testscript.Env) { e.Setenv("POSTGRES", pgtest.URL(t)) })
}

func run(t *testing.T, dir string, setup func(*testscript.Env)) {
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			// Nothing of the machine's own settings reaches a script.
			for _, name := range []string{"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "STEAD_SERVER", "STEAD_LISTEN", "STEAD_DATA", "STEAD_DATABASE_URL"} {
				e.Setenv(name, "")
			}
			e.Setenv("GORACE", os.Getenv("GORACE")) // each command waits a second for reports at its end, unless it says less
			if setup != nil {
				setup(e)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":   exits,
			"ready":   ready,
			"capture": capture,
			"until":   until,
			"tools":   tools,
			"replace": replace,
			"hub":     hub,
			"hook":    hookScript,
			"inside":  inside,

			"consenting": consenting,
			"front":      front,
			"browse":     browse,
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "computer":
				return hasComputer()
			case "landlock":
				return usable("landlock", landlock.New(cgroup.Detect()))
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// hasComputer reports whether namespaces make environments here.
func hasComputer() (bool, error) { return usable("environments", ns.New(cgroup.Detect())) }

// needComputer skips a test where no environment runs, and fails it where everything must be tested.
func needComputer(t *testing.T) {
	t.Helper()
	if able, err := hasComputer(); err != nil {
		t.Fatal(err)
	} else if !able {
		t.Skip("no environment runs here")
	}
}

// usable reports whether a driver makes environments here. Where everything must be tested, a machine
// on which it can't is an error.
func usable(what string, driver environment.Provider) (bool, error) {
	report := driver.Probe(context.Background())
	if err := driver.Close(context.Background()); err != nil {
		return false, err
	}
	if !report.Usable && os.Getenv("CI") == "true" {
		return false, fmt.Errorf("CI needs %s: %s %s", what, report.Problem, report.Remedy)
	}
	return report.Usable, nil
}

// exits runs a program and wants an exit code: exits 3 stead run …
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		got = e.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if (got == want) == neg {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// ready waits for a ready file and makes its server the one that commands speak to,
// and $ADDRESS: ready FILE
func ready(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	poll(ts, "the server to serve", func() bool {
		base, err := os.ReadFile(file)
		if err == nil {
			ts.Setenv("STEAD_SERVER", strings.TrimSpace(string(base)))
			ts.Setenv("ADDRESS", strings.TrimPrefix(strings.TrimSpace(string(base)), "http://"))
		}
		return err == nil
	})
	ts.Check(os.Remove(file))
}

// capture sets a variable to the first group of a pattern in the last output: capture VAR stdout PATTERN
func capture(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile(args[2]).FindStringSubmatch(ts.ReadFile(args[1]))
	if m == nil {
		ts.Fatalf("no %s in the output", args[2])
	}
	ts.Setenv(args[0], m[1])
}

// until repeats a command until its output matches: until PATTERN stead …
func until(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile(args[0])
	poll(ts, args[0], func() bool {
		err := ts.Exec(args[1], args[2:]...)
		return err == nil && pattern.MatchString(ts.ReadFile("stdout"))
	})
}

func poll(ts *testscript.TestScript, what string, done func() bool) {
	for deadline := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// replace changes text in a file: replace FILE OLD NEW
func replace(ts *testscript.TestScript, _ bool, args []string) {
	old := ts.ReadFile(args[0])
	if !strings.Contains(old, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(old, args[1], args[2])), 0o600))
}

// tools serves an MCP server for the script and sets a variable to its URL: tools VAR
// Its tool charge never answers and touches charge.log when it was called; lookup answers at once.
func tools(ts *testscript.TestScript, _ bool, args []string) {
	type input struct {
		Text string `json:"text"`
	}
	log := ts.MkAbs("charge.log")
	over := make(chan struct{}) // the script is: a call whose client was killed may not hear of that
	s := mcp.NewServer(&mcp.Implementation{Name: "till", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "lookup", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
		func(_ context.Context, _ *mcp.CallToolRequest, in input) (*mcp.CallToolResult, any, error) {
			return said("found %s", in.Text), nil, nil
		})
	mcp.AddTool(s, &mcp.Tool{Name: "charge"},
		func(ctx context.Context, _ *mcp.CallToolRequest, in input) (*mcp.CallToolResult, any, error) {
			if err := os.WriteFile(log, []byte(in.Text), 0o600); err != nil {
				return nil, nil, err
			}
			select {
			case <-ctx.Done():
			case <-over:
			}
			return nil, nil, errors.New("nobody waits for charge any more")
		})
	srv := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil))
	ts.Defer(func() { close(over); srv.CloseClientConnections(); srv.Close() })
	ts.Setenv(args[0], srv.URL)
}
