// Package quickstart runs the quick starts as a reader would: against a server that was just
// started, with nothing else set up. Only the address is another, since the usual one may be taken.
package quickstart

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	patience = 2 * time.Minute // for a build on a busy machine
	// address is what the quick starts are written for.
	address = "http://127.0.0.1:8787"
	// answer is what the model sim says when the function has answered.
	answer = "get_weather: 21 degrees in Paris"
)

// serve builds the server and starts it; it ends with the test.
func serve(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "stead")
	build := exec.Command("go", "build", "-o", bin, "./cmd/stead")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var log bytes.Buffer
	ready := filepath.Join(dir, "ready")
	cmd := exec.Command(bin, "dev", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data"), "--ready-file", ready, "--no-demo")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Env = without(os.Environ(), "OPENAI_API_KEY", "STEAD_LISTEN", "STEAD_DATA", "STEAD_DATABASE_URL")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("server:\n%s", log.String())
		}
	})
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if base, err := os.ReadFile(ready); err == nil {
			return strings.TrimSpace(string(base))
		}
	}
	t.Fatalf("the server does not serve:\n%s", log.String())
	return ""
}

func without(env []string, names ...string) []string {
	var out []string
	for _, e := range env {
		keep := true
		for _, n := range names {
			keep = keep && !strings.HasPrefix(e, n+"=")
		}
		if keep {
			out = append(out, e)
		}
	}
	return out
}

// program copies a quick start to a directory beside what it needs, with the server's address in it.
func program(t *testing.T, from, to, base string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(address)) {
		t.Fatalf("%s does not name %s: readers would reach nothing", from, address)
	}
	if n := bytes.Count(text, []byte("\n")); n > 40 {
		t.Errorf("%s has %d lines: a quick start is quick to read", from, n)
	}
	if err := os.WriteFile(to, bytes.ReplaceAll(text, []byte(address), []byte(base)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs a command and wants the model's answer in its output.
func run(t *testing.T, dir string, argv ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	if !strings.Contains(string(out), answer) {
		t.Errorf("%v says %q, want %q", argv, out, answer)
	}
}

func TestGo(t *testing.T) {
	base := serve(t)
	dir, err := os.MkdirTemp("go", "run-*") // inside the module: it imports the SDK
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	program(t, filepath.Join("go", "main.go"), filepath.Join(dir, "main.go"), base)
	run(t, dir, "go", "run", ".")
}

func TestTypeScript(t *testing.T) {
	if _, err := os.Stat(filepath.Join("typescript", "node_modules", "openai")); err != nil {
		missing(t, "npm ci in docs/quickstart/typescript has not been run")
	}
	compile := exec.Command(filepath.Join("node_modules", ".bin", "tsc"))
	compile.Dir = "typescript"
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("tsc: %v\n%s", err, out)
	}
	base := serve(t)
	compiled := filepath.Join("typescript", "node_modules", ".quickstart")
	dir, err := os.MkdirTemp(compiled, "run-*")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	program(t, filepath.Join(compiled, "quickstart.js"), filepath.Join(dir, "quickstart.mjs"), base)
	run(t, dir, "node", "quickstart.mjs")
}

// TestPython compiles the quick start everywhere, and runs it where the SDK is installed.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		missing(t, "there is no python3")
	}
	file := filepath.Join("python", "quickstart.py")
	check := exec.Command(python, "-c", "import ast,sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])", file)
	if out, err := check.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", file, err, out)
	}
	if err := exec.Command(python, "-c", "import openai; openai.OpenAI(api_key='x').beta.agents").Run(); err != nil {
		t.Skip("the OpenAI SDK for Python with the Agents API is not installed and this machine's package index may not be reachable: the quick start was compiled, not run")
	}
	base := serve(t)
	dir := t.TempDir()
	program(t, file, filepath.Join(dir, "quickstart.py"), base)
	run(t, dir, python, "quickstart.py")
}

// missing skips a test on a machine that was not prepared; the continuous integration is.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}
